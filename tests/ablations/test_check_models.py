"""`fcn-bench check --models`: several questions at once, with neither data nor weights at hand."""

import json
import sys

import pytest

from ablations.check_models import check_specs
from ablations.cli import main
from ablations.registry import list_ablations
from bench.data.outlines import OUTLINES
from bench.data.packs.imagined import ImaginedPack
from bench.grid.slots import Slot

PLACES = [Slot("cpu", 1)]
SPEC = """
question: Does width help?
common:
  model: {skip: fcn16s}
  data: {dataset: shapes, options: {size: 32, num_train: 8}}
  train: {epochs: 2, batch_size: 4}
grid: {model.backbone: [test_resnet, resnet10t]}
seeds: [0, 1]
"""


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fcn-bench", "check", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def test_all_of_the_papers_questions_without_a_file(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("FCN_BENCH_WEIGHTS", raising=False)
    names = [name for name in list_ablations() if name.startswith("paper/")]
    code, shown, said = cli("--models", *names, "--seconds", "0", "--json")
    assert code == 0, said
    told = json.loads(shown)
    assert {row["ablation"] for row in told["variants"]} == set(names)
    wants = {(want["kind"], want["name"]): want for want in told["wants"]}
    assert not any(want["here"] for want in wants.values())
    assert all(want["get"] for want in wants.values())
    sbd = wants["data", "sbd"]
    assert "seg11valid 736" in sbd["holds"]
    assert "benchmark.tgz" in sbd["get"]
    assert "fcn-bench data fetch sbd --data DIR" in sbd["get"]
    assert "paper/skips" in sbd["wanted_by"]
    vgg = wants["weights", "vgg16-caffe.safetensors"]
    assert "--out vgg16-caffe.safetensors; put it into a folder that --weights" in vgg["get"]
    assert "the first run fetches https://" in wants["weights", "vgg16 (default)"]["get"]
    rows = {(row["ablation"], row["variant"]): row for row in told["variants"]}
    assert rows["paper/skips", "fcn32s"]["at"] == "375x500"
    assert rows["paper/skips", "fcn32s"]["seconds"] is None
    assert not (tmp_path / "runs").exists()


def test_minutes_are_from_a_step_of_each_network(cli, tmp_path):
    (tmp_path / "one.yaml").write_text(SPEC)
    (tmp_path / "two.yaml").write_text(SPEC.replace("fcn16s", "fcn8s"))
    code, shown, said = cli("--models", "one.yaml", "two.yaml", "--devices", "cpu")
    assert code == 0, said
    assert "one: 4 runs, about" in shown
    assert "(by a timed step)" in shown
    assert "shapes(size=32, num_train=8)" in shown


def test_a_file_of_weights_that_is_here_is_said_to_be(tmp_path, monkeypatch):
    (tmp_path / "vgg16-caffe.safetensors").write_bytes(b"x")
    monkeypatch.setenv("FCN_BENCH_WEIGHTS", str(tmp_path))
    _, wants = check_specs(["paper/masking"], None, None, PLACES, 0)
    (found,) = [want for want in wants if want.kind == "weights"]
    assert found.here == str(tmp_path / "vgg16-caffe.safetensors")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("paper/skips", "quickstart"), "with --models it takes several"),
        (("--models", "paper/skips", "--data", "x"), "--models looks at no image"),
        (("--models", "paper/skips", "--set", "data.dataset=folder"), "nothing is known before"),
        (("--models", "paper/skips", "--set", "data.dataset=voc201"), "did you mean"),
        (("--models", "paper/skps"), "did you mean 'paper/skips'"),
        (("--models", "paper/skips", "--only", "fcn9s"), "did you mean"),
        (("--models", "quickstart", "--set", "model.head=linera"), "did you mean 'linear'"),
    ],
)
def test_what_cannot_be_is_one_paragraph(cli, words, said):
    code, _, told = cli(*words, "--seconds", "0")
    assert code == 65
    assert said in told
    assert "Traceback" not in told


def test_an_imagined_pack_counts_as_a_real_one_does():
    depth, geometry = OUTLINES["nyudv2"]().more_inputs[0], OUTLINES["siftflow"]().more_targets[0]
    pack = ImaginedPack("f" * 64, {"train": 5, "test": 2}, (30, 40), 7, (depth,), (geometry,))
    seen = pack.choose(["rgb", "depth"], ["semantic", "geometric"])
    assert (len(pack), seen.num_channels, seen.num_classes) == (7, 4, 7)
    assert [len(seen.indices(split)) for split in ("train", "test")] == [5, 2]
    assert seen.size(6) == (30, 40)
    assert seen.network_options()["more_classes"] == [3]
    assert len(seen.limited(2).indices("train")) == 2
    assert pack.image_class_counts("train").shape == (5, 7)
    with pytest.raises(KeyError):
        pack.image(0)

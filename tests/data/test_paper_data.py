"""The paper's questions on its own data, over tiny files in the published layouts."""

import csv
import json
import sys

import pytest
from small_datasets import write_nyudv2, write_pascal_context, write_sbd, write_siftflow

from ablations.cli import main

WRITERS = {"paper/nyudv2": write_nyudv2, "paper/siftflow": write_siftflow}
OTHERS = {"paper/context": write_pascal_context, "paper/voc": write_sbd}
FEW = {"paper/voc": ("variants.fcn32s-few.data.train_fraction=0.5",)}  # of three images
TINY = (
    *("model.backbone=resnet10t", "model.pretrained=false", "model.head=linear"),
    *("model.padding=exact", "model.score_init=random", "train.steps=2"),
    "data.input_scale=4",  # enough cells for batch norm
)


@pytest.fixture
def cli(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fcn-bench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out

    return run


@pytest.mark.slow
@pytest.mark.parametrize("spec", WRITERS)
def test_the_question_is_checked_over_files_as_published(spec, cli, tmp_path):
    WRITERS[spec](tmp_path / "data")
    folders = ("--data", tmp_path / "data", "--runs", tmp_path / "runs")
    said = cli("check", spec, *folders, "--json", "--set", "model.pretrained=false")  # offline
    rows = {row["variant"]: row for row in json.loads(said)}
    if spec == "paper/nyudv2":
        # VGG16's FCN-32s of 40 classes; a channel more is 64 filters of 3 x 3; then two networks.
        one = rows["rgb"]["parameters"]
        assert one == 14_714_688 + 102_764_544 + 16_781_312 + 4097 * 40
        assert rows["rgbd-early"]["parameters"] == one + 64 * 9
        assert rows["rgb-hha-late"]["parameters"] == 2 * rows["hha"]["parameters"] == 2 * one
    else:
        # A further head of 3 classes over fc7, and another over pool4.
        alone, joint = (rows[name]["parameters"] for name in ("semantic-fcn16s", "fcn16s"))
        assert joint == alone + 3 * 4097 + 3 * 513


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "paper/siftflow",
        *(pytest.param(spec, marks=pytest.mark.long) for spec in ("paper/nyudv2", *OTHERS)),
    ],
)
def test_the_question_runs_to_its_report(spec, cli, tmp_path):
    {**WRITERS, **OTHERS}[spec](tmp_path / "data")
    settings = [word for setting in (*TINY, *FEW.get(spec, ())) for word in ("--set", setting)]
    folders = ("--data", tmp_path / "data", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    cli("run", spec, *folders, *settings)
    html = (tmp_path / "out" / "index.html").read_text()
    with (tmp_path / "out" / "runs.csv").open() as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"done"}
    assert ("Further targets" in html) == (spec == "paper/siftflow")
    assert "Shelhamer et al. 2017" in html

"""What stands behind names that are not ours enters a run's id, by content and never by path."""

import importlib.util
import sys
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version

import pytest

from bench.plan import NO_FUSION, ONE_DEPTH, Run
from bench.run.selection import read_select
from bench.sources import REGISTRIES, code_digest, find_sources, list_differences
from bench.spec import RunSpec
from fcn.errors import InputError
from fcn.registry import Registry
from fcn.skips import SKIPS, SkipStrategy

SKIP = "from fcn.skips import SKIPS, SkipStrategy\nSKIPS.register('of_mine')(SkipStrategy((16,)))\n"


def spec_of(**model):
    return RunSpec.model_validate({"model": model, "train": {"steps": 1}})


def run_of(**model):
    spec = spec_of(**model)
    return Run(spec, "ab" * 32, sources=find_sources(spec))


@pytest.fixture
def load(monkeypatch, tmp_path):
    """load("name", code) -> the module, imported from a file, and gone after the test."""
    monkeypatch.setattr(SKIPS, "_parts", dict(SKIPS._parts))
    monkeypatch.setattr(SKIPS, "_origins", dict(SKIPS._origins))
    monkeypatch.syspath_prepend(tmp_path)

    def load_module(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load_module


def test_every_key_that_names_a_registered_part_is_looked_up():
    """A key that is forgotten here would let a plugin's part change without a new id."""
    named = {"skip", "head", "upsampling", "upsampling_last", "fusion"}
    levers = {"augment", "loss", "optimizer", "schedule"}
    assert {key.partition(".")[2] for key in REGISTRIES} == {*named, *levers, "dataset"}
    for place in REGISTRIES.values():
        module, _, name = place.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Registry)


def test_a_plugins_metric_that_chooses_a_step_is_looked_up(load, own_parts):
    code = (
        "from bench.metrics import METRICS, pooled\n\n@METRICS.register('hits')\n@pooled('hits')\n"
    )
    code += "def hits(hit, in_target, in_pred):\n    return hit.sum(-1)\n"
    module = load("own_metric", code)
    by = {"train": {"steps": 9, "select": 'best(metric="hits")'}, "evaluate": {"eval_every": 3}}
    assert find_sources(RunSpec.model_validate(by)) == {
        "train.select": f"code {code_digest(module.__name__)}"
    }
    assert read_select(RunSpec.model_validate(by)).metric == "hits"
    by["train"]["select"] = 'best(metric="dice")'
    assert find_sources(RunSpec.model_validate(by)) == {}


def test_our_own_parts_and_timms_have_no_source():
    for backbone in ("resnet18", "alexnet", "vgg16.tv_in1k", "a_name_that_is_none"):
        assert find_sources(spec_of(backbone=backbone, head="convolutionalized")) == {}


def test_a_weights_file_counts_by_its_content_and_not_by_its_path(tmp_path):
    first, second = tmp_path / "a.pth", tmp_path / "folder" / "b.safetensors"
    second.parent.mkdir()
    for path in (first, second):
        path.write_bytes(b"weights")
    run = run_of(pretrained=str(first))
    assert run.sources == {"model.pretrained": f"sha256 {sha256(b'weights').hexdigest()}"}
    assert run_of(pretrained=str(second)).id == run.id
    first.write_bytes(b"weights trained further")
    assert run_of(pretrained=str(first)).id != run.id
    assert run_of(pretrained=True).sources == {}


def test_a_plugins_part_counts_by_its_code(load, tmp_path):
    load("plugin_of_mine", SKIP)
    run = run_of(skip="of_mine")
    assert set(run.sources) == {"model.skip"}
    assert run_of(skip="fcn8s").sources == {}
    (tmp_path / "plugin_of_mine.py").write_text(SKIP + "# changed\n")
    assert run_of(skip="of_mine").id != run.id
    (tmp_path / "plugin_of_mine.py").write_text(SKIP)
    assert run_of(skip="of_mine").id == run.id


def test_what_a_plugin_imports_of_its_own_counts_too(load, tmp_path):
    package = tmp_path / "helpers_of_mine"
    package.mkdir()
    for name in ("__init__", "deep", "unused"):
        (package / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "late_of_mine.py").write_text("y = 1\n")
    load(
        "plugin_of_mine",
        SKIP + "import json, numpy\nfrom helpers_of_mine import deep\n"
        "def build():\n    import late_of_mine\n",
    )
    before = code_digest("plugin_of_mine")
    (package / "unused.py").write_text("x = 2\n")
    assert code_digest("plugin_of_mine") == before
    for path in (package / "__init__.py", package / "deep.py", tmp_path / "late_of_mine.py"):
        text = path.read_text()
        path.write_text("changed = True\n")
        assert code_digest("plugin_of_mine") != before, path.name
        path.write_text(text)
    assert code_digest("plugin_of_mine") == before


def test_what_lies_in_folders_without_init_counts_whether_it_is_loaded_or_not(load, tmp_path):
    place = tmp_path / "bare_of_mine" / "deeper"
    place.mkdir(parents=True)
    (place / "blocks.py").write_text("import bare_of_mine.beside\n")
    (place.parent / "beside.py").write_text("width = 8\n")
    load("net_of_mine", "def build():\n    from bare_of_mine.deeper import blocks\n")
    before = code_digest("net_of_mine")
    for path in (place / "blocks.py", place.parent / "beside.py"):
        text = path.read_text()
        path.write_text(text + "changed = True\n")
        assert code_digest("net_of_mine") != before, path.name
        path.write_text(text)
    sys.modules["net_of_mine"].build()
    try:
        assert code_digest("net_of_mine") == before
    finally:
        for name in [name for name in sys.modules if name.startswith("bare_of_mine")]:
            del sys.modules[name]


def test_code_is_the_same_wherever_it_lies(load, tmp_path, monkeypatch):
    load("plugin_of_mine", SKIP)
    before = code_digest("plugin_of_mine")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "plugin_of_mine.py").write_text(SKIP)
    monkeypatch.setattr(sys.modules["plugin_of_mine"], "__file__", str(other / "plugin_of_mine.py"))
    assert code_digest("plugin_of_mine") == before


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module", "sys"])
def test_a_part_without_a_source_file_is_refused(module):
    said = rf"'{module}', which has no source file that Python finds .*--plugin"
    with pytest.raises(InputError, match=said):
        code_digest(module)


@pytest.mark.parametrize(
    "module", ["no_such_module", "no_such.module", "torchvision.no_such", "bare_folder.no_such"]
)
def test_a_loss_of_a_module_that_is_not_there_says_so(module, tmp_path, monkeypatch):
    (tmp_path / "bare_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    spec = RunSpec.model_validate({"train": {"loss": f"{module}:loss"}})
    with pytest.raises(InputError, match=f"Python finds no module '{module}'; correct its name"):
        find_sources(spec)


def test_an_imported_folder_without_init_has_no_file_and_is_no_error(tmp_path, monkeypatch):
    """Python looks for the package around it, which is not imported."""
    (tmp_path / "around" / "bare").mkdir(parents=True)
    (tmp_path / "around" / "__init__.py").touch()
    (tmp_path / "importing.py").write_text("def never():\n    import around.bare\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert code_digest("importing")


def test_an_external_network_counts_with_its_librarys_version_or_its_code(load):
    name = "torchvision/lraspp_mobilenet_v3_large"
    assert find_sources(spec_of(external=name)) == {
        "model.external": f"torchvision {version('torchvision')}"
    }
    smp = find_sources(spec_of(external="smp/Unet(resnet18)"))["model.external"]
    assert smp == f"segmentation-models-pytorch {version('segmentation-models-pytorch')}"
    load("net_of_mine", "def build(num_classes): ...\n")
    own = find_sources(spec_of(external="net_of_mine:build"))
    assert own == {"model.external": f"code {code_digest('net_of_mine')}"}


def test_a_difference_names_both_sides():
    spec = spec_of(pretrained="w.pth")
    assert list_differences(spec, {"model.pretrained": "sha256 a"}, {}) == [
        "model.pretrained w.pth was sha256 a, and is not there, or no plugin's now"
    ]
    assert list_differences(spec, {"model.pretrained": "x"}, {"model.pretrained": "x"}) == []


TODAY = [
    ({}, {}, "ae0c9f7d65ee7f1f"),
    (
        {"model": {"backbone": "vgg16", "skip": "fcn32s", "head": "convolutionalized",
                   "pretrained": True},
         "train": {"steps": 100000, "lr": 1e-3}},
        {}, "40a6cc38c7b13c19",
    ),
    (
        {"model": {"backbone": "alexnet", "upsampling": "learned", "upsampling_last": "bilinear",
                   "padding": "pad100"},
         "train": {"steps": 7}, "seed": 3},
        {}, "2ba75cbf177a04f9",
    ),
    (
        {"model": {"backbone": "googlenet", "fusion": "concat", "dropout": 0.5},
         "train": {"steps": 40, "batch_size": 8, "grad_accum_steps": 2, "precision": "fp32"}},
        {}, "abf04257feca8ebc",
    ),
    (
        {"data": {"dataset": "camvid", "input_scale": 0.5},
         "train": {"steps": 9, "crop": [96, 128], "scale": [0.5, 2.0], "flip": False}},
        {}, "1bf504916440e0bd",
    ),
    (
        {"data": {"dataset": "folder", "options": {"ignore_index": 0, "inputs": "depth"},
                  "inputs": ["rgb", "depth"]},
         "model": {"input_fusion": "late"}, "train": {"steps": 5}},
        {}, "7dfb96b02392a6b3",
    ),
    (
        {"train": {"steps": 50, "optimizer": "adamw", "schedule": "cosine", "warmup_steps": 5,
                   "clip_grad_norm": 1.0, "weight_decay": 0.01}},
        {}, "d5e0905733428384",
    ),
    (
        {"train": {"steps": 50, "class_weights": "median_frequency", "ema_decay": 0.99,
                   "deterministic": True},
         "evaluate": {"split": "val", "eval_every": 10, "eval_split": "train",
                      "boundary": True}},
        {}, "3994500bf4880029",
    ),
    (
        {"model": {"skip": "fcn16s"}, "train": {"steps": 3, "init_from": "fcn32s"}},
        {"parent": "1" * 16}, "7a10fc9115d4ee06",
    ),
    (
        {"data": {"dataset": "nyudv2", "inputs": ["rgb", "hha"]},
         "model": {"input_fusion": "late"},
         "train": {"steps": 3, "init_streams": ["a", "b"]}},
        {"streams": ("2" * 16, "3" * 16)}, "3828353df390cdc7",
    ),
]  # fmt: skip
"""Ids that version 0.1 gave."""


@pytest.mark.parametrize(("spec", "more", "run_id"), TODAY)
def test_ids_of_version_0_1_stay(spec, more, run_id):
    assert Run(RunSpec.model_validate(spec), "ab" * 32, **more).id == run_id


IDLE = [
    ({"model.external": "torchvision/fcn_resnet50"}, {"model.skip": "fcn32s"}),
    ({"model.external": "torchvision/fcn_resnet50"}, {"model.backbone": "vgg16"}),
    ({"model.external": "torchvision/fcn_resnet50"}, {"model.dropout": 0.5}),
    ({"train.schedule": "cosine"}, {"train.power": 0.5}),
    ({"evaluate.eval_every": 0}, {"evaluate.eval_split": "train"}),
    ({"data.inputs": ["rgb"]}, {"model.input_fusion": "late"}),
    ({"model.skip": "fcn32s"}, {"model.fusion": "concat"}),
    ({"model.skip": "fcn32s", "model.upsampling_last": "nearest"}, {"model.upsampling": "learned"}),
]


@pytest.mark.parametrize(("choice", "idle"), IDLE)
def test_a_key_that_a_choice_makes_meaningless_is_no_other_run(choice, idle):
    from bench.spec import override, parse

    def run(*differences):
        values = {"train": {"steps": 3}}
        for difference in differences:
            values = override(values, difference)
        return Run(parse(RunSpec, values, where="here"), "ab" * 32)

    assert run(choice, idle).id == run(choice).id
    if choice != {"data.inputs": ["rgb"]} and choice != {"evaluate.eval_every": 0}:
        assert run(idle).id != run().id


def test_a_run_of_an_earlier_version_keeps_its_id():
    """It is read under the id that keys without meaning gave it, and no other."""
    spec = RunSpec.model_validate({"train": {"steps": 3, "schedule": "cosine", "power": 0.5}})
    run = Run(spec, "ab" * 32)
    earlier = "3ec7a8c441ec84d2"  # what version 0.1 made of it
    assert run.id != earlier
    assert run.under(earlier) == replace(run, named=earlier)
    assert run.under(earlier).id == earlier
    assert run.under("0" * 16) is None
    assert run.under(run.id) is run


def test_skips_without_a_fusion_or_a_second_upsampling_are_listed():
    def fuses(strategy):
        return bool(strategy.strides) and strategy.merge == "fuse"

    ours = {name: SKIPS[name] for name in SKIPS if SKIPS.origin(name) == "fcn.skips"}
    assert set(NO_FUSION) == {name for name, strategy in ours.items() if not fuses(strategy)}
    one_depth = {n for n, s in ours.items() if not s.strides and not s.widths}
    assert set(ONE_DEPTH) == one_depth
    assert SkipStrategy(()) == SKIPS["fcn32s"]

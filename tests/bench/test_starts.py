"""What runs start from is tried before: weights that can be had, networks that share a backbone."""

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.data.catalog import Catalog
from bench.grid.building import build
from bench.grid.starts import check_starts
from bench.plan import Plan, PlannedRun
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.weights import require_shared
from bench.spec import ModelSpec
from fcn.errors import InputError

OPTIONS = Options(device="cpu", threads=1)
DRAWN = {"size": 32, "num_train": 4, "num_val": 1, "num_test": 2, "depth": True}


@pytest.fixture
def check(tiny_run):
    """Check runs under names: check({"a": run}, store)."""

    def check_runs(runs, store):
        plan = Plan("p", "q", "", tuple(PlannedRun(name, run) for name, run in runs.items()))
        catalog = Catalog(store, None)
        facts = {run.fingerprint: catalog.facts(run.spec.data) for run in runs.values()}
        check_starts(plan, facts, store)

    return check_runs


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Nothing is in the cache, nobody is reached; give a list of who was asked."""
    asked = []

    def refuse(address, *_, **__):
        asked.append(address[0])
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("socket.create_connection", refuse)
    return asked


PUBLISHED = {
    "timm's": ({"model.pretrained": True}, "timm--test_resnet.r160_in1k--model.safetensors"),
    "a tag": ({"model.pretrained": "r160_in1k"}, "timm--test_resnet.r160_in1k--model.safetensors"),
    "ours": ({"model.backbone": "alexnet", "model.pretrained": True}, "alexnet-owt-7be5be79.pth"),
    "torchvision's": (
        {"model.external": "torchvision/fcn_resnet50", "model.pretrained": True},
        "resnet50-0676ba61.pth",
    ),
}


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("whose", PUBLISHED)
def test_weights_that_are_not_here_are_named_with_their_place(
    tiny_run, check, offline, tmp_path, monkeypatch, whose, forbidden
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", forbidden)
    monkeypatch.setattr("fcn.download.require_hash", lambda *_: None)
    settings, file = PUBLISHED[whose]
    store, run = tiny_run(settings)
    path = tmp_path / "torch" / "hub" / "checkpoints" / file
    with pytest.raises(InputError, match=r"variant a: the weights of .* cannot be had") as caught:
        check({"a": run}, store)
    assert f"put it at {path}" in str(caught.value)
    assert ("HF_HUB_OFFLINE forbids" in str(caught.value)) == forbidden
    assert len(offline) == (not forbidden)
    path.parent.mkdir(parents=True)
    path.touch()  # whether it is what it says is known when it is read
    check({"a": run}, store)
    assert len(offline) == (not forbidden)


def test_the_other_of_two_files_serves_where_nobody_is_reached(tiny_run, check, offline, tmp_path):
    """timm publishes the same weights without pickle and with it; an old cache has the latter."""
    store, run = tiny_run({"model.pretrained": True})
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "timm--test_resnet.r160_in1k--pytorch_model.bin").touch()
    check({"a": run}, store)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model.pretrained": "in99k"}, "unknown weights of test_resnet 'in99k'"),
        ({"model.pretrained": "nowhere/w.pth"}, r"there is no weights file 'nowhere/w\.pth'"),
        (
            {"model.backbone": "resnet18", "model.pretrained": "half"},
            "cannot be loaded into backbone",
        ),
        ({"model.pretrained": "half"}, r"leave \d+ of \d+ tensors of backbone 'test_resnet' unset"),
        ({"model.pretrained": "empty"}, "cannot be loaded into backbone 'test_resnet'"),
        (
            {"model.external": "smp/Unet(resnet18)", "model.pretrained": True},
            "has no published weights known here",
        ),
        (
            {"model.external": "torchvision/lraspp_mobilenet_v3_large", "model.pretrained": "half"},
            "leaves .* unset",
        ),
        (
            {"model.external": "torchvision/fcn_resnet50", "model.pretrained": "VOC"},
            "unknown weights of torchvision/fcn_resnet50 'VOC'",
        ),
        (
            {
                "model.external": "torchvision/fcn_resnet50",
                "model.pretrained": "COCO_WITH_VOC_LABELS_V1",
            },
            "are of 21 classes, which does not fit 6",
        ),
    ],
)
def test_weights_that_cannot_be_are_refused_with_the_variant(
    tiny_run, check, offline, tmp_path, settings, said
):
    state = timm.create_model("test_resnet").state_dict()
    save_file({k: v for k, v in state.items() if "layer3" not in k}, tmp_path / "half.safetensors")
    (tmp_path / "empty.pth").touch()
    files = {"half": "half.safetensors", "empty": "empty.pth"}
    if settings["model.pretrained"] in files:
        settings = {
            **settings,
            "model.pretrained": str(tmp_path / files[settings["model.pretrained"]]),
        }
    store, run = tiny_run(settings)
    with pytest.raises(InputError, match=rf"p, variant a: .*{said}"):
        check({"a": run}, store)
    assert offline == []


def test_a_local_file_that_fits_is_compared_by_name_and_shape(tiny_run, check, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    store, run = tiny_run({"model.pretrained": str(path)})
    check({"a": run}, store)
    path = tmp_path / "plain.pth"
    torch.save(create_lraspp().state_dict(), path)
    external = {"model.external": "torchvision/lraspp_mobilenet_v3_large"}
    store, run = tiny_run({**external, "model.pretrained": str(path)})
    check({"a": run}, store)


def create_lraspp():
    import torchvision

    name = "lraspp_mobilenet_v3_large"
    return torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=6)


def test_what_is_done_needs_its_weights_no_more(tiny_run, check, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    store, run = tiny_run({"model.pretrained": str(path), "train.steps": 1})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    path.unlink()
    check({"a": run}, store)


CLASSES = {"num_classes": 5}
SHARING = {
    "other skips": ({"skip": "fcn32s"}, {"skip": "fcn8s"}, CLASSES),
    "a decoder": ({"skip": "fcn32s"}, {"skip": "unet"}, CLASSES),
    "other classes": ({}, {}, {"num_classes": 21}),
    "another head": (
        {"backbone": "vgg11", "head": "linear"},
        {"backbone": "vgg11", "head": "convolutionalized"},
        CLASSES,
    ),
    "a part of it": ({"skip": "fcn32s"}, {"skip": "pool3"}, CLASSES),
    "more of it": ({"skip": "pool3"}, {"skip": "fcn32s"}, CLASSES),
    "dilated": (
        {"backbone": "resnet50"},
        {"backbone": "resnet50", "output_stride": 8, "skip": "fcn32s"},
        CLASSES,
    ),
    "more channels": ({}, {}, {**CLASSES, "inputs": {"rgb": 3, "depth": 1}}),
    "another decoder of smp": (
        {"external": "smp/Unet(resnet18)"},
        {"external": "smp/FPN(resnet18)"},
        CLASSES,
    ),
    "another head of torchvision": (
        {"external": "torchvision/fcn_resnet50"},
        {"external": "torchvision/deeplabv3_resnet50"},
        CLASSES,
    ),
}
STRANGERS = {
    "another family": ({"backbone": "resnet18"}, {"backbone": "alexnet"}, CLASSES),
    "another depth": ({"backbone": "vgg16"}, {"backbone": "vgg19"}, CLASSES),
    "less deep": ({"backbone": "resnet34"}, {"backbone": "resnet18"}, CLASSES),
    "deeper": ({"backbone": "resnet50"}, {"backbone": "resnet101"}, CLASSES),
    "one more block in each stage": (
        {"backbone": "efficientnet_b1"},
        {"backbone": "efficientnet_b0"},
        CLASSES,
    ),
    "less deep, of smp": (
        {"external": "smp/Unet(resnet34)"},
        {"external": "smp/Unet(resnet18)"},
        CLASSES,
    ),
    "with batch norm": ({"backbone": "vgg11"}, {"backbone": "vgg11_bn"}, CLASSES),
    "another width": ({"backbone": "resnet50"}, {"backbone": "wide_resnet50_2"}, CLASSES),
    "narrower": (
        {"backbone": "mobilenetv2_100"},
        {"backbone": "mobilenetv2_050"},
        CLASSES,
    ),
    "a library's": ({"external": "torchvision/fcn_resnet50"}, {"backbone": "resnet50"}, CLASSES),
    "late from one": (
        {},
        {"input_fusion": "late"},
        {**CLASSES, "inputs": {"rgb": 3, "depth": 1}},
    ),
}


@pytest.mark.parametrize("case", [*SHARING, *STRANGERS])
def test_weights_are_carried_over_from_the_same_backbone_alone(case):
    parent, child, options = {**SHARING, **STRANGERS}[case]
    theirs = build(ModelSpec(**parent), CLASSES).state_dict()
    ours = build(ModelSpec(**child), options).state_dict()
    if case in SHARING:
        require_shared(ours, theirs, "train.init_from", "variant a")
    else:
        message = r"train\.init_from: this network shares (no weights|only \d+ of \d+ tensors)"
        with pytest.raises(InputError, match=message):
            require_shared(ours, theirs, "train.init_from", "variant a")


def test_a_start_from_another_backbone_is_refused_before_and_in_the_run(tiny_run, check):
    """The bias of the scores always fits: a number for each class."""
    store, parent = tiny_run({"train.steps": 1, "model.head": "linear"})
    stranger = {"model.backbone": "alexnet", "model.skip": "fcn32s", "train.crop": [64, 64]}
    _, child = tiny_run(stranger, parent=parent.id)
    runs = {"a": parent, "b": child}
    with pytest.raises(InputError, match=r"variant b: train\.init_from: .* with that of variant a"):
        check(runs, store)
    execute(store.run_dir(parent.id), OPTIONS)
    assert execute(store.run_dir(child.id), OPTIONS) == outcome.INPUT
    message = store.failure(child.id).message
    assert f"no weights with that of run {parent.id}" in message


def test_streams_of_another_backbone_are_refused_before_and_in_the_run(tiny_run, check):
    small = {"data.options": DRAWN, "train.steps": 1, "model.skip": "fcn32s"}
    store, rgb = tiny_run(small)
    _, depth = tiny_run({**small, "data.inputs": ["depth"], "model.backbone": "test_convnext"})
    late = {"data.inputs": ["rgb", "depth"], "model.input_fusion": "late"}
    _, fused = tiny_run(
        {**small, **late, "train.init_streams": ["a", "b"]}, streams=(rgb.id, depth.id)
    )
    message = r"variant c: train\.init_streams: .* no weights with that of variant b"
    with pytest.raises(InputError, match=message):
        check({"a": rgb, "b": depth, "c": fused}, store)
    for run in (rgb, depth):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert execute(store.run_dir(fused.id), OPTIONS) == outcome.INPUT
    assert f"no weights with that of run {depth.id}" in store.failure(fused.id).message

    _, same = tiny_run({**small, "data.inputs": ["depth"]})
    both = replace(fused, streams=(rgb.id, same.id))
    check({"a": rgb, "b": same, "c": both}, store)


def test_a_parents_weights_that_are_gone_are_noticed_before(tiny_run, check):
    store, parent = tiny_run({"train.steps": 1})
    execute(store.run_dir(parent.id), OPTIONS)
    _, child = tiny_run({"model.skip": "fcn32s"}, parent=parent.id)
    check({"a": parent, "b": child}, store)
    (store.run_dir(parent.id) / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"p, variant b: .*model\.safetensors is damaged"):
        check({"a": parent, "b": child}, store)

"""Parts of a network: which parameters they are, how they learn, and what frozen ones save."""

from dataclasses import replace

import pytest
import timm
import torch
from attempts import bits
from safetensors.torch import load_file
from timm.optim import param_groups_layer_decay
from torch import nn

from bench.grid.preflight import _require_groups
from bench.plan import BF16_SEMANTICS, PLAIN_NORMS, Run
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.freezing import Freezer
from bench.run.groups import create_groups, describe_groups
from bench.run.optim import create_optimizer
from bench.run.parts import find_parts, is_norm
from bench.spec import ModelSpec, RunSpec, TrainSpec
from fcn.errors import InputError
from fcn.model import create_model

OPTIONS = Options(device="cpu", threads=1)


@pytest.fixture(scope="module")
def net():
    return create_model("test_resnet", num_classes=3, skip="fcn16s", upsampling="learned")


def test_every_parameter_is_of_one_place(net):
    """Backbone, head, skips and upsampling are all, but for what a skip upsamples with."""
    names = {name for name, _ in net.named_parameters()}
    parts = [find_parts(net, p, "k") for p in ("backbone", "head", "skip:16", "upsampling")]
    assert set.union(*parts) == names
    backbone, head, skip, upsampling = parts
    assert not backbone & head
    assert not (backbone | head) & (skip | upsampling)
    assert find_parts(net, "backbone.*", "k") == backbone
    norms = {f"{n}.{w}" for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)
             for w in ("weight", "bias")}  # fmt: skip
    assert find_parts(net, "norm", "k") == norms
    assert find_parts(net, "bias", "k") == {name for name in names if name.endswith("bias")}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("backbon", "unknown part 'backbon'; did you mean 'backbone'"),
        ("skip:8", "did you mean 'skip:16'"),
        ("backbone.net.layer9.*", "unknown parameter 'backbone.net.layer9"),
    ],
)
def test_a_part_without_parameters_is_refused(net, named, message):
    with pytest.raises(InputError, match=message):
        find_parts(net, named, "train.groups")


def test_factors_multiply_and_vectors_do_not_decay(net):
    train = TrainSpec(
        weight_decay=0.1, groups={"backbone": {"lr": 0.1, "decay": 0.5}, "bias": {"lr": 2}}
    )
    groups = create_groups(net, train)
    of = {id(p): group for group in groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        group = of[id(parameter)]
        in_backbone, is_bias = name.startswith("backbone."), name.endswith("bias")
        assert group["lr_scale"] == (0.1 if in_backbone else 1.0) * (2 if is_bias else 1)
        decay = 0.1 * (0.5 if in_backbone else 1.0)
        assert group["weight_decay"] == pytest.approx(0.0 if parameter.ndim <= 1 else decay)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "vgg11_bn", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv2_050"]
)
def test_layer_wise_decay_is_timms(backbone):
    with torch.device("meta"):
        theirs = timm.create_model(backbone)
        ours = create_model(backbone, num_classes=3, skip="fcn32s")
    expected = {}
    named = {id(p): name for name, p in theirs.named_parameters()}
    for group in param_groups_layer_decay(theirs, layer_decay=0.5):
        for p in group["params"]:
            name = named[id(p)].replace(".", "_")
            expected[name.replace("features_", "layers_", 1) if "vgg" in backbone else name] = (
                group["lr_scale"]
            )
    train = TrainSpec(layer_decay=0.5)
    groups = create_groups(ours, train, ModelSpec(backbone=backbone))
    of = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    num_compared = 0
    for name, parameter in ours.named_parameters():
        if not name.startswith("backbone."):
            assert of[id(parameter)] == 1.0
            continue
        place = name.removeprefix("backbone.net.").removeprefix("model.").replace(".", "_")
        assert of[id(parameter)] == expected[place]
        num_compared += 1
    assert num_compared > 10
    assert len({of[id(p)] for p in ours.parameters()}) > 3


def test_a_net_that_does_not_know_its_layers_is_refused():
    with torch.device("meta"):
        model = create_model("alexnet", num_classes=3, skip="fcn32s")
    with pytest.raises(InputError, match="does not know its layers"):
        create_groups(model, TrainSpec(layer_decay=0.5), ModelSpec(backbone="alexnet"))


def test_a_frozen_backbone_costs_no_gradient_and_keeps_its_statistics(net):
    train = TrainSpec(steps=9, freeze=["backbone"])
    freezer = Freezer(net, train)
    net.train()
    try:
        assert freezer.set_step(1)
        assert not freezer.set_step(2)
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t), lambda t: t):
            features = net.backbone(torch.randn(2, 3, 64, 64))
        assert saved == []  # nothing is kept for a way back
        assert not any(feature.requires_grad for feature in features.values())
        assert all(torch.equal(b, before[n]) for n, b in net.named_buffers())
        held = {id(p) for g in create_optimizer(net, train).param_groups for p in g["params"]}
        assert held == {id(p) for n, p in net.named_parameters() if not n.startswith("backbone.")}
    finally:
        net.requires_grad_(True)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "regnetx_002", "resnet10t"])
def test_norms_that_hold_their_activation_keep_their_statistics_too(name):
    """timm's of EfficientNets and many others: by torch's own class, the other way to know them."""
    net = create_model(name, num_classes=3, skip="fcn32s").train()
    norms = {n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert find_parts(net, "norm", "k") == {f"{n}.{w}" for n in norms for w in ("weight", "bias")}
    before = {n: b.clone() for n, b in net.named_buffers() if "running" in n}
    assert len(before) == 2 * len(norms) > 20
    for part in ("backbone", "norm"):
        freezer = Freezer(net, TrainSpec(steps=9, freeze={part: 5}))
        freezer.set_step(1)
        net(torch.randn(2, 3, 64, 64))
        assert all(torch.equal(b, before[n]) for n, b in net.named_buffers() if n in before)
        freezer.set_step(6)
    net(torch.randn(2, 3, 64, 64))
    moved = {n for n, b in net.named_buffers() if n in before and not torch.equal(b, before[n])}
    assert len(moved) > 20


@pytest.mark.parametrize("name", ["dm_nfnet_f0", "convnextv2_atto", "resnetv2_50x1_bit"])
def test_a_block_that_is_called_after_a_norm_is_none(name):
    with torch.device("meta"):
        net = timm.create_model(name)
    called = {type(m).__name__ for m in net.modules() if is_norm(m)}
    assert called <= {"LayerNorm2d", "LayerNorm", "GlobalResponseNorm", "GroupNormAct"}


PLAIN = [
    *("alexnet", "caffenet", "googlenet", "vgg11_bn", "wide_resnet50_2", "resnet18d", "resnet10t"),
    *("test_resnet", "resnext50_32x4d", "convnext_atto", "convnextv2_atto", "vit_tiny_patch16_224"),
    *("deit3_small_patch16_224", "swin_tiny_patch4_window7_224"),
]
"""A network of each beginning."""


@pytest.mark.parametrize("name", PLAIN)
def test_runs_keep_their_ids_where_norms_always_were_norms(name):
    """By the rule of the version before, over whole networks."""
    assert PLAIN_NORMS.match(name)
    with torch.device("meta"):
        net = timm.create_model(name)
    before = [m for m in net.modules() if "Norm" in type(m).__name__ and not list(m.children())]
    assert [m for m in net.modules() if is_norm(m)] == [m for m in before if is_norm(m)]
    # What the rule before took for a norm beyond these has nothing that could be frozen.
    assert all(not [*m.parameters(), *m.buffers()] for m in before if not is_norm(m))


def test_no_relative_of_theirs_has_other_norms():
    """By the files of timm that have them: byobnet, for one, has a resnet51q."""
    names = [name for name in timm.list_models() if PLAIN_NORMS.match(name)]
    files = {timm.models.model_entrypoint(name).__module__.rpartition(".")[2] for name in names}
    assert len(names) > 200
    assert files <= {
        *("alexnet", "caffenet", "googlenet", "googlenet_original", "vgg", "resnet", "convnext"),
        *("vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos", "eva"),
        *("deit", "swin_transformer"),
    }


def test_runs_whose_norms_are_now_held_have_new_ids_and_their_records_are_read():
    def run(backbone, **train):
        model = {"external": backbone} if "/" in backbone else {"backbone": backbone}
        return Run(RunSpec.model_validate({"model": model, "train": {"steps": 9, **train}}), "ab")

    def before(run):
        return run._hash(run._left_out(), BF16_SEMANTICS)

    for train in ({"freeze": ["backbone"]}, {"groups": {"norm": {"lr": 2}}}):
        for name in ("tf_efficientnet_lite0", "smp/Unet(tu-regnetx_002)", "resnetv2_50"):
            moved = run(name, **train)
            assert moved.id != before(moved)
            assert moved.under(before(moved)) == replace(moved, named=before(moved))
        for name in ("resnet18", "vgg16", "smp/Unet(resnet18)", "torchvision/fcn_resnet50"):
            assert run(name, **train).id == before(run(name, **train))
    for train in ({}, {"groups": {"backbone": {"lr": 0.1}}}):
        same = run("tf_efficientnet_lite0", **train)
        assert same.id == before(same)


def test_what_is_frozen_until_a_step_stays_and_then_learns(tiny_run):
    """Weights after 3 steps are the start's; after 6, others; the rest learns from the first."""
    start = {"train.steps": 1, "train.lr": 1e-300}
    frozen = {"train.freeze": {"backbone": 3}, "train.lr": 0.05}
    found = []
    for number, settings in enumerate(
        (start, {**frozen, "train.steps": 3}, {**frozen, "train.steps": 6})
    ):
        store, run = tiny_run(settings, folder=str(number))
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
        found.append(load_file(store.run_dir(run.id) / "model.safetensors"))
    first, still, later = found
    backbone = [n for n, t in first.items() if n.startswith("backbone.") and t.is_floating_point()]
    moved = [n for n in backbone if not torch.equal(still[n], first[n])]
    assert {n for n in moved if "running" not in n} == set()
    assert {int(t) for n, t in still.items() if "backbone" in n and "num_batches" in n} == {0}
    assert not all(torch.equal(later[n], still[n]) for n in backbone)
    assert any(not torch.equal(still[n], t) for n, t in first.items() if "head" in n)


@pytest.mark.parametrize("stop_at", [2, 4])
def test_thawing_is_resumed_to_the_same_bits(tiny_run, stopped_after, stop_at):
    settings = {
        "train.freeze": {"backbone": 3},
        "train.groups": {"head": {"lr": 10}, "bias": {"lr": 2, "decay": 0}},
        "train.ema_decay": 0.9,
    }
    whole, run = tiny_run(settings, folder="whole")
    execute(whole.run_dir(run.id), OPTIONS)
    store, run = tiny_run(settings, folder="stopped")
    with stopped_after(stop_at):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)


def test_what_falls_where_is_said_and_nothing_to_train_is_refused(net):
    train = TrainSpec(steps=9, freeze={"norm": 5}, groups={"head": {"lr": 10}}, layer_decay=0.9)
    lines = list(describe_groups(net, train, ModelSpec(backbone="test_resnet")))
    assert "frozen until step 5" in lines[0]
    assert lines[1].startswith("head: ")
    assert lines[1].endswith("lr x 10, decay x 1")
    assert len(lines) > 4
    spec = RunSpec.model_validate(
        {"model": {"backbone": "test_resnet"}, "train": {"steps": 5, "freeze": ["backbone*", "*"]}}
    )
    with pytest.raises(InputError, match="leaves no parameter to train"):
        _require_groups(spec, {"num_classes": 3})
    at_first = spec.model_copy(update={"train": TrainSpec(steps=5, freeze={"*": 2})})
    with pytest.raises(InputError, match="leaves no parameter to train at step 1"):
        _require_groups(at_first, {"num_classes": 3})


def test_what_changes_nothing_is_said(net):
    train = TrainSpec(
        steps=9,
        freeze={"backbone": None, "head": 20},
        groups={"backbone": {"lr": 0.1}, "head": {"decay": 2}, "norm": {"decay": 0}},
    )
    lines = list(describe_groups(net, train, ModelSpec(backbone="test_resnet")))
    assert lines[0].endswith("frozen for good")
    assert lines[1].endswith("frozen until step 20, and there are 9")
    assert lines[2].endswith(
        "lr x 0.1, decay x 1: changes nothing, as all of it is frozen for good"
    )
    assert "changes nothing" in lines[3]  # frozen to the end, too
    bare = list(describe_groups(net, TrainSpec(groups=train.groups), ModelSpec()))
    assert bare[0].endswith("lr x 0.1, decay x 1")
    assert bare[1].endswith("lr x 1, decay x 2")
    assert bare[2].endswith("decay x 0, which changes nothing: biases and norms are not decayed")


def test_one_setting_has_one_spelling():
    assert TrainSpec(freeze="backbone").freeze == {"backbone": None}
    assert TrainSpec(freeze=["head", "backbone"]) == TrainSpec(
        freeze={"backbone": None, "head": None}
    )
    assert list(TrainSpec(groups={"head": {"lr": 2}, "bias": {"lr": 3}}).groups) == ["bias", "head"]

"""Batch norm over chosen images, against torch's own on each group's images together."""

import copy

import pytest
import timm
import torch
from processes import in_group
from timm.layers import BatchNormAct2d, EvoNorm2dB0, EvoNorm2dS0, FilterResponseNormAct2d
from timm.models import register_model
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from bench.data.batches import shard_of
from bench.data.packs.pack import open_pack
from bench.grid.preflight import check_images
from bench.plan import Plan, PlannedRun
from bench.run import outcome
from bench.run.batch_norm import GroupedBatchNorm, require_known_statistics
from bench.run.execute import Options, execute
from bench.spec import TrainSpec, parse
from fcn.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")


def create():
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3, momentum=0.3).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(6, 3, 4, 5, dtype=torch.float64) * 3 + torch.arange(6.0).view(6, 1, 1, 1)
    return layer, x, torch.randn_like(x)


def torchs(groups):
    """The answer of torch's layer, group by group; running statistics are the groups' mean."""
    layer, x, slope = create()
    x.requires_grad_()
    copies = [copy.deepcopy(layer) for _ in range(groups)]
    parts = [one(part) for one, part in zip(copies, x.chunk(groups), strict=True)]
    torch.cat(parts).backward(slope)
    sums = [sum(one.weight.grad for one in copies), sum(one.bias.grad for one in copies)]
    running = [
        torch.stack([getattr(one, name) for one in copies]).mean(0)
        for name in ("running_mean", "running_var")
    ]
    return [torch.cat(parts).detach(), x.grad, *sums, *running]


def ours(groups, share=range(6), add_up=lambda tensor: tensor):
    layer, x, slope = create()
    x = x[share.start : share.stop].requires_grad_()
    with GroupedBatchNorm(6, groups, share, add_up):
        y = layer(x)
    y.backward(slope[share.start : share.stop])
    sums = [add_up(p.grad.clone()) for p in (layer.weight, layer.bias)]
    return [y.detach(), x.grad, *sums, layer.running_mean, layer.running_var]


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_are_normalised_as_torch_normalises_each(groups):
    for a, b in zip(ours(groups), torchs(groups), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("groups", "processes"), [(1, 2), (2, 4)])  # also in unequal shares
def test_it_does_not_matter_which_process_has_a_image(groups, processes, tmp_path):
    def share(group):
        return ours(groups, shard_of(6, group.rank, group.size), group.sum)

    parts = in_group(processes, share, tmp_path)
    whole = torchs(groups)
    for place in (0, 1):  # outputs and gradients of the images
        together = torch.cat([part[place] for part in parts])
        torch.testing.assert_close(together, whole[place], rtol=1e-12, atol=1e-12)
    for part in parts:  # the rest is the same everywhere
        for a, b in zip(part[2:], whole[2:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["resnet10t", "mobilenetv2_050"]
)  # timm's layers join norm and act
def test_layers_of_a_whole_network_are_covered(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, global_pool="").double().train()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    other = copy.deepcopy(model)
    expected = model(images)
    with GroupedBatchNorm(4, 1, range(4)):
        found = other(images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other.state_dict(), model.state_dict())
    with GroupedBatchNorm(4, 2, range(4)):
        assert not torch.allclose(other(images), expected)
    other.eval()
    with GroupedBatchNorm(4, 2, range(4)), torch.no_grad():
        a = other(images[:1])  # not in training: one image alone, and nothing is refused
    torch.testing.assert_close(a, other(images[:1]))


def test_one_value_per_channel_is_refused():
    layer = nn.BatchNorm2d(3)
    with GroupedBatchNorm(2, 2, range(2)), pytest.raises(ValueError, match="more than one value"):
        layer(torch.zeros(2, 3, 1, 1))


LAYERS = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "with activation": lambda: BatchNormAct2d(4),
    "EvoNorm-B": lambda: EvoNorm2dB0(4),
    "EvoNorm-S": lambda: EvoNorm2dS0(4, groups=2),
    "groups": lambda: nn.GroupNorm(2, 4),
    "frozen": lambda: FrozenBatchNorm2d(4),
    "filter response": lambda: FilterResponseNormAct2d(4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_sees_other_images_behind_our_back_is_refused(name):
    """Found by trying: with each image a group of its own, no image may change another's."""
    torch.manual_seed(0)
    images = torch.randn(2, 4, 5, 5)
    outputs = []
    for other in (images[1], 9 * images[1] + 2):
        with GroupedBatchNorm(2, 2, range(2)):
            outputs.append(LAYERS[name]()(torch.stack([images[0], other]))[0])
    if torch.equal(*outputs):
        require_known_statistics(nn.Sequential(LAYERS[name]()))
    else:
        assert name == "EvoNorm-B"
        with pytest.raises(InputError, match="EvoNorm2dB0 takes statistics of the batch"):
            require_known_statistics(nn.Sequential(LAYERS[name]()))


@register_model
def resnet_of_evonorm(pretrained=False, **settings):
    return timm.create_model("resnet10t", norm_layer=EvoNorm2dB0, **settings)


def test_a_network_with_such_layers_is_refused_before_and_in_a_run_over_devices(tiny_run):
    store, run = tiny_run({"model.backbone": "resnet_of_evonorm", "train.steps": 1})
    plan = Plan("p", "q", "", (PlannedRun("evo", run),))
    packs = {run.fingerprint: open_pack(store.packs_dir, run.fingerprint)}
    check_images(plan, packs)
    with pytest.raises(InputError, match=r"p, variant evo: EvoNorm2dB0 .* leave --devices-per-run"):
        check_images(plan, packs, devices_per_run=2)
    parts = {"train.batch_norm_groups": 2, "train.batch_size": 4}
    store, run = tiny_run({"model.backbone": "resnet_of_evonorm", "train.steps": 1, **parts})
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.INPUT
    assert "EvoNorm2dB0" in store.failure(run.id).message


def test_parts_of_a_batch_must_be_equal():
    settings = {"batch_size": 6, "batch_norm_groups": 4}
    with pytest.raises(InputError, match="batch_norm_groups 4 must divide batch_size 6"):
        parse(TrainSpec, settings, where="a test")

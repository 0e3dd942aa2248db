"""Batch norm over chosen images, against torch's own on each group's images together."""

import copy
from functools import partial

import pytest
import timm
import torch
from processes import in_group
from timm.layers import BatchNormAct2d, EvoNorm2dB0, EvoNorm2dS0, FilterResponseNormAct2d
from timm.models import register_model
from torch import nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

import fcn
from bench.data.batches import shard_of
from bench.data.packs.pack import open_pack
from bench.grid.building import try_training
from bench.grid.preflight import check_images
from bench.plan import Plan, PlannedRun
from bench.run import outcome
from bench.run.batch_norm import GroupedBatchNorm, require_known_statistics
from bench.run.distributed import ALONE
from bench.run.execute import Options, execute
from bench.spec import ModelSpec, TrainSpec, parse
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


def ours(groups, group=ALONE, fold=lambda x: x):
    layer, x, slope = create()
    process = (group.rank, group.size)
    share = shard_of(6, *process)
    x = x[share.start : share.stop].requires_grad_()
    own = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    with GroupedBatchNorm(6, groups, process, group.sum):
        y = F.batch_norm(fold(x), *own, training=True, momentum=layer.momentum, eps=layer.eps)
    y.backward(fold(slope[share.start : share.stop]))
    sums = [group.sum(p.grad.clone()) for p in (layer.weight, layer.bias)]
    return [y.detach(), x.grad, *sums, layer.running_mean, layer.running_var]


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_groups_are_normalised_as_torch_normalises_each(groups):
    for a, b in zip(ours(groups), torchs(groups), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("groups", "processes"), [(1, 2), (2, 4)])  # also in unequal shares
def test_it_does_not_matter_which_process_has_a_image(groups, processes, tmp_path):
    parts = in_group(processes, partial(ours, groups), tmp_path)
    whole = torchs(groups)
    for place in (0, 1):  # outputs and gradients of the images
        together = torch.cat([part[place] for part in parts])
        torch.testing.assert_close(together, whole[place], rtol=1e-12, atol=1e-12)
    for part in parts:  # the rest is the same everywhere
        for a, b in zip(part[2:], whole[2:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


FOLDS = {
    "images": lambda x: x,
    "windows": lambda x: x.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2).flatten(0, 1),
}
"""What networks make of (N, C, H, W) before batch norm: rows of one image are neighbours."""


@pytest.mark.parametrize("fold", ["windows", "tokens"])
@pytest.mark.parametrize(("groups", "processes"), [(2, 1), (1, 2), (2, 4)])
def test_windows_and_tokens_are_the_image_that_they_are_of(groups, processes, fold, tmp_path):
    one = partial(ours, groups, fold=FOLDS[fold])
    parts = [one()] if processes == 1 else in_group(processes, one, tmp_path)
    first, *whole = torchs(groups)
    found = [torch.cat([part[place] for part in parts]) for place in (0, 1)]
    for a, b in zip([*found, *parts[0][2:]], [FOLDS[fold](first), *whole], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def stats(x, eps):
    var, mean = torch.var_mean(x.transpose(0, 1).flatten(1), dim=1, correction=0)
    return mean, (var + eps).rsqrt()


def gather(x, means, invstds, running_mean, running_var, momentum, eps, counts):
    n = counts[:, None]
    mean = (means * n).sum(0) / n.sum()
    var = ((invstds**-2 - eps + means**2) * n).sum(0) / n.sum() - mean**2
    if running_mean is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * n.sum() / (n.sum() - 1), momentum)
    return mean, (var + eps).rsqrt()


def along_channels(x, *values):
    return [None if v is None else v.view(1, -1, *[1] * (x.ndim - 2)) for v in values]


def apply_norm(x, weight, bias, mean, invstd, eps):
    weight, bias, mean, invstd = along_channels(x, weight, bias, mean, invstd)
    return (x - mean) * invstd * (1 if weight is None else weight) + (0 if bias is None else bias)


def reduce_back(slope, x, mean, invstd, weight, input_wanted, weight_wanted, bias_wanted):
    away = x - along_channels(x, mean)[0]
    plain, along = (v.transpose(0, 1).flatten(1).sum(1) for v in (slope, slope * away))
    return plain, along, along * invstd if weight_wanted else None, plain if bias_wanted else None


def apply_back(slope, x, mean, invstd, weight, plain, along, counts):
    n = counts.sum()
    mean, invstd, weight, plain, along = along_channels(x, mean, invstd, weight, plain, along)
    rest = slope - plain / n - (x - mean) * invstd**2 * along / n
    return rest * invstd * (1 if weight is None else weight)


KERNELS = {
    "batch_norm_stats": stats,
    "batch_norm_gather_stats_with_counts": gather,
    "batch_norm_elemt": apply_norm,
    "batch_norm_backward_reduce": reduce_back,
    "batch_norm_backward_elemt": apply_back,
}
"""What SyncBatchNorm's kernels compute, by their formulas; torch has them for GPUs alone."""


@pytest.fixture
def with_kernels(monkeypatch):
    monkeypatch.setattr("bench.run.batch_norm.has_kernels", lambda x: True)
    for name, formula in KERNELS.items():
        monkeypatch.setattr(torch, name, formula)


@pytest.mark.parametrize(
    ("groups", "processes", "fold"),
    [
        *((groups, processes, "images") for groups, processes in [(1, 1), (3, 1), (1, 2), (2, 2)]),
        *((groups, processes, "images") for groups, processes in [(3, 2), (1, 4), (2, 4)]),
        *((groups, processes, "windows") for groups, processes in [(3, 1), (2, 4)]),
    ],
)
def test_by_a_gpus_kernels_it_is_the_same(
    groups, processes, fold, tmp_path, with_kernels, monkeypatch
):
    """Torch's own for groups in one process; SyncBatchNorm's for those in several."""

    def refuse(*_):
        raise AssertionError("the plain way, which moves fifteen times the bytes")

    monkeypatch.setattr(GroupedBatchNorm, "by_group", refuse)
    one = partial(ours, groups, fold=FOLDS[fold])
    parts = [one()] if processes == 1 else in_group(processes, one, tmp_path)
    first, *rest = torchs(groups)
    whole = [FOLDS[fold](first), *rest]
    for place in (0, 1):
        together = torch.cat([part[place] for part in parts])
        torch.testing.assert_close(together, whole[place], rtol=1e-11, atol=1e-11)
    for part in parts:
        for a, b in zip(part[2:], whole[2:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.gpu
def test_the_kernels_of_a_gpu_compute_what_their_formulas_say():
    torch.manual_seed(0)
    x, slope = torch.randn(2, 4, 6, 5, 7, device="cuda").double().float().unbind(0)
    mean, invstd = torch.batch_norm_stats(x, 1e-5)
    count = torch.full((1,), 4 * 5 * 7.0, device="cuda")
    weight, bias = torch.rand(2, 6, device="cuda").unbind(0)
    back = (slope, x, mean, invstd, weight)
    sums = torch.batch_norm_backward_reduce(*back, True, True, True)
    gathered = (x, mean[None], invstd[None], None, None, 0.1, 1e-5, count)
    for name, arguments in {
        "batch_norm_stats": (x, 1e-5),
        "batch_norm_gather_stats_with_counts": gathered,
        "batch_norm_elemt": (x, weight, bias, mean, invstd, 1e-5),
        "batch_norm_backward_reduce": (*back, True, True, True),
        "batch_norm_backward_elemt": (*back, *sums[:2], count.int()),
    }.items():
        torch.testing.assert_close(getattr(torch, name)(*arguments), KERNELS[name](*arguments))


@pytest.mark.parametrize(
    "name", ["resnet10t", "mobilenetv2_050"]
)  # timm's layers join norm and act
def test_layers_of_a_whole_network_are_covered(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, global_pool="").double().train()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    other = copy.deepcopy(model)
    expected = model(images)
    with GroupedBatchNorm(4, 1):
        found = other(images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other.state_dict(), model.state_dict())
    with GroupedBatchNorm(4, 2):
        assert not torch.allclose(other(images), expected)
    other.eval()
    with GroupedBatchNorm(4, 2), torch.no_grad():
        a = other(images[:1])  # not in training: one image alone, and nothing is refused
    torch.testing.assert_close(a, other(images[:1]))


@pytest.mark.parametrize(("name", "side"), [("levit_128s", 64), ("visformer_tiny", 256)])
def test_a_network_of_tokens_or_windows_sees_each_group_alone(name, side):
    torch.manual_seed(0)
    model = fcn.create_model(name, num_classes=2, skip="fcn32s", score_init="random").train()
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = torch.cat([model(images[:1]), model(images[1:])])
        with GroupedBatchNorm(2, 2) as norm:
            found = model(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert norm.saw_parts


class Halves(nn.Module):
    """A network whose batch norm sees left and right halves: of one image, then of the other."""

    def __init__(self, num_classes, by_image):
        super().__init__()
        self.norm, self.score = nn.BatchNorm2d(3), nn.Conv2d(3, num_classes, 1)
        self.by_image = by_image

    def forward(self, images):
        halves = images.unflatten(3, (2, -1)).movedim(3, 0)
        if self.by_image:
            normed = self.norm(halves.transpose(0, 1).flatten(0, 1))
            halves = normed.unflatten(0, (-1, 2)).transpose(0, 1)
        else:  # left ones first, of all images
            halves = self.norm(halves.flatten(0, 1)).unflatten(0, (2, -1))
        return self.score(halves.movedim(0, 3).flatten(3))


def in_order(num_classes):
    return Halves(num_classes, by_image=True)


def in_turns(num_classes):
    return Halves(num_classes, by_image=False)


def test_parts_of_images_that_are_no_neighbours_are_refused_before_anything_is_trained():
    train = TrainSpec(steps=1, batch_size=4, batch_norm_groups=2)
    turned, options = ModelSpec(external="test_batch_norm:in_turns"), {"num_classes": 2}
    try_training(ModelSpec(external="test_batch_norm:in_order"), options, (8, 8), train)
    try_training(turned, options, (8, 8), TrainSpec(steps=1, batch_size=4))
    with pytest.raises(InputError, match=r"8x8 pixels .* parts of images.* leave it out"):
        try_training(turned, options, (8, 8), train)


def test_one_value_per_channel_is_refused():
    layer = nn.BatchNorm2d(3)
    with GroupedBatchNorm(2, 2), pytest.raises(ValueError, match="more than one value"):
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
        with GroupedBatchNorm(2, 2):
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

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from bench.run.chunking import CHUNK_MIB
from bench.run.losses import find_weighting, pixel_loss, resolve_class_weights
from bench.run.optim import create_optimizer
from bench.run.schedules import lr_at
from bench.spec import TrainSpec
from fcn.alignment import IMAGE_GRID, Grid
from fcn.errors import InputError
from fcn.upsampling import UPSAMPLINGS, list_upsamplings


class Same(nn.Module):
    """No upsampling: the scores are at the target's size."""

    def forward(self, logits, size):
        assert logits.shape[-2:] == size
        return logits


@pytest.fixture
def one_image_a_chunk(monkeypatch):
    monkeypatch.setitem(CHUNK_MIB, "cpu", 0)


def some_target(*shape, num_classes):
    return torch.randint(0, num_classes, shape).where(torch.rand(shape) > 0.3, 255)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0, 3.0])])
@pytest.mark.parametrize("name", list_upsamplings())
def test_loss_and_gradients_equal_torchs_over_the_whole_batch(name, weights, one_image_a_chunk):
    torch.manual_seed(0)
    upsampling = UPSAMPLINGS[name](4, Grid(4.0, 1.5), IMAGE_GRID)
    scores = torch.randn(3, 4, 5, 6, requires_grad=True)
    target = some_target(3, 20, 24, num_classes=4)
    target[1] = 255
    sources = [scores, *upsampling.parameters()]
    ours = pixel_loss(scores, target, upsampling, ignore_index=255, class_weights=weights)
    theirs = F.cross_entropy(upsampling(scores, (20, 24)), target, weights, ignore_index=255)
    torch.testing.assert_close(ours, theirs)
    # As part of a larger sum, the way a loop with `accumulate` uses it.
    gradients = torch.autograd.grad(ours / 2, sources)
    torch.testing.assert_close(gradients, torch.autograd.grad(theirs / 2, sources))


class OperandTypes(TorchDispatchMode):
    """Notes the types of what matrices are multiplied, under autocast and everything else."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.seen += [x.dtype for x in args]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", ["bilinear", "nearest"])
def test_fixed_upsampling_goes_back_in_fp32_under_autocast(name, device, one_image_a_chunk):
    torch.manual_seed(0)
    upsampling = UPSAMPLINGS[name](4, Grid(4.0, 1.5), IMAGE_GRID)
    scores = torch.randn(3, 4, 5, 6, device=device, requires_grad=True)
    target = some_target(3, 20, 24, num_classes=4).to(device)
    with OperandTypes() as operands, torch.autocast(device, dtype=torch.bfloat16):
        loss = pixel_loss(scores, target, upsampling, ignore_index=255)
    if device == "cpu":  # a GPU may have a kernel in place of these products
        assert len(operands.seen) >= 3 * 2 * 2 * 2  # images, axes, ways, operands
    assert set(operands.seen) <= {torch.float32}
    exact = scores.detach().double().requires_grad_()
    logits = upsampling(exact, (20, 24))
    F.cross_entropy(logits, target, ignore_index=255).backward()
    (gradient,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(gradient.double(), exact.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", list_upsamplings())
def test_gradients_of_scores_in_bf16_are_the_exact_ones_but_for_rounding(name):
    torch.manual_seed(0)
    upsampling = UPSAMPLINGS[name](4, Grid(4.0, 1.5), IMAGE_GRID)
    scores = torch.randn(3, 4, 5, 6).bfloat16().requires_grad_()
    target = some_target(3, 20, 24, num_classes=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = pixel_loss(scores, target, upsampling, ignore_index=255)
    gradients = torch.autograd.grad(loss, [scores, *upsampling.parameters()])
    upsampling.double()
    sources = [scores.detach().double().requires_grad_(), *upsampling.parameters()]
    logits = upsampling(sources[0], (20, 24))
    exact = torch.autograd.grad(F.cross_entropy(logits, target, ignore_index=255), sources)
    for ours, theirs in zip(gradients, exact, strict=True):
        assert (ours.double() - theirs).abs().max() < 0.01 * theirs.abs().max()


def test_full_size_logits_of_the_batch_never_exist(one_image_a_chunk):
    held = []

    class Watched(Same):
        def forward(self, logits, size):
            held.append(len(logits))
            return super().forward(logits, size)

    scores = torch.randn(3, 4, 5, 6, requires_grad=True)
    pixel_loss(scores, some_target(3, 5, 6, num_classes=4), Watched(), ignore_index=255).backward()
    assert held == [1, 1, 1]


def test_a_void_batch_has_zero_loss_and_zero_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), 255)
    for weights in (None, torch.ones(3)):
        loss = pixel_loss(logits, target, Same(), ignore_index=255, class_weights=weights)
        assert loss == 0
        assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize("label", [4, 200, -1])
def test_a_label_out_of_range_is_an_error_on_a_cpu(label):
    """Never a loss: packs are checked, so this one comes from elsewhere."""
    target = torch.full((1, 4, 4), label)
    with pytest.raises(RuntimeError, match="out of bounds"):
        pixel_loss(torch.randn(1, 4, 4, 4), target, Same(), ignore_index=255)


def test_median_frequency_by_hand():
    # Class 0 in both images: 60 of 200; class 1 only in the first: 50 of 100; class 2 never;
    # class 3 in both: 90 of 200. Frequencies .3, .5, .45: median .45.
    counts = np.array([[30, 50, 0, 20], [30, 0, 0, 70]])
    weights = resolve_class_weights("median_frequency", counts)
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.45 / 0.3, 0.45 / 0.5, 1.0, 1.0])


def test_inverse_frequencies_by_hand():
    # Of 200 pixels 60, 50, 0 and 90: their inverses have the mean (10/3 + 4 + 20/9) / 3 = 86/27.
    counts = np.array([[30, 50, 0, 20], [30, 0, 0, 70]])
    weights = resolve_class_weights("inverse", counts)
    expected = [200 / 60 / (86 / 27), 4 / (86 / 27), 1.0, 200 / 90 / (86 / 27)]
    assert weights.tolist() == pytest.approx(expected)


def test_effective_numbers_by_hand():
    # Class 0 in two images, 1 in one, 2 in none: with beta 1/2 effectively 3/2 and 1.
    counts = np.array([[30, 50, 0], [30, 0, 0]])
    weights = resolve_class_weights("effective_number(beta=0.5)", counts)
    assert weights.tolist() == pytest.approx([2 / 3 / (5 / 6), 1 / (5 / 6), 1.0])


def test_a_class_of_weight_zero_teaches_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    target = torch.tensor([[[0, 1, 1, 2]] * 4])
    weights = torch.tensor([1.0, 0.0, 1.0])
    loss = pixel_loss(logits, target, Same(), ignore_index=255, class_weights=weights)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[..., 1:3] == 0).all()
    assert (gradient[..., 0] != 0).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("median_freqency", "did you mean 'median_frequency'"),
        ("effective_number(gamma=1)", "unknown option 'gamma'"),
        ("effective_number(beta=1)", "effective_number: beta: .* less than 1, not 1"),
        ("none(beta=1)", "it has no options"),
    ],
)
def test_weights_that_cannot_be_are_named(setting, message):
    with pytest.raises(InputError, match=message):
        find_weighting(setting)


def test_weights_by_hand_are_taken_as_they_are():
    counts = np.ones((1, 3), dtype=np.int64)
    assert resolve_class_weights("none", counts) is None
    assert resolve_class_weights((1.0, 2.0, 0.5), counts).tolist() == [1.0, 2.0, 0.5]


def test_learning_rates_are_the_textbook_curves():
    poly = TrainSpec(steps=10, lr=1.0, schedule="poly", power=0.9)
    reference = torch.optim.lr_scheduler.PolynomialLR(
        torch.optim.SGD([torch.zeros(1)], lr=1.0), total_iters=10, power=0.9
    )
    for step in range(1, 11):
        assert lr_at(step, poly) == pytest.approx(reference.get_last_lr()[0])
        reference.optimizer.step()
        reference.step()
    cosine = TrainSpec(steps=10, lr=2.0, schedule="cosine", warmup_steps=4)
    assert [lr_at(s, cosine) for s in (1, 2, 4)] == [0.5, 1.0, 2.0]
    assert lr_at(5, cosine) == 2.0
    assert lr_at(8, cosine) == pytest.approx(1.0)
    assert lr_at(9, TrainSpec(steps=10, lr=0.3, schedule="constant")) == 0.3


def test_vectors_are_not_decayed():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = create_optimizer(model, TrainSpec(steps=1, weight_decay=0.1))
    decayed, plain = optimizer.param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.1
    assert len(plain["params"]) == 3
    assert plain["weight_decay"] == 0

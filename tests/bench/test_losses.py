"""Every registered loss against another library or a slower route: value, gradient, and corners."""

import math
import weakref

import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp
import torch
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torch.nn import functional as F

from bench.run.chunking import CHUNK_MIB
from bench.run.losses import LOSSES, PerPixel, Whole, create_terms, pixel_loss, require_loss
from bench.run.losses.kinds import Labels, OfSums, PerImage
from bench.run.losses.terms import CROSS_ENTROPY
from bench.spec import TrainSpec
from fcn.alignment import IMAGE_GRID, Grid
from fcn.errors import InputError
from fcn.upsampling import UPSAMPLINGS

C, VOID = 4, 255
ALL = [*LOSSES, "cross_entropy(label_smoothing=0.1)", "smp/DiceLoss", "smp/JaccardLoss",
       "torch.nn.functional:cross_entropy"]  # fmt: skip
each_loss = pytest.mark.parametrize("name", ALL)


@pytest.fixture(autouse=True)
def one_image_a_slice(monkeypatch):
    monkeypatch.setitem(CHUNK_MIB, "cpu", 0)
    torch.manual_seed(0)


def some_target(*shape, num_classes=C, void=0.3):
    return torch.randint(0, num_classes, shape).where(torch.rand(shape) > void, VOID)


def ours(setting, scores, target, *, upsampling=None, **options):
    """Return loss and gradient of coarse scores."""
    upsampling = upsampling or UPSAMPLINGS["bilinear"](C, Grid(4.0, 1.5), IMAGE_GRID)
    scores = scores.clone().requires_grad_()
    loss = pixel_loss(
        scores, target, upsampling, ignore_index=VOID, terms=create_terms(setting), **options
    )
    return loss.detach(), torch.autograd.grad(loss, scores)[0]


def theirs(function, scores, target):
    """Return the same of a function of full-size logits and target, over the whole batch."""
    upsampling = UPSAMPLINGS["bilinear"](C, Grid(4.0, 1.5), IMAGE_GRID)
    scores = scores.clone().requires_grad_()
    loss = function(upsampling(scores, tuple(target.shape[-2:])), target)
    return loss.detach(), torch.autograd.grad(loss, scores)[0]


class OneAlive(torch.nn.Module):
    """An upsampling that sees whether logits of an earlier slice are still in memory."""

    def __init__(self):
        super().__init__()
        self.upsampling = UPSAMPLINGS["bilinear"](C, Grid(4.0, 1.5), IMAGE_GRID)
        self.made, self.alive = [], 0

    def forward(self, logits, size):
        self.alive += sum(made() is not None for made in self.made)
        full = self.upsampling(logits, size)
        self.made.append(weakref.ref(full))
        return full


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ohem", "dice"])
def test_full_size_logits_of_one_slice_are_in_memory_at_a_time(name):
    watched = OneAlive()
    ours(name, torch.randn(4, C, 5, 6), some_target(4, 20, 24), upsampling=watched)
    assert len(watched.made) >= 4
    assert watched.alive == 0


WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0])


def labelled(logits, target):
    """Return what is labelled alone, as (1, C, P, 1) and (1, P, 1)."""
    seen = target != VOID
    return logits.movedim(1, 0)[:, seen][None, ..., None], target[seen][None, :, None]


def smp_loss(name, **options):
    return getattr(smp, name)(mode="multiclass", **options)


def smp_bce(logits, target):
    logits, target = labelled(logits, target)
    wanted = F.one_hot(target[..., 0], C).movedim(-1, 1)[..., None].float()
    return smp.SoftBCEWithLogitsLoss(ignore_index=None)(logits, wanted)


JUDGES = {
    "cross_entropy": lambda x, t: F.cross_entropy(x, t, ignore_index=VOID),
    "cross_entropy(label_smoothing=0.2)": lambda x, t: F.cross_entropy(
        x, t, ignore_index=VOID, label_smoothing=0.2
    ),
    "focal": lambda x, t: softmax_focal_loss_with_logits(*labelled(x, t), gamma=2.0),
    "focal(gamma=3)": lambda x, t: softmax_focal_loss_with_logits(*labelled(x, t), gamma=3.0),
    "focal(one_vs_rest=true)": smp_loss("FocalLoss", ignore_index=VOID),
    "bce": smp_bce,
    "dice": smp_loss("DiceLoss", ignore_index=VOID),
    "dice(smooth=5)": smp_loss("DiceLoss", ignore_index=VOID, smooth=5.0),
    "jaccard": smp_loss("JaccardLoss", ignore_index=VOID),
    "tversky(alpha=0.3, beta=0.7)": smp_loss("TverskyLoss", ignore_index=VOID, alpha=0.3, beta=0.7),
    "tversky(gamma=0.75)": smp_loss("TverskyLoss", ignore_index=VOID, gamma=0.75),
    "lovasz_batch": smp_loss("LovaszLoss", ignore_index=VOID),
    "lovasz": smp_loss("LovaszLoss", ignore_index=VOID, per_image=True),
    "smp/DiceLoss(log_loss=true)": smp_loss("DiceLoss", ignore_index=VOID, log_loss=True),
    "smp/FocalLoss(gamma=1.5)": smp_loss("FocalLoss", ignore_index=VOID, gamma=1.5),
    "torch.nn:CrossEntropyLoss": lambda x, t: F.cross_entropy(x, t, ignore_index=VOID),
}


@pytest.mark.parametrize("setting", JUDGES)
def test_value_and_gradient_are_another_librarys(setting):
    scores, target = torch.randn(3, C, 5, 6) * 3, some_target(3, 20, 24)
    torch.testing.assert_close(
        ours(setting, scores, target), theirs(JUDGES[setting], scores, target), rtol=2e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("setting", "judge"),
    [
        (
            "cross_entropy(label_smoothing=0.2)",
            lambda x, t: F.cross_entropy(x, t, WEIGHTS, ignore_index=VOID, label_smoothing=0.2),
        ),
        ("dice", smp_loss("DiceLoss", ignore_index=VOID, class_weights=WEIGHTS.tolist())),
        ("smp/DiceLoss", smp_loss("DiceLoss", ignore_index=VOID, class_weights=WEIGHTS.tolist())),
        ("torch.nn.functional:cross_entropy", lambda x, t: F.cross_entropy(
            x, t, WEIGHTS, ignore_index=VOID)),
    ],
)  # fmt: skip
def test_class_weights_are_another_librarys(setting, judge):
    scores, target = torch.randn(3, C, 5, 6), some_target(3, 20, 24)
    torch.testing.assert_close(
        ours(setting, scores, target, class_weights=WEIGHTS), theirs(judge, scores, target)
    )


@pytest.mark.parametrize("name", ["focal", "bce"])
def test_a_pixel_counts_by_the_weight_of_its_class(name):
    """The slow route: pixels one by one."""
    scores, target = torch.randn(1, C, 4, 4), some_target(1, 4, 4)
    kind = LOSSES[name]
    total, weight = 0.0, 0.0
    for y, x in np.argwhere(target[0].numpy() != VOID):
        pixel = scores[:, :, y : y + 1, x : x + 1]
        label = target[:, y : y + 1, x : x + 1]
        total += float(kind.function(pixel, label)) * float(WEIGHTS[label])
        weight += float(WEIGHTS[label])
    same = UPSAMPLINGS["nearest"](C, Grid(1.0, 0.0), IMAGE_GRID)
    loss, _ = ours(name, scores, target, upsampling=same, class_weights=WEIGHTS)
    assert float(loss) == pytest.approx(total / weight, rel=1e-5)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_an_absent_class_is_no_part_of_the_mean(name):
    """smp counts it as a perfect one: its mean over four classes is ours over three times 3/4."""
    scores, target = torch.randn(2, C, 5, 6), some_target(2, 20, 24, num_classes=3)
    judge = smp_loss({"dice": "Dice", "jaccard": "Jaccard", "tversky": "Tversky"}[name] + "Loss",
                     ignore_index=VOID)  # fmt: skip
    ratio = C / 3
    expected = [x * ratio for x in theirs(judge, scores, target)]
    torch.testing.assert_close(list(ours(name, scores, target)), expected)


def test_the_hardest_pixels_by_hand():
    """Ten pixels, one void; probabilities of the true class .1, .2, ... .9."""
    p = torch.linspace(0.1, 0.9, 9)
    logits = torch.stack([p.log(), (1 - p).log()])[None, :, None]
    logits = torch.cat([logits, torch.zeros(1, 2, 1, 1)], 3)
    target = torch.tensor([[[0] * 9 + [VOID]]])
    same = UPSAMPLINGS["nearest"](2, Grid(1.0, 0.0), IMAGE_GRID)
    hard = -p[:3].log().mean()  # below .35; and at least 2/9 of the pixels, which those are
    loss, gradient = ours("ohem(threshold=0.35, min_kept=0.2)", logits, target, upsampling=same)
    assert float(loss) == pytest.approx(float(hard), rel=1e-5)
    assert (gradient[0, 0, 0] != 0).tolist() == [True] * 3 + [False] * 7
    loss, _ = ours("ohem(threshold=0.05, min_kept=0.5)", logits, target, upsampling=same)
    assert float(loss) == pytest.approx(float(-p[:5].log().mean()), rel=1e-5)  # ceil(9 / 2)


@each_loss
def test_ignored_pixels_change_nothing(name):
    """Whatever is scored there, loss and every other gradient stay; theirs is zero."""
    same = UPSAMPLINGS["nearest"](C, Grid(1.0, 0.0), IMAGE_GRID)
    target = some_target(2, 6, 7)
    void = (target == VOID)[:, None]
    scores = torch.randn(2, C, 6, 7)
    first = ours(name, scores, target, upsampling=same)
    other = ours(name, scores + 5 * torch.randn(2, C, 6, 7) * void, target, upsampling=same)
    torch.testing.assert_close(first, other)
    assert (other[1] * void == 0).all()
    assert (first[1] != 0).any()


@each_loss
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_void_batch_gives_zero_and_no_gradient(name, weights):
    target = torch.full((2, 6, 7), VOID)
    loss, gradient = ours(name, torch.randn(2, C, 2, 2), target, class_weights=weights)
    assert loss == 0
    assert (gradient == 0).all()


@each_loss
def test_a_void_image_changes_nothing(name):
    scores, target = torch.randn(2, C, 5, 6), some_target(2, 20, 24)
    target[1] = VOID
    both, first = ours(name, scores, target), ours(name, scores[:1], target[:1])
    torch.testing.assert_close(both[0], first[0])
    torch.testing.assert_close(both[1][:1], first[1])


@each_loss
def test_slices_give_what_the_whole_batch_gives(name, monkeypatch):
    scores, target = torch.randn(4, C, 5, 6), some_target(4, 20, 24)
    sliced = ours(name, scores, target, class_weights=WEIGHTS)
    monkeypatch.setitem(CHUNK_MIB, "cpu", 100)
    torch.testing.assert_close(sliced, ours(name, scores, target, class_weights=WEIGHTS))


@each_loss
def test_full_size_logits_of_one_image_at_a_time(name):
    held = []
    bilinear = UPSAMPLINGS["bilinear"](C, Grid(4.0, 1.5), IMAGE_GRID)

    def watched(scores, size):
        held.append(len(scores))
        return bilinear(scores, size)

    watched.parameters = list
    ours(name, torch.randn(3, C, 5, 6), some_target(3, 20, 24), upsampling=watched)
    (term,) = create_terms(name)
    expected = {Whole: [3], OfSums: [1] * 6}.get(type(term.kind), [1] * 3)
    assert held == expected


class Gathered:
    """Stands for the sum over processes: first what each adds is noted, then all are told."""

    def __init__(self):
        self.notes, self.totals = [], None

    def __call__(self, tensor):
        self.notes.append(tensor.clone())
        return tensor if self.totals is None else self.totals[len(self.notes) - 1].clone()


@pytest.mark.parametrize(
    "name", [name for name in ALL if not isinstance(create_terms(name)[0].kind, Whole)]
)
def test_the_parts_of_two_processes_add_up_to_the_loss(name):
    scores, target = torch.randn(3, C, 5, 6), some_target(3, 20, 24)
    shares = [slice(0, 1), slice(1, 3)]
    first = [Gathered(), Gathered()]
    for share, gather in zip(shares, first, strict=True):
        ours(name, scores[share], target[share], class_weights=WEIGHTS, add_up=gather)
    totals = [a + b for a, b in zip(first[0].notes, first[1].notes, strict=True)]
    parts = []
    for share in shares:
        gather = Gathered()
        gather.totals = totals
        parts.append(ours(name, scores[share], target[share], class_weights=WEIGHTS, add_up=gather))
    whole = ours(name, scores, target, class_weights=WEIGHTS)
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0])
    torch.testing.assert_close(torch.cat([parts[0][1], parts[1][1]]), whole[1])


@pytest.mark.parametrize("name", [*LOSSES, "focal(gamma=0.5)", "tversky(gamma=0.75)"])
def test_our_gradients_are_slopes(name):
    (term,) = create_terms(name)
    target = some_target(2, 3, 3)
    labels = Labels(target.where(target != VOID, 0), target != VOID, WEIGHTS.double())
    logits = torch.randn(2, C, 3, 3, dtype=torch.float64, requires_grad=True)

    def loss(logits):
        kind = term.kind
        if isinstance(kind, PerPixel):
            return kind.function(logits, labels.classes, **term.arguments)
        if isinstance(kind, OfSums):
            sums = kind.sums(logits, labels)
            return kind.function(sums, labels.class_weights, **term.arguments)
        return kind.function(logits, labels, **term.arguments)

    # Where a hardest pixel is chosen or errors are sorted, order must not change on the way.
    assert torch.autograd.gradcheck(loss, logits, eps=1e-7, atol=1e-4)
    if isinstance(term.kind, PerImage):
        assert loss(logits).shape == (2,)


def test_several_are_added_up_by_their_weights():
    scores, target = torch.randn(2, C, 5, 6), some_target(2, 20, 24)
    sum_of = ours({"lovasz": 0.5, "cross_entropy": 2.0, "dice": 1.5}, scores, target)
    parts = [ours(n, scores, target) for n in ("lovasz", "cross_entropy", "dice")]
    for k in (0, 1):
        expected = 0.5 * parts[0][k] + 2 * parts[1][k] + 1.5 * parts[2][k]
        torch.testing.assert_close(sum_of[k], expected)


def test_a_sum_is_the_mean_times_the_labelled_pixels():
    scores, target = torch.randn(2, C, 5, 6), some_target(2, 20, 24)
    for name in ("cross_entropy", "focal", "cross_entropy(label_smoothing=0.1)"):
        mean, total = (ours(name, scores, target, reduction=r) for r in ("mean", "sum"))
        torch.testing.assert_close(total[0], mean[0] * (target != VOID).sum())
        torch.testing.assert_close(total[1], mean[1] * (target != VOID).sum())


def test_the_default_is_the_fused_one_and_a_weight_of_one_changes_no_bit():
    scores, target = torch.randn(3, C, 5, 6), some_target(3, 20, 24)
    assert create_terms(TrainSpec().loss) == CROSS_ENTROPY
    assert LOSSES["cross_entropy"].fused is not None
    default = ours("cross_entropy", scores, target)
    assert all(map(torch.equal, default, ours({"cross_entropy": 1.0}, scores, target)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "focall"}, "unknown loss 'focall'; did you mean 'focal'"),
        ({"loss": "focal(gama=2)"}, "focal: gama: unknown option 'gama'; did you mean 'gamma'"),
        ({"loss": "focal(gamma=true)"}, "focal: gamma must be float, not True"),
        ({"loss": "smp/DicLoss"}, "did you mean 'DiceLoss'"),
        ({"loss": "smp/DiceLoss(smoth=1)"}, "'smp/DiceLoss' fails: TypeError"),
        ({"loss": "smp/LovaszLoss", "class_weights": "median_frequency"}, "no class weights"),
        ({"loss": "nowhere.at_all:loss"}, "'nowhere.at_all:loss' cannot be imported"),
        ({"loss": "dice", "loss_reduction": "sum"}, "'dice' is no sum over pixels"),
        ({"loss": "builtins:len"}, "cannot|fails|gives"),
        ({"loss": "focal(gamma=-1)"}, "focal: gamma: .* greater than or equal to 0, not -1"),
        ({"loss": "ohem(threshold=0)"}, "ohem: threshold: .* greater than 0, not 0"),
        ({"loss": "ohem(min_kept=100000)"}, "min_kept: .* less than or equal to 1, not 100000"),
        ({"loss": "cross_entropy(label_smoothing=1)"}, "label_smoothing: .* less than 1, not 1"),
        ({"loss": "dice(smooth=-1)"}, "dice: smooth: .*, not -1"),
        ({"loss": "tversky(gamma=0)"}, "tversky: gamma: .*, not 0"),
        ({"loss": {"cross_entropy": 1, "tversky(alpha=-1)": 1}}, "tversky: alpha: .*, not -1"),
        ({"loss": "smp/DiceLoss(ignore_index=3)"}, "is what the data set ignores; leave it out"),
        (
            {"loss": "smp/DiceLoss(class_weights=[1, 1, 1, 1])", "class_weights": "inverse"},
            "which train.class_weights says too",
        ),
        ({"loss": "torch.nn.functional:cross_entropi"}, "did you mean 'cross_entropy'"),
    ],
)
def test_what_cannot_be_is_refused_before_training(settings, message):
    with pytest.raises(InputError, match=message):
        require_loss(TrainSpec(**settings), [C])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (PerPixel(lambda logits, classes: logits.mean()), r"shape \(\); a loss that is PerPixel"),
        (PerImage(lambda logits, labels: logits.sum(1)), r"gives \(2,\) of 2 images"),
        (OfSums(lambda logits, labels: logits.sum(), lambda sums, w: sums / w.sum), "fails: Attr"),
        (Whole(lambda logits, labels: logits.detach().mean()), "has no gradient"),
        (PerPixel(lambda logits, classes: (logits[:, 0] - 99).sqrt()), "'own' gives nan"),
        (PerPixel(lambda logits, classes: logits[:, 0] * 0), "has no gradient"),
        (PerImage(lambda logits, labels: labels.nothing), "'own' fails: AttributeError"),
    ],
)
def test_a_plugins_loss_is_tried_before_training(own_parts, kind, message):
    LOSSES.register("own")(kind)
    with pytest.raises(InputError, match=message):
        require_loss(TrainSpec(loss="own"), [C])


@pytest.mark.parametrize("name", ALL)
def test_what_is_registered_passes_the_trial(name):
    require_loss(TrainSpec(loss=name), [C, 2])
    require_loss(TrainSpec(loss={name: 0.5, "bce": 1}, loss_sampling=0.5), [C])


def test_a_loss_of_the_whole_batch_is_on_one_device():
    require_loss(TrainSpec(loss="lovasz_batch"), [C])
    with pytest.raises(InputError, match="which 2 devices share"):
        require_loss(TrainSpec(loss="lovasz_batch"), [C], 2)


def test_one_setting_has_one_spelling():
    spellings = ["focal(gamma=3)", " focal( gamma = 3 )", {"name": "focal", "gamma": 3},
                 {"focal(gamma=3)": 1}]  # fmt: skip
    assert {TrainSpec(loss=one).loss for one in spellings} == {"focal(gamma=3)"}
    several = TrainSpec(loss={"dice": 0.5, "cross_entropy": 1}).loss
    assert several == {"cross_entropy": 1.0, "dice": 0.5}
    assert list(several) == ["cross_entropy", "dice"]
    assert math.isclose(create_terms(several)[1].weight, 0.5)


def test_small_gradients_of_fp16_scores_are_not_lost():
    """A mean over many pixels has gradients below what fp16 holds; the loss's scale saves them."""
    scores, target = torch.randn(3, C, 5, 6) * 0.1, some_target(3, 20, 24)
    for name in ("cross_entropy", "dice"):
        half = scores.half().requires_grad_()
        terms = create_terms({name: 1e-4})
        upsampling = UPSAMPLINGS["bilinear"](C, Grid(4.0, 1.5), IMAGE_GRID)
        loss = pixel_loss(half, target, upsampling, ignore_index=VOID, terms=terms)
        (gradient,) = torch.autograd.grad(loss * 2**16, half)
        expected = ours({name: 1e-4}, half.detach().float(), target)[1]
        assert expected.abs().max() < 2e-6
        assert gradient.dtype == torch.float16
        torch.testing.assert_close(gradient.float() / 2**16, expected, rtol=2e-3, atol=1e-10)

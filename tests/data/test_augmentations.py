"""Every augmentation, by its name: image and mask move together, and a seed says how."""

import math

import pytest
import torch
from torch.nn import functional as F

from bench.data.augmentations import AUGMENTATIONS, OF_ANY, Augmentation, Views, require_augment
from bench.data.batches import Batches
from bench.data.layers import Input
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.spec import DataSpec, TrainSpec
from fcn.errors import InputError

MEAN, STD, VOID = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255
ARGUMENTS = {
    "ColorJitter": "brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2",
    "GaussianBlur": "kernel_size=5",
    "RandomAdjustSharpness": "sharpness_factor=3, p=1",
    "RandomAffine": "degrees=30, translate=[0.2, 0.2], shear=10",
    "RandomAutocontrast": "p=1",
    "RandomEqualize": "p=1",
    "RandomErasing": "p=1",
    "RandomGrayscale": "p=1",
    "RandomInvert": "p=1",
    "RandomPerspective": "p=1",
    "RandomPosterize": "bits=2, p=1",
    "RandomRotation": "degrees=40",
    "RandomSolarize": "threshold=100, p=1",
    "RandomVerticalFlip": "p=1",
    "ElasticTransform": "alpha=60.0",
}
MOVING = {"ElasticTransform", "RandomAffine", "RandomPerspective", "RandomRotation",
          "RandomVerticalFlip"}  # fmt: skip
each_name = pytest.mark.parametrize("name", list(AUGMENTATIONS))


def call(name):
    return f"{name}({ARGUMENTS[name]})" if name in ARGUMENTS else name


def normalise(pixels):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels / 255 - mean) / std


def pixels_of(images):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (images * std + mean) * 255


@pytest.fixture
def views():
    """Two images whose colours tell their labels, 0 to 3, in blocks; right of column 40 is none."""
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 6, 6)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    inside = torch.ones(2, 48, 48, dtype=torch.bool)
    inside[..., 40:] = False
    pixels = torch.stack([labels * 60 + 20, 250 - labels * 60, labels * 30 + 90], 1).float()
    images = normalise(pixels) * inside[:, None]
    return Views(images, [labels.where(inside, VOID)], inside)


def augmented(views, *setting, seeds=(7, 8), ignored=(VOID,)):
    return Augmentation(setting, MEAN, STD, ignored)(views, seeds)


@each_name
def test_a_seed_says_what_happens_and_nothing_else_does(name, views):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = augmented(views, call(name))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = augmented(views, call(name))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1][0], again[1][0])
    alone = Views(views.images[1:], [views.targets[0][1:]], views.inside[1:])
    assert torch.equal(augmented(alone, call(name), seeds=(8,))[0][0], first[0][1])
    others = [augmented(views, call(name), seeds=(s, s + 1))[0] for s in range(20, 24)]
    fixed = {"Grayscale", "RandomAutocontrast", "RandomEqualize", "RandomGrayscale",
             "RandomInvert", "RandomPosterize", "RandomSolarize", "RandomVerticalFlip",
             "RandomAdjustSharpness"}  # fmt: skip
    assert name in fixed or not all(torch.equal(other, first[0]) for other in others)
    assert not all(torch.equal(other, views.images) for other in [first[0], *others])


@each_name
def test_image_and_mask_move_together_or_not_at_all(name, views):
    images, (target,) = augmented(views, call(name))
    assert images.shape == views.images.shape
    assert images.isfinite().all()
    if name not in MOVING:
        assert torch.equal(target, views.targets[0])
        assert (images[..., 40:] == 0).all()
        return
    assert not torch.equal(target, views.targets[0])
    assert set(target.unique().tolist()) <= {0, 1, 2, 3, VOID}
    assert (images.permute(0, 2, 3, 1)[target == VOID] == 0).all()
    colour = pixels_of(images)[:, 0]
    right = ((colour - 20) / 60 - target).abs() < 0.1
    assert right[target != VOID].float().mean() > 0.65  # all but the blocks' smoothed borders


def test_a_quarter_turn_is_the_known_one(views):
    images, (target,) = augmented(views, "RandomRotation(degrees=[90, 90])")
    assert torch.equal(target, views.targets[0].rot90(1, (1, 2)))
    torch.testing.assert_close(images, views.images.rot90(1, (2, 3)), rtol=0, atol=1e-5)


def test_inputs_and_targets_beside_the_first_move_along(views):
    depth = torch.rand(2, 1, 48, 48) * views.inside[:, None]
    other = (views.targets[0] % 2).where(views.inside, 9)
    more = Views(torch.cat([views.images, depth], 1), [*views.targets, other], views.inside)
    images, targets = augmented(more, "RandomVerticalFlip(p=1)", "RandomInvert(p=1)",
                                ignored=(VOID, 9))  # fmt: skip
    assert torch.equal(images[:, 3:], depth.flip(2))
    assert torch.equal(targets[1], other.flip(1))
    inverted = 255 - pixels_of(views.images).flip(2)
    seen = views.inside.flip(1)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(pixels_of(images[:, :3])[seen], inverted[seen], rtol=0, atol=1e-3)


def test_nothing_changes_what_is_not_touched(views):
    images, _ = augmented(views, "RandomInvert(p=0)")
    torch.testing.assert_close(images, views.images, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    options = {"size": 32, "num_train": 7, "num_val": 5, "num_test": 2}
    return pack(open_dataset(DataSpec(options=options), None), tmp_path_factory.mktemp("packs"))


def test_batches_are_augmented_by_seed_and_place_alone(shapes):
    augment = ["RandomRotation(degrees=30)", "ColorJitter(brightness=0.5)"]
    spec = TrainSpec(batch_size=3, crop=(32, 32), scale=(0.5, 2), augment=augment)

    def source(part=(0, 1), spec=spec):
        return Batches(shapes, spec, input_scale=1.0, seed=0, mean=MEAN, std=STD,
                       device=torch.device("cpu"), part=part)  # fmt: skip

    in_order = [source().batch(k) for k in range(4)]
    whole = source()
    for k in (3, 0, 2):
        assert all(map(torch.equal, whole.batch(k), in_order[k]))
    parts = [source((rank, 2)).batch(2) for rank in range(2)]
    for of_all, *of_parts in zip(in_order[2], *parts, strict=True):
        assert torch.equal(of_all, torch.cat(of_parts))
    plain = source(spec=spec.model_copy(update={"augment": ()})).batch(2)
    assert not torch.equal(plain[0], in_order[2][0])
    void = in_order[2][1] == VOID
    assert (in_order[2][0].permute(0, 2, 3, 1)[void] == 0).all(1).float().mean() > 0.5


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("ColourJitter", "unknown augmentation 'ColourJitter'; did you mean 'ColorJitter'"),
        ("ColorJitter(brightnes=1)", "did you mean 'brightness'"),
        ("GaussianBlur(kernel_size=4)", "cannot be created: ValueError"),
        ("RandomRotation(degrees=30, expand=true)", "changes the size of an image"),
        ("GaussianBlur", "kernel_size is missing"),
        ("RandomHorizontalFlip", r"the spec has train\.flip for that"),
        ("RandomResizedCrop(size=64)", r"the spec has train\.scale and train\.crop for that"),
        ("RandomRotation(degrees=30, fill=128)", "fill: where no image is left there is the mean"),
        ("RandomErasing(value=[1, 2])", "fails: ValueError"),  # in every other image
        ("RandAugmentColours(magnitude=31)", "magnitude: .* less than or equal to 30, not 31"),
        ("RandAugmentColours(num_ops=2.5)", "num_ops must be int, not 2.5"),
    ],
)
def test_what_cannot_be_is_named_before_training(augment, message):
    with pytest.raises(InputError, match=message):
        require_augment(TrainSpec(augment=[augment]))


BANDS = Input("bands", 5, value_range=(0.0, 60_000.0))


@pytest.mark.parametrize("first", [BANDS, Input("depth", 1)], ids=lambda one: one.name)
@each_name
def test_bands_take_what_makes_sense_of_them_and_refuse_the_rest(name, first):
    train = TrainSpec(augment=[call(name)])
    if name in OF_ANY:
        require_augment(train, first)
        return
    with pytest.raises(InputError, match=rf"{name} is made for colours of 8 bits.*RandomErasing"):
        require_augment(train, first)


@pytest.fixture
def bands():
    """Two images of five bands that tell their labels, with differences far below 8 bits."""
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 6, 6)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    inside = torch.ones(2, 48, 48, dtype=torch.bool)
    inside[..., 40:] = False
    levels = torch.stack([0.2 * k + labels / 4096 for k in range(5)], 1)
    images = (levels - 0.4) / 0.3 * inside[:, None]
    return Views(images, [labels.where(inside, VOID)], inside)


def augment_bands(views, *setting):
    images, targets = Augmentation(setting, [0.4] * 5, [0.3] * 5, [VOID], BANDS)(views, (7, 8))
    return images * 0.3 + 0.4, targets[0]


@pytest.mark.parametrize("name", sorted(MOVING))
def test_bands_and_masks_move_together_with_all_their_bits(name, bands):
    levels, target = augment_bands(bands, call(name))
    assert not torch.equal(target, bands.targets[0])
    for k in range(5):
        right = ((levels[:, k] - 0.2 * k) * 4096 - target).abs() < 0.1
        assert right[target != VOID].float().mean() > 0.65  # all but the blocks' smoothed borders
        assert (levels[:, k][target == VOID] - 0.4).abs().max() < 1e-6


def test_a_quarter_turn_of_bands_keeps_every_level(bands):
    levels, _ = augment_bands(bands, "RandomRotation(degrees=[90, 90])")
    plain = bands.images * 0.3 + 0.4
    torch.testing.assert_close(levels, plain.rot90(1, (2, 3)), rtol=0, atol=1e-6)


def test_bands_are_blurred_as_a_gaussian_blurs_and_erased_to_the_end_of_their_range(bands):
    whole = Views(bands.images, bands.targets, torch.ones_like(bands.inside))
    levels, target = augment_bands(whole, "GaussianBlur(kernel_size=3, sigma=1)")
    side = math.exp(-0.5)
    kernel = torch.tensor([side, 1, side]) / (1 + 2 * side)
    plain = whole.images * 0.3 + 0.4
    padded = F.pad(plain, (1, 1, 1, 1), mode="reflect")
    right = F.conv2d(padded, torch.outer(kernel, kernel).expand(5, 1, 3, 3), groups=5)
    torch.testing.assert_close(levels, right, rtol=0, atol=1e-5)
    levels, erased = augment_bands(whole, "RandomErasing(p=1)")
    changed = ((levels - plain).abs() > 1e-5).any(1)
    assert 0.01 < changed.float().mean() < 0.5
    assert levels.permute(0, 2, 3, 1)[changed].abs().max() < 1e-6
    assert torch.equal(target, erased)


def test_colours_beside_depth_are_transformed_and_depth_beside_colours_is_not(views):
    depth = torch.rand(2, 1, 48, 48) * views.inside[:, None]
    more = Views(torch.cat([views.images, depth], 1), views.targets, views.inside)
    images, _ = augmented(more, "ColorJitter(brightness=[2, 2])")
    assert torch.equal(images[:, 3:], depth)
    assert not torch.equal(images[:, :3], views.images)

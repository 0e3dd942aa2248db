"""Views by a second route: slicing, mirroring and torch's own antialiased resize."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from bench.data.augment import (
    View,
    _axis,
    draw_view,
    scaled_size,
    to_network,
    view_images,
    view_targets,
)
from bench.data.resample import _multiply_together, _resize_one_by_one
from bench.spec import TrainSpec

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def random_image(size, seed=0):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(0, 256, (1, *size, 3), dtype=np.uint8))
    return image, torch.from_numpy(rng.integers(0, 5, (1, *size), dtype=np.uint8))


def see(view, out_size, seed=0):
    """Return what a view shows of a random image: (3, h, w) in 0..255, and (h, w)."""
    image, target = random_image(view.size, seed)
    images = view_images(image, [view], out_size, **PLAIN)
    return 255 * images[0], view_targets(target, [view], out_size, ignore_index=9)[0]


def test_whole_view_is_the_normalised_image_exactly():
    image, target = random_image((7, 9))
    seen = view_images(image, [View((7, 9), (7, 9))], (7, 9), mean=MEAN, std=STD)
    expected = (image.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / (
        torch.tensor(STD).view(3, 1, 1)
    )
    assert torch.equal(seen, expected)
    labels = view_targets(target, [View((7, 9), (7, 9))], (7, 9), ignore_index=9)
    assert torch.equal(labels, target.long())
    assert torch.equal(
        to_network(image[0].numpy(), 1.0, mean=MEAN, std=STD, device=torch.device("cpu")), expected
    )


def test_flip_is_numpys_flip():
    image, target = random_image((7, 9))
    seen, labels = see(View((7, 9), (7, 9), flip=True), (7, 9))
    assert np.array_equal(seen.round(), image[0].numpy()[:, ::-1].transpose(2, 0, 1))
    assert np.array_equal(labels, target[0].numpy()[:, ::-1])


def test_crop_is_slicing_and_flip_mirrors_the_crop():
    image, target = random_image((7, 9))
    part = image[0, 2:6, 3:8].permute(2, 0, 1).float()
    seen, labels = see(View((7, 9), (7, 9), top=2, left=3), (4, 5))
    assert torch.equal(seen.round(), part)
    assert torch.equal(labels, target[0, 2:6, 3:8].long())
    seen, _ = see(View((7, 9), (7, 9), top=2, left=3, flip=True), (4, 5))
    assert torch.equal(seen.round(), part.flip(-1))


def test_outside_is_the_mean_and_ignored():
    image, target = random_image((4, 5))
    view = View((4, 5), (4, 5), top=-1, left=-2)
    seen = view_images(image, [view], (6, 8), mean=MEAN, std=STD)[0]
    labels = view_targets(target, [view], (6, 8), ignore_index=9)[0]
    outside = torch.ones(6, 8, dtype=torch.bool)
    outside[1:5, 2:7] = False
    assert (seen[:, outside] == 0).all()
    assert (labels[outside] == 9).all()
    assert torch.equal(labels[1:5, 2:7], target[0].long())


@pytest.mark.parametrize("scaled", [(5, 6), (10, 30), (33, 12), (40, 48), (1, 1), (20, 24)])
def test_resize_is_torchs_antialiased_resize(scaled):
    image, _ = random_image((20, 24))
    seen, _ = see(View((20, 24), scaled), scaled)
    expected = functional.interpolate(
        image.permute(0, 3, 1, 2).float(), scaled, mode="bilinear", antialias=True
    )[0]
    assert torch.equal(seen, seen.round())  # whole numbers, rounded once for each axis
    torch.testing.assert_close(seen, expected, atol=1.01, rtol=0)
    assert (seen - expected).mean().abs() < 0.26  # halves go up: a quarter of a level at 2x


def test_crop_of_a_resize_is_slicing_the_resize():
    whole, whole_labels = see(View((20, 24), (31, 17)), (31, 17))
    seen, labels = see(View((20, 24), (31, 17), top=4, left=6), (9, 8))
    torch.testing.assert_close(seen, whole[:, 4:13, 6:14], atol=1.01, rtol=0)
    assert torch.equal(labels, whole_labels[4:13, 6:14])


def test_nearest_labels_are_torchs():
    _, target = random_image((20, 24))
    _, labels = see(View((20, 24), (31, 17)), (31, 17))
    expected = functional.interpolate(target[None].float(), (31, 17), mode="nearest-exact")
    assert torch.equal(labels, expected[0, 0].long())


def test_padding_of_a_batch_changes_nothing():
    small, large = View((5, 6), (8, 7)), View((9, 11), (6, 6), flip=True)
    images = torch.full((2, 9, 11, 3), 77, dtype=torch.uint8)
    targets = torch.full((2, 9, 11), 4, dtype=torch.uint8)
    images[0, :5, :6], targets[0, :5, :6] = (part[0] for part in random_image((5, 6), 0))
    images[1], targets[1] = (part[0] for part in random_image((9, 11), 1))
    seen = 255 * view_images(images, [small, large], (8, 7), **PLAIN)
    labels = view_targets(targets, [small, large], (8, 7), ignore_index=9)
    for k, view in enumerate((small, large)):
        alone, alone_labels = see(view, (8, 7), seed=k)
        torch.testing.assert_close(seen[k], alone)
        assert torch.equal(labels[k], alone_labels)

    arrays = [images[0, :5, :6].numpy(), images[1].numpy()]
    assert torch.equal(seen, 255 * view_images(arrays, [small, large], (8, 7), **PLAIN))


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    crop=st.none() | st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_any_view_is_finite_and_shows_only_labels_that_are_there(height, width, crop, seed):
    train = TrainSpec(crop=crop, scale=(0.3, 2.5))
    view = draw_view(np.random.default_rng(seed), (height, width), train, 1.0)
    out_size = crop or view.scaled
    seen, labels = see(view, out_size)
    assert seen.isfinite().all()
    assert seen.min() >= 0
    assert seen.max() <= 255.01
    present = set(random_image((height, width))[1].unique().tolist())
    assert set(labels.unique().tolist()) <= present | {9}
    assert (labels != 9).any()
    if crop and all(c <= s for c, s in zip(crop, view.scaled, strict=True)):
        assert (labels != 9).all()


def test_switching_flip_off_leaves_scale_and_crop():
    def draw(flip):
        train = TrainSpec(crop=(8, 8), scale=(0.5, 2), flip=flip)
        return [draw_view(np.random.default_rng(k), (20, 20), train, 1.0) for k in range(40)]

    mirrored, plain = draw(True), draw(False)
    assert [(v.scaled, v.top, v.left) for v in mirrored] == [
        (v.scaled, v.top, v.left) for v in plain
    ]
    assert 8 < sum(v.flip for v in mirrored) < 32
    assert not any(v.flip for v in plain)


def test_every_crop_position_is_drawn():
    train = TrainSpec(crop=(8, 8))
    tops = {draw_view(np.random.default_rng(k), (10, 8), train, 1.0).top for k in range(60)}
    around = {draw_view(np.random.default_rng(k), (6, 8), train, 1.0).top for k in range(60)}
    assert tops == {0, 1, 2}
    assert around == {-2, -1, 0}


def test_input_scale_resizes_for_the_network():
    image, _ = random_image((20, 24))
    x = to_network(image[0].numpy(), 0.5, device=torch.device("cpu"), **PLAIN)
    assert x.shape == (1, 3, 10, 12)
    assert scaled_size((3, 3), 0.1) == (1, 1)


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    crop=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 1000),
)
def test_matrices_give_what_pillow_gives_to_the_bit(size, crop, channels, seed):
    """The route of a GPU, computed on a CPU, against that of a CPU."""
    rng = np.random.default_rng(seed)
    train = TrainSpec(crop=crop, scale=(0.07, 4.0))
    views = [draw_view(rng, size, train, 1.0) for _ in range(4)]
    images = torch.from_numpy(rng.integers(0, 256, (4, *size, channels), dtype=np.uint8))
    rows, columns = (_axis(views, axis, crop[axis]) for axis in (0, 1))
    expected = _resize_one_by_one(list(images.numpy()), rows, columns)
    inside = torch.from_numpy(rows.inside()[:, :, None] & columns.inside()[:, None])
    seen = _multiply_together(images, rows, columns)
    assert torch.equal(seen[inside], torch.from_numpy(expected)[inside].float())


def test_a_view_in_its_image_is_pillows_resize_of_the_whole():
    """Cut out of what Pillow makes of the whole image in one call, to one level."""
    image, _ = random_image((60, 90))
    whole = Image.fromarray(image[0].numpy()).resize((130, 75), Image.Resampling.BILINEAR)
    seen, _ = see(View((60, 90), (75, 130), top=20, left=31, flip=True), (40, 50))
    expected = np.asarray(whole)[20:60, 31:81][:, ::-1].transpose(2, 0, 1)
    assert np.abs(seen.round().numpy() - expected).max() <= 1

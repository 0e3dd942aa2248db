"""Batches are a function of (seed, number), and every epoch shows every image once."""

import numpy as np
import pytest
import torch
from small_datasets import open_folder, write_folder

from bench.data.batches import Batches, _Images
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.data.scoring_batches import eval_batches
from bench.spec import DataSpec, TrainSpec
from fcn.errors import InputError

CPU = torch.device("cpu")
STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "device": CPU}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    options = {"size": 32, "num_train": 7, "num_val": 5, "num_test": 2}
    return pack(open_dataset(DataSpec(options=options), None), tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Images of two sizes in one split."""
    root = write_folder(tmp_path_factory.mktemp("mixed"))
    (root / "train.txt").write_text("a\nb\nc\n")
    (root / "val.txt").unlink()
    return pack(open_folder(root), root / "packs")


def batches(pack, seed=0, input_scale=1.0, **train):
    spec = TrainSpec(**({"batch_size": 3, "crop": (16, 20), "scale": (0.5, 2)} | train))
    return Batches(pack, spec, input_scale=input_scale, seed=seed, **STATISTICS)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_batch_is_the_same_whatever_was_drawn_before(shapes, monkeypatch):
    """Made several at once, in or out of order, or one at a time."""
    source = batches(shapes)
    in_order = [source.batch(k) for k in range(20)]
    for k in (5, 0, 3):
        assert same(batches(shapes).batch(k), in_order[k])
        assert same(source.batch(k), in_order[k])
    monkeypatch.setattr("bench.data.batches.BATCHES_AT_ONCE", 1)
    source = batches(shapes)
    for k, made in enumerate(in_order):
        assert same(source.batch(k), made)


def test_large_batches_are_made_one_at_a_time(shapes):
    """Eight of them would take eight times the memory."""
    assert len(list(batches(shapes)._make(range(2)))) == 2
    assert batches(shapes)._at_once == 8
    assert batches(shapes, batch_size=16, crop=(352, 352))._at_once == 1
    assert batches(shapes, crop=None, scale=(1, 1))._at_once == 1


def test_seeds_and_numbers_differ(shapes):
    assert not same(batches(shapes).batch(0), batches(shapes, seed=1).batch(0))
    assert not same(batches(shapes).batch(0), batches(shapes).batch(1))


def test_global_random_state_is_neither_read_nor_changed(shapes):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state()
    first = batches(shapes).batch(2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(batches(shapes).batch(2), first)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_every_epoch_visits_every_image_once(shapes, batch_size):
    source = batches(shapes, batch_size=batch_size)
    num_images = len(shapes.indices("train"))
    order = [i for k in range(42) for i in source.image_indices(k)]
    epochs = [order[e : e + num_images] for e in range(0, 42, num_images)]
    assert all(sorted(epoch) == shapes.indices("train") for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_order_does_not_depend_on_the_batch_size(shapes):
    by_one = [i for k in range(12) for i in batches(shapes, batch_size=1).image_indices(k)]
    by_four = [i for k in range(3) for i in batches(shapes, batch_size=4).image_indices(k)]
    assert by_one == by_four


def test_shapes_and_types(shapes, mixed):
    for source in (batches(shapes), batches(mixed)):
        images, target = source.batch(0)
        assert images.shape == (3, 3, 16, 20)
        assert images.dtype == torch.float32
        assert target.shape == (3, 16, 20)
        assert target.dtype == torch.int64
    images, target = batches(shapes, crop=None, scale=(1, 1), input_scale=1.5).batch(0)
    assert images.shape[2:] == target.shape[1:] == (48, 48)


def test_whole_images_without_flip_are_the_pack(shapes):
    source = batches(shapes, crop=None, scale=(1, 1), flip=False)
    images, target = source.batch(0)
    for k, i in enumerate(source.image_indices(0)):
        expected = (shapes.image(i).transpose(2, 0, 1) / 255 - 0.5) / 0.25
        np.testing.assert_allclose(images[k], expected, atol=1e-6)
        assert np.array_equal(target[k], shapes.target(i))


@pytest.mark.parametrize("sizes", ["shapes", "mixed"])
def test_the_way_of_a_gpu_gives_what_a_cpu_sees(request, monkeypatch, sizes):
    """Padded batches and matrices, computed on a CPU, against Pillow, to the bit."""
    source = batches(request.getfixturevalue(sizes))
    expected = [source.batch(k) for k in range(6)]

    def take(self, indices):
        images, targets = self._load(indices)
        return images, list(targets.unbind(1))

    monkeypatch.setattr(_Images, "take", take)
    monkeypatch.setattr("bench.data.resample.arrays_for_cpu", lambda images: None)
    for k, (images, targets) in enumerate(expected):
        assert torch.equal(source.batch(k)[0], images)
        assert torch.equal(source.batch(k)[1], targets)


def test_images_of_several_sizes_need_a_crop(mixed, shapes):
    with pytest.raises(InputError, match=r"2 sizes \(18x30, 20x24.*set train\.crop"):
        batches(mixed, crop=None, scale=(1, 1))
    with pytest.raises(InputError, match=r"train\.scale .*set train\.crop"):
        batches(shapes, crop=None)
    source = batches(mixed, crop=None, batch_size=1)
    assert len({tuple(source.batch(k)[0].shape) for k in range(6)}) > 1


def test_unknown_split_is_refused(mixed):
    with pytest.raises(InputError, match="no split 'val'"):
        batches(mixed, split="val")


@pytest.mark.parametrize("split", ["train", "test"])
def test_evaluation_sees_every_image_once_at_the_labels_size(mixed, split):
    seen = []
    for indices, images, target in eval_batches(
        mixed, split, input_scale=0.5, batch_size=2, **STATISTICS
    ):
        H, W = mixed.size(indices[0])
        assert images.shape == (len(indices), 3, H // 2, W // 2)
        for k, i in enumerate(indices):
            assert np.array_equal(target[k], mixed.target(i))
        seen += indices
    assert seen == mixed.indices(split)


def test_evaluation_batches_are_full_where_sizes_agree(shapes):
    groups = eval_batches(shapes, "val", input_scale=1, batch_size=2, **STATISTICS)
    assert [len(indices) for indices, _, _ in groups] == [2, 2, 1]


@pytest.mark.parametrize(
    ("images", "scale", "expected"),
    [
        (3 * 32 * 32, 1, [3, 2]),
        (4 * 32 * 32 - 1, 1, [3, 2]),
        (3 * 32 * 32, 0.5, [3, 2]),  # targets keep their size
        (3 * 32 * 32, 2, [1, 1, 1, 1, 1]),
        (1, 1, [1, 1, 1, 1, 1]),  # an image that is larger goes alone
    ],
)
def test_evaluation_batches_have_a_budget_of_pixels(shapes, images, scale, expected):
    groups = eval_batches(
        shapes, "val", input_scale=scale, batch_size=8, batch_pixels=images, **STATISTICS
    )
    assert [len(indices) for indices, _, _ in groups] == expected


def test_sampled_cells_count_and_nothing_else_changes(shapes):
    """A quarter of the cells of 8 pixels, drawn for each image: by seed, batch and place alone."""
    whole, few = (batches(shapes, loss_sampling=share, crop=(32, 32)) for share in (1.0, 0.25))
    few._cell = 8
    kept = []
    for k in range(40):
        (images, target), (same_images, sampled) = whole.batch(k), few.batch(k)
        assert torch.equal(images, same_images)
        counts = sampled != 255
        assert torch.equal(sampled[counts], target[counts])
        # A cell counts as a whole, void pixels aside, or not at all.
        cells = (counts == (target != 255)).reshape(3, 4, 8, 4, 8).all((2, 4))
        gone = ~counts.reshape(3, 4, 8, 4, 8).any(4).any(2)
        assert (cells | gone).all()
        shown = (target != 255).reshape(3, 4, 8, 4, 8).any(4).any(2)
        kept += cells[shown].tolist()
    assert np.mean(kept) == pytest.approx(0.25, abs=0.03)
    again = batches(shapes, loss_sampling=0.25, crop=(32, 32))
    again._cell = 8
    assert same(again.batch(39), (images, sampled))


def test_sampled_cells_are_the_same_on_any_number_of_devices(shapes):
    spec = TrainSpec(batch_size=3, crop=(16, 20), loss_sampling=0.5)
    one, *two = (
        Batches(shapes, spec, input_scale=1.0, seed=0, cell=4, part=part, **STATISTICS)
        for part in ((0, 1), (0, 2), (1, 2))
    )
    parts = [source.batch(5)[1] for source in two]
    assert torch.equal(torch.cat(parts), one.batch(5)[1])


def test_balanced_images_show_every_class_as_often(shapes):
    """Twenty thousand draws against the law: a class, then one of the images that show it."""
    source = batches(shapes, sampler="balanced", batch_size=50)
    drawn = [i for k in range(400) for i in source.image_indices(k)]
    counts = shapes.image_class_counts("train", shapes.targets[0].name) > 0
    present = counts[:, counts.any(0)]
    expected = (present / present.sum(0)).mean(1)
    indices = list(shapes.indices("train"))
    found = np.array([drawn.count(i) for i in indices]) / len(drawn)
    assert found == pytest.approx(expected, abs=0.015)
    assert source.image_indices(7) == batches(
        shapes, sampler="balanced", batch_size=50
    ).image_indices(7)

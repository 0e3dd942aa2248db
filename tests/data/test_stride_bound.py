"""The stride bound against a route that goes cell by cell, pixel by pixel."""

import numpy as np
import pytest
from small_datasets import write_siftflow

from bench.data.registry import open_dataset
from bench.data.stride_bound import PUBLISHED, STRIDES, WAYS, bound_dataset, bound_strides
from bench.metrics import summarize
from bench.spec import DataSpec
from fcn.errors import InputError

C = 5


def draw(seed, height, width, void=0.2):
    """Blobs of a few classes with void between and about them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, C, (-(-height // 7), -(-width // 7)))
    target = np.kron(coarse, np.ones((7, 7)))[:height, :width].astype(np.uint8)
    target[rng.random(target.shape) < void] = 255
    target[: height // 3, : width // 4] = C  # a label that is no class, too
    return target


def vote(cell, side):
    del side
    labels = cell[cell < C]
    return np.bincount(labels, minlength=C).argmax() if len(labels) else None


def look_from_centre(cell, side):
    """Of the labelled pixels the nearest to the centre, by rows, then columns."""
    places = [(y, x) for y, x in np.ndindex(cell.shape) if cell[y, x] < C]
    if not places:
        return None
    half = side // 2
    return cell[min(places, key=lambda at: ((at[0] - half) ** 2 + (at[1] - half) ** 2, at))]


PLAIN = {"majority": vote, "nearest": look_from_centre}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(50, 61), (3, 5), (128, 96)])
def test_counts_are_those_of_cells_taken_one_by_one(way, size):
    target = draw(sum(size), *size)
    strides = (1, 2, 4, 5, 10, 16, 128)
    found = WAYS[way](target, C, strides)
    for stride, confusion in zip(strides, found, strict=True):
        wanted = np.zeros((C, C), int)
        for y in range(0, size[0], stride):
            for x in range(0, size[1], stride):
                cell = target[y : y + stride, x : x + stride]
                chosen = PLAIN[way](cell, stride)
                for label in cell[cell < C]:
                    wanted[label, chosen] += 1
        assert np.array_equal(confusion, wanted), stride


def test_ways_are_those_of_other_libraries():
    """Where whole cells fit and nothing is void: PIL's nearest, and scipy's most frequent."""
    from PIL import Image
    from scipy.stats import mode

    target = draw(3, 64, 96, void=0)
    target[target >= C] = 0
    small = Image.fromarray(target).resize((12, 8), Image.Resampling.NEAREST)
    nearest = np.asarray(small.resize((96, 64), Image.Resampling.NEAREST))
    cells = target.reshape(8, 8, 12, 8).swapaxes(1, 2).reshape(8, 12, 64)
    frequent = np.kron(mode(cells, axis=-1).mode, np.ones((8, 8), int))
    for way, coarse in {"nearest": nearest, "majority": frequent}.items():
        wanted = np.zeros((C, C), int)
        np.add.at(wanted, (target, coarse), 1)
        assert np.array_equal(WAYS[way](target, C, (8,))[0], wanted)


def test_whole_cells_lose_nothing_and_a_vote_is_right_at_least_as_often():
    blocks = np.kron(np.arange(4).reshape(2, 2), np.ones((128, 128))).astype(np.uint8)
    assert set(bound_strides([blocks], 4).values()) == {1.0}
    counts = {way: WAYS[way](draw(1, 90, 120), C) for way in WAYS}
    right = {way: np.trace(own, axis1=1, axis2=2) for way, own in counts.items()}
    assert (right["majority"] >= right["nearest"]).all()
    assert list(PUBLISHED) == list(STRIDES)


def test_a_data_sets_split_is_the_sum_of_its_masks():
    options = {"size": 32, "num_test": 3}
    dataset = open_dataset(DataSpec(options=options), None)
    found = bound_dataset(dataset, "test", strides=(8, 16))
    masks = [dataset.read("test", name)[1] for name in dataset.splits["test"]]
    for way, total in found.items():
        assert np.array_equal(total, sum(WAYS[way](mask, 6, (8, 16)) for mask in masks))
    miou = [summarize(one).miou for one in found["majority"]]
    assert miou == pytest.approx(list(bound_strides(masks, 6, (8, 16)).values()))


def test_any_target_of_a_data_set_has_a_bound(tmp_path):
    dataset = open_dataset(DataSpec(dataset="siftflow"), write_siftflow(tmp_path))
    found = bound_dataset(dataset, "test", target="geometric", strides=(4,))
    assert found["nearest"].shape == (1, 3, 3)
    with pytest.raises(InputError, match="did you mean 'geometric'"):
        bound_dataset(dataset, "test", target="geometry")
    with pytest.raises(InputError, match=r"stride 0 must lie in 1\.\.4096"):
        bound_dataset(dataset, "test", strides=(4, 0))
    with pytest.raises(InputError, match="unknown split of dataset siftflow: 'val'"):
        bound_dataset(dataset, "val")

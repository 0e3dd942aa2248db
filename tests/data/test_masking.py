"""What is hidden of images: the classes meant, by the mean colour, and nothing else."""

import numpy as np
import pytest
from small_datasets import write_folder

from bench.data.layers import Target
from bench.data.masking import find_hidden, masked
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.spec import DataSpec
from fcn.errors import InputError

MEAN, STD = (0.2, 0.4, 0.6), (0.25, 0.25, 0.25)
COLOUR = (51, 102, 153)
GROUND = DataSpec(background=("ground",))


def target_of(*names):
    return Target("semantic", names, tuple((k, 0, 0) for k in range(len(names))), 255)


@pytest.fixture
def whole(make_dataset, tmp_path):
    return pack(make_dataset("shapes"), tmp_path / "packs")


@pytest.mark.parametrize("mask", ["foreground", "background"])
def test_hidden_pixels_have_the_mean_colour_and_all_others_their_own(whole, mask):
    seen = masked(whole, mask, GROUND, MEAN, STD)
    for i in whole.indices("train"):
        image, label = whole.image(i), whole.target(i)
        for y in range(0, image.shape[0], 3):
            for x in range(image.shape[1]):
                is_background = label[y, x] == 0
                is_void = label[y, x] == whole.ignore_index
                hides = not is_void and is_background == (mask == "background")
                assert tuple(seen.image(i)[y, x]) == (COLOUR if hides else tuple(image[y, x]))
    assert (seen.target(0) == whole.target(0)).all()


def test_both_together_show_every_labelled_pixel_once(whole):
    front = masked(whole, "background", GROUND, MEAN, STD)
    back = masked(whole, "foreground", GROUND, MEAN, STD)
    for i in whole.indices("test"):
        mine, rest, image = front.image(i), back.image(i), whole.image(i)
        labelled = whole.target(i) != whole.ignore_index
        assert ((mine == image) | (rest == image)).all()
        both = (mine == image).all(2) & (rest == image).all(2) & labelled
        assert np.all(image[both] == COLOUR)  # by chance alone


def test_of_a_shape_nothing_but_its_outline_is_left(whole):
    seen = masked(whole, "shape", GROUND, MEAN, STD)
    for i in whole.indices("train"):
        label = whole.target(i)
        is_thing = (label > 0) & (label != whole.ignore_index)
        assert (seen.image(i)[is_thing] == 255).all()
        assert (seen.image(i)[~is_thing] == COLOUR).all()
        assert is_thing.any()
    assert (seen.target(0) == whole.target(0)).all()


def test_nothing_is_hidden_without_a_mask(whole):
    assert masked(whole, "none", GROUND, MEAN, STD) is whole


def test_classes_that_are_named_are_the_background(tmp_path):
    root = write_folder(tmp_path / "mine")
    whole = pack(open_dataset(DataSpec(dataset="folder"), root), tmp_path / "packs")
    data = DataSpec(background=(whole.class_names[1],))
    seen = masked(whole, "background", data, MEAN, STD)
    label = whole.target(0)
    assert (seen.image(0)[label == 1] == COLOUR).all()
    assert (seen.image(0)[label == 0] == whole.image(0)[label == 0]).all()


def test_which_classes_are_background_is_named_or_known_by_the_first_ones_name():
    hidden = find_hidden(target_of("Background", "a", "b"), "background", ())
    assert list(np.flatnonzero(hidden)) == [0]
    hidden = find_hidden(target_of("sky", "road", "car"), "background", ("road", "sky"))
    assert list(np.flatnonzero(hidden)) == [0, 1]
    hidden = find_hidden(target_of("sky", "road", "car"), "foreground", ("road", "sky"))
    assert list(np.flatnonzero(hidden)) == [2]


def test_what_cannot_be_known_is_refused():
    target = target_of("sky", "road", "car")
    with pytest.raises(InputError, match=r"is 'sky'; name them, as in data.background: \[sky\]"):
        find_hidden(target, "background", ())
    with pytest.raises(InputError, match=r"data.background: .*'roads'.*road"):
        find_hidden(target, "background", ("roads",))
    with pytest.raises(InputError, match="none is left as foreground"):
        find_hidden(target, "foreground", ("sky", "road", "car"))

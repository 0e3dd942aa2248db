"""Levers that are written wrongly: a sentence about the form that was meant, with the way out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from bench.settings.calls import require_arguments
from bench.spec import RunSpec, parse
from fcn.errors import InputError


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("loss", ["dice", "bce"], "a list; of several each has a weight: {NAME: 1.0, OTHER: 0.5}"),
        ("optimizer", ["sgd", "adamw"], "several are compared under `grid`, or as variants"),
        ("augment", "Grayscale", "Input should be a valid list, not 'Grayscale'"),
        ("aux", 32, "32 is no mapping; write one, of these keys: stride, weight"),
        (
            "groups",
            {"head": 2},
            "groups.head: 2 is no mapping; write one, of these keys: lr, decay",
        ),
        ("class_weights", {"beta": 0.9}, "has no `name`; write {name: NAME, ARGUMENT: VALUE}"),
        ("class_weights", None, "None is no name; write NAME"),
        ("crop", [32], "train.crop.1: the list is too short"),
        ("scale", [0.5, 1, 2], "train.scale: the list is too long, [0.5, 1, 2]; give 2"),
        ("loss", {"dice": "half"}, "dice has weight 'half'; give a number above 0"),
    ],
)
def test_the_way_out_is_said(key, value, said):
    with pytest.raises(InputError) as caught:
        parse(RunSpec, {"train": {key: value}}, where="here")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "whole"),
    [
        ("loss", {"dice": -1}, "loss.dice: Input should be greater than 0, not -1.0"),
        ("class_weights", [1, -1], "class_weights.1: Input should be greater than or equal to 0, "
         "not -1"),
    ],
)  # fmt: skip
def test_nothing_is_said_of_the_forms_that_were_not_meant(key, value, whole):
    with pytest.raises(InputError) as caught:
        parse(RunSpec, {"train": {key: value}}, where="here")
    assert str(caught.value) == f"here: train.{whole}"


def part(
    given,
    *,
    shares: Sequence[float] = (0.5,),
    patience: Annotated[int, Field(ge=1)] | None = None,
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    ends: tuple[float, float] = (0.0, 1.0),
    mode: Literal["soft", "hard"] = "soft",
    own: pytest.Item | None = None,
    where: Path = Path(),
    anything=0,
):
    """A plugin's part, which says what it takes."""


@pytest.mark.parametrize(
    "arguments",
    [
        {"shares": [1, 0.5]},
        {"patience": None},
        {"patience": 3, "beta": 0},
        {"ends": [0.1, 0.2]},
        {"mode": "hard", "own": 3, "where": "here", "anything": [1, "a"]},
    ],
)
def test_what_a_part_says_it_takes_is_taken(arguments):
    require_arguments("part: {}", part, arguments, given=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shares": 0.5}, "shares: Input should be a valid list, not 0.5"),
        ({"shares": "12"}, "shares: Input should be a valid list, not '12'"),
        ({"shares": [0.5, True]}, "shares: Input should be a valid number, not True"),
        ({"patience": 0}, "patience: Input should be greater than or equal to 1, not 0"),
        ({"patience": "3"}, "patience: Input should be a valid integer, not '3'"),
        ({"beta": 1}, "beta: Input should be less than 1, not 1"),
        ({"beta": True}, "beta must be float, not True"),
        ({"ends": [0.1]}, "ends: the list is too short"),
        ({"mode": "sharp"}, "mode: Input should be 'soft' or 'hard', not 'sharp'"),
        ({"betta": 1}, "betta: unknown option 'betta'; did you mean 'beta'?"),
    ],
)
def test_what_it_does_not_take_is_refused_before_training(arguments, said):
    with pytest.raises(InputError) as caught:
        require_arguments("part: {}", part, arguments, given=1)
    assert str(caught.value).startswith(f"part: {said}")

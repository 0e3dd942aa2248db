"""Outlines: what is known of a published data set before any of its files is there.

In: a data set's name and options. Out: sizes, classes, and where to get it: enough to plan a
question, build its networks and say what it will take.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.data.dataset import Dataset
from bench.data.facts import DatasetFacts
from bench.data.layers import SEMANTIC, Input, Target
from bench.settings.calls import require_arguments
from bench.spec import DataSpec
from fcn.errors import InputError
from fcn.registry import Registry


@dataclass(frozen=True)
class Outline:
    """A published data set, as far as it is the same for everybody."""

    num_images: Mapping[str, int]
    """Images of each split."""
    num_classes: int
    """Of its first target."""
    size: tuple[int, int]
    """Height and width of most images, in pixels."""
    fetch: str
    """What to fetch, and where to put it, after "unpack"."""
    more_inputs: tuple[Input, ...] = ()
    more_targets: tuple[Target, ...] = ()


OUTLINES: Registry[Callable[..., Outline]] = Registry("published dataset")
"""By a data set's name: what gives its outline, with the same options as its loader."""


def find_outline(data: DataSpec) -> Outline:
    """Return the outline of a spec's data set.

    Raises:
        InputError: None is known, or an option is wrong.
    """
    if data.dataset not in OUTLINES:
        raise InputError(
            f"of dataset {data.dataset!r} nothing is known before its files are read; give one of "
            f"{', '.join(OUTLINES)} with --set data.dataset=NAME, or leave --models out and give "
            "--data DIR"
        )
    outline = OUTLINES[data.dataset]
    what = f"data.options.{{}} of dataset {data.dataset!r}"
    require_arguments(what, outline, data.options, given=0)
    return outline(**data.options)


def outline_of(dataset: Dataset) -> Outline:
    """Return the outline of a data set whose files, if it has any, are at hand; reads an image."""
    split, names = next(iter(dataset.splits.items()))
    height, width = dataset.read(split, names[0])[1].shape
    return Outline(
        {split: len(names) for split, names in dataset.splits.items()},
        len(dataset.class_names),
        (height, width),
        "",
        dataset.more_inputs,
        dataset.more_targets,
    )


def outline_facts(data: DataSpec, outline: Outline) -> DatasetFacts:
    """Return the facts of a data set that a plan needs; its fingerprint stands for no files."""
    named = json.dumps(["outline", data.dataset, data.options], sort_keys=True)
    return DatasetFacts(
        fingerprint=hashlib.sha256(named.encode()).hexdigest(),
        num_images=dict(outline.num_images),
        num_classes=outline.num_classes,
        target_name=SEMANTIC,
        more_inputs=outline.more_inputs,
        more_targets={one.name: len(one.class_names) for one in outline.more_targets},
    )

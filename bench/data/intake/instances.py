"""Masks that number objects, not classes: recognised by how their values come and go, and said."""

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.data.class_map import Kind

LEAST_MASKS = 4
"""Masks from which on a pattern says anything."""
MANY = 20
"""Values or colours of which most are in one mask alone."""
COUNTED = 8
"""Objects of the mask that has most, where each is counted through."""
WAY_OUT = (
    ". Where they do, export masks of classes; of one class of objects write `object: {values: "
    "[...]}` with all of them in classes.yaml"
)


def say_instances(
    kind: Kind, masks: Sequence[Counter[int]], pixels: Mapping[int, int]
) -> list[str]:
    """Say that masks seem to number objects, if they do.

    Args:
        kind: What their keys are.
        masks: Of each mask, the pixels of each key.
        pixels: The same of all masks.
    """
    if len(masks) < LEAST_MASKS:
        return []
    in_one = sum(1 for key in pixels if sum(key in own for own in masks) == 1)
    if len(pixels) >= MANY and 2 * in_one > len(pixels):
        return [
            f"{in_one} of {len(pixels)} {kind} are in one mask each: they seem to number objects "
            f"(instances), not classes{WAY_OUT}"
        ]
    if kind == "values":
        counts = [_count_through(own) for own in masks]
        if None not in counts and len(set(counts)) > 2 and max(c or 0 for c in counts) >= COUNTED:
            return [
                "each mask counts from 1 on without a gap, some further than others: values seem "
                f"to number objects (instances), not classes{WAY_OUT}"
            ]
    return []


def _count_through(own: Counter[int]) -> int | None:
    """Return how far a mask counts from 1 on; None where it leaves a number out."""
    values = set(own) - {0}
    return len(values) if values == set(range(1, len(values) + 1)) else None

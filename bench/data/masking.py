"""Masking: foreground or background of images replaced by the mean colour, by the ground truth.

In: a pack and which of the two is hidden. Out: the pack whose images hide it. It tells how much a
network takes from the things, and how much from what is around them. Pixels that the first target
leaves void are neither, and stay; of `shape` all is hidden, and what is left is white on the mean.

Reference: Shelhamer, Long and Darrell, 2017 (the section on cues of foreground, background and
shape), arXiv:1605.06211.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.layers import Target
from bench.data.packs.pack import Pack
from bench.spec import DataSpec, MaskName
from fcn.errors import InputError
from fcn.registry import unknown_name

BACKGROUND = "background"
"""Name of the first class of data sets that have one, such as VOC."""


def masked(
    pack: Pack, mask: MaskName, data: DataSpec, mean: Sequence[float], std: Sequence[float]
) -> Pack:
    """Return a pack whose images hide their foreground or background.

    Args:
        pack: Decoded images.
        mask: What is hidden.
        data: Names the classes that are background.
        mean: What a network subtracts from each channel, on the scale 0..1: hidden pixels are 0 to
            it, but for rounding.
        std: Likewise, what it divides by.

    Raises:
        InputError: It is not known which classes are background.
    """
    if mask == "none":
        return pack
    scaled, _ = pack.scale_statistics(mean, std)
    most = np.iinfo(pack.pixel_type).max
    colour = np.clip(np.rint(255 * np.array(scaled)), 0, most).astype(pack.pixel_type)
    if mask != "shape":
        return pack.hiding(find_hidden(pack.targets[0], mask, data.background), colour)
    things = find_hidden(pack.targets[0], "foreground", data.background)
    return pack.hiding(~things, colour).hiding(things, np.full_like(colour, most))


def find_hidden(target: Target, mask: MaskName, background: Sequence[str]) -> NDArray[np.bool_]:
    """Return which labels are hidden, (256,).

    Args:
        target: The target whose labels decide.
        mask: What is hidden.
        background: Names of its classes that are background; none for the first, if that is called
            so.

    Raises:
        InputError: A name is no class, or it is not known which are background.
    """
    known = target.class_names
    names = list(background) or [name for name in known[:1] if name.lower() == BACKGROUND]
    if not names:
        raise InputError(
            f"to hide {mask} it has to be known which classes are background, and the first of "
            f"target {target.name!r} is {known[0]!r}; name them, as in data.background: "
            f"[{known[0]}]"
        )
    for name in names:
        if name not in known:
            raise InputError(f"data.background: {unknown_name('class', name, known)}")
    is_background = np.array([name in names for name in known])
    if is_background.all():
        raise InputError("data.background names all classes, and none is left as foreground")
    hidden = np.zeros(256, dtype=np.bool_)
    sides = {"background": is_background, "foreground": ~is_background}
    hidden[: len(known)] = sides.get(mask, True)  # of a shape both
    return hidden

"""One image seen several ways: mirrored, at other sizes, in tiles; probabilities averaged.

In: pixels and a network. Out: the probability of each class at each pixel. Of tiles that overlap
each pixel is taken from the one whose border is further away, so that an image is limited by the
memory of its own pixels and not by that of the network.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.errors import InputError

FLIP = "flip"
Probabilities = Callable[[NDArray[np.uint8], float, bool], Tensor]
"""(pixels (H, W, K), scale, flipped) -> probabilities (C, H, W), turned back."""


@dataclass(frozen=True)
class Views:
    """How an image is looked at."""

    scales: tuple[float, ...] = (1.0,)
    """Factors on top of the network's own resize; 1 is among them."""
    flip: bool = False
    """Whether each is seen mirrored too."""
    tile: tuple[int, int] | None = None
    """Height and width of tiles in pixels of the image; None for whole images."""
    overlap: int = 0
    """Pixels that neighbouring tiles share."""
    size: tuple[int, int] | None = None
    """Height and width that the network sees of every image, in place of its own resize."""

    @property
    def is_plain(self) -> bool:
        """Whether an image is seen once and whole, as runs are scored."""
        return self == Views()

    def __str__(self) -> str:
        parts = [FLIP] * self.flip + [f"{scale:g}" for scale in self.scales if scale != 1]
        if self.tile is not None:
            parts.append(f"tiles {self.tile[0]}x{self.tile[1]}+{self.overlap}")
        if self.size is not None:
            parts.append(f"at {self.size[0]}x{self.size[1]}")
        return ", ".join(parts) or "whole"

    @classmethod
    def read(
        cls, tta: str = "", tile: str = "", overlap: int | None = None, size: str = ""
    ) -> "Views":
        """Read what a command was given.

        Args:
            tta: Such as "flip,0.75,1.25"; the image as it is comes along.
            tile: "HEIGHTxWIDTH", or one number for both.
            overlap: Pixels; None for a quarter of the tile's smaller side.
            size: "HEIGHTxWIDTH" of what the network sees of an image, or one number for both.

        Raises:
            InputError: It is something else.
        """
        scales, flip = [1.0], False
        for word in filter(None, (part.strip() for part in tta.split(","))):
            if word == FLIP:
                flip = True
                continue
            scale = _number(word)
            if scale is None or not 0.1 <= scale <= 4:
                raise InputError(
                    f"--tta {tta}: {word!r} is neither {FLIP} nor a factor of the image's size "
                    "between 0.1 and 4; give some of them, as in --tta flip,0.75,1.25"
                )
            scales.append(scale)
        if tile and size:
            raise InputError("--size is that of whole images, and --tile cuts them: give one")
        sides = _sides("--tile", tile) if tile else None
        shared = 0
        if sides is not None:
            shared = min(sides) // 4 if overlap is None else overlap
            if not 0 <= shared < min(sides):
                raise InputError(
                    f"--overlap {shared} is not below the tile's smaller side, {min(sides)}; give "
                    f"{min(sides) // 4}, say"
                )
        elif overlap is not None:
            raise InputError("--overlap is that of tiles; give their size too, as in --tile 512")
        seen = _sides("--size", size) if size else None
        return cls(tuple(dict.fromkeys(scales)), flip, sides, shared, seen)


@dataclass(frozen=True)
class Part:
    """A tile, and what of the whole is taken from it."""

    seen: tuple[slice, slice]
    """Rows and columns of the image."""
    kept: tuple[slice, slice]
    """Rows and columns of the tile."""
    place: tuple[slice, slice]
    """Where these go in the whole."""


def parts_of(size: tuple[int, int], views: Views) -> Iterator[Part]:
    """Yield the tiles of an image; what they keep is each pixel once."""
    tile = views.tile or size
    axes = [
        list(_intervals(length, side, views.overlap))
        for length, side in zip(size, tile, strict=True)
    ]
    for row in axes[0]:
        for column in axes[1]:
            yield Part(*((a, b) for a, b in zip(row, column, strict=True)))


def average(pixels: NDArray[np.uint8], views: Views, look: Probabilities) -> Tensor:
    """Return the mean of the probabilities of all views but tiles, (C, H, W) float32."""
    total: Tensor | None = None
    for scale in views.scales:
        for flipped in (False, True) if views.flip else (False,):
            seen = look(pixels, scale, flipped)
            total = seen if total is None else total + seen
    assert total is not None
    return total / (len(views.scales) * (1 + views.flip))


def _intervals(length: int, side: int, overlap: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield what of one axis each tile sees, keeps of it, and where that goes."""
    if length <= side:
        yield slice(0, length), slice(0, length), slice(0, length)
        return
    count = math.ceil((length - overlap) / (side - overlap))
    starts = [round(i * (length - side) / (count - 1)) for i in range(count)]
    # Half of what two tiles share goes to each.
    cuts = [(first + side + second) // 2 for first, second in itertools.pairwise(starts)]
    for start, low, high in zip(starts, [0, *cuts], [*cuts, length], strict=True):
        yield slice(start, start + side), slice(low - start, high - start), slice(low, high)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _sides(option: str, text: str) -> tuple[int, int]:
    words = text.lower().split("x")
    if len(words) > 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise InputError(f"{option} {text}: give HEIGHTxWIDTH in pixels, or one number for both")
    return int(words[0]), int(words[-1])


def softmax_at(
    scores: Tensor, up: Callable[[Tensor, tuple[int, int], tuple[int, int]], Tensor],
    size: tuple[int, int], cells: tuple[int, int], flipped: bool,
) -> Tensor:  # fmt: skip
    """Return the probabilities of one image at `size`, (C, H, W) float32, turned back.

    Args:
        scores: Coarse logits, (1, C, h, w).
        up: Takes them to pixels.
        size: Height and width of the result.
        cells: Height and width of what the network saw.
        flipped: Whether it saw the image mirrored.
    """
    logits = up(scores, size, cells).float()
    return (logits.flip(-1) if flipped else logits)[0].softmax(0)


def largest(probabilities: Tensor) -> NDArray[np.uint8]:
    """Return the most probable class of each pixel, (H, W)."""
    found: NDArray[np.uint8] = probabilities.argmax(0).to(torch.uint8).cpu().numpy()
    return found

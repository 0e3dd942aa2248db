"""Which values or colours a smeared mask meant, before JPEG or interpolation spread them.

In: masks, and how a person wants their keys found. Out: the keys to take the others for. What was
meant is found where masks are flat: at edges JPEG makes values of its own.
"""

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from bench.data.class_map import Kind, channels, count_keys, rgb_of
from bench.data.cores import try_each
from bench.data.intake.masks import PairFacts
from bench.data.intake.tables import Table
from bench.data.intake.usable import Usable
from bench.data.raw_masks import read_raw_mask
from fcn.errors import InputError

Snap = str
"""Nothing; `auto`, the frequent ones; `table`, those of the table; or a number, its multiples."""

FREQUENT = 1e-3
"""Least share of all pixels of a key that was meant."""
MANY = 16
"""Keys from which on some may be of smooth edges."""
NUM_LOOKED_AT = 32
"""Masks that tell which keys are thin."""
FLAT = 6
"""Levels by which neighbours within a region of one class differ at most."""
APART = 12
"""Least distance of two that were meant, in levels, squared and summed over channels for colours:
what JPEG makes of a flat region is nearer."""


def snapped_keys(snap: Snap, usable: Usable, table: Table) -> list[int]:
    """Return the keys that masks meant; reads disk for `auto`.

    Raises:
        InputError: What is asked for cannot be had.
    """
    kind = usable.kind
    total = sum(usable.counts.values(), Counter[int]())
    if snap == "table":
        known = table.by_value if kind == "values" else table.by_colour
        if not known:
            raise InputError(
                f"--snap table: there is no table of {kind}; give one with --classes FILE, a name "
                "and its value or colour on each line"
            )
        return sorted(known)
    if snap == "auto":
        return _frequent(_count_flat(usable), kind)
    if not snap.isdigit() or not 1 <= int(snap) <= 255:
        raise InputError(
            f"--snap {snap}: write auto, table, or the step between values, such as 20"
        )
    if kind != "values":
        raise InputError(f"--snap {snap} is for grey masks, and these hold colours; write auto")
    step = int(snap)
    found: Counter[int] = Counter()
    for key, pixels in total.items():
        found[round(key / step) * step] += pixels
    least = FREQUENT / 2 * sum(found.values())
    kept = sorted(key for key, pixels in found.items() if pixels >= least and key <= 255)
    # Between two that were meant an edge may hide one; beyond the outermost it only overshoots.
    peaks = [key for key in kept if _is_peak(total, key, step)]
    return [key for key in kept if peaks and peaks[0] <= key <= peaks[-1]]


def find_thin(usable: Usable) -> set[int]:
    """Return the keys that fill no area in some of the masks; none where there are few; reads disk.

    What smooth edges mix of two classes is thin everywhere, however many pixels it has.
    """
    if len(set().union(*usable.counts.values())) < MANY:
        return set()
    some = usable.facts[:: -(-len(usable.facts) // NUM_LOOKED_AT)]
    flat = _count_flat(replace(usable, facts=some))
    return {key for one in some for key in usable.counts[one.pair.name]}.difference(flat)


def _is_peak(total: Counter[int], key: int, step: int) -> bool:
    """Tell a value that was meant from what JPEG makes beside an edge: there are more of it."""
    reach = max(1, step // 8)

    def around(value: int) -> int:
        return sum(total[near] for near in range(value - reach, value + reach + 1))

    sides = [side for side in (key - step // 2, key + step // 2) if 0 <= side <= 255]
    return step < 4 or all(around(key) > around(side) for side in sides)


def _count_flat(usable: Usable) -> Counter[int]:
    """Count the keys of pixels whose neighbours in their mask are all but the same; reads disk."""

    def count(one: PairFacts) -> Counter[int]:
        keys, _ = read_raw_mask(
            one.pair.mask, usable.kind, channel=usable.channel, upright=usable.upright, lossy=True
        )
        levels = keys[..., None] if usable.kind == "values" else channels(keys)
        near = np.lib.stride_tricks.sliding_window_view(levels, (3, 3), axis=(0, 1))
        flat = (np.ptp(near, axis=(-2, -1)) <= FLAT).all(-1)
        return count_keys(keys[1:-1, 1:-1][flat])

    counted: Counter[int] = Counter()
    for found in try_each(count, usable.facts):
        counted += found if isinstance(found, Counter) else Counter()  # it was read before
    return counted


def _frequent(flat: Counter[int], kind: Kind) -> list[int]:
    """Return the frequent keys, of those close together the most frequent one."""
    least = FREQUENT * sum(flat.values())
    chosen: list[int] = []
    for key, pixels in flat.most_common():
        if pixels < least:
            break
        if all(_distance(key, other, kind) > APART for other in chosen):
            chosen.append(key)
    return sorted(chosen)


def _distance(a: int, b: int, kind: Kind) -> float:
    if kind == "values":
        return abs(a - b)
    return math.dist(rgb_of(a), rgb_of(b))

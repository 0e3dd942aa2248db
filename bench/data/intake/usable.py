"""Which pairs can be used, how they are read, and what their masks hold.

In: pairs. Out: those that can be used, with the pixels of each value or colour, and a sentence for
each that cannot.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bench.data.class_map import Kind
from bench.data.cores import Progress, try_each
from bench.data.intake.masks import Look, PairFacts, Size, count_mask, look_at
from bench.data.intake.pairing import Pair
from bench.data.intake.tables import Table
from bench.data.raw_masks import Channel
from bench.text import number_of

SNAPPING = (
    ". Or take each pixel for the nearest class: `--snap auto`, `--snap 20` for values in steps of "
    "20, `--snap table` with --classes FILE"
)

DIFFERING = (
    "palettes give one index several colours: classes are told by their colours, not by indices"
)


@dataclass(frozen=True)
class Usable:
    """Pairs, and how they are to be read."""

    facts: tuple[PairFacts, ...]
    upright: bool = True
    """Orientations are applied; else images and masks are taken as they are stored."""
    kind: Kind = "values"
    channel: Channel = "colour"
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    """By name, pixels of each value or colour."""
    problems: tuple[str, ...] = ()
    """Why other pairs cannot be used."""
    said: tuple[str, ...] = ()


def find_usable(
    pairs: Sequence[Pair], table: Table, *, lossy: bool, progress: Progress | None = None
) -> Usable:
    """Look at all pairs, and count what their masks hold; reads disk.

    Args:
        pairs: All pairs.
        table: Names of classes: palettes are taken for their colours where it has these alone.
        lossy: Take JPEGs too.
        progress: Called with the number of pairs looked at, and of all.
    """
    seen = _look(pairs, progress)
    judged = _judge_kind(_fit_sizes(_fit_bands(seen)), table)
    return _count(_fit_transparency(judged), lossy, progress)


def _look(pairs: Sequence[Pair], progress: Progress | None) -> Usable:
    facts, problems = [], []
    for found in try_each(look_at, pairs, progress):
        if isinstance(found, str):
            problems.append(found)
        else:
            facts.append(found)
    return Usable(tuple(facts), problems=tuple(problems))


def _fit_bands(given: Usable) -> Usable:
    """Name images of other bands than most have."""
    numbers = Counter(one.image.bands for one in given.facts)
    usual = numbers.most_common(1)[0][0] if numbers else 0
    problems = [
        f"{one.pair.image} has {_say_bands(one.image.bands)}, and most images have "
        f"{_say_bands(usual)}; give all images the same bands"
        for one in given.facts
        if one.image.bands != usual
    ]
    facts = tuple(one for one in given.facts if one.image.bands == usual)
    return replace(given, facts=facts, problems=(*given.problems, *problems))


def _say_bands(number: int) -> str:
    return f"{number_of(number, 'band')} of up to 16 bits" if number else "colours of 8 bits"


def _fit_sizes(all_of_them: Usable) -> Usable:
    """Find out whether orientations are to be applied, and name pairs of two sizes."""
    facts = all_of_them.facts
    as_shown = [one.image.upright == one.mask.upright for one in facts]
    as_stored = [one.image.size == one.mask.size for one in facts]
    upright = sum(as_shown) >= sum(as_stored)
    fits = as_shown if upright else as_stored
    problems = [_say_sizes(one, upright) for one, does in zip(facts, fits, strict=True) if not does]
    return replace(
        all_of_them,
        facts=tuple(one for one, does in zip(facts, fits, strict=True) if does),
        upright=upright,
        problems=(*all_of_them.problems, *problems),
        said=_say_turned(facts, upright, as_shown != as_stored),
    )


def _say_sizes(one: PairFacts, upright: bool) -> str:
    image, mask = (k.upright if upright else k.size for k in (one.image, one.mask))
    sizes = f"{one.pair.image} is {_written(image)} pixels and its mask {one.pair.mask} "
    sizes += _written(mask)
    if image == mask[::-1] and max(one.image.orientation, one.mask.orientation) > 1:
        return f"{sizes}; an EXIF orientation turns one of them: turn the other the same way"
    return f"{sizes}; make them one size (masks by nearest neighbour only)"


def _say_turned(facts: Sequence[PairFacts], upright: bool, sizes_tell: bool) -> tuple[str, ...]:
    turned = [one for one in facts if max(one.image.orientation, one.mask.orientation) > 1]
    if not turned:
        return ()
    has, are, they = ("has", "is", "it is") if len(turned) == 1 else ("have", "are", "they are")
    how = "turned upright" if upright else f"taken as {they} stored (`exif: ignore`)"
    doubt = (
        "; sizes cannot tell whether masks were drawn on what a viewer shows: look at the page, "
        "and write `exif: ignore` if they were not"
    )
    said = f"{number_of(len(turned), 'image')} {has} an EXIF orientation and {are} {how}"
    return (said if sizes_tell else said + doubt,)


def _written(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _judge_kind(given: Usable, table: Table) -> Usable:
    """Say whether masks hold values or colours, and where."""
    masks = [one.mask for one in given.facts]
    if masks and all(look.varied_alpha for look in masks):
        is_image = all(one.pair.image == one.pair.mask for one in given.facts)
        if is_image or not any(look.varied_colour for look in masks):
            return replace(given, kind="values", channel="alpha")
    has_values = all(look.is_grey or look.palette for look in masks)
    painted = [look for look in masks if look.palette]
    if not has_values or (painted and _differ(painted)):
        said = () if not has_values else (DIFFERING,)
        return replace(given, kind="colours", said=(*given.said, *said))
    by_colour = len(painted) == len(masks) and table.by_colour and not table.by_value
    return replace(given, kind="colours" if by_colour else "values")


def _differ(painted: Sequence[Look]) -> bool:
    """Say whether one index has several colours, and colours rather than indices are classes."""
    colours: dict[int, set[tuple[int, ...]]] = {}
    for look in painted:
        for index, colour in look.painted.items():
            colours.setdefault(index, set()).add(colour)
    is_one = all(len(own) == 1 for own in colours.values())
    return not is_one and len(set().union(*colours.values())) <= len(colours)


def _fit_transparency(given: Usable) -> Usable:
    """Name images that are transparent where that is not the mask."""
    if given.channel == "alpha":
        return given
    facts = tuple(one for one in given.facts if not one.image.num_clear)
    problems = tuple(
        f"{one.pair.image} has {one.image.num_clear} transparent pixels; save it without "
        "transparency"
        for one in given.facts
        if one.image.num_clear
    )
    return replace(given, facts=facts, problems=(*given.problems, *problems))


def _count(given: Usable, lossy: bool, progress: Progress | None) -> Usable:
    """Read every mask; name those that cannot be read."""

    def count(one: PairFacts) -> Counter[int]:
        return count_mask(
            one.pair.mask, given.kind, given.channel, upright=given.upright, lossy=lossy
        )

    counts: dict[str, Counter[int]] = {}
    problems, facts = list(given.problems), []
    found = try_each(count, given.facts, progress)
    for one, own in zip(given.facts, found, strict=True):
        if isinstance(own, str):
            problems.append(own if one.mask.exact else f"{own}{SNAPPING}")
            continue
        facts.append(one)
        counts[one.pair.name] = own
    return replace(given, facts=tuple(facts), counts=counts, problems=tuple(problems))

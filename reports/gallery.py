"""The pictures of a report: all variants on a few images, what two get wrong, close-ups.

In: a `Study`. Out: illustrations, and the rule by which they were chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.text import clean
from reports.choice import Pair, choose_pair
from reports.closeups import draw_closeups, draw_errors
from reports.illustration import Illustration, illustrate
from reports.panels import Picture, load_pictures
from reports.pictures import draw_picture
from reports.study import Study, cut_plan, is_grouped

MAX_CELLS = 12
"""Variants that a picture is shown under."""


@dataclass(frozen=True)
class Gallery:
    """Pictures with the rule that chose them."""

    pair: Sequence[Illustration]
    """Errors and close-ups of two variants."""
    pictures: Sequence[Illustration]
    """Each picture under every variant."""
    rule: str
    """By what rule they were chosen or, without any, why there are none."""
    omission: str = ""
    """Which variants they leave out."""


def draw_gallery(study: Study) -> Gallery:
    """Draw the pictures of a study, as far as the store still holds them."""
    is_ranked = study.is_ranked()
    pair = choose_pair(study.drawn, study.store, study.summary) if is_ranked else None
    always = [pair.before.variant, pair.after.variant] if pair else []
    shown = cut_plan(study.drawn, study.drawn_summary, MAX_CELLS, always, is_ranked=is_ranked)
    pictures, rule = load_pictures(shown, study.store, pair)
    grouped = is_grouped(study.runs[study.runs["variant"].isin(shown.variants)])
    drawn = [
        illustrate(
            f"picture-{number}",
            f"Picture {number}",
            clean(f"{picture.name}: {picture.why}" if picture.why else picture.name),
            draw_picture(picture, grouped=grouped),
            svg=False,
        )
        for number, picture in enumerate(pictures, start=1)
    ]
    left_out = len(study.plan.variants) - len(shown.variants)
    which = " of lower mIoU" if is_ranked else ""
    omission = f"{left_out} variants{which} are left out." if left_out and drawn else ""
    shown_pair = _draw_pair(pictures, pair, study.names) if pair else []
    return Gallery(shown_pair, drawn, rule, omission)


def _draw_pair(
    pictures: Sequence[Picture], pair: Pair, shown: Mapping[str, str]
) -> list[Illustration]:
    before, after = pair.before.variant, pair.after.variant
    both = [p for p in pictures if p.pred(before) is not None and p.pred(after) is not None]
    if not both:
        return []
    names = clean(f"{shown[before]} and {shown[after]}, {pair.why}")
    closeups, errors = draw_closeups(both, before, after), draw_errors(both, before, after)
    return [
        illustrate("closeups", "Close-ups", _CLOSEUPS.format(names=names), closeups, svg=False),
        illustrate("errors", "Errors", _ERRORS.format(names=names), errors, svg=False),
    ]


_CLOSEUPS = (
    "Of {names}: the part of each picture (white frame, three tenths of either side) in which "
    "their predictions differ in most pixels near an edge of the target. At the right what changed "
    "from the first to the second, with the pixels it repaired and broke there."
)
_ERRORS = "Of {names}: counted pixels that are wrong, over the whole picture."

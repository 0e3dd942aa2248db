"""The images of a report: all variants on a few images, what two get wrong, close-ups.

In: a `Study`. Out: illustrations, and the rule by which they were chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.text import clean, number_of
from fcn.errors import InputError
from reports.figures.illustration import Illustration, illustrate
from reports.images.choice import Pair, choose_pair
from reports.images.closeups import draw_closeups, draw_errors
from reports.images.drawing import draw_panel
from reports.images.kept import open_kept
from reports.images.linked import Linked, link_images
from reports.images.panels import Panel, load_panels
from reports.study import Study, cut_plan, is_grouped
from reports.style import label, percent

MAX_CELLS = 12
"""Variants that an image is shown under."""


@dataclass(frozen=True)
class Gallery:
    """Images with the rule that chose them."""

    pair: Sequence[Illustration]
    """Errors and close-ups of two variants."""
    images: Sequence[Illustration]
    """Each image under every variant."""
    rule: str
    """By what rule they were chosen or, without any, why there are none."""
    omission: str = ""
    """Which variants they leave out."""
    linked: Linked | None = None
    """What the page's script shows of more images, two variants at a time."""


def draw_gallery(study: Study) -> Gallery:
    """Draw the images of a study, as far as the store still holds them."""
    is_ranked = study.is_ranked()
    pair = choose_pair(study.drawn, study.store, study.summary) if is_ranked else None
    always = [pair.before.variant, pair.after.variant] if pair else []
    shown = cut_plan(study.drawn, study.drawn_summary, MAX_CELLS, always, is_ranked=is_ranked)
    try:
        kept = open_kept(shown, study.store)
    except InputError as error:
        return Gallery([], [], str(error))
    try:
        images, rule = load_panels(kept, study.store, pair)
        order = _order_variants(study, always, shown.variants)
        linked = link_images(kept, study.store, pair, order, study.names)
    except InputError as error:
        return Gallery([], [], f"No images are shown: {clean(str(error))}.")
    grouped = is_grouped(study.runs[study.runs["variant"].isin(shown.variants)])
    drawn = [
        illustrate(
            f"image-{number}",
            f"Image {number}",
            clean(f"{image.name}: {image.why}" if image.why else image.name),
            draw_panel(image, grouped=grouped),
            _tell_panel(image, study.names),
            svg=False,
        )
        for number, image in enumerate(images, start=1)
    ]
    left_out = len(study.plan.variants) - len(shown.variants)
    which = f" of lower {label(study.primary)}" if is_ranked else ""
    told = f"{number_of(left_out, 'variant')}{which} {'is' if left_out == 1 else 'are'} left out."
    omission = told if left_out and drawn else ""
    shown_pair = _draw_pair(images, pair, study.names) if pair else []
    return Gallery(shown_pair, drawn, rule, omission, linked)


def _order_variants(study: Study, always: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Order variants by how much a reader wants to see them: pair, baseline, then the best."""
    baseline = [name for name in shown if name == study.plan.baseline]
    score = f"{study.primary}_mean"
    ranked = study.summary.sort_values(score, ascending=False, kind="stable")["variant"]
    rest = [name for name in (ranked if study.is_ranked() else shown) if name in shown]
    return list(dict.fromkeys([*always, *baseline, *rest]))


def _draw_pair(images: Sequence[Panel], pair: Pair, shown: Mapping[str, str]) -> list[Illustration]:
    before, after = pair.before.variant, pair.after.variant
    both = [p for p in images if p.pred(before) is not None and p.pred(after) is not None]
    if not both:
        return []
    names = clean(f"{shown[before]} and {shown[after]}, {pair.why}")
    closeups, errors = draw_closeups(both, before, after), draw_errors(both, before, after)
    wrong = "; ".join(_tell_errors(image, before, after, shown) for image in both)
    told = f"Counted pixels that are wrong: {wrong}."
    return [
        illustrate(
            "closeups", "Close-ups", _CLOSEUPS.format(names=names), closeups, told, svg=False
        ),
        illustrate("errors", "Errors", _ERRORS.format(names=names), errors, told, svg=False),
    ]


def _tell_panel(image: Panel, shown: Mapping[str, str]) -> str:
    """Say how much of an image each variant has right, as the cells below it do."""
    right = [f"{shown[cell.variant]} {cell.note}" for cell in image.cells if cell.pred is not None]
    return clean(f"{image.name}, pixel accuracy: {', '.join(right)}.") if right else ""


def _tell_errors(image: Panel, before: str, after: str, shown: Mapping[str, str]) -> str:
    counted = image.target != image.ignore_index
    told = [
        f"{shown[name]} {percent(float((pred != image.target)[counted].mean()))} %"
        for name in (before, after)
        if (pred := image.pred(name)) is not None and counted.any()
    ]
    return clean(f"{image.name}: {' and '.join(told)}")


_CLOSEUPS = (
    "Of {names}: the part of each image (white frame, three tenths of either side) in which "
    "their predictions differ in most pixels near an edge of the target. At the right what changed "
    "from the first to the second, with the pixels it repaired and broke there."
)
_ERRORS = "Of {names}: counted pixels that are wrong, over the whole image."

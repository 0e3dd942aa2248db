"""Figures that are taken over from a report's folder: what they were drawn from is not there.

In: a store, and what could be drawn. Out: illustrations of the rest, with a sentence that says so.
"""

from collections.abc import Iterator, Sequence

from bench.store.runs import Store
from reports.figures.illustration import Illustration
from reports.files import DRAWINGS, FORMS
from reports.results.records_file import Drawn
from reports.results.report_folder import ReportFolder

TAKEN = " Taken over as it was: logs and images, from which it was drawn, are not beside a report."


def take_over(store: Store, drawn: Sequence[Illustration]) -> Iterator[Illustration]:
    """Yield the figures that a report's folder has beside those that were drawn anew."""
    if not isinstance(store, ReportFolder):
        return
    known = {one.name for one in drawn}
    for one in store.figures:
        paths = {form: store.root / "figures" / f"{one.name}{form}" for form in FORMS}
        # A name of somebody else's could lead out of the folder.
        if one.name in DRAWINGS and one.name not in known:
            files = {form: path.read_bytes() for form, path in paths.items() if path.is_file()}
            if ".svg" in files:
                caption = one.caption.removesuffix(TAKEN) + TAKEN
                words = one.name, one.title, caption
                size = one.width, one.height
                yield Illustration(*words, *size, files, one.marks, one.variants, one.finding)


def describe_drawn(figures: Sequence[Illustration]) -> tuple[Drawn, ...]:
    """Return what `records.json` keeps of figures."""
    return tuple(
        Drawn(
            one.name, one.title, one.caption, one.width, one.height,
            tuple(one.marks), tuple(one.variants), one.finding,
        )
        for one in figures
    )  # fmt: skip

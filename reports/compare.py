"""Two plans side by side, each with its store: what changed, variant by variant, and by how much.

In: two `Side`s, whose variants are matched by name and whose runs are paired by seed. Out: a frame
of raw values, and a table of text. There is a difference only where both were judged on the same
images by the same classes; it has an interval where both have counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.outputs.folder import Outputs
from bench.plan import Plan
from bench.store.evaluation_file import UnusableCountsError
from bench.store.records import Reason
from bench.store.runs import Store
from bench.text import clean
from reports.formats import Table, to_csv, to_markdown
from reports.remarks import find_remarks, name_means
from reports.results.counts import read_counts
from reports.results.frame import Record, read_records, runs_frame
from reports.stats.bootstrap import NUM_RESAMPLES
from reports.stats.comparability import find_comparability
from reports.stats.contrasts import PRIMARY, Findings, find_contrasts
from reports.stats.pairs import Arm, measure_arm, why_no_pairs
from reports.stats.units import Resamples
from reports.style import MISSING, percent, points
from reports.tables.provenance import list_changes

PAGE, TABLE = "compare.md", "compare.csv"

SHOWN = ("miou", "pixel_acc")
"""Scores that are compared."""
SIDES = ("before", "after")


@dataclass(frozen=True)
class Side:
    """One of the two."""

    name: str
    plan: Plan
    store: Store


def compare_sides(before: Side, after: Side) -> pd.DataFrame:
    """Compare two sides.

    Returns:
        A row for each variant of either, in order: `variant`, `num_before` and `num_after`
        (finished seeds), `num_pairs` (seeds that both finished), `same_runs`; for each score
        `<score>_before`, `<score>_after` (means), `<score>_diff`, `<score>_low`, `<score>_high`
        (95 %; of mIoU for all variants at once, of others its own); `verdict` on mIoU (shown, not
        shown, equivalent, empty where one seed gives none); `changed` (settings, software and
        device that differ), `note` (why something is missing, and what must be known of the runs).
    """
    sides = (before, after)
    records = [read_records(side.plan, side.store) for side in sides]
    frames = [
        runs_frame(side.plan, side.store, found) for side, found in zip(sides, records, strict=True)
    ]
    resamples = Resamples(NUM_RESAMPLES)
    variants = dict.fromkeys([*before.plan.variants, *after.plan.variants])
    parts = [
        _Variant(
            name,
            [[r for r in found if r.planned.variant == name] for found in records],
            [frame[frame["variant"] == name].set_index("seed") for frame in frames],
        )
        for name in variants
    ]
    measured = [_measure(one, sides, resamples) for one in parts]
    arms = [found for found, _ in measured]
    findings = _find_changes(parts, arms, after.plan.margin)
    rows = [
        {"variant": one.name} | _compare(one, sides, *found, findings)
        for one, found in zip(parts, measured, strict=True)
    ]
    return pd.DataFrame(rows)


def _find_changes(
    variants: Sequence["_Variant"], arms: Sequence[Sequence[Arm]], margin: float | None
) -> Findings:
    """Judge what changed in all variants together, as one family; what is equal is no change."""
    changed = {
        one.name: own
        for one, own in zip(variants, arms, strict=True)
        if own and not why_no_pairs(*own) and not np.array_equal(own[0].points, own[1].points)
    }
    whole = {
        _side_of(name, side): arm
        for name, own in changed.items()
        for side, arm in zip(SIDES, own, strict=True)
    }
    effects = [{_side_of(name, SIDES[0]): -1.0, _side_of(name, SIDES[1]): 1.0} for name in changed]
    return find_contrasts(whole, effects, margin=margin, all_pairs=False)


def _side_of(variant: str, side: str) -> str:
    return f"{variant}, {side}"


def compare_table(frame: pd.DataFrame) -> Table:
    """Show a comparison: scores in percent, differences in points with their interval."""
    cells = pd.DataFrame({"variant": [clean(name) for name in frame["variant"]]})
    cells["seeds"] = [
        f"{a} → {b}" for a, b in zip(frame["num_before"], frame["num_after"], strict=True)
    ]
    for score, title in (("miou", "mIoU"), ("pixel_acc", "pixel acc")):
        for part in ("before", "after"):
            cells[f"{title} {part}"] = [percent(value) for value in frame[f"{score}_{part}"]]
        values = frame[[f"{score}_{name}" for name in ("diff", "low", "high")]].to_numpy(float)
        cells[f"Δ {title}"] = [_with_ends(*row) for row in values]
        if score == PRIMARY:
            cells["verdict"] = [word or MISSING for word in frame["verdict"]]
    cells["what changed"] = [clean(text) or MISSING for text in frame["changed"]]
    cells["note"] = [clean(text) or MISSING for text in frame["note"]]
    return Table(cells, frozenset(cells.columns[2:-2]))


def to_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return plain values for JSON: what is not known is None."""
    rows = frame.to_dict("records")
    return [{str(k): None if v != v else v for k, v in row.items()} for row in rows]


def open_comparison(before: str, after: str, out_dir: Path) -> Outputs:
    """Open a folder for the comparison of two sides, and see that it can be written there.

    Raises:
        InputError: There are files of its names that are not of this comparison.
        OSError: Nothing can be written there.
    """
    page = out_dir / PAGE
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    first = text.partition("\n")[0]
    is_ours = first.startswith("# `") and text.endswith((_NOTE, _EARLIER_NOTE))
    written = (PAGE, TABLE) if is_ours else ()
    of = {"sides": _heading(before, after)}
    earlier = {name: {"sides": first} for name in written}
    outputs = Outputs(out_dir, by="comparison", of=of, earlier=earlier)
    outputs.require((TABLE, PAGE))
    return outputs


def write_comparison(
    frame: pd.DataFrame, before: str, after: str, out_dir: Path, remarks: Sequence[str] = ()
) -> Path:
    """Write `compare.csv` and `compare.md`, which ends in `remarks`; return the latter's path.

    Raises:
        InputError: As `open_comparison`.
    """
    table = to_markdown(compare_table(frame))
    notes = "".join(f"- {clean(one)}\n" for one in remarks)
    text = f"{_heading(before, after)}\n\n{table}\n{notes}{_NOTE}"
    contents = {TABLE: to_csv(frame).encode(), PAGE: text.encode()}
    open_comparison(before, after, out_dir).write(contents)
    return out_dir / PAGE


def _heading(before: str, after: str) -> str:
    return "# {} → {}".format(
        *(f"`{clean(name).replace('`', chr(39))}`" for name in (before, after))
    )


_NOTE = (
    "Means over finished seeds in percent; Δ in points, with its 95 % interval over images and "
    "seeds where both were judged on the same images, of mIoU for all variants at once: a change "
    "is shown where that leaves zero out.\n"
)
_EARLIER_NOTE = (
    "Means over finished seeds in percent; Δ in points over the seeds that both finished, with "
    "its 95 % interval over images and seeds where both were judged on the same images.\n"
)
"""The end of a page of version 0.1, which kept no list of its files."""


def _with_ends(diff: float, low: float, high: float) -> str:
    return points(diff) + ("" if np.isnan(low) else f" [{points(low)}, {points(high)}]")


@dataclass(frozen=True)
class _Variant:
    """One variant on both sides, which one of them may lack."""

    name: str
    records: Sequence[Sequence[Record]]
    runs: Sequence[pd.DataFrame]

    @property
    def is_same(self) -> bool:
        """Whether both sides are the same runs."""
        ids = [set(frame["run_id"]) for frame in self.runs]
        return bool(ids[0]) and ids[0] == ids[1]


def _compare(
    variant: _Variant,
    sides: Sequence[Side],
    arms: Sequence[Arm],
    note: str,
    findings: Findings,
) -> dict[str, Any]:
    runs, records = variant.runs, variant.records
    done = [frame[frame["status"] == "done"] for frame in runs]
    seeds = done[0].index.intersection(done[1].index)
    row: dict[str, Any] = {
        "num_before": len(done[0]),
        "num_after": len(done[1]),
        "num_pairs": len(seeds),
        "same_runs": variant.is_same,
    }
    known = dict(zip(SIDES, arms, strict=True)) if arms else {}
    comparability = find_comparability(dict(zip(SIDES, records, strict=True)), known)
    if not all(len(frame) for frame in runs):
        note = "only after" if not len(runs[0]) else "only before"
    elif not len(seeds):
        note = "; ".join(["no seed finished both", *_list_unreadable(records)])
    elif not comparability.holds(SIDES):
        why = (
            why_no_pairs(arms[0], arms[1])
            if arms
            else " and ".join(comparability.describe().values())
        )
        note = f"no difference: {why}"
    elif not comparability.holds(SIDES, "miou"):
        over = name_means(comparability)
        note = f"no difference of mIoU: over {over['before']} before, {over['after']} after"
    elif row["same_runs"]:
        note = "the same runs"
    names = [_side_of(variant.name, side) for side in SIDES]
    for score in SHOWN:
        row[f"{score}_before"], row[f"{score}_after"] = (f[score].mean() for f in done)
        found = findings.compare(names[0], names[1], score) if arms else None
        gain = (done[1].loc[seeds, score] - done[0].loc[seeds, score]).mean()
        gain = gain if found is None else found.diff
        row[f"{score}_diff"] = gain if comparability.holds(SIDES, score) else np.nan
        for end in ("low", "high"):
            row[f"{score}_{end}"] = np.nan if found is None else getattr(found, end)
        if score == PRIMARY:
            row["verdict"] = "" if found is None else found.word
    both = all(records)
    row["changed"] = list_changes(records[0][0], records[1][0]) if both else ""
    said = [
        f"{name}: {text}"
        for name, side, found_there in zip(SIDES, sides, records, strict=True)
        for text in find_remarks(found_there, side.store, comparability).variants.values()
    ]
    row["note"] = "; ".join(filter(None, [note, *said]))
    return row


def _list_unreadable(records: Sequence[Sequence[Record]]) -> list[str]:
    failures = [record.failure for found in records for record in found]
    return [one.message for one in failures if one is not None and one.reason == Reason.UNREADABLE]


def _measure(
    variant: _Variant, sides: Sequence[Side], resamples: Resamples
) -> tuple[list[Arm], str]:
    """Read the counts of both sides; without them, no arms and the reason."""
    arms: list[Arm] = []
    for side, found in zip(sides, variant.records, strict=True):
        counts = {}
        for record in found:
            if record.result is None or not np.any(record.result.confusion):
                continue
            try:
                counts[record.planned.run.spec.seed] = read_counts(side.store, record.result)
            except UnusableCountsError as error:
                return [], f"no interval: counts of {record.planned.run.id} {error.why}"
        if not counts:
            return [], ""
        if len({(item.images, item.values.shape) for item in counts.values()}) > 1:
            return [], f"no interval: seeds of {side.name} were judged on different images"
        arms.append(measure_arm(variant.name, counts, resamples)[0])
    return arms, ""

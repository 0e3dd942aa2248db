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
from reports.stats.pairs import Arm, compare_arms, measure_arm, why_no_pairs
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
        `<score>_before`, `<score>_after` (means), `<score>_diff` (paired by seed), `<score>_low`,
        `<score>_high` (95 %); `changed` (settings, software and device that differ), `note` (why
        something is missing, and what must be known of the runs).
    """
    sides = (before, after)
    records = [read_records(side.plan, side.store) for side in sides]
    frames = [
        runs_frame(side.plan, side.store, found) for side, found in zip(sides, records, strict=True)
    ]
    resamples = Resamples(NUM_RESAMPLES)
    rows = []
    for variant in dict.fromkeys([*before.plan.variants, *after.plan.variants]):
        mine = [[r for r in found if r.planned.variant == variant] for found in records]
        runs = [frame[frame["variant"] == variant].set_index("seed") for frame in frames]
        rows.append({"variant": variant} | _compare(variant, sides, mine, runs, resamples))
    return pd.DataFrame(rows)


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
    written = (PAGE, TABLE) if first.startswith("# `") and text.endswith(_NOTE) else ()
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
    "Means over finished seeds in percent; Δ in points over the seeds that both finished, with "
    "its 95 % interval over images and seeds where both were judged on the same images.\n"
)


def _with_ends(diff: float, low: float, high: float) -> str:
    return points(diff) + ("" if np.isnan(low) else f" [{points(low)}, {points(high)}]")


def _compare(
    variant: str,
    sides: Sequence[Side],
    records: Sequence[Sequence[Record]],
    runs: Sequence[pd.DataFrame],
    resamples: Resamples,
) -> dict[str, Any]:
    done = [frame[frame["status"] == "done"] for frame in runs]
    seeds = done[0].index.intersection(done[1].index)
    ids = [set(frame["run_id"]) for frame in runs]
    row: dict[str, Any] = {
        "num_before": len(done[0]),
        "num_after": len(done[1]),
        "num_pairs": len(seeds),
        "same_runs": bool(ids[0]) and ids[0] == ids[1],
    }
    arms, note = _measure(variant, sides, records, resamples)
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
        arms, note = [], f"no difference: {why}"
    elif not comparability.holds(SIDES, "miou"):
        over = name_means(comparability)
        note = f"no difference of mIoU: over {over['before']} before, {over['after']} after"
    elif row["same_runs"]:
        note = "the same runs"
    found = compare_arms(arms[0], arms[1]).set_index("score") if arms and len(seeds) else None
    for score in SHOWN:
        row[f"{score}_before"], row[f"{score}_after"] = (f[score].mean() for f in done)
        gains = done[1].loc[seeds, score] - done[0].loc[seeds, score]
        row[f"{score}_diff"] = gains.mean() if comparability.holds(SIDES, score) else np.nan
        for end in ("low", "high"):
            row[f"{score}_{end}"] = np.nan if found is None else found[end][score]
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
    variant: str,
    sides: Sequence[Side],
    records: Sequence[Sequence[Record]],
    resamples: Resamples,
) -> tuple[list[Arm], str]:
    """Read the counts of both sides; without them, no arms and the reason."""
    arms: list[Arm] = []
    for side, found in zip(sides, records, strict=True):
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
        arms.append(measure_arm(variant, counts, resamples)[0])
    return arms, ""

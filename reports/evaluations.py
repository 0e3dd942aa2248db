"""Scores after training side by side: rows of their own kind, with intervals and what differs.

In: evaluations of a store (`bench.store.scored`). Out: a frame of raw values and a table. Those of
one label, split and way of looking, with several seeds, are one row, as a variant of a report is;
differences are those of one model of error, in its words, to the first row.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.metrics import SCORES
from bench.store.runs import Store
from bench.store.scored import Scored
from bench.text import clean
from fcn.errors import InputError
from reports.formats import Table
from reports.results.counts import read_scored_counts
from reports.stats.bootstrap import NUM_RESAMPLES
from reports.stats.contrasts import find_contrasts
from reports.stats.pairs import Arm, measure_arm, why_no_pairs
from reports.stats.units import Resamples
from reports.style import MISSING, between, label, percent, points, with_spread


def compare_evaluations(store: Store, evaluations: Sequence[Scored]) -> pd.DataFrame:
    """Put evaluations side by side.

    Args:
        store: Where they are.
        evaluations: At least one; the first is what others are compared with.

    Returns:
        A row for each label and way: `name`, `kind`, `split`, `views`, `num_seeds`, `num_images`;
        of each score `<score>_mean`, `<score>_std`, `<score>_low`, `<score>_high`; `miou_diff`,
        `miou_diff_low`, `miou_diff_high` to the first row, `word` (shown, not shown, equivalent;
        empty where one seed gives none) and `note` (why there is no difference).

    Raises:
        InputError: Two are of one seed and way, but of different content.
        UnusableCountsError: Counts are not what a record says.
    """
    resamples = Resamples(NUM_RESAMPLES)
    groups: dict[tuple[str, ...], list[Scored]] = {}
    for one in evaluations:
        groups.setdefault(_key(one), []).append(one)
    arms: dict[str, Arm] = {}
    for key, found in groups.items():
        seeds = {one.seed: one for one in found}
        if len({one.id for one in found}) != len(seeds):
            raise InputError(
                f"{key[0]} has several evaluations of one seed ({found[0].id}, {found[-1].id}) of "
                "different weights or masks; give each a name of its own (evaluate --name)"
            )
        counts = {seed: read_scored_counts(store, one) for seed, one in sorted(seeds.items())}
        arms[" ".join(key)] = measure_arm(key[0], counts, resamples)[0]
    first, *others = arms
    comparable = {name: arm for name, arm in arms.items() if not why_no_pairs(arms[first], arm)}
    findings = find_contrasts(comparable) if len(comparable) > 1 else None
    rows = []
    for (name, arm), found in zip(arms.items(), groups.values(), strict=True):
        row = _scores(arm) | {
            "name": found[0].label,
            "kind": found[0].kind,
            "split": f"{found[0].dataset} {found[0].split}",
            "views": found[0].views,
            "num_seeds": len(arm.seeds),
            "num_images": arm.num_images,
        }
        contrast = findings.compare(first, name) if findings and name in others else None
        row["miou_diff"] = np.nan if contrast is None else contrast.diff
        row["miou_diff_low"] = np.nan if contrast is None else contrast.low
        row["miou_diff_high"] = np.nan if contrast is None else contrast.high
        row["word"] = "" if contrast is None else contrast.word
        row["note"] = "" if name == first else why_no_pairs(arms[first], arm)
        rows.append(row)
    return pd.DataFrame(rows)[_COLUMNS]


_COLUMNS = [
    *("name", "kind", "split", "views", "num_seeds", "num_images"),
    *(f"{score}_{part}" for score in SCORES for part in ("mean", "std", "low", "high")),
    *("miou_diff", "miou_diff_low", "miou_diff_high", "word", "note"),
]


def evaluations_table(frame: pd.DataFrame) -> Table:
    """Show what `compare_evaluations` found."""
    cells = pd.DataFrame({"scored": [clean(name) for name in frame["name"]]})
    for column, head in (("kind", "kind"), ("split", "on"), ("views", "seen")):
        cells[head] = [clean(text) for text in frame[column]]
    cells["n"] = [
        f"{seeds} × {images}"
        for seeds, images in zip(frame["num_seeds"], frame["num_images"], strict=True)
    ]
    for score in ("miou", "pixel_acc"):
        spreads = zip(frame[f"{score}_mean"], frame[f"{score}_std"], strict=True)
        cells[label(score)] = [with_spread(percent(mean), std) for mean, std in spreads]
    ends = zip(frame["miou_low"], frame["miou_high"], strict=True)
    cells["mIoU, 95 %"] = [between(low, high, percent) for low, high in ends]
    cells["Δ mIoU"] = [points(value) for value in frame["miou_diff"]]
    ends = zip(frame["miou_diff_low"], frame["miou_diff_high"], strict=True)
    cells["Δ, 95 %"] = [between(low, high, points) for low, high in ends]
    cells["Δ is"] = [word or MISSING for word in frame["word"]]
    numeric = frozenset(cells.columns[4:]) - {"Δ is"}
    caption = (
        "Scores after training, in percent; n: seeds × images. Δ: points of mIoU to the first row, "
        "on the same images; with one seed its interval is over images alone, and no verdict."
    )
    return Table(cells, numeric, caption=caption)


def _key(one: Scored) -> tuple[str, ...]:
    on = (one.fingerprint, one.split, str(one.num_images))
    return (one.label, one.kind, *on, one.views, str(one.input_scale))


def _scores(arm: Arm) -> dict[str, float]:
    """Return the mean of each score over seeds, its spread and its interval."""
    bounds = arm.bounds.set_index("score")
    row = {}
    for k, score in enumerate(arm.scores):
        if score not in SCORES:
            continue
        values = arm.points[:, k]
        row[f"{score}_mean"] = float(values.mean())
        row[f"{score}_std"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        row[f"{score}_low"] = float(bounds["low"][score])
        row[f"{score}_high"] = float(bounds["high"][score])
    return row

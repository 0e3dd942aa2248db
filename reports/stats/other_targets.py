"""Further masks: what networks that learn several at once score on those beside the first.

In: records of runs and the store. Out: a frame with a row for each variant and further target.
Scores are those of the first target's tables, from counts of their own.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.metrics import CONFUSION, class_counts
from bench.scoring import USUAL, Scorer, Scoring
from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Result, Store
from reports.results.counts import Counts, read_counts
from reports.results.frame import Record
from reports.stats.pairs import measure_arm
from reports.stats.units import Resamples

SHOWN = ("pixel_acc", "mean_acc", "miou", "fw_iou")


def other_targets_frame(
    records: Sequence[Record], store: Store, num_resamples: int, scoring: Scoring = USUAL
) -> pd.DataFrame:
    """Summarise further targets over seeds.

    Args:
        records: Of all planned runs.
        store: Where their counts are.
        num_resamples: Draws of images for the intervals; 0 for none.
        scoring: What the question makes of counts.

    Returns:
        Rows in the plan's order: `variant`, `target`, `num_done`, and for each score
        `<score>_mean`, `_std`, `_low`, `_high`, fractions, NaN where unknown. No row for networks
        of one target.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        for target in record.result.others if record.result else ():
            groups.setdefault((record.planned.variant, target), []).append(record)
    resamples = Resamples(num_resamples)
    rows = [
        {"variant": variant, "target": target, "num_done": len(done)}
        | _summarise([r.result for r in done if r.result], target, scoring)
        | _bounds(variant, target, done, store, resamples, scoring)
        for (variant, target), done in groups.items()
    ]
    columns = [f"{score}_{kind}" for score in SHOWN for kind in ("mean", "std", "low", "high")]
    return pd.DataFrame(rows, columns=["variant", "target", "num_done", *columns])


def _summarise(results: Sequence[Result], target: str, scoring: Scoring) -> dict[str, float]:
    rows = []
    for result in results:
        own = result.others[target]
        counts = class_counts(np.array(own["confusion"]))
        scorer = Scorer.of(scoring.pooled(), (CONFUSION,), own["class_names"], counts[1])
        rows.append(scorer.score({CONFUSION: counts}))
    values = pd.DataFrame(rows).astype("float64")
    found: dict[str, float] = {}
    for name in SHOWN:
        found[f"{name}_mean"] = float(values[name].mean())
        found[f"{name}_std"] = float(values[name].std(ddof=1))
    return found


def _bounds(
    variant: str,
    target: str,
    records: Sequence[Record],
    store: Store,
    resamples: Resamples,
    scoring: Scoring,
) -> dict[str, float]:
    """Return the intervals; nothing where counts cannot be read or images differ."""
    counts: dict[int, Counts] = {}
    for record in records:
        try:
            if record.result is not None:
                found = read_counts(store, record.result, target)
                counts[record.planned.run.spec.seed] = found
        except UnusableCountsError:
            return {}
    if not resamples.num_draws or len({one.images for one in counts.values()}) != 1:
        return {}
    arm, _ = measure_arm(variant, dict(sorted(counts.items())), resamples, scoring=scoring)
    bounds = arm.bounds.set_index("score")
    return {
        f"{score}_{end}": float(bounds[end][score]) for score in SHOWN for end in ("low", "high")
    }

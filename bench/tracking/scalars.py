"""Scalars of a run's log and of its result, by the names under which all trackers show them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bench.metrics import SCORES, summarize
from bench.store.records import LogRow, Result


class Point(NamedTuple):
    """What was logged at a step."""

    step: int
    seconds: float
    """Of training, up to there."""
    values: dict[str, float]


def points_of(rows: list[LogRow]) -> Iterator[Point]:
    """Yield the points of a log: `train/loss` and `train/lr`, and scores such as `val/miou`."""
    seconds = 0.0
    for row in rows:
        if "confusion" in row:
            yield Point(row["step"], seconds, _scores(row["split"], row["confusion"]))
        else:
            seconds = row["seconds"]
            values = {"train/loss": row["loss"], "train/lr": row["lr"]}
            yield Point(row["step"], seconds, values)


def final_scores(result: Result) -> dict[str, float]:
    """Return the scores of a result, such as `test/miou`."""
    return _scores(result.split, result.confusion)


def _scores(split: str, confusion: Any) -> dict[str, float]:
    scores = summarize(confusion)
    return {f"{split}/{name}": getattr(scores, name) for name in SCORES}

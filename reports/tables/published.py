"""Published numbers beside ours, with what differs between the two protocols."""

from collections.abc import Sequence

import pandas as pd

from bench.metrics import SCORES
from bench.plan import Published
from bench.text import clean
from reports.formats import Table
from reports.marks import map_names
from reports.style import label, percent, points, with_interval, with_spread

UNVERIFIED = "†"
"""Stands behind a published number that nobody checked against its source."""


def published_frame(
    published: Sequence[Published], summary: pd.DataFrame, labels: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Put each published number beside ours, in fractions.

    Args:
        published: The numbers.
        summary: Ours, of the first target.
        labels: Ours, of further ones (`labels.other_targets_frame`).

    Returns:
        A row for each number: `variant`, `score`, `published`, `verified`, `ours`, `ours_std`,
        `ours_low`, `ours_high` (NaN without an interval), `difference`, `source`, `differs`,
        and `target` if a number is of a further target.
    """

    def find(entry: Published, column: str) -> float:
        ours = summary
        if entry.target is not None:
            ours = summary.iloc[:0] if labels is None else labels[labels["target"] == entry.target]
        if column not in ours:
            return float("nan")
        return float(ours.set_index("variant")[column].get(entry.variant, float("nan")))

    rows = []
    for entry in published:
        for score in SCORES:
            theirs = getattr(entry, score)
            if theirs is None:
                continue
            mean, std, low, high = (
                find(entry, f"{score}_{kind}") for kind in ("mean", "std", "low", "high")
            )
            shared = (entry.variant, score, theirs, entry.verified)
            said = entry.source, entry.differs, entry.target
            rows.append((*shared, mean, std, low, high, mean - theirs, *said))
    frame = pd.DataFrame(rows, columns=[*_PUBLISHED_COLUMNS, "target"])
    return frame if frame["target"].notna().any() else frame[_PUBLISHED_COLUMNS]


def published_table(
    published: Sequence[Published], summary: pd.DataFrame, labels: pd.DataFrame | None = None
) -> Table:
    """Show each published number beside ours, with what differs between the two protocols."""
    frame = published_frame(published, summary, labels)
    names = map_names(summary)
    rows = [
        {
            "variant": names.get(row["variant"], clean(row["variant"])),
            "score": label(str(row["score"]))
            + (f", {clean(row['target'])}" if row.get("target") else ""),
            "published": percent(row["published"]) + ("" if row["verified"] else UNVERIFIED),
            "ours": with_interval(
                with_spread(percent(row["ours"]), row["ours_std"]),
                row["ours_low"],
                row["ours_high"],
            ),
            "ours − published": points(row["difference"]),
            "source": clean(row["source"]) + ("" if row["verified"] else " (not checked)"),
            "what differs": clean(row["differs"]),
        }
        for row in frame.to_dict("records")
    ]
    columns = ["variant", "score", "published", "ours", "ours − published"]
    cells = pd.DataFrame(rows, columns=[*columns, "source", "what differs"])
    caption = "In percent, differences in points; ours are means ± sample standard deviation"
    caption += " over seeds" + (" [95 % interval]." if frame["ours_low"].notna().any() else ".")
    caption += " Protocols differ as stated, so a difference is no ranking."
    if not frame["verified"].all():
        caption += f" {UNVERIFIED}: not checked against its source."
    return Table(cells, frozenset(columns[2:]), caption=caption)


_PUBLISHED_COLUMNS = [
    *["variant", "score", "published", "verified", "ours", "ours_std", "ours_low", "ours_high"],
    *["difference", "source", "differs"],
]

"""The table of claims: what was expected, whether it holds, and how surely.

In: verdicts (`reports.stats.claims`), and the looks that gave them, where seeds were added to what
was undecided. Out: a frame of raw values, and a `Table`.
"""

import math
from collections.abc import Sequence

import pandas as pd

from bench.looks import FIRST_LOOK, Looks
from bench.text import clean, number_of
from reports.formats import Table
from reports.stats.claims import HELD, NOT_HELD, UNDECIDED, Verdict
from reports.style import MISSING, between, difference_writer_of, enumerate_names

SIGNS = {HELD: "✓", NOT_HELD: "✗", UNDECIDED: "?"}


def claims_frame(verdicts: Sequence[Verdict], looks: Looks | None = None) -> pd.DataFrame:
    """Return a row for each claim.

    `claim`, `verdict` (held, not held, undecided); of the contrast that is the least above its
    bound `where`, `score`, `estimate`, `bound`, `low` and `high` (one-sided 95 % ends that hold for
    all claims together): what the left side has more than the right, a fraction, of costs the
    logarithm of right over left; `num_seeds`; `num_units` (what
    was resampled of the images); `would_decide` and `noted`; where there were looks, also
    `decided_at` (number of the look, none where it is undecided), `looks` (how many were taken) and
    `max_seeds`. Numbers are those of the look that decided, or of the last.
    """
    rows = []
    for verdict in verdicts:
        worst = verdict.worst
        estimate, low, high = _find_numbers(verdict)
        rows.append(
            {
                "claim": str(verdict.question.claim),
                "verdict": verdict.word,
                "where": worst.asked.where if worst else "",
                "score": verdict.question.asked[0].score,
                "estimate": estimate,
                "bound": worst.asked.bound if worst else math.nan,
                "low": low,
                "high": high,
                "num_seeds": worst.num_seeds if worst else 0,
                "num_units": worst.num_units if worst else 0,
                "would_decide": verdict.advice,
                "noted": verdict.noted,
            }
        )
    frame = pd.DataFrame(rows)
    if looks is None:
        return frame
    decided = pd.array([one.look for one in verdicts], dtype="Int64")
    return frame.assign(decided_at=decided, looks=len(looks.looks), max_seeds=looks.max_seeds)


def claims_table(verdicts: Sequence[Verdict], looks: Looks | None = None) -> Table:
    """Show claims with their verdicts, as words and signs."""
    cells = pd.DataFrame({"claim": [clean(str(one.question.claim)) for one in verdicts]})
    cells["verdict"] = [f"{SIGNS[one.word]} {one.word}" for one in verdicts]
    cells["least where"] = [
        clean(one.worst.asked.where) or MISSING if one.worst else MISSING for one in verdicts
    ]
    cells["found [bounds]"] = [_show(one) for one in verdicts]
    cells["seeds"] = [str(one.worst.num_seeds) if one.worst else MISSING for one in verdicts]
    if looks is not None:
        cells["decided at"] = [f"look {one.look}" if one.look else MISSING for one in verdicts]
    cells["would decide"] = [clean(one.advice) or MISSING for one in verdicts]
    cells["written"] = [clean(one.noted) or MISSING for one in verdicts]
    said = [name for name in cells if set(cells[name]) != {MISSING}]
    return Table(
        cells[said], frozenset(("found [bounds]", "seeds")), caption=describe_claims(looks)
    )


def describe_claims(looks: Looks | None = None) -> str:
    """Say how claims are judged; and by which looks, where there were any."""
    said = (
        "Differences in points, costs as ratios. A claim is held where the lower bound of all its "
        "contrasts is beyond what it says, not held where an upper bound is not; bounds are "
        "one-sided, 95 % for all claims together, under the page's model of error. Shown is the "
        "contrast that holds least."
    )
    return said if looks is None or looks.last is None else f"{said} {_describe_looks(looks)}"


def _describe_looks(looks: Looks) -> str:
    """Say when claims were looked at, with which seeds, and how much error that took."""
    last = looks.last
    assert last is not None
    first, most = FIRST_LOOK, FIRST_LOOK + len(looks.looks) - 1
    at = f"{first} seeds" if first == most else f"{first} to {most} seeds, one more each time"
    counts: dict[int, list[str]] = {}
    for name, number in last.seeds.items():
        counts.setdefault(number, []).append(name)
    seeds = "; ".join(
        f"{number} of {'all variants' if len(counts) == 1 else enumerate_names(names)}"
        for number, names in sorted(counts.items(), reverse=True)
    )
    return (
        f"Seeds were added to what was undecided: {number_of(len(looks.looks), 'look')}, at {at}, "
        f"of {looks.max_seeds} at most. The 5 % are those of all looks together, spent "
        f"{looks.spending}; {100 * last.spent:.2g} of 5 % are. Seeds: {seeds}. Numbers are those "
        "of the look that decided, or of the last."
    )


def _show(verdict: Verdict) -> str:
    """Write what was found where a claim holds least, with its bounds."""
    worst, claim = verdict.worst, verdict.question.claim
    if worst is None:
        return MISSING
    if claim.cost:  # the logarithm of right over left; a reader knows left over right
        ratio, low, high = (math.exp(-x) for x in (worst.estimate, verdict.high, verdict.low))
        return f"{ratio:.3g} {between(low, high, '{:.3g}'.format)}"
    estimate, low, high = _find_numbers(verdict)
    show = difference_writer_of(worst.asked.score)
    return f"{show(estimate)} {between(low, high, show)}"


def _find_numbers(verdict: Verdict) -> tuple[float, float, float]:
    """Return estimate and ends of what holds least, as left less right, whichever side it is."""
    worst = verdict.worst
    if worst is None:
        return math.nan, verdict.low, verdict.high
    if worst.asked.is_turned:
        return -worst.estimate, -verdict.high, -verdict.low
    return worst.estimate, verdict.low, verdict.high

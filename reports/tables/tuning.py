"""The table of tuning: every run by which values are chosen, what it scored, and what is chosen.

In: a plan's `Tuning`. Out: a frame of raw values, and a `Table`. The scores are of the split that
chooses, and stand in no other table: none of them is a result.
"""

import pandas as pd

from bench.durations import spell_duration
from bench.text import clean, number_of
from bench.tuning import Tuning, spell_value
from reports.formats import Table
from reports.style import MISSING, duration, label, percent


def tuning_frame(tuning: Tuning) -> pd.DataFrame:
    """Return a row for each run that was tried, or is still to be, in the order of the question.

    `variant`, a column for each key, the score on `split` (a fraction), `seed`, `step` after which
    it was taken, `state`, `why` there is none, `device_seconds`, `is_chosen` and `run_id`.
    """
    rows = [
        {
            "variant": one.variant,
            **{key: spell_value(value) for key, value in one.values.items()},
            tuning.metric: one.score,
            "split": tuning.split,
            "seed": tuning.seed,
            "step": one.step,
            "state": one.state,
            "why": one.why,
            "device_seconds": one.device_seconds,
            "is_chosen": one.is_chosen,
            "run_id": one.run_id,
        }
        for one in tuning.tried
    ]
    numbers = dict.fromkeys((tuning.metric, "device_seconds"), "float64")
    columns = ["variant", *tuning.values, tuning.metric, "split", "seed", "step", "state", "why"]
    frame = pd.DataFrame(rows, columns=[*columns, "device_seconds", "is_chosen", "run_id"])
    return frame.astype({**numbers, "step": "Int64"})


def tuning_table(tuning: Tuning) -> Table:
    """Show what was tried for each variant; what is chosen stands out."""
    frame, score = tuning_frame(tuning), label(tuning.metric)
    cells = pd.DataFrame({"variant": [clean(name) for name in frame["variant"]]})
    for key in tuning.values:
        cells[key] = [clean(value) for value in frame[key]]
    cells[score] = [MISSING if pd.isna(value) else percent(value) for value in frame[tuning.metric]]
    cells["chosen"] = ["chosen" if chosen else "" for chosen in frame["is_chosen"]]
    cells["without a score"] = [
        clean(why or (state if state == "missing" else "")) or MISSING
        for state, why in zip(frame["state"], frame["why"], strict=True)
    ]
    cells["device time"] = [duration(value) for value in frame["device_seconds"]]
    cells["run"] = frame["run_id"].to_numpy()
    best = frozenset(
        (k, column)
        for k, chosen in enumerate(frame["is_chosen"])
        for column in (*tuning.values, score)
        if chosen
    )
    return Table(
        cells,
        frozenset((score, "device time", *tuning.values)),
        best=best,
        caption=_say_how(tuning),
    )


def _say_how(tuning: Tuning) -> str:
    """Say how is chosen, and that every variant had the same budget."""
    known = [one.device_seconds for one in tuning.budget if one.device_seconds is not None]
    budget = f"{number_of(tuning.number, 'run')} for each variant"
    fewer = [f"{clean(name)} {number}" for name, number in tuning.fewer.items()]
    budget += f" (where some values change nothing and are one run, {', '.join(fewer)})" * bool(
        fewer
    )
    if known:
        budget += f", {sum(known):.0f} device-seconds ({spell_duration(sum(known))}) in all"
    lost = [one for one in tuning.chosen.values() if one.score is None]
    none = (
        f" Of {', '.join(clean(one.variant) for one in lost)} no run has a score: the first values "
        "stand for it."
    )
    waiting = (
        f" What is tried for {', '.join(map(clean, tuning.waiting))} follows once that is chosen "
        "which it starts from."
    )
    return (
        f"Each variant has its best of the same values: {budget}. {label(tuning.metric)} in "
        f"percent, of split {clean(tuning.split)} with seed {tuning.seed}, which is not the split "
        "reported, and of which no image is in that. The highest is chosen, of equal ones the "
        "first; a run that diverged or had too little memory has no score, and all others must "
        "have ended. With the chosen values all seeds are run; the run that was chosen is one of "
        f"them.{none * bool(lost)}{waiting * bool(tuning.waiting)}"
    )

"""Where each number is from: every planned run, and what variants cost.

In: the frame of runs. Out: frames of raw values, and `Table`s.
"""

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.results.frame import EXTRA_COSTS
from reports.stats.primary import PRIMARY
from reports.style import MISSING, between, duration, label, millions, percent


def runs_table(runs: pd.DataFrame, primary: str = PRIMARY) -> Table:
    """Show where each number is from: every planned run with its status, costs and id."""
    cells = pd.DataFrame({"variant": [clean(name) for name in runs["variant"]]})
    cells["seed"] = [str(seed) for seed in runs["seed"]]
    cells["status"] = runs["status"].to_numpy()
    remarks = runs.get("remark", pd.Series("", runs.index))
    cells["reason"] = [
        clean("; ".join(filter(None, texts))) or MISSING
        for texts in zip(runs["reason"], remarks, strict=True)
    ]
    cells[label(primary)] = [percent(value) for value in runs[primary]]
    cells["steps"] = [MISSING if pd.isna(steps) else f"{int(steps)}" for steps in runs["steps"]]
    cells["training"] = [duration(value) for value in runs["train_seconds"]]
    cells["evaluation"] = [duration(value) for value in runs["evaluate_seconds"]]
    cells["parameters"] = [millions(value) for value in runs["num_parameters"]]
    cells["run"] = runs["run_id"].to_numpy()
    numbers = ("seed", label(primary), "steps", "training", "evaluation", "parameters")
    return Table(cells, frozenset(numbers))


EXTREMES = {"latency_low_ms": "min", "latency_high_ms": "max"}


def costs_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each variant: `num_done`, `num_parameters` and times.

    `train_seconds`, `evaluate_seconds` and `seconds_per_image` (of evaluation) have mean and sample
    standard deviation; further costs that runs recorded have their means, and the latency's
    quartiles the lowest and the highest.
    """
    done = runs.assign(
        num_done=(runs["status"] == "done").astype(int),
        seconds_per_image=runs["evaluate_seconds"] / runs["num_images"].astype("float64"),
    )
    groups = done.groupby("variant", sort=False)
    frame = groups[["num_done"]].sum()
    for cost in ("num_parameters", *(name for name in EXTRA_COSTS if name in runs)):
        frame[cost] = groups[cost].agg(EXTREMES.get(cost, "mean"))
    for cost in ("train_seconds", "evaluate_seconds", "seconds_per_image"):
        frame[f"{cost}_mean"], frame[f"{cost}_std"] = groups[cost].mean(), groups[cost].std(ddof=1)
    return frame.reset_index()


def costs_table(frame: pd.DataFrame) -> Table:
    """Show what each variant costs."""
    cells = pd.DataFrame({"variant": [clean(name) for name in frame["variant"]]})
    cells["n"] = [str(n) for n in frame["num_done"]]
    cells["parameters"] = [millions(value) for value in frame["num_parameters"]]
    for cost, name in (("train_seconds", "training"), ("evaluate_seconds", "evaluation")):
        cells[name] = [
            f"{duration(mean)} ± {100 * std / mean:.0f} %" if std > 0 else duration(mean)
            for mean, std in zip(frame[f"{cost}_mean"], frame[f"{cost}_std"], strict=True)
        ]
    cells["per image"] = [
        MISSING if pd.isna(value) else f"{1000 * value:.3g} ms"
        for value in frame["seconds_per_image_mean"]
    ]
    for cost in ("gmacs", "latency_ms", "step_memory_mib"):
        if cost in frame:
            cells[label(cost)] = [MISSING if pd.isna(v) else f"{v:.4g}" for v in frame[cost]]
    if "latency_low_ms" in frame:
        ends = zip(frame["latency_low_ms"], frame["latency_high_ms"], strict=True)
        shown = [between(low, high, "{:.3g}".format) for low, high in ends]
        cells[label("latency_ms")] += [f" {text}" * (text != MISSING) for text in shown]
    caption = (
        "Costs: means over finished runs ± sample standard deviation in percent of the mean. "
        "n: runs. Per image: evaluation with reading and counting. Latency: mean of the runs' "
        "medians, [lowest first quartile, highest third]. Memory: of tensors, in a training step. "
        "Times hold for the machine that the report names, and for what else ran there."
    )
    return Table(cells, frozenset(cells.columns[1:]), caption=caption)

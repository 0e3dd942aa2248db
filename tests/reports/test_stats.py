import math
import statistics

import pandas as pd
import pytest

from reports.answer import find_answer
from reports.results.frame import runs_frame
from reports.stats.summary import has_grid, list_changes, pair_by_seed, summarize_variants


def make_runs(scores, **columns):
    """Build a frame from {variant: {seed: miou or None}}; None is a failed run."""
    rows = [
        {"variant": v, "seed": s, "status": "failed" if x is None else "done", "miou": x}
        for v, seeds in scores.items()
        for s, x in seeds.items()
    ]
    frame = pd.DataFrame(rows)
    for name in ("pixel_acc", "mean_acc", "fw_iou"):
        frame[name] = frame["miou"]
    for name in ("num_parameters", "train_seconds", "evaluate_seconds"):
        frame[name] = 1.0
    for name in ("backbone", "skip"):
        frame[name] = [columns.get(name, {}).get(v, "same") for v in frame["variant"]]
    return frame


RUNS = make_runs(
    {"a": {0: 0.50, 1: 0.52, 2: 0.57}, "b": {0: 0.61, 1: None, 2: 0.66}, "c": {0: None}}
)


def test_mean_and_sample_standard_deviation_by_hand():
    summary = summarize_variants(RUNS).set_index("variant")
    assert summary.loc["a", "miou_mean"] == pytest.approx(0.53)
    assert summary.loc["a", "miou_std"] == pytest.approx(statistics.stdev([0.50, 0.52, 0.57]))


def test_seeds_are_counted_done_of_planned():
    summary = summarize_variants(RUNS).set_index("variant")
    counts = summary[["num_planned", "num_done", "num_failed", "num_missing"]]
    assert counts.loc["b"].tolist() == [3, 2, 1, 0]


def test_a_variant_without_a_finished_run_stays_a_row():
    row = summarize_variants(RUNS, "a").set_index("variant").loc["c"]
    assert row["num_done"] == 0
    assert math.isnan(row["miou_mean"])
    assert row["num_pairs"] == 0


def test_differences_are_paired_by_seed():
    # Seed 1 of b failed: 0.61 - 0.50 and 0.66 - 0.57 remain, not 0.635 - 0.53.
    summary = summarize_variants(RUNS, "a").set_index("variant")
    assert summary.loc["b", "miou_diff_mean"] == pytest.approx(0.10)
    assert summary.loc["b", "miou_diff_std"] == pytest.approx(statistics.stdev([0.11, 0.09]))
    assert list(pair_by_seed(RUNS, "a", "b").index) == [0, 2]


def test_one_seed_has_no_spread():
    summary = summarize_variants(make_runs({"a": {0: 0.5}}))
    assert math.isnan(summary.loc[0, "miou_std"])


def test_the_summary_agrees_with_a_plain_groupby(plan, store):
    runs = runs_frame(plan, store)
    plain = runs[runs["status"] == "done"].groupby("variant")["pixel_acc"].agg(["mean", "std"])
    summary = summarize_variants(runs).set_index("variant")
    assert list(summary.index) == plan.variants
    for variant, row in plain.iterrows():
        assert summary.loc[variant, "pixel_acc_mean"] == pytest.approx(row["mean"])
        assert summary.loc[variant, "pixel_acc_std"] == pytest.approx(row["std"], nan_ok=True)


def test_skips_are_compared_step_by_step_and_backbones_with_the_baselines(plan, store):
    runs = runs_frame(plan, store)
    changes = list_changes(runs, ["backbone", "skip"], plan.baseline)
    skips = changes[changes["factor"] == "skip"]
    assert set(zip(skips["before"], skips["after"], strict=True)) == {
        ("none", "fcn16s"),
        ("fcn16s", "fcn8s"),
        ("none", "fcn8s"),
    }
    assert set(changes.loc[changes["factor"] == "backbone", "before"]) == {"alexnet"}
    scores = runs.set_index(["variant", "seed"])["miou"]
    by_hand = [scores["vgg16-fcn8s", s] - scores["vgg16-fcn16s", s] for s in (0, 1)]
    row = skips[(skips["context"] == "vgg16") & (skips["after"] == "fcn8s")].iloc[0]
    assert row["miou_diff_mean"] == pytest.approx(sum(by_hand) / 2)


def test_a_change_compares_variants_that_differ_in_nothing_else():
    runs = make_runs({"a": {0: 0.1}, "b": {0: 0.2}}, backbone={"b": "x"}, skip={"b": "y"})
    assert len(list_changes(runs, ["backbone", "skip"])) == 0
    assert not has_grid(runs)


def test_the_answer_names_the_best_and_shows_nothing_without_counts():
    runs = make_runs({"a": {0: 0.50, 1: 0.60}, "b": {0: 0.62, 1: 0.52}})
    answer = find_answer(runs, summarize_variants(runs, "a"), "a")
    assert answer.best == "b"
    assert dict(answer.numbers)["mIoU, %"] == "57.0 ± 7.1"
    assert answer.remarks == (
        "+2.0 ± 14.1 points of mIoU against the baseline, which is the next best, a; without "
        "counts of several images nothing can be shown.",
    )


def test_one_seed_is_said_to_prove_nothing():
    runs = make_runs({"a": {0: 0.50}, "b": {0: 0.62}})
    answer = find_answer(runs, summarize_variants(runs, "a"), "a")
    assert "±" not in dict(answer.numbers)["mIoU, %"]
    assert "nothing can be shown" in answer.remarks[0]


def test_no_finished_run_gives_no_answer(plan, small_store):
    runs = runs_frame(plan, small_store)
    summary = summarize_variants(runs, plan.baseline)
    answer = find_answer(runs, summary, plan.baseline)
    assert answer.best == ""
    assert answer.progress == "0 of 24 planned runs finished; 24 missing."

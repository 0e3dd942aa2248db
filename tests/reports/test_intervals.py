"""From a store to intervals: who is paired with whom, and what is said where nobody can be."""

import dataclasses
import math

import numpy as np
import pytest
from streets import CLASS_NAMES, finish

from bench.metrics import BOUNDARY_SCORE
from reports.answer import find_answer
from reports.results.counts import Counts, read_counts, score_flat
from reports.results.frame import read_records, runs_frame
from reports.stats.bootstrap import draw_weights, resample
from reports.stats.contrasts import find_contrasts
from reports.stats.finding import NOT_SHOWN, SHOWN
from reports.stats.intervals import Intervals, find_intervals
from reports.stats.pairs import measure_arm
from reports.stats.summary import add_intervals, summarize_variants
from reports.stats.units import Resamples
from reports.tables.comparisons import comparison_table

C = len(CLASS_NAMES)


def draw_confusions(seed, skill, num_images=30):
    """Confusions over targets that are the same for all seeds and skills."""
    target = np.random.default_rng(0).integers(20, 400, (num_images, C))
    rate = np.random.default_rng(seed).normal(skill, 0.05, target.shape).clip(0, 1)
    hit = (target * rate).astype(np.int32)
    confusions = np.zeros((num_images, C, C), np.int32)
    c = np.arange(C)
    confusions[:, c, c] = hit
    confusions[:, c, (c + 1) % C] += (target - hit).astype(np.int32)
    return confusions


SKILLS = {"base": 0.6, "same": 0.6, "better": 0.75, "best": 0.76}


@pytest.fixture
def filled(small_store, make_plan):
    """Fill a store with variants of known skill: filled(seeds) -> (plan, records)."""

    def fill(seeds=(0, 1, 2), skills=SKILLS, baseline="base"):
        plan = make_plan(list(skills), seeds, baseline=baseline)
        for k, planned in enumerate(plan.runs):
            confusions = draw_confusions(k + 1, skills[planned.variant])
            finish(small_store, planned, confusions=confusions, log=False)
        return plan, read_records(plan, small_store)

    return fill


def read_all(plan, records, store):
    intervals = find_intervals(records, store)
    summary = summarize_variants(runs_frame(plan, store), plan.baseline)
    return intervals, add_intervals(summary, intervals, plan.baseline).set_index("variant")


def test_means_are_those_of_the_summary_and_lie_in_their_intervals(filled, small_store):
    intervals, summary = read_all(*filled(), small_store)
    found = intervals.scores.set_index(["variant", "score"])
    for variant in SKILLS:
        row = found.loc[(variant, "miou")]
        assert row["mean"] == pytest.approx(summary.loc[variant, "miou_mean"], rel=1e-12)
        assert row["low"] < row["mean"] < row["high"]
        assert row[["num_seeds", "num_images"]].tolist() == [3, 30]
    means = summary["miou_mean"]
    assert intervals.findings.compare("base", "best").diff == pytest.approx(
        means["best"] - means["base"], rel=1e-9
    )


def test_a_true_difference_is_found_and_a_false_one_is_not(filled, small_store):
    intervals, summary = read_all(*filled(), small_store)
    assert summary.loc["best", "miou_diff_p"] < 0.05
    assert summary.loc["best", "miou_diff_word"] == SHOWN
    assert summary.loc["best", "miou_diff_low"] > 0
    assert summary.loc["same", "miou_diff_p"] > 0.05
    assert summary.loc["same", "miou_diff_word"] == NOT_SHOWN
    assert summary.loc["same", "miou_diff_low"] < 0 < summary.loc["same", "miou_diff_high"]
    assert math.isnan(summary.loc["base", "miou_diff_p"])
    for one in intervals.findings.found.values():  # interval, word and p are one decision
        assert (one.word == SHOWN) == (one.low > 0 or one.high < 0) == (one.p <= 0.05)
        assert one.low <= one.own_low <= one.own_high <= one.high
    assert intervals.findings.num_contrasts == 6  # pairs of four variants


def test_ties_with_the_best_are_those_not_shown_to_be_worse(filled, small_store):
    _, summary = read_all(*filled((0, 1, 2), {"a": 0.6, "b": 0.751, "c": 0.75}, "a"), small_store)
    best = summary["miou_mean"].idxmax()
    assert best in ("b", "c")
    assert summary["miou_tied"].to_dict() == {"a": False, "b": best == "c", "c": best == "b"}


@pytest.mark.parametrize("has_extra", [False, True])
def test_means_over_different_classes_have_no_finding(has_extra):
    """Two classes in the labels of twelve images; one pixel of one image is called a third."""
    arms = {}
    for k, extra in enumerate((0, int(has_extra))):
        counts = {}
        for seed in (0, 1):
            hit = np.random.default_rng([k, seed]).integers(20, 50, (12, 2))
            values = np.zeros((12, 5, 3), np.int32)
            values[:, 0, :2], values[:, 1, :2] = hit, 60
            values[:, 2, :2] = hit + (60 - hit)[:, ::-1]
            values[:, 3, :2], values[:, 4, :2] = hit // 4, 20
            values[0, 2, :] += [-extra, 0, extra]
            values[0, 4, 2] = 3 * extra
            kinds = ("confusion", "boundary")
            counts[seed] = Counts(values.reshape(12, 15), ("a", "b", "c"), "the same", kinds=kinds)
        arms[f"v{k}"] = measure_arm(f"v{k}", counts, Resamples(300))[0]
    findings = find_contrasts(arms)
    assert (findings.num_contrasts == 0) == has_extra
    found = findings.compare("v0", "v1", "pixel_acc")
    assert found.low < found.diff < found.high
    assert (found.word, math.isnan(found.p)) == ("", True)


def test_the_same_store_gives_the_same_intervals(filled, small_store):
    _, records = filled((0, 1))
    first, second = (find_intervals(records, small_store) for _ in range(2))
    for name in ("scores", "classes"):
        assert getattr(first, name).equals(getattr(second, name))
    assert first.findings.found == second.findings.found
    fewer = [r for r in records if r.planned.variant != "same"]
    alone = find_intervals(fewer, small_store).scores
    kept = first.scores[first.scores["variant"] != "same"].reset_index(drop=True)
    assert alone.equals(kept)  # another variant moves nobody's interval


def test_intervals_of_classes_are_resampled_too(filled, small_store):
    _, records = filled((0,), {"base": 0.6})
    counts = read_counts(small_store, records[0].result)
    weights = draw_weights(30, 2000, "")
    _, ious = score_flat(resample(weights, counts.values[None])[:, 0], C)
    row = find_intervals(records, small_store).classes.iloc[2]
    assert row["class_name"] == CLASS_NAMES[2]
    assert row["low"] == pytest.approx(np.quantile(ious[:, 2], 0.025), abs=0.003)
    assert row["high"] == pytest.approx(np.quantile(ious[:, 2], 0.975), abs=0.003)


def test_other_images_cannot_be_paired(filled, small_store, make_plan):
    plan, _ = filled((0,))
    other = plan.runs[1]  # "same": as many images of the same names, with other labels
    confusions = draw_confusions(1, 0.6)
    confusions[3] += 1
    finish(small_store, other, confusions=confusions, log=False)
    intervals, summary = read_all(plan, read_records(plan, small_store), small_store)
    assert not intervals.comparability.holds(["base", "same"])
    assert intervals.comparability.holds(["base", "better", "best"])
    assert math.isnan(summary.loc["same", "miou_diff_low"])
    assert summary.loc["same", "miou_low"] > 0  # its own interval stands
    assert not summary.loc["same", "miou_tied"]
    assert intervals.findings.compare("base", "same") is None


def test_the_order_of_images_does_not_matter(filled, small_store):
    plan, records = filled((0,), {"base": 0.6})
    before = read_counts(small_store, records[0].result)
    path = small_store.run_dir(plan.runs[0].run.id) / "eval" / "test.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["names"], arrays["confusions"] = arrays["names"][::-1], arrays["confusions"][::-1]
    np.savez(path, **arrays)
    after = read_counts(small_store, records[0].result)
    assert before.images == after.images
    assert np.array_equal(before.values, after.values)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "flipped", "other"])
def test_counts_that_cannot_be_used_leave_a_note(filled, small_store, damage):
    plan, records = filled((0, 1), {"base": 0.6, "best": 0.7})
    path = small_store.run_dir(plan.runs[0].run.id) / "eval" / "test.npz"
    if damage == "gone":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 8 : len(content) // 4] = bytes(
            len(content) // 4 - len(content) // 8
        )
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        with np.load(path) as file:
            arrays = dict(file)
        arrays["confusions"] = arrays["confusions"] + 1
        np.savez(path, **arrays)
    intervals, summary = read_all(plan, records, small_store)
    assert intervals.notes[0].startswith("The counts of base, seed 0, ")
    assert ("add up" in intervals.notes[0]) == (damage == "other")
    assert summary.loc["best", "miou_diff_low"] < summary.loc["best", "miou_diff_high"]


def test_nothing_finished_gives_no_intervals(small_store, make_plan):
    plan = make_plan(["a", "b"], baseline="a")
    intervals, summary = read_all(plan, read_records(plan, small_store), small_store)
    assert not len(intervals.scores)
    assert summary["miou_low"].isna().all()
    assert Intervals.none().most_seeds == 0


def test_the_boundary_score_is_resampled_where_both_arms_have_it(filled, small_store):
    plan, records = filled((0, 1), {"base": 0.6, "best": 0.7, "plain": 0.7})
    counts = np.stack([np.full((30, C), 6), np.full((30, C), 10)], axis=1).astype(np.int32)
    for k, record in enumerate(records[:4]):
        counts[k, 0] += k
        path = small_store.run_dir(record.planned.run.id) / "eval" / "test.npz"
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays, boundary_intersections=counts[:, 0], boundary_unions=counts[:, 1])
        small_store.publish(dataclasses.replace(record.result, boundary=counts.sum(0).tolist()))
    intervals, summary = read_all(plan, read_records(plan, small_store), small_store)
    found = intervals.scores.set_index(["variant", "score"])
    row = found.loc[("base", BOUNDARY_SCORE)]
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["mean"] == pytest.approx(summary.loc["base", f"{BOUNDARY_SCORE}_mean"])
    assert ("plain", BOUNDARY_SCORE) not in found.index
    findings = intervals.findings
    assert findings.compare("base", "best", BOUNDARY_SCORE).low < 1
    assert findings.compare("base", "plain", BOUNDARY_SCORE) is None
    assert findings.compare("base", "plain") is not None


@pytest.mark.parametrize(("seeds", "word"), [((0, 1, 2), "shown (p ≤ 0.001)"), ((0,), "–")])
def test_the_answer_compares_each_variant_with_the_baseline(filled, small_store, seeds, word):
    plan, records = filled(seeds)
    intervals = find_intervals(records, small_store)
    runs = runs_frame(plan, small_store)
    summary = add_intervals(summarize_variants(runs, "base"), intervals, "base")
    answer = find_answer(runs, summary, "base", intervals)
    table = comparison_table(summary, "base", intervals.comparability)
    cells = table.cells.set_index("variant")
    assert list(cells.index) == ["same", "better", "best"]
    assert cells.loc["best", "verdict"] == word
    same = cells.loc["same", "verdict"]
    assert same == "–" if len(seeds) == 1 else same.startswith("not shown (p = ")
    assert summary["miou_best"].any() == (len(seeds) > 1)  # one seed gives no verdict
    row = summary.set_index("variant").loc["best"]
    ends = ", ".join(f"{100 * row[f'miou_diff_{end}']:+.1f}" for end in ("low", "high"))
    of = "" if len(seeds) > 1 else ", these two networks"
    assert cells.loc["best", f"Δ mIoU{of} [95 %]"] == f"{100 * row['miou_diff_mean']:+.1f} [{ends}]"
    assert set(cells.columns) >= {f"Δ pixel acc{of} [95 %]", "× parameters", "× training"}
    assert ("trained networks" in table.caption) == (len(seeds) == 1)
    assert any("one seed cannot say" in remark for remark in answer.remarks) == (len(seeds) == 1)
    doubted = any("holds zero" in remark for remark in answer.remarks)  # best against better
    assert doubted == (len(seeds) > 1)
    assert "[" in dict(answer.numbers)["mIoU, %"]


def test_many_runs_get_fewer_draws(filled, small_store, monkeypatch):
    _, records = filled((0,))
    monkeypatch.setattr("reports.stats.intervals.MAX_PRODUCTS", 2e6)
    intervals = find_intervals(records, small_store)
    assert intervals.num_resamples == 2_000_000 // (3 * 4 * 30 * C)

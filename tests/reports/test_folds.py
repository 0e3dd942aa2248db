"""Folds: differences inside each, their mean over all, and the verdict on that mean."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from streets import CLASS_NAMES, FINGERPRINT, NUM_IMAGES, finish, make_spec

from bench.claims import Claim, read_claim
from bench.plan import Plan, PlannedRun, Run
from reports.figures.learning import learning_frame
from reports.figures.listing import draw_figures
from reports.statements import state_changes
from reports.stats.asked import resolve_claims
from reports.study import read_study
from reports.tables.changes import list_table

SKIPS = ("fcn32s", "fcn8s")
SEEDS = (0, 1, 2, 3)


def plan_of(fractions=(1.0,), **settings):
    runs = []
    for fraction, fold, skip in itertools.product(fractions, range(3), SKIPS):
        for seed in SEEDS:
            spec = make_spec("vgg16", skip, seed)
            own = {"folds": 3, "fold": fold, "train_fraction": fraction, **settings}
            data = spec.data.model_copy(update=own)
            name = f"{fold}-{skip}" if len(fractions) == 1 else f"{fraction}-{fold}-{skip}"
            runs.append(PlannedRun(name, Run(_with(spec, data), FINGERPRINT)))
    return Plan("folds", "Which skip?", "the finer", tuple(runs))


def _with(spec, data):
    return spec.model_copy(update={"data": data})


def counts_of(planned):
    """Counts of a fold's own images: as many as no other fold has, which tells them apart."""
    spec = planned.run.spec
    fold, finer = spec.data.fold, spec.model.skip == "fcn8s"
    rng = np.random.default_rng([fold, spec.seed, finer])
    C = len(CLASS_NAMES)
    wrong = 20 - 4 * (fold + 1) if finer else 20
    wrong += round(10 * (1 - spec.data.train_fraction))
    counts = wrong + rng.integers(0, 5, (NUM_IMAGES - fold, C, C))
    counts[:, np.arange(C), np.arange(C)] += 1000 - counts.sum(2)  # all have the same labels
    return counts


@pytest.fixture
def study(small_store):
    plan = plan_of()
    for planned in plan.runs:
        finish(small_store, planned, confusions=counts_of(planned))
    return read_study(plan, small_store)


def test_differences_are_taken_inside_a_fold_and_averaged_over_folds(study):
    means = study.runs.groupby("variant")["miou"].mean()
    within = [means[f"{fold}-fcn8s"] - means[f"{fold}-fcn32s"] for fold in range(3)]
    changes = study.changes[study.changes["factor"] == "skip"]
    assert list(changes["miou_diff_mean"]) == pytest.approx(within)
    assert changes["judged_on"].nunique() == 3
    assert (changes["miou_diff_low"] < changes["miou_diff_high"]).all()
    (mean,) = study.main_effects.to_dict("records")
    assert mean["over_folds"]
    assert mean["num_contexts"] == 3
    assert mean["miou_diff_mean"] == pytest.approx(np.mean(within))
    assert mean["miou_diff_word"] == "shown"
    assert mean["miou_diff_low"] > 0
    assert not len(study.interactions)


def test_the_mean_is_as_sure_as_seeds_whose_differences_are_averaged_over_folds_first(study):
    by_seed = study.runs.pivot_table(index="seed", columns="variant", values="miou")
    means = sum(by_seed[f"{fold}-fcn8s"] - by_seed[f"{fold}-fcn32s"] for fold in range(3)) / 3
    (mean,) = study.main_effects.to_dict("records")
    reach = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
    own = mean["miou_diff_own_high"] - mean["miou_diff_own_low"]
    arms = study.intervals.arms
    # Images: the variance of each fold's difference over resamples, a fold being 1/3 of the mean.
    m = arms["0-fcn8s"].scores.index("miou")
    moves = [
        (arms[f"{k}-fcn8s"].draws[:, :, m] - arms[f"{k}-fcn32s"].draws[:, :, m]).mean(1)
        for k in range(3)
    ]
    units = [arms[f"{k}-fcn8s"].num_units for k in range(3)]
    of_images = sum(one.var(ddof=1) for one in moves) / 9 * min(units) / (min(units) - 1)
    far = stats.t.ppf(0.975, min(units) - 1) * np.sqrt(of_images)
    assert own / 2 == pytest.approx(np.hypot(reach, far), rel=0.05)


def test_a_claim_may_be_about_the_mean_over_folds(small_store):
    plan = plan_of()
    claims = (
        "fcn8s > fcn32s on average over data.fold",
        "fcn8s < fcn32s on average over data.fold",
    )
    plan = replace(plan, claims=tuple(Claim.model_validate(read_claim(one)) for one in claims))
    for planned in plan.runs:
        finish(small_store, planned, confusions=counts_of(planned))
    assert [one.word for one in read_study(plan, small_store).verdicts] == ["held", "not held"]


@pytest.fixture
def shares(small_store):
    """Three folds of two shares of two skips, four seeds each, with claims."""
    claims = (
        "fcn8s > fcn32s for every data.train_fraction",
        "1.0 > 0.5 for every model.skip",
        "fcn8s > fcn32s for every data.fold",
    )
    read = tuple(Claim.model_validate(read_claim(one)) for one in claims)
    plan = replace(plan_of((0.5, 1.0)), claims=read)
    for planned in plan.runs:
        images = round(planned.run.spec.data.train_fraction * (20 + planned.run.spec.data.fold))
        finish(small_store, planned, confusions=counts_of(planned), num_trained=images)
    return read_study(plan, small_store)


def test_a_claim_for_every_value_of_another_factor_averages_over_folds(shares):
    means = shares.runs.groupby("variant")["miou"].mean()
    by_share, by_skip, by_fold = (one.asked for one in resolve_claims(shares.plan))
    assert [one.where for one in by_share] == ["0.5", "1.0"]
    assert [one.where for one in by_skip] == ["fcn32s", "fcn8s"]
    assert len(by_fold) == 3 * 2  # each is asked for by itself
    for one in by_share:
        gain = np.mean(
            [means[f"{one.where}-{k}-fcn8s"] - means[f"{one.where}-{k}-fcn32s"] for k in range(3)]
        )
        found = sum(weight * means[name] for name, weight in one.weights.items())
        assert found == pytest.approx(gain)
    assert [one.word for one in shares.verdicts][:2] == ["held", "held"]


def test_a_learning_curve_is_over_means_of_folds(shares):
    frame = learning_frame(shares.summary, shares.records, shares.levels, shares.intervals.arms)
    assert list(frame["line"]) == ["fcn32s", "fcn8s"] * 2
    assert list(frame["num_trained"]) == [10, 10, 21, 21]  # 10, 10, 11 and 20, 21, 22
    means = shares.runs.groupby("variant")["miou"].mean()
    for row in frame.to_dict("records"):
        share = 0.5 if row["num_trained"] == 10 else 1.0
        own = [means[f"{share}-{fold}-{row['line']}"] for fold in range(3)]
        assert row["miou_mean"] == pytest.approx(np.mean(own))
        assert row["miou_low"] < row["miou_mean"] < row["miou_high"]
    drawn = {one.name: one for one in draw_figures(shares)}["learning"]
    assert "mean over all folds" in drawn.caption
    assert "rank nothing" not in drawn.caption
    # Where a fold is not there, neither is the mean.
    part = shares.summary[shares.summary["variant"] != "0.5-2-fcn8s"]
    left = learning_frame(part, shares.records, shares.levels, {})
    assert len(left) == 3
    assert left["miou_low"].isna().all()


def test_the_interval_of_a_mean_over_folds_is_that_of_its_folds_put_together(shares):
    """Folds are judged by other images each, and seeds are met by their means over folds."""
    frame = learning_frame(shares.summary, shares.records, shares.levels, shares.intervals.arms)
    row = frame[(frame["line"] == "fcn8s") & (frame["num_trained"] == 21)].iloc[0]
    arms = [shares.intervals.arms[f"1.0-{fold}-fcn8s"] for fold in range(3)]
    m = arms[0].scores.index("miou")
    by_seed = np.mean([arm.points[:, m] for arm in arms], axis=0)
    of_images = sum(arm.draws[:, :, m].mean(1).var(ddof=1) for arm in arms) / 9
    error = np.sqrt(of_images + by_seed.var(ddof=1) / len(by_seed))
    reach = (row["miou_high"] - row["miou_low"]) / 2
    assert 1.9 * error < reach < stats.t.ppf(0.975, 3) * 1.3 * error


def test_without_all_folds_of_both_there_is_no_verdict(small_store):
    plan = plan_of()
    for planned in plan.runs:
        if planned.variant != "2-fcn8s":
            finish(small_store, planned, confusions=counts_of(planned))
    (mean,) = read_study(plan, small_store).main_effects.to_dict("records")
    assert mean["num_contexts"] == 2
    assert mean["miou_diff_word"] == ""


def test_no_fold_is_a_change_and_the_answer_says_what_the_verdict_is_about(study):
    assert set(study.changes["factor"]) == {"skip"}
    (said,) = state_changes(study.changes, study.main_effects, study.interactions)
    assert "on average over 3 values of data.fold" in said.lead or "3 contexts" in said.lead
    assert "averaged over folds" in said.rest
    assert "fold 0 of 3" in study.changes["judged_on"].iloc[0]
    table = list_table(study.changes, study.main_effects, study.interactions)
    assert list(table.cells["with"])[-1] == "mean of 3 contexts"


def test_folds_of_other_draws_have_no_mean(small_store):
    first, other = plan_of(), plan_of(draw_seed=1)
    half = len(SKIPS) * len(SEEDS)
    runs = [*first.runs[:half], *other.runs[2 * half :]]
    plan = Plan("mixed", "q", "", tuple(runs))
    for planned in plan.runs:
        finish(small_store, planned, confusions=counts_of(planned))
    assert not len(read_study(plan, small_store).main_effects)

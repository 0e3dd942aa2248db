"""Folds: differences inside each, their mean over all, and no verdict on that mean."""

import numpy as np
import pytest
from streets import CLASS_NAMES, FINGERPRINT, NUM_IMAGES, finish, make_spec

from bench.plan import Plan, PlannedRun, Run
from reports.statements import state_changes
from reports.study import read_study
from reports.tables.changes import list_table

SKIPS = ("fcn32s", "fcn8s")


def plan_of(**settings):
    runs = []
    for fold in range(3):
        for skip in SKIPS:
            for seed in (0, 1):
                spec = make_spec("vgg16", skip, seed)
                own = {"folds": 3, "fold": fold, **settings}
                data = spec.data.model_copy(update=own)
                runs.append(PlannedRun(f"{fold}-{skip}", Run(_with(spec, data), FINGERPRINT)))
    return Plan("folds", "Which skip?", "the finer", tuple(runs))


def _with(spec, data):
    return spec.model_copy(update={"data": data})


def counts_of(planned):
    """Counts of a fold's own images: as many as no other fold has, which tells them apart."""
    spec = planned.run.spec
    fold, finer = spec.data.fold, spec.model.skip == "fcn8s"
    rng = np.random.default_rng([fold, spec.seed, finer])
    C = len(CLASS_NAMES)
    counts = np.full((NUM_IMAGES - fold, C, C), 20) + rng.integers(0, 5, (NUM_IMAGES - fold, C, C))
    wrong = 20 - 4 * (fold + 1) if finer else 20
    counts[:, ~np.eye(C, dtype=bool)] = wrong
    counts[:, np.arange(C), np.arange(C)] = 1000 - counts.sum(2) + np.diagonal(counts, 0, 1, 2)
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
    assert mean["miou_diff_word"] == ""
    assert np.isnan([mean["miou_diff_low"], mean["miou_diff_high"], mean["miou_diff_p"]]).all()
    assert not len(study.interactions)


def test_no_fold_is_a_change_and_the_answer_says_why_there_is_no_verdict(study):
    assert set(study.changes["factor"]) == {"skip"}
    (said,) = state_changes(study.changes, study.main_effects, study.interactions)
    assert "on average over 3 values of data.fold" in said.lead or "3 contexts" in said.lead
    assert "folds train on one another's images" in said.lead
    assert "fold 0 of 3" in study.changes["judged_on"].iloc[0]
    table = list_table(study.changes, study.main_effects, study.interactions)
    assert list(table.cells["with"])[-1] == "mean of 3 contexts"


def test_folds_of_other_draws_have_no_mean(small_store):
    first, other = plan_of(), plan_of(draw_seed=1)
    runs = [*first.runs[:4], *other.runs[8:]]
    plan = Plan("mixed", "q", "", tuple(runs))
    for planned in plan.runs:
        finish(small_store, planned, confusions=counts_of(planned))
    assert not len(read_study(plan, small_store).main_effects)

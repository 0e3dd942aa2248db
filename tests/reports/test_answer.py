"""The first lines of a report, held against sums by hand over its table of runs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from judged import FAIR, GOOD, judge

from bench.plan import CLAIMS, EFFECT, RANKING
from bench.store.runs import Store
from reports.answer import choose_kinds, find_answer
from reports.statements import name_contexts, state_changes, tell_shares
from reports.stats.class_gains import MEAN
from reports.stats.finding import SHOWN
from reports.stats.ranks import find_ranks
from reports.stats.shares import share_variance
from reports.study import read_study
from reports.style import percent, points


@pytest.fixture(scope="module")
def study(plan, store):
    return read_study(plan, store)


def state(study):
    return state_changes(study.changes, study.main_effects, study.interactions)


def by_skip(study):
    return study.runs.pivot_table(index=["backbone", "seed"], columns="skip", values="miou")


def test_the_first_sentence_is_of_the_skip_from_end_to_end_over_backbones(study):
    lead, rest = state(study)[0]
    whole = by_skip(study)["fcn8s"] - by_skip(study)["none"]
    by_backbone = whole.groupby("backbone").mean()  # by hand, of the pairs of finished runs
    assert lead == (
        f"From none to fcn8s, mIoU changes by {points(by_backbone.mean())} points on average over "
        "4 backbones: one seed gives no verdict."  # a run of one of them is missing
    )
    assert rest.startswith("Between backbones it goes from ")


def test_a_whole_grid_has_a_verdict_with_its_interval(plan, store):
    whole = [run for run in plan.runs if run.variant.startswith(("alexnet", "vgg16"))]
    study = read_study(dataclasses.replace(plan, runs=tuple(whole)), store)
    lead, _ = state(study)[0]
    gain = (by_skip(study)["fcn8s"] - by_skip(study)["none"]).mean()
    mean = study.main_effects.iloc[-1]
    assert (mean["before"], mean["after"]) == ("none", "fcn8s") or len(study.main_effects) > 1
    assert lead.startswith(f"From none to fcn8s, mIoU gains {percent(gain)} [")
    assert lead.endswith("] points on average over 2 backbones: shown.")


def test_a_variant_without_runs_takes_no_verdict_from_the_rest(plan, store):
    """The effect over three backbones is judged, though the fourth has no run with fcn8s."""
    lost = [run for run in plan.runs if run.variant != "googlenet-fcn8s"]
    gone = dataclasses.replace(plan, runs=tuple(run for run in lost if "resnet" not in run.variant))
    never = [
        dataclasses.replace(one, run=dataclasses.replace(one.run, fingerprint="0" * 64))
        if one.variant == "googlenet-fcn8s"
        else one
        for one in plan.runs
        if "resnet" not in one.variant
    ]
    study = read_study(dataclasses.replace(plan, runs=tuple(never)), store)
    assert state(study)[0] == state(read_study(gone, store))[0]
    assert state(study)[0].lead.endswith("on average over 2 backbones: shown.")


def test_contexts_are_named_only_where_they_are_shown_to_differ(study):
    apart = study.interactions
    for lead, rest in state(study):
        before, after = lead.removeprefix("From ").split(",")[0].split(" to ")
        own = apart[(apart["before"] == before) & (apart["after"] == after)]
        assert ("highest with" in rest) == (SHOWN in set(own["miou_diff_word"]))


def test_one_seed_is_no_verdict_in_any_sentence(plan, store):
    one = dataclasses.replace(plan, runs=tuple(r for r in plan.runs if r.run.spec.seed == 1))
    study = read_study(one, store)
    said = state(study)
    assert said
    for lead, rest in said:
        assert "one seed gives no verdict" in lead or "nothing can be shown" in lead
        assert "shown, p" not in rest
    assert study.summary["miou_rank_low"].isna().all()
    assert not any(
        "told apart" in text
        for text in find_answer(study.runs, study.summary, one.baseline, study.intervals).remarks
    )


def test_an_answer_is_of_claims_then_effects_for_a_grid_and_a_ranking_for_a_list(
    plan, study, small_store
):
    assert choose_kinds(plan, study.changes) == [CLAIMS, EFFECT]
    bare = dataclasses.replace(plan, claims=())
    assert choose_kinds(bare, study.changes) == [EFFECT]
    asked = dataclasses.replace(plan, answer=RANKING)
    assert choose_kinds(asked, study.changes) == [RANKING, CLAIMS]
    arms = {"a": [[FAIR] * 6] * 2, "b": [[GOOD] * 6] * 2}
    heads = read_study(judge(small_store, arms), small_store)
    assert choose_kinds(heads.plan, heads.changes) == [RANKING]


def test_a_place_counts_who_is_shown_to_be_better_and_worse(study):
    names = list(study.summary.loc[study.summary["num_done"] > 1, "variant"])
    findings = study.intervals.findings
    ranks = find_ranks(names, findings)
    means = study.summary.set_index("variant")["miou_mean"]
    for name in names:
        shown = [o for o in names if o != name and findings.compare(name, o).word == SHOWN]
        better = sum(means[other] > means[name] for other in shown)
        assert ranks[name] == (1 + better, len(names) - (len(shown) - better))
        low, high = ranks[name]
        assert low <= 1 + sum(means[other] > means[name] for other in names) <= high
    assert any(low < high for low, high in ranks.values())


def test_shares_of_variance_are_what_least_squares_leave(study):
    """A second route: sums of squares as what each factor takes from a regression's residual."""
    whole = {name: arm for name, arm in study.intervals.arms.items() if len(arm.seeds) == 2}
    kept = [b for b in ("alexnet", "vgg16") if all(f"{b}-{s}" in whole for s in ("none", "fcn8s"))]
    names = [f"{backbone}-{skip}" for backbone in kept for skip in ("none", "fcn16s", "fcn8s")]
    arms = {name: whole[name] for name in names}
    levels = {
        "model.backbone": {name: name.split("-")[0] for name in names},
        "model.skip": {name: name.split("-")[1] for name in names},
    }
    rows = pd.DataFrame([
        {"backbone": name.split("-")[0], "skip": name.split("-")[1], "miou": score}
        for name, arm in arms.items() for score in arm.points[:, arm.scores.index("miou")]
    ])  # fmt: skip

    def left(*terms):
        columns = [np.ones(len(rows))] + [
            pd.get_dummies(rows[list(term)].agg("-".join, axis=1)).to_numpy(float) for term in terms
        ]
        design = np.column_stack(columns)
        fit = design @ np.linalg.lstsq(design, rows["miou"].to_numpy(), rcond=None)[0]
        return float(((rows["miou"] - fit) ** 2).sum())

    total = left()
    expected = {
        "model.backbone": left() - left(("backbone",)),
        "model.skip": left(("backbone",)) - left(("backbone",), ("skip",)),
        "interaction": left(("backbone",), ("skip",)) - left(("backbone", "skip")),
        "seeds": left(("backbone", "skip")),
    }
    found = share_variance(arms, levels)
    assert found == pytest.approx({name: part / total for name, part in expected.items()})
    assert sum(found.values()) == pytest.approx(1)
    assert f"skip {percent(found['model.skip'])} %" in tell_shares(found)


def test_shares_of_a_grid_with_holes_are_not_said(study, plan):
    arms = dict(study.intervals.arms)
    assert share_variance(arms, {"model.skip": dict.fromkeys(arms, "same")}) == {}
    first = next(iter(arms))
    holes = {name: arm for name, arm in arms.items() if name != first}
    levels = {kind: {name: name.split("-")[k] for name in holes} for k, kind in enumerate("ab")}
    assert share_variance(holes, levels) == {}
    assert tell_shares({}) == ""


def test_gains_by_class_are_those_of_the_summed_counts(study):
    gains = study.class_gains.set_index(["context", "class_name"])
    classes = study.classes.groupby(["variant", "class_name"])["iou"].mean()
    for backbone in ("alexnet", "vgg16"):
        for name in ("sky", "car"):
            by_hand = classes[f"{backbone}-fcn8s", name] - classes[f"{backbone}-none", name]
            row = gains.loc[(backbone, name)]
            assert points(row["diff"]) == points(by_hand)
            assert row["low"] < row["diff"] < row["high"]
    assert set(gains.loc[MEAN].index) <= set(study.classes["class_name"])


@pytest.mark.parametrize(
    ("number", "factors", "said"),
    [(4, ["backbone"], "4 backbones"), (2, ["train.loss"], "2 values of train.loss"),
     (1, ["a", "b"], "1 context"), (6, ["a", "b"], "6 contexts")],
)  # fmt: skip
def test_contexts_are_named_by_what_varies_in_them(number, factors, said):
    assert name_contexts(number, factors) == said


def test_one_image_shows_nothing_however_many_seeds_there_are(tmp_path):
    store = Store(tmp_path)
    plan = judge(store, {"a": [[FAIR], [FAIR]], "b": [[GOOD], [GOOD]]})
    study = read_study(plan, store)
    answer = find_answer(study.runs, study.summary, plan.baseline, study.intervals)
    assert answer.remarks
    for text in (*answer.remarks, state(study)[0].lead):
        assert "without counts of several images nothing can be shown" in text
        assert "one seed" not in text

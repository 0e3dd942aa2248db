"""Claims judged: against tests of other libraries, and on grids whose truth is known."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from scipy import stats
from test_contrasts import make_arm
from test_costs import make_runs

from bench.claims import Sentence
from bench.store.noted import note_claims
from fcn.errors import InputError
from reports.page import write_report
from reports.stats.asked import require_classes, resolve_claims
from reports.stats.claims import HELD, NOT_HELD, UNDECIDED, judge_claims
from reports.stats.costs import measure_costs
from reports.study import read_study
from reports.tables.claims import claims_frame, claims_table

READ = TypeAdapter(Sentence).validate_python
GRID = {"alexnet-none", "alexnet-fcn8s", "vgg16-none", "vgg16-fcn8s"}


@pytest.fixture
def claiming(plan):
    """The grid of streets, claiming what is given: claiming("a > b", ...) -> plan."""

    def claim(*sentences, margin=None, variants=None):
        kept = variants or set(plan.variants)
        runs = tuple(run for run in plan.runs if run.variant in kept)
        claims = tuple(READ(text) for text in sentences)
        return dataclasses.replace(
            plan, runs=runs, claims=claims, margin=margin, baseline=None, published=()
        )

    return claim


def judge(plan, arms, costs=None):
    return judge_claims(resolve_claims(plan), arms, costs or {})


def test_contrasts_are_those_that_the_sentence_says(claiming):
    plan = claiming(
        "vgg16-fcn8s > vgg16-none",
        "fcn8s > none for every model.backbone",
        "fcn8s > none on average over backbone",
        "gain none -> fcn8s in vgg16 > alexnet",
        "vgg16-none = vgg16-fcn8s within 0.02",
        variants=GRID,
    )
    one, every, mean, gain, same = resolve_claims(plan)
    assert [dict(a.weights) for a in one.asked] == [{"vgg16-fcn8s": 1, "vgg16-none": -1}]
    assert {a.where: dict(a.weights) for a in every.asked} == {
        "alexnet": {"alexnet-fcn8s": 1, "alexnet-none": -1},
        "vgg16": {"vgg16-fcn8s": 1, "vgg16-none": -1},
    }
    halves = {n: 0.5 if n.endswith("fcn8s") else -0.5 for n in GRID}
    assert dict(mean.asked[0].weights) == halves
    signs = {"vgg16-fcn8s": 1, "vgg16-none": -1, "alexnet-fcn8s": -1, "alexnet-none": 1}
    assert dict(gain.asked[0].weights) == signs
    assert [(a.bound, a.is_turned) for a in same.asked] == [(-0.02, False), (-0.02, True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vgg61-fcn8s > vgg16-none", "did you mean 'vgg16-fcn8s'"),
        ("fcn8 > none for every model.backbone", "did you mean 'fcn8s'"),
        ("fcn8s > none", "for every model.backbone, or  on average over model.backbone"),
        ("fcn8s > none for every model.bakcbone", "did you mean 'model.backbone'"),
        ("fcn8s > vgg16 for every model.backbone", "no values of one factor"),
        ("vgg16-none = vgg16-fcn8s", "within what"),
        ("latency_ms of fcn8s <= none", "unknown variant 'fcn8s'"),
        ("vgg16-fcn8s > vgg16-none for every model.backbone", "two variants are compared without"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_nearest_name(claiming, text, said):
    with pytest.raises(InputError) as caught:
        resolve_claims(claiming(text, variants=GRID))
    assert said in str(caught.value)


def test_a_scope_makes_names_values_though_variants_are_called_so_too(claiming):
    names = {"alexnet-none": "none", "alexnet-fcn8s": "fcn8s"}
    plan = claiming(
        "fcn8s > none",
        "fcn8s > none for every model.backbone",
        "fcn8s > none on average over model.backbone",
        variants=GRID,
    )
    runs = tuple(
        dataclasses.replace(run, variant=names.get(run.variant, run.variant)) for run in plan.runs
    )
    alone, every, mean = resolve_claims(dataclasses.replace(plan, runs=runs))
    assert [dict(one.weights) for one in alone.asked] == [{"fcn8s": 1, "none": -1}]
    assert [dict(one.weights) for one in every.asked] == [
        {"fcn8s": 1, "none": -1},
        {"vgg16-fcn8s": 1, "vgg16-none": -1},
    ]
    assert len(mean.asked[0].weights) == 4


def test_what_is_as_good_on_two_sides_is_told_as_left_less_right(claiming):
    arms = {name: make_arm([0.5, 0.51, 0.52]) for name in GRID}
    arms["vgg16-fcn8s"] = make_arm([0.45, 0.46, 0.47])
    plan = claiming(
        "vgg16-fcn8s = vgg16-none within 0.01",
        "vgg16-none = vgg16-fcn8s within 0.01",
        variants={"vgg16-fcn8s", "vgg16-none"},
    )
    frame = claims_frame(judge(plan, arms))
    assert frame["estimate"].tolist() == pytest.approx([-0.05, 0.05])
    assert (frame["low"] < frame["estimate"]).all()
    assert (frame["estimate"] < frame["high"]).all()


def test_classes_are_those_of_the_data(claiming):
    plan = claiming("fcn8s > none by 0.1 IoU[Pole] for every model.backbone", variants=GRID)
    require_classes(plan, ("Pole", "Sky"))
    with pytest.raises(InputError, match="did you mean 'pole'"):
        require_classes(plan, ("pole", "sky"))


def one_claim(claiming, text, arms):
    plan = claiming(text, variants={"vgg16-fcn8s", "vgg16-none"})
    (verdict,) = judge(plan, arms)
    return verdict


def two_arms(better, worse, moves=0.0):
    return {"vgg16-fcn8s": make_arm(better, moves=moves), "vgg16-none": make_arm(worse)}


@pytest.mark.parametrize("by", [0.0, 0.02])
def test_two_variants_are_judged_as_by_a_t_test_of_pairs(claiming, by):
    """One claim, no spread of images: Student's one-sided test of differences against the bound."""
    rng, agreed, held = np.random.default_rng(5), 0, 0
    for _ in range(60):
        base = rng.normal(0.5, 0.02, 5)
        gain = base + rng.normal(0.03, 0.03, 5)
        p = stats.ttest_1samp(gain - base, by, alternative="greater").pvalue
        text = f"vgg16-fcn8s > vgg16-none by {by}"
        is_held = one_claim(claiming, text, two_arms(gain, base)).word == HELD
        agreed += is_held == (p <= 0.05) or abs(p - 0.05) < 0.01  # the critical value is drawn
        held += is_held
    assert agreed == 60
    assert 5 < held < 55


def test_without_seeds_that_differ_it_is_a_t_test_over_images(claiming):
    """Seeds agree, images move the score: scipy's test of as many values of that mean."""
    rng = np.random.default_rng(0)
    per_image = rng.normal(0.0, 1.0, 200)
    per_image = (per_image - per_image.mean()) / per_image.std(ddof=1)
    for shift in (0.05, 0.10, 0.13, 0.20, 0.30):
        values = 0.01 * (per_image + shift)
        arms = two_arms([0.5 + values.mean()] * 2, [0.5] * 2)
        draws = rng.integers(0, 200, (4000, 200))
        moved = 0.5 + values[draws].mean(1)
        own = arms["vgg16-fcn8s"]
        table = np.repeat(moved[:, None, None], 2, axis=1).repeat(4, axis=2)
        still = np.full((4000, 2, 4), 0.5)
        arms = {
            "vgg16-fcn8s": dataclasses.replace(own, draws=table, num_units=200),
            "vgg16-none": dataclasses.replace(arms["vgg16-none"], draws=still, num_units=200),
        }
        # Two seeds that agree leave no residual; give them the least that is one.
        arms["vgg16-fcn8s"].points[:] += np.array([[1e-9], [-1e-9]])
        p = stats.ttest_1samp(values, 0.0, alternative="greater").pvalue
        verdict = one_claim(claiming, "vgg16-fcn8s > vgg16-none", arms)
        assert (verdict.word == HELD) == (p < 0.05), (shift, p)


def draw_grid(rng, truth, spread=0.01, seeds=3):
    shared = rng.normal(0, spread, seeds)
    return {
        name: make_arm(0.5 + gain + shared + rng.normal(0, spread, seeds))
        for name, gain in truth.items()
    }


CLAIMS = (
    "fcn8s > none for every model.backbone",
    "fcn8s > none on average over model.backbone",
    "gain none -> fcn8s in vgg16 > alexnet",
    "vgg16-fcn8s > alexnet-fcn8s",
)


def test_of_grids_without_effects_few_hold_any_claim_or_refuse_one(claiming):
    """True differences are at the bounds: then held and not held are both false, 5 % each."""
    plan, rng = claiming(*CLAIMS, variants=GRID), np.random.default_rng(3)
    counts = {HELD: 0, NOT_HELD: 0}
    for _ in range(200):
        words = {one.word for one in judge(plan, draw_grid(rng, dict.fromkeys(GRID, 0.0)))}
        for word in counts:
            counts[word] += word in words
    most = 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)
    assert counts[HELD] <= most
    assert counts[NOT_HELD] <= most


def test_what_is_far_above_its_bound_is_held_and_far_below_is_not(claiming):
    truth = {"alexnet-none": 0.0, "alexnet-fcn8s": 0.2, "vgg16-none": 0.0, "vgg16-fcn8s": 0.3}
    plan, rng = claiming(*CLAIMS, variants=GRID), np.random.default_rng(4)
    turned = claiming(
        "none > fcn8s for every model.backbone", "alexnet-fcn8s > vgg16-fcn8s", variants=GRID
    )
    for _ in range(20):
        arms = draw_grid(rng, truth)
        assert [one.word for one in judge(plan, arms)] == [HELD] * 4
        assert [one.word for one in judge(turned, arms)] == [NOT_HELD] * 2


def test_both_of_two_opposite_claims_are_never_held(claiming):
    plan = claiming("vgg16-fcn8s > alexnet-fcn8s", "alexnet-fcn8s > vgg16-fcn8s", variants=GRID)
    rng = np.random.default_rng(6)
    for shift in np.linspace(-0.05, 0.05, 30):
        words = [
            one.word
            for one in judge(plan, draw_grid(rng, {n: shift * (n[0] == "v") for n in GRID}))
        ]
        assert words != [HELD, HELD]


def test_the_order_of_variants_changes_no_verdict(claiming):
    plan, rng = claiming(*CLAIMS, variants=GRID), np.random.default_rng(7)
    turned = dataclasses.replace(plan, runs=tuple(reversed(plan.runs)))
    for gain in (0.0, 0.02, 0.05):
        arms = draw_grid(rng, {n: gain * n.endswith("8s") for n in sorted(GRID)})
        other = dict(reversed(arms.items()))
        one, two = (
            [(v.word, v.low) for v in judge(p, a)] for p, a in ((plan, arms), (turned, other))
        )
        assert [word for word, _ in one] == [word for word, _ in two]
        assert [low for _, low in one] == pytest.approx([low for _, low in two], abs=0.01)


def test_equality_is_hardly_ever_held_of_variants_a_margin_apart(claiming):
    plan = claiming("vgg16-fcn8s = vgg16-none", margin=0.02, variants=GRID)
    rng, held = np.random.default_rng(8), 0
    for _ in range(200):
        truth = {n: 0.02 * (n == "vgg16-fcn8s") for n in sorted(GRID)}
        held += judge(plan, draw_grid(rng, truth, spread=0.005, seeds=5))[0].word == HELD
    assert held <= 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)
    close = judge(plan, draw_grid(rng, dict.fromkeys(sorted(GRID), 0.0), spread=0.001, seeds=5))
    assert close[0].word == HELD


def test_one_seed_decides_nothing_and_what_would_is_said(claiming):
    once = {name: make_arm([0.5 + 0.3 * (name == "vgg16-fcn8s")]) for name in GRID}
    verdict = one_claim(claiming, "vgg16-fcn8s > vgg16-none", once)
    assert (verdict.word, verdict.advice) == (UNDECIDED, "more than one seed of each variant")
    few = one_claim(claiming, "vgg16-fcn8s > vgg16-none", two_arms([0.51, 0.53], [0.5, 0.51]))
    assert few.word == UNDECIDED
    assert few.advice.endswith(("more seeds", "more seed"))
    rough = two_arms([0.52, 0.521, 0.52], [0.5, 0.5, 0.501], moves=0.05)
    images = one_claim(claiming, "vgg16-fcn8s > vgg16-none", rough)
    assert (images.word, images.advice) == (UNDECIDED, "more images, not more seeds")
    lacking = one_claim(claiming, "vgg16-fcn8s > vgg16-none", {"vgg16-none": make_arm([0.5, 0.6])})
    assert lacking.advice == "finished runs of vgg16-fcn8s"


def test_costs_are_judged_on_logarithms_and_counts_exactly(claiming):
    plan = claiming(
        "latency_ms of vgg16-none <= 0.5 * vgg16-fcn8s",
        "latency_ms of vgg16-fcn8s <= vgg16-none",
        "num_parameters of vgg16-none <= vgg16-fcn8s",
        "train_seconds of vgg16-none <= vgg16-fcn8s",
        variants=GRID,
    )
    runs = make_runs({"vgg16-none": [1.0, 1.1, 0.9], "vgg16-fcn8s": [9.0, 9.5, 10.0]})
    verdicts = judge(plan, {}, measure_costs(runs))
    assert [one.word for one in verdicts] == [HELD, NOT_HELD, HELD, UNDECIDED]
    assert verdicts[-1].advice == "runs that record train_seconds"
    ratio = claims_table(verdicts).cells["found [bounds]"][0]
    assert float(ratio.split()[0]) == pytest.approx(0.105, rel=0.03)
    for ratio, word in ((0.995, HELD), (0.9, NOT_HELD)):  # memories within a hundredth are equal
        asked = claiming("step_memory_mib of vgg16-fcn8s <= vgg16-none", variants=GRID)
        memory = runs["variant"].map({"vgg16-none": 100.0 * ratio, "vgg16-fcn8s": 100.0})
        (one,) = judge(asked, {}, measure_costs(runs.assign(step_memory_mib=memory)))
        assert one.word == word
        found = float(claims_table([one]).cells["found [bounds]"][0].split()[0])
        assert found == pytest.approx(1 / ratio, abs=0.005)  # as it is, though it is called equal
    single = make_runs({"vgg16-none": [1.0], "vgg16-fcn8s": [9.0]})
    alone = judge(plan, {}, measure_costs(single))
    assert [one.word for one in alone] == [UNDECIDED, UNDECIDED, HELD, UNDECIDED]


def test_what_an_outlier_decides_is_undecided(claiming):
    arms = two_arms([0.7, 0.71, 0.69], [0.5, 0.51, 0.1])
    verdict = one_claim(claiming, "vgg16-fcn8s > vgg16-none", arms)
    assert verdict.word == UNDECIDED
    assert "vgg16-none, seed 2" in verdict.advice


def test_a_report_opens_with_its_claims_and_says_when_they_were_written(claiming, store, tmp_path):
    plan = claiming(
        "vgg16-fcn8s > vgg16-none", "fcn8s > none by 0.1 IoU[pole] on average over skip"
    )
    plan = claiming(
        "vgg16-fcn8s > vgg16-none",
        "vgg16-fcn8s > vgg16-none by 0.01 IoU[pole]",
        "latency_ms of vgg16-none <= vgg16-fcn8s",
    )
    html = write_report(plan, store, tmp_path).read_text()
    assert html.index("What was claimed") < html.index("Best of")
    rows = pd.read_csv(tmp_path / "tables" / "claims.csv")
    assert rows["claim"].tolist() == [str(claim) for claim in plan.claims]
    assert set(rows["verdict"]) <= {HELD, NOT_HELD, UNDECIDED}
    assert rows["noted"].tolist() == ["added after the runs"] * 3
    assert (tmp_path / "tables" / "claims.tex").exists()
    frame = claims_frame(read_study(plan, store).verdicts)
    assert frame["estimate"][0] == pytest.approx(rows["estimate"][0])


def test_a_claim_noted_before_its_runs_ended_is_told_from_one_added_later(
    claiming, make_plan, small_store, monkeypatch
):
    from streets import finish

    plan = make_plan(["a", "b"], (0, 1), baseline="a")
    first = dataclasses.replace(plan, claims=(READ("b > a"),))
    note_claims(small_store.root, first)
    for planned in plan.runs:
        finish(small_store, planned, log=False)
    both = dataclasses.replace(plan, claims=(READ("b > a"), READ("a > b")))
    note_claims(small_store.root, both)  # the second now, the first keeps its time
    before = {one.question.claim.left: one.noted for one in read_study(both, small_store).verdicts}
    ends = {small_store.result(run.run.id).finished for run in plan.runs}
    if max(ends) < "2026-06":  # drawn results say that they are older than this test
        assert before == {"b": "added after the runs", "a": "added after the runs"}
    noted = small_store.root / "claims.json"
    text = noted.read_text()
    noted.write_text(text.replace("2026-", "2020-").replace("2027-", "2020-"))
    after = {one.question.claim.left: one.noted for one in read_study(both, small_store).verdicts}
    assert set(after.values()) == {"before its runs"}
    noted.write_text("{")
    with pytest.raises(InputError, match="delete it"):
        read_study(both, small_store)

"""Seeds added until claims are decided: look by look, interrupted, recalled; no run is trained."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from streets import FINGERPRINT, finish, make_spec

from ablations.looks import ask_next, order_seeds, recall_looks
from ablations.until_decided import begin_looks, plan_look, require_number, run_looks
from bench.claims import Sentence
from bench.plan import Plan, PlannedRun, Run
from bench.store.looks import FILE, write_looks
from bench.store.records import Failure, Reason
from bench.store.runs import Store
from fcn.errors import InputError
from reports.page import write_report
from reports.results.report_folder import ReportFolder
from reports.study import read_study

READ = TypeAdapter(Sentence).validate_python
HITS = {"base": 400, "far": 700, "near": 421}
"""Pixels of 800 that each variant hits, in the mean."""


def ask(seeds=(7, 2), claims=("far > base", "near > base by 0.02"), staged=False, **settings):
    """A question of three variants; `near` may start from `base`."""
    runs = []
    for seed in seeds:
        made = {}
        for number, name in enumerate(HITS):
            spec = make_spec("vgg16", "fcn8s", seed)
            model = spec.model.model_copy(update={"head": f"head-{number}"})
            spec = spec.model_copy(update={"model": model})
            parent = made["base"].id if staged and name == "near" else None
            made[name] = Run(spec, FINGERPRINT, parent)
            runs.append(PlannedRun(name, made[name]))
    sentences = tuple(READ(text) for text in claims)
    return Plan("heads", "Which head?", "none", tuple(runs), claims=sentences, **settings)


def make_run(store, planned):
    """Finish a run with hits that depend on its variant and seed."""
    rng = np.random.default_rng([planned.run.spec.seed, *planned.variant.encode()])
    hits = HITS[planned.variant] + rng.normal(0, 12) + rng.integers(-3, 4, 8)
    hits = hits.round().astype(int)
    rows = [[[790, 10], [800 - h, h]] for h in hits]
    confusions = np.array(rows, dtype=np.int32)
    finish(store, planned, class_names=("ground", "cat"), confusions=confusions, log=False)


class Question:
    """A question over a store, and what its commands came to."""

    def __init__(self, store, **settings):
        self.store, self.settings = store, settings
        self.own, self.said, self.made = ask(**settings), [], []

    def grow(self, seeds):
        return dataclasses.replace(self.own, runs=ask(**{**self.settings, "seeds": seeds}).runs)

    def make(self, plan, *, again):
        new = [one for one in plan.runs if self.store.status(one.run.id) != "done"]
        self.made.append([(one.variant, one.run.spec.seed) for one in new])
        for one in new:
            self.finish(one)
        return sum(self.store.status(one.run.id) != "done" for one in plan.runs)

    def finish(self, planned):
        make_run(self.store, planned)

    def command(self, max_seeds=6):
        looks = begin_looks(self.own, self.store, max_seeds)
        return run_looks(self.own, self.store, looks, self.grow, self.make, self.said.append)

    def recall(self):
        return recall_looks(self.own, self.store, self.grow)

    def kept(self):
        """Return the looks as they lie in the store, without their times."""
        ((looks,),) = (
            own.values() for own in json.loads((self.store.root / FILE).read_text()).values()
        )
        return [{k: v for k, v in look.items() if k != "taken"} for look in looks["looks"]]


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.looks.NUM_DRAWS", 2000)
        yield


@pytest.fixture
def question(small_store):
    return Question(small_store)


@pytest.fixture(scope="module")
def whole(few_draws, tmp_path_factory):
    """A question whose command went to its end; nobody writes to its store."""
    question = Question(Store(tmp_path_factory.mktemp("whole")))
    question.plan, question.num_undone = question.command()
    return question


@pytest.fixture
def asked(whole, tmp_path):
    """A copy of it."""
    shutil.copytree(whole.store.root, tmp_path / "copy")
    return Question(Store(tmp_path / "copy"))


def test_seeds_go_where_the_question_is_open(whole):
    question, plan, looks = whole, whole.plan, whole.kept()
    assert whole.num_undone == 0
    assert len(looks) > 1
    first, last = looks[0], looks[-1]
    assert first["seeds"] == dict.fromkeys(HITS, 3)
    assert list(first["words"].values()) == ["held", "undecided"]
    most = 3 + len(looks) - 1
    assert last["seeds"] == {"base": most, "far": 3, "near": most}
    seeds = [7, 2, 0, 1, 3, 4][:most]
    assert [one.run.spec.seed for one in plan.runs if one.variant == "near"] == seeds
    assert [one.run.spec.seed for one in plan.runs if one.variant == "far"] == seeds[:3]
    assert sum(map(len, question.made)) == len(plan.runs)
    spent = [look["spent"] for look in looks]
    assert spent == sorted(spent)
    assert spent[0] < spent[-1] <= 0.05 + 1e-12


def test_the_tables_share_their_error_over_the_looks_that_may_have_ended_the_seeds(whole):
    """By runs alone one may stop where a difference happens to be large: 5 % a look add up."""
    plan = whole.recall()
    looked = read_study(plan, whole.store).intervals.findings
    planned = read_study(dataclasses.replace(plan, looks=None), whole.store).intervals.findings
    for before, after in (("base", "near"), ("base", "far"), ("near", "far")):
        one, other = looked.compare(before, after), planned.compare(before, after)
        assert one.p == pytest.approx(min(4 * other.p, 1.0))
        assert (one.own_low, one.own_high) == (other.own_low, other.own_high)
        assert one.high - one.low > 1.2 * (other.high - other.low)


def test_the_report_is_that_of_the_looks(whole, tmp_path):
    question = whole
    plan = question.recall()
    study = read_study(plan, question.store)
    words = [one.word for one in study.verdicts]
    assert words == list(question.kept()[-1]["words"].values())
    assert study.verdicts[0].look == 1
    assert study.verdicts[0].worst.num_seeds == 3
    html = write_report(plan, question.store, tmp_path).read_text()
    assert "Seeds were added to what was undecided" in html
    assert "Kim and DeMets" in html
    assert "--until-decided --max-seeds 6" in plan.command
    assert "one of 4 looks at most" in html
    methods = (tmp_path / "methods.md").read_text()
    assert f"over {len(question.kept())} looks of 4 that there may be" in methods
    assert "of which each of 4 looks that may have ended the seeds has an even share" in methods
    rows = pd.read_csv(tmp_path / "tables" / "claims.csv")
    assert rows["decided_at"][0] == 1
    assert set(rows["max_seeds"]) == {6}
    assert set(rows["looks"]) == {len(question.kept())}
    for suffix in ("md", "tex"):
        assert "look 1" in (tmp_path / "tables" / f"claims.{suffix}").read_text()
    published = ReportFolder(tmp_path)  # the same from its own folder, without the store
    assert published.plan.looks == plan.looks
    again = read_study(published.plan, published)
    assert [(one.word, one.look) for one in again.verdicts] == [
        (one.word, one.look) for one in study.verdicts
    ]


def test_an_interrupted_command_goes_on_to_the_same_looks(question, whole):
    """Killed while the runs of its second look are made; once at its end, it changes nothing."""
    left = [10]

    def die(planned):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        make_run(question.store, planned)

    question.finish = die
    with pytest.raises(KeyboardInterrupt):
        question.command()
    seen = question.kept()
    assert 0 < len(seen) < len(whole.kept())
    question.finish = lambda planned: make_run(question.store, planned)
    question.command()
    assert question.kept() == whole.kept()
    assert question.kept()[: len(seen)] == seen
    before = (question.store.root / FILE).read_bytes()
    question.command()
    assert (question.store.root / FILE).read_bytes() == before
    assert question.made[-1] == []


def test_seeds_that_merely_lie_in_the_store_do_not_enter(question, whole):
    for planned in question.grow([7, 2, 0, 1, 3, 4]).runs:
        make_run(question.store, planned)
    question.command()
    assert question.kept() == whole.kept()
    assert not any(question.made)
    recalled = question.recall()
    assert {one.run.spec.seed for one in recalled.runs if one.variant == "far"} == {7, 2, 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"claims": ("far > base", "near > base by 0.01")},
        {"claims": ("far > base",)},
        {"seeds": (7, 2, 0, 1)},
    ],
)
def test_claims_that_changed_after_looks_are_refused_and_reported_without_them(whole, changed):
    other = Question(whole.store, **changed)
    with pytest.raises(InputError, match=r"changed after .* looks were taken"):
        other.command()
    plan = other.recall()
    assert plan.looks is None
    assert plan.runs == other.own.runs
    assert "new name, with seeds that nobody has looked at" in plan.remarks[-1]


def test_a_margin_that_a_claim_takes_is_part_of_it(small_store):
    alike = ("near = base",)
    Question(small_store, claims=alike, margin=0.05).command(3)
    with pytest.raises(InputError, match="changed after"):
        Question(small_store, claims=alike, margin=0.04).command(3)


@pytest.mark.parametrize(
    ("settings", "max_seeds", "said"),
    [
        ({"claims": ()}, 6, "claims nothing"),
        ({}, 2, "the first look is at 3 seeds"),
        ({}, 1, "one seed decides nothing"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_a_paragraph(small_store, settings, max_seeds, said):
    with pytest.raises(InputError, match=said):
        Question(small_store, **settings).command(max_seeds)
    assert not (small_store.root / FILE).exists()


def test_options_that_belong_together():
    assert require_number(True, 5, None) == 5
    for words, said in (
        ((False, 5, None), "give both"),
        ((True, None, None), "--max-seeds 10"),
        ((True, 5, ["far"]), "not both"),
    ):
        with pytest.raises(InputError, match=said):
            require_number(*words)


def test_another_number_of_seeds_would_share_the_error_anew(whole):
    with pytest.raises(InputError, match="was asked with --max-seeds 6"):
        whole.command(5)


def test_a_run_that_failed_for_good_is_left_out_of_its_look(question):
    def fail(planned):
        if (planned.variant, planned.run.spec.seed) == ("far", 2):
            question.store.prepare(planned.run)
            failure = Failure(Reason.NONFINITE, "the loss is nan", 12, "")
            question.store.record_failure(planned.run.id, failure)
        else:
            make_run(question.store, planned)

    question.finish = fail
    plan, num_undone = question.command(3)
    assert num_undone == 1
    assert question.kept()[0]["missing"] == {"far": [2]}
    assert ("far", 2) in [(one.variant, one.run.spec.seed) for one in plan.runs]
    for planned in plan.runs:  # it succeeds later: the look stays what it was
        make_run(question.store, planned)
    verdict = read_study(question.recall(), question.store).verdicts[0]
    assert (verdict.word, verdict.worst.num_seeds) == ("held", 2)


def test_a_run_that_another_try_may_finish_holds_the_look_up(question):
    def fail(planned):
        if planned.run.spec.seed != 0:
            make_run(question.store, planned)

    question.finish = fail
    plan, num_undone = question.command()
    assert num_undone == 3
    assert not (question.store.root / FILE).exists()
    assert "look 1 is not taken: 3 runs did not finish" in question.said[-1]
    assert {one.run.spec.seed for one in plan.runs} == {7, 2, 0}
    verdicts = read_study(plan, question.store).verdicts  # nothing is decided before a look
    assert {(one.word, one.advice) for one in verdicts} == {("undecided", "the first look")}


def test_a_verdict_is_not_kept_of_runs_that_are_others_now(asked):
    question = asked
    for planned in question.recall().runs:
        if planned.variant == "far":
            worse = dataclasses.replace(planned, variant="base")
            make_run(question.store, dataclasses.replace(worse, run=planned.run))
    verdict = read_study(question.recall(), question.store).verdicts[0]
    assert (verdict.word, verdict.advice) == ("undecided", "its runs as they were at look 1")


def test_variants_that_start_from_others_have_these_made_too(small_store):
    staged = Question(small_store, staged=True, claims=("far > near by 0.29",))
    staged.command(4)
    last = staged.kept()[-1]["seeds"]
    assert last["base"] == last["near"]  # of no claim, but near starts from it


def test_seeds_come_in_the_order_of_the_spec_and_then_the_smallest():
    assert order_seeds([4, 1], 5) == [4, 1, 0, 2, 3]
    assert order_seeds([4, 1, 9], 2) == [4, 1]


def test_nothing_more_is_asked_once_all_is_decided(small_store):
    certain = Question(small_store, claims=("far > base",))
    certain.command()
    looks = begin_looks(certain.own, small_store, 6)
    assert len(looks.looks) == 1
    assert ask_next(certain.grow(looks.seeds), looks) is None
    assert plan_look(certain.own, looks, certain.grow)[1] is None
    assert certain.said[-1] == "all claims are decided"


def test_what_is_kept_is_neither_lost_nor_misread(asked):
    question = asked
    stale = dataclasses.replace(begin_looks(question.own, question.store, 6), looks=())
    with pytest.raises(InputError, match="another command has taken a look"):
        write_looks(question.store.root, question.own, stale)
    path = question.store.root / FILE
    path.write_text(path.read_text().replace('"max_seeds": 6', '"max_seeds": 2'))
    with pytest.raises(InputError, match="delete it"):
        question.recall()

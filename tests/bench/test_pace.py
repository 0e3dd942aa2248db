"""How long a plan takes: by past runs, by timed steps, by the rate of the last minutes."""

from dataclasses import replace

import pytest
from pretend import run_of

from bench.data.packs.pack import open_pack
from bench.durations import spell_bytes, spell_duration
from bench.grid.building import ModelCost
from bench.grid.pace import PAST, SCALED, TIMED, Pace, tell_duration
from bench.grid.progress import RecentRate
from bench.grid.slots import Slot
from bench.grid.timing import find_paces
from bench.plan import Plan, PlannedRun
from bench.run.execute import Options, execute
from bench.store.runs import Store

SLOT = Slot("cpu", 1)
COST = ModelCost(1000, 0.01, (32, 32))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h"),
     (86_400, "24 h"), (200_000, "2.3 d"), (86_400 * 30, "30 d"), (float("nan"), "–")],
)  # fmt: skip
def test_a_duration_is_said_in_the_unit_that_a_person_would_choose(seconds, said):
    assert spell_duration(seconds) == said


def test_sizes_are_said_in_binary_units():
    said = [spell_bytes(n) for n in (0, 999, 2048, 3 * 2**20, 5 * 2**30, 3 * 2**40)]
    assert said == ["0 B", "999 B", "2 KiB", "3.0 MiB", "5.0 GiB", "3.0 TiB"]


def test_the_rate_is_that_of_the_last_minutes_not_the_mean_since_the_start():
    rate = RecentRate(window=60)
    done = 0.0
    for now in range(0, 600, 10):
        done += 10 if now < 300 else 1  # ten times slower in the second half
        rate.note(now, done)
    assert rate.seconds_for(10) == pytest.approx(100)
    mean = 590 / done * 10
    assert mean < 20


def test_no_rate_is_known_before_something_is_done():
    rate = RecentRate()
    assert rate.seconds_for(1) is None
    rate.note(0, 0)
    rate.note(100, 0)
    assert rate.seconds_for(1) is None
    rate.note(110, 5)
    assert rate.seconds_for(5) == pytest.approx(110)


def test_a_run_that_goes_back_to_its_checkpoint_makes_no_rate_negative():
    rate = RecentRate()
    for now, done in ((0, 0), (10, 10), (20, 3)):
        rate.note(now, done)
    assert rate.seconds_for(1) is None
    rate.note(30, 8)
    assert rate.seconds_for(5) == pytest.approx(10)


def plan_of(run, *more):
    named = (("a", run), *more)
    return Plan("p", "q", "", tuple(PlannedRun(name, one) for name, one in named))


def packs_of(store, run):
    return {run.fingerprint: open_pack(store.packs_dir, run.fingerprint)}


def test_past_runs_of_the_same_settings_tell_by_step_and_by_image(tiny_run):
    store, run = tiny_run()
    execute(store.run_dir(run.id), Options("cpu", 1))
    record = store.result(run.id)
    longer = run_of_settings(run, steps=60, seed=7)
    found = find_paces(plan_of(longer), store, packs_of(store, run), {"a": COST}, SLOT, 0)
    assert found["a"].source == PAST
    assert found["a"].train_seconds == pytest.approx(10 * record.train_seconds)  # 6 steps
    assert found["a"].evaluate_seconds == pytest.approx(record.evaluate_seconds)
    # Another number of threads, or another network, is another pace.
    other = Slot("cpu", 2)
    assert find_paces(plan_of(longer), store, packs_of(store, run), {"a": COST}, other, 0) == {}


def run_of_settings(run, *, steps, seed):
    train = run.spec.train.model_copy(update={"steps": steps})
    return replace(run, spec=run.spec.model_copy(update={"train": train, "seed": seed}))


def test_without_past_runs_a_step_is_timed_and_the_rest_goes_by_multiply_adds(
    tiny_run, monkeypatch
):
    from bench.grid import timing

    store, run = tiny_run()
    plan = plan_of(run, ("b", run_of_settings(run, steps=600, seed=0)))
    times = iter([0.0, 0.0, 100.0])  # the budget is spent after the first
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(times, 1000.0))
    monkeypatch.setattr(timing, "_time_step", lambda *_: 2.0)
    costs = {"a": COST, "b": ModelCost(1000, 0.03, (32, 32))}
    found = find_paces(plan, store, packs_of(store, run), costs, SLOT, 50)
    assert (found["a"].source, found["b"].source) == (TIMED, SCALED)
    # Two seconds for a batch of two images: one each; 6 steps of two such batches.
    assert found["a"].train_seconds == pytest.approx(24)
    assert found["b"].train_seconds == pytest.approx(24 * 3 * 100)
    # A forward pass is a third of a step: 5 test images, and 2 x 3 of val, all 32x32 as trained.
    assert found["a"].evaluate_seconds == pytest.approx(11 / 3)


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [("model", "backbone", ("mobilenetv2_100", "vgg11")), ("train", "precision", ("bf16", "fp32"))],
)
def test_each_kind_is_timed_before_any_is_timed_twice(tiny_run, monkeypatch, section, key, values):
    """A multiply-add of one network, or of imitated bf16, may take ten times as long as others."""
    from bench.grid import timing

    def of_kind(value):
        part = getattr(run.spec, section).model_copy(update={key: value})
        return replace(run, spec=run.spec.model_copy(update={section: part}))

    store, run = tiny_run()
    slow, fast = map(of_kind, values)
    plan = plan_of(slow, ("b", slow), ("c", fast), ("d", fast))
    times = iter([0.0, 0.0, 0.0, 100.0])  # the budget is spent after the second
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(times, 1000.0))
    seconds = dict(zip(values, (10.0, 1.0), strict=True))
    monkeypatch.setattr(
        timing, "_time_step", lambda spec, *_: seconds[getattr(getattr(spec, section), key)]
    )
    found = find_paces(plan, store, packs_of(store, run), dict.fromkeys("abcd", COST), SLOT, 50)
    sources = {variant: pace.source for variant, pace in found.items()}
    assert sources == {"a": TIMED, "b": SCALED, "c": TIMED, "d": SCALED}
    assert found["b"].train_seconds == pytest.approx(found["a"].train_seconds)
    assert found["d"].train_seconds == pytest.approx(found["a"].train_seconds / 10)


def test_a_step_is_really_made(tiny_run):
    store, run = tiny_run()
    found = find_paces(plan_of(run), store, packs_of(store, run), {"a": COST}, SLOT, 50)
    assert found["a"].source == TIMED
    assert 0 < found["a"].train_seconds < 600


def test_what_is_done_takes_no_time_and_the_longest_run_is_the_least(tmp_path):
    store = Store(tmp_path)
    plan = plan_of(run_of(0), ("b", run_of(1)), ("b", run_of(2)))
    paces = {"a": Pace(3000, 600, PAST), "b": Pace(60, 0, TIMED)}
    said = tell_duration(plan, store, paces, "cpu", 2)
    assert said == (
        "about 60 min on cpu, 2 runs at a time, evaluation included (by this store's past runs "
        "and a timed step)"
    )
    assert tell_duration(plan, store, {"a": paces["a"]}, "cpu", 2) is None


def test_what_is_judged_otherwise_alone_takes_no_training(tmp_path):
    store, plain = Store(tmp_path), run_of(0)
    judge = plain.spec.evaluate.model_copy(update={"calibration": True})
    asked = replace(plain, spec=plain.spec.model_copy(update={"evaluate": judge}))
    paces = {"a": Pace(3000, 600, PAST), "b": Pace(3000, 900, PAST)}
    both = plan_of(plain, ("b", asked))
    assert tell_duration(both, store, paces, "cpu", 1).startswith("about 75 min")
    store.prepare(plain)
    (store.run_dir(plain.id) / "result.json").write_text("{}")
    for plan in (both, Plan("p", "q", "", both.runs[1:])):
        assert tell_duration(plan, store, paces, "cpu", 1).startswith("about 15 min")

"""Runs that differ in how they are judged alone: trained once, each judged, by ids of their own."""

from dataclasses import replace

import pytest
from attempts import bits
from safetensors.torch import load_file

from bench.grid.controller import Policy, _Grid
from bench.plan import Plan, PlannedRun, Run
from bench.run import execute as module
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.spec import RunSpec, override, parse

GROUND = {"data.background": ["ground"]}
OPTIONS = Options(device="cpu", threads=1)


def run_of(**settings):
    return Run(parse(RunSpec, override({"train": {"steps": 2}}, settings), where="t"), "ab" * 32)


def weights_of(store, run):
    return load_file(store.run_dir(run.id) / "model.safetensors")


@pytest.fixture
def training_is_refused(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    return lambda: monkeypatch.setattr(module, "fit", refuse)


def test_what_is_judged_otherwise_takes_the_training_of_its_twin(tiny_run, training_is_refused):
    store, plain = tiny_run()
    alone, masked = tiny_run({"evaluate.mask": "background", **GROUND}, folder="alone")
    assert execute(store.run_dir(plain.id), OPTIONS) == outcome.DONE
    assert execute(alone.run_dir(masked.id), OPTIONS) == outcome.DONE  # there it trains
    training_is_refused()
    store, again = tiny_run({"evaluate.mask": "background", **GROUND})
    assert again.id == masked.id != plain.id
    assert execute(store.run_dir(again.id), OPTIONS) == outcome.DONE
    first, other = store.result(plain.id), store.result(again.id)
    assert other.confusion == alone.result(masked.id).confusion != first.confusion
    tensors = weights_of(alone, masked)
    for found in (weights_of(store, plain), weights_of(store, again)):
        assert all((found[name] == tensor).all() for name, tensor in tensors.items())
    assert other.train_seconds == first.train_seconds
    assert store.logs(again.id) == store.logs(plain.id)
    assert any(f"trained as run {plain.id}" in note for note in other.notes)
    assert bits(store, again)


def test_a_damaged_twin_is_no_help(tiny_run):
    store, plain = tiny_run()
    assert execute(store.run_dir(plain.id), OPTIONS) == outcome.DONE
    (store.run_dir(plain.id) / "model.safetensors").write_bytes(b"damaged")
    store, masked = tiny_run({"evaluate.mask": "foreground", **GROUND})
    assert execute(store.run_dir(masked.id), OPTIONS) == outcome.DONE
    assert not any("trained as" in note for note in store.result(masked.id).notes)


def test_what_is_hidden_in_training_is_another_training(tiny_run):
    store, plain = tiny_run()
    store, hidden = tiny_run({"data.mask": "background", **GROUND})
    assert hidden.id not in plain.twins(["test", "val"])
    for run in (plain, hidden):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    first, other = (weights_of(store, run) for run in (plain, hidden))
    assert any((first[name] != tensor).any() for name, tensor in other.items())


@pytest.mark.parametrize(
    ("key", "value"),
    [("calibration", True), ("surface", True), ("boundary", True), ("split", "val")],
)
def test_what_is_counted_later_or_of_another_split_trains_nothing(
    tiny_run, training_is_refused, key, value
):
    """Each is made of a finished run, and what it then has is what training anew would give."""
    store, plain = tiny_run()
    settings = {f"evaluate.{key}": value}
    alone, asked = tiny_run(settings, folder="alone")
    assert execute(store.run_dir(plain.id), OPTIONS) == outcome.DONE
    assert execute(alone.run_dir(asked.id), OPTIONS) == outcome.DONE
    training_is_refused()
    store, again = tiny_run(settings)
    assert again.id == asked.id != plain.id
    assert execute(store.run_dir(again.id), OPTIONS) == outcome.DONE
    found, trained = store.result(again.id), alone.result(asked.id)
    assert (found.split, found.confusion) == (trained.split, trained.confusion)
    for kind in ("boundary", "surface", "calibration"):
        assert getattr(found, kind) == getattr(trained, kind)
        assert (getattr(found, kind) is not None) == (kind == key)
    assert store.result(plain.id).run["spec"]["evaluate"][key] != value


def test_twins_are_those_that_differ_in_how_they_are_judged_alone():
    plain = run_of()
    masks = ("foreground", "background", "shape")
    front, back, shape = (run_of(**{"evaluate.mask": mask}) for mask in masks)
    later = run_of(**{"evaluate.calibration": True, "evaluate.mask": "shape"})
    other = run_of(**{"evaluate.split": "val"})
    twins = set(plain.twins(["test"]))
    assert {front.id, back.id, shape.id, later.id} < twins
    assert len(twins) == 4 * 8 - 1  # masks, and what is counted
    assert other.id not in twins
    assert plain.id in other.twins(["test"])
    assert {run.training for run in (plain, front, back, shape, later, other)} == {plain.training}
    for settings in ({"data.mask": "shape"}, {"evaluate.eval_every": 1}, {"train.lr": 1.0}):
        assert run_of(**settings).training != plain.training
    named = run_of(**{"evaluate.mask": "background", "data.background": ["a"]})
    assert plain.id in named.twins(["test"])  # which hides nothing, whatever is background


def order_of(*runs):
    """Return how many of some runs, asked for together, each waits for."""
    plan = Plan("q", "", "", tuple(PlannedRun(str(k), run) for k, run in enumerate(runs)))
    return [len(plan.trained_before.get(run.id, ())) for run in runs]


def test_of_twins_the_plainest_trains_whatever_the_order_of_the_question():
    masks = ("foreground", "background", "shape")
    front, back, shape = (run_of(**{"evaluate.mask": mask}) for mask in masks)
    assert order_of(run_of(), front, back, shape) == [0, 1, 2, 3]
    assert order_of(shape, run_of()) == [1, 0]
    sure = run_of(**{"evaluate.calibration": True})
    assert order_of(sure, run_of(**{"evaluate.split": "val"}), run_of()) == [2, 1, 0]
    hidden = run_of(**{"data.mask": "background"})
    same = run_of(**{"data.mask": "background", "evaluate.mask": "background"})
    assert hidden.id == same.id
    whole = run_of(**{"data.mask": "background", "evaluate.mask": "none"})
    assert order_of(whole, hidden) == [1, 0]
    # What is background to each is not what is background to the other: no id leads there.
    apart = [run_of(**{"evaluate.mask": "shape", "data.background": [name]}) for name in "ab"]
    assert order_of(*apart) == [0, 0]
    assert order_of(*apart, run_of(), run_of(**{"train.lr": 1.0})) == [1, 1, 0, 0]


def test_ids_are_what_they_were_where_nothing_is_hidden():
    plain = run_of()
    for settings in ({"evaluate.mask": "none"}, {"data.background": ["a"]}):
        assert run_of(**settings).id == plain.id


def test_a_run_waits_for_its_twin_and_not_for_one_that_nobody_asked_for(tiny_run):
    store, plain = tiny_run()
    _, masked = tiny_run({"evaluate.mask": "background"})
    planned = (PlannedRun("masked", masked), PlannedRun("plain", plain))
    plan = Plan("q", "", "", planned)
    assert list(_Grid(plan, store, None, None, Policy())._ready()) == [plain.id]
    alone = replace(plan, runs=planned[:1])
    assert list(_Grid(alone, store, None, None, Policy())._ready()) == [masked.id]

"""Tuning planned: what is tried, what is chosen by which rule, and what is refused beforehand."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ablations.expand import expand
from ablations.explaining import explain_spec, explain_variant
from ablations.plan_listing import list_all, sum_up
from ablations.planning import keep_only
from ablations.registry import load_ablation
from ablations.run_tuned import tell_budget
from ablations.spec_schema import question_schema
from ablations.tunable import require_apart_images
from ablations.tuning import plan_tuned
from bench.data.facts import DatasetFacts
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.grid.slots import Slot
from bench.spec import DataSpec
from bench.store.records import Failure, Reason, Result
from bench.store.runs import Store
from bench.tuning import combine
from fcn.errors import InputError
from reports.results.frame import read_records
from reports.results.settings import find_causes, find_factors
from reports.stats.asked import list_levels
from reports.tables.tuning import tuning_table

FACTS = DatasetFacts("f" * 64, {"train": 8, "val": 4, "test": 4}, num_classes=2)
STEPS = 40
SLOT = Slot("cpu", 1)
SPEC = """
question: Which skip, each at its own rate?
common:
  train: {steps: 40, batch_size: 2, lr: 0.5}
  evaluate: {eval_every: 20}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn8s}
tune: {train.lr: [0.1, 0.01, 0.001]}
seeds: [3, 0]
baseline: coarse
"""
CHAIN = SPEC.replace(
    "fine: {model.skip: fcn8s}", "fine: {model.skip: fcn8s, train.init_from: coarse}"
)
make = partial(expand, facts_of=lambda data: FACTS)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture
def load(tmp_path):
    """Write a spec and read it: load(text, settings) -> Ablation."""

    def read(text=SPEC, settings=None):
        path = tmp_path / "q.yaml"
        path.write_text(text)
        return load_ablation(str(path), settings)

    return read


@pytest.fixture
def plan(load, store):
    """Plan a spec over the store as it stands: plan(text, settings) -> Plan."""
    return lambda text=SPEC, settings=None: plan_tuned(load(text, settings), store, make)


@pytest.fixture
def make_pack(tmp_path):
    """Pack images by name: make_pack(train=[...], val=[...], test=[...]) -> Pack."""

    def make(**splits):
        root = tmp_path / f"data{len(list(tmp_path.iterdir()))}"
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        (root / "classes.txt").write_text("a\nb\n")
        for split, names in splits.items():
            (root / f"{split}.txt").write_text("\n".join(names) + "\n")
            for name in names:
                rng = np.random.default_rng(list(name.encode()))
                for folder, top, shape in (("images", 256, (8, 8, 3)), ("masks", 2, (8, 8))):
                    pixels = rng.integers(0, top, shape, dtype=np.uint8)
                    Image.fromarray(pixels).save(root / folder / f"{name}.png")
        return pack(open_dataset(DataSpec(dataset="folder"), root), root / "packs")

    return make


def confusion(right):
    """Count two classes of 100 pixels, of which so many are right: IoU is right/(200-right)."""
    return [[right, 100 - right], [100 - right, right]]


def finish(store, planned, right, *, on_test=50, split="val", step=STEPS):
    """Write a run as if it was trained: right pixels of what chooses, and of what is reported."""
    run, folder = planned.run, store.prepare(planned.run)
    rows = [
        {"step": step // 2, "split": split, "confusion": confusion(99)},
        {"step": step, "loss": 1.0, "lr": 0.1, "seconds": 6.0},
        {"step": step, "split": split, "confusion": confusion(right)},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store.publish(
        Result(
            run_id=run.id,
            run=run.to_json(),
            split="test",
            num_images=4,
            class_names=("a", "b"),
            palette=((0, 0, 0), (1, 1, 1)),
            confusion=confusion(on_test),
            num_parameters=1,
            train_seconds=7.0,
            evaluate_seconds=2.0,
            environment={"processes": 2},
            digests={},
            finished="2026-01-01T00:00:00+00:00",
        )
    )


def fail(store, planned, reason):
    store.prepare(planned.run)
    store.record_failure(planned.run.id, Failure(reason, "it ended"))


def lr_of(planned):
    return planned.run.spec.train.lr


def finish_all(store, tries, rights):
    for planned, right in zip(tries, rights, strict=True):
        finish(store, planned, right)


def test_before_anything_is_run_the_plan_says_what_is_tried(plan, store):
    found = plan()
    assert [one.variant for one in found.tries] == [
        f"{name} train.lr={lr}" for name in ("coarse", "fine") for lr in (0.1, 0.01, 0.001)
    ]
    assert {one.run.spec.seed for one in found.tries} == {3}
    assert found.unsettled == {"coarse", "fine"}
    assert found.settled == ()
    assert len(found.choosing().runs) == 6
    assert "Nothing is chosen yet for coarse, fine (0 of the 6" in found.remarks[0]
    listed = list_all(found)
    assert len(listed.runs) == 6 + 2  # the chosen run is one of those with the first seed
    assert {record.status for record in read_records(found, store)} == {"missing"}


def test_each_variant_gets_the_highest_score_of_the_split_that_chooses(plan, store):
    tries = plan().tries
    finish_all(store, tries, [60, 70, 80, 70, 90, 60])
    found = plan()
    assert not found.unsettled
    chosen = {name: one.values for name, one in found.tuning.chosen.items()}
    assert chosen == {"coarse": {"train.lr": 0.001}, "fine": {"train.lr": 0.01}}
    assert found.tuning.chosen["coarse"].score == pytest.approx(80 / 120)
    assert found.tuning.tried[0].device_seconds == 18.0  # two devices
    by_variant = {(one.variant, one.run.spec.seed): one for one in found.runs}
    assert len(by_variant) == 4
    assert {lr_of(by_variant["fine", seed]) for seed in (3, 0)} == {0.01}
    assert by_variant["coarse", 3].run.id == tries[2].run.id
    assert plan() == found


def test_what_is_reported_does_not_choose(plan, store):
    for planned, right, on_test in zip(
        plan().tries, [60, 80, 70] * 2, [99, 1, 50] * 2, strict=True
    ):
        finish(store, planned, right, on_test=on_test)
    assert {one.values["train.lr"] for one in plan().tuning.chosen.values()} == {0.01}


def test_the_questions_own_score_chooses(plan, store):
    without_a = SPEC + "score: {exclude_classes: [a]}\n"
    for planned, called_a in zip(plan().tries, (95, 60, 50) * 2, strict=True):
        finish(store, planned, 0)
        path = store.run_dir(planned.run.id) / "metrics.jsonl"
        *rows, last = map(json.loads, path.read_text().splitlines())
        last["confusion"] = [[called_a, 100 - called_a], [called_a, 100 - called_a]]
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, last]))
    # By class b alone: 100 - called_a pixels are right, of 100 and as many that are called so.
    found = plan(without_a).tuning
    assert {one.values["train.lr"] for one in found.chosen.values()} == {0.001}
    assert found.chosen["fine"].score == pytest.approx(50 / 150)
    by_pixels = plan(SPEC + "score: {primary: pixel_acc}\n").tuning
    assert by_pixels.metric == "pixel_acc"
    assert {one.score for one in by_pixels.tried} == {0.5}
    # Logs have pixels by class, and nothing else that was counted.
    outlines = SPEC.replace("fcn8s}", "fcn8s, train.init_from: coarse}").replace(
        "eval_every: 20", "eval_every: 20, boundary: true"
    )
    assert plan(outlines + "score: {primary: boundary_miou}\n").tuning.metric == "miou"


def test_of_equal_scores_the_first_is_chosen(plan, store):
    finish_all(store, plan().tries, [70, 80, 80, 60, 60, 60])
    values = {name: one.values["train.lr"] for name, one in plan().tuning.chosen.items()}
    assert values == {"coarse": 0.01, "fine": 0.1}


@pytest.mark.parametrize("reason", [Reason.NONFINITE, Reason.MEMORY])
def test_a_run_that_would_fail_again_has_no_score_and_the_rest_is_chosen_from(plan, store, reason):
    first, *rest = plan().tries
    fail(store, first, reason)
    finish_all(store, rest, [60, 70, 60, 70, 80])
    found = plan()
    assert found.tuning.chosen["coarse"].values == {"train.lr": 0.001}
    assert found.tuning.tried[0].state == "failed"
    assert "without a score: coarse train.lr=0.1" in found.remarks[0]


@pytest.mark.parametrize("reason", [None, Reason.KILLED, Reason.STOPPED, Reason.LOST, Reason.DISK])
def test_nothing_is_chosen_while_a_run_may_still_finish(plan, store, reason):
    first, *rest = plan().tries
    if reason is not None:
        fail(store, first, reason)
    finish_all(store, rest, [60, 70, 60, 70, 80])
    found = plan()
    assert found.unsettled == {"coarse"}
    assert {one.variant for one in found.settled} == {"fine"}
    assert [one.run.id for one in found.choosing().runs][:1] == [first.run.id]
    missing = {r.planned.variant for r in read_records(found, store) if r.status == "missing"}
    assert "coarse" in missing


def test_where_no_run_has_a_score_the_first_values_stand(plan, store):
    tries = plan().tries
    for planned in tries[:3]:
        fail(store, planned, Reason.NONFINITE)
    finish_all(store, tries[3:], [60, 70, 80])
    found = plan()
    assert found.tuning.chosen["coarse"].values == {"train.lr": 0.1}
    assert found.tuning.chosen["coarse"].score is None


def test_the_step_that_was_kept_is_the_one_that_is_scored(plan, store):
    tries = plan(SPEC.replace("lr: 0.5", "lr: 0.5, select: best")).tries
    for planned in tries:
        finish(store, planned, 60)
        result = store.result(planned.run.id)
        store.publish(replace(result, selected_step=STEPS // 2))
    found = plan(SPEC.replace("lr: 0.5", "lr: 0.5, select: best"))
    assert {one.score for one in found.tuning.tried} == {99 / 101}
    assert {one.step for one in found.tuning.tried} == {STEPS // 2}


def test_a_score_of_another_step_or_split_is_none(plan, store):
    first, second, *rest = plan().tries
    finish(store, first, 99, split="other")
    finish(store, second, 99, step=STEPS - 2)
    finish_all(store, rest, [70, 60, 70, 80])
    assert plan().tuning.chosen["coarse"].values == {"train.lr": 0.001}
    assert "no score of split val" in plan().tuning.tried[0].why


def test_what_starts_from_another_is_tried_once_that_is_chosen(plan, store):
    found = plan(CHAIN)
    assert len(found.tries) == 3
    assert found.tuning.waiting == ("fine",)
    assert len(list_all(found).runs) == 6 + 2
    finish_all(store, found.tries, [60, 70, 60])
    then = plan(CHAIN)
    assert then.unsettled == {"fine"}
    tried = [one for one in then.tries if one.variant.startswith("fine")]
    assert {one.run.parent for one in tried} == {found.tries[1].run.id}
    assert [one.run.id for one in then.choosing().runs] == [
        found.tries[1].run.id,
        *(one.run.id for one in tried),
    ]
    finish_all(store, tried, [60, 60, 90])
    last = plan(CHAIN)
    parents = {one.run.id: lr_of(one) for one in last.runs if one.variant == "coarse"}
    children = [one for one in last.runs if one.variant == "fine"]
    assert {lr_of(one) for one in children} == {0.001}
    assert {parents[one.run.parent] for one in children} == {0.01}


def test_a_tuned_run_is_the_run_of_a_spec_that_states_the_value(plan, store, load):
    finish_all(store, plan().tries, [60, 70, 80, 70, 90, 60])
    stated = SPEC.replace("tune: {train.lr: [0.1, 0.01, 0.001]}\n", "").replace(
        "fcn32s}", "fcn32s, train.lr: 0.001}"
    )
    by_hand = make(load(stated.replace("fcn8s}", "fcn8s, train.lr: 0.01}")))
    assert [one.run.id for one in by_hand.runs] == [one.run.id for one in plan().runs]


def test_several_keys_are_tried_in_all_combinations(plan):
    text = SPEC.replace("0.001]}", "0.001], train.weight_decay: [0.1, 0.0]}")
    found = plan(text)
    assert len(found.tries) == 2 * 3 * 2
    assert found.tries[1].variant == "coarse train.lr=0.1 train.weight_decay=0.0"
    assert found.tuning.number == 6
    assert combine({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_variants_do_not_differ_by_what_is_tuned(plan, store):
    finish_all(store, plan().tries, [60, 70, 80, 70, 90, 60])
    found = plan()
    assert "train.lr" in find_factors(found)
    assert find_causes(found) == []
    assert "train.lr" not in list_levels(found)


def test_a_part_of_a_question_is_tuned_by_itself(plan):
    part = keep_only(plan(), ["fine"])
    assert {one.variant for one in part.tuning.tried} == {"fine"}
    assert [one.variant.split()[0] for one in part.tries] == ["fine"] * 3
    assert part.unsettled == {"fine"}
    assert "Nothing is chosen yet for fine (0 of the 3" in part.remarks[0]
    both = keep_only(plan(CHAIN), ["fine"])
    assert both.tuning.waiting == ("fine",)
    assert len(both.tries) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("eval_every: 20", "eval_every: 0"), "evaluate.eval_every is 0"),
        (("eval_every: 20", "eval_every: 15"), "does not divide train.steps 40; write 10, say"),
        (("eval_every: 20", "eval_every: 20, eval_split: test"), "which is reported"),
        (("eval_every: 20", "eval_every: 20, eval_split: train"), "which is trained on"),
        (("train.lr: [0.1", "train.lr: [0.01"), "train.lr has 0.01 twice"),
        (("train.lr: [0.1", "train.lr: [-1.0"), "train.lr"),
        (("train.lr: [", "train.rl: ["), "did you mean 'train.lr'"),
        (("train.lr: [", "lr: ["), "did you mean 'train.lr'? Those of `model` and `train` are"),
        (("train.lr: [", "seeds: ["), "no key that can be tuned. Those of"),
        (("train.lr: [", "train.split: [a, "), "key that can be tuned"),
        (("train.lr: [", "evaluate.split: [a, "), "who judges it"),
        (("train.lr: [", "data.dataset: [a, "), "who judges it"),
        (("fcn32s}", "fcn32s, train.lr: 0.3}"), "variant coarse states it"),
        (("fcn32s}", "fcn32s, train: {lr: 0.3}}"), "variant coarse states it"),
        (
            ("tune:", "adjust: [{when: {model.skip: fcn8s}, set: {train.lr: 1}}]\ntune:"),
            "adjust.set",
        ),
        (
            ("tune:", "adjust: [{when: {train.lr: 0.1}, set: {train.flip: false}}]\ntune:"),
            "adjust.when",
        ),
        (("0.001]}", f"{', '.join(str(k / 8) for k in range(2, 80))}]}}"), "there may be 64"),
        (("0.001]}", "0.001], train.epochs: [1, 2]}"), "--set"),
    ],
)
def test_what_could_not_choose_or_is_chosen_elsewhere_is_refused(plan, change, said):
    settings = {"train.steps": 40} if "epochs" in change[1] else None
    with pytest.raises(InputError) as caught:
        plan(SPEC.replace(*change), settings)
    assert said in str(caught.value)


SHARED = (
    SPEC.replace("coarse: {model.skip: fcn32s}", "coarse: {train.momentum: 0.5}")
    .replace("fine: {model.skip: fcn8s}", "fine: {train.momentum: 0.9}")
    .replace("train.lr: [0.1, 0.01, 0.001]", "train.optimizer: [lamb, sgd]")
)
"""Variants that are one run with the first value, to which their own setting means nothing."""


@pytest.mark.parametrize("settings", [None, {"train.batch_size": 3}, {"train.steps": 20}])
def test_variants_that_a_choice_makes_one_run_are_said_to_be(plan, store, settings):
    before = plan(SHARED, settings)
    assert before.doubles == []  # nothing is chosen yet
    steps = before.tries[0].run.spec.train.steps
    for planned, right in zip(before.tries, (90, 60, 90, 60), strict=True):
        finish(store, planned, right, step=steps)
    found = plan(SHARED, settings)
    assert not found.unsettled
    assert found.doubles == [["coarse", "fine"]]
    assert len(found.tuning.budget) == 3


def test_where_settings_mean_nothing_another_setting_is_not_to_blame(load):
    """Variants that are one run as they are written stay that under any --set."""
    text = SPEC[: SPEC.index("tune:")] + "seeds: [0]\n"
    text = text.replace("lr: 0.5", "lr: 0.5, schedule: cosine")
    text = text.replace("model.skip: fcn32s", "train.power: 0.5")
    text = text.replace("model.skip: fcn8s", "train.power: 0.9")
    for settings in (None, {"train.steps": 20}):
        assert make(load(text, settings)).doubles == [["coarse", "fine"]]
    plain = text.replace("schedule: cosine", "schedule: poly")
    with pytest.raises(InputError, match=r"--set train.schedule=.*makes one run"):
        make(load(plain, {"train.schedule": "cosine"}))


def test_values_that_change_nothing_are_one_run_and_counted_once(plan, store):
    text = SPEC.replace("train.lr: [0.1, 0.01, 0.001]", "model.fusion: [sum, max, concat]")
    found = plan(text)
    assert found.tuning.fewer == {"coarse": 1}  # which fuses nothing
    assert "are one run, of coarse (1)" in found.remarks[0]
    said = sum_up(list_all(found), store, {}, [SLOT])  # each of the two has another seed
    assert said == "q: 8 runs, 6 to do (4 of them choose, up to 3 for each variant)"
    ended = {one.run.id: one for one in found.tries}
    finish_all(store, ended.values(), [60, 70, 80, 90])
    done = plan(text).tuning
    assert len(done.tried) == 6
    assert tell_budget(done.budget) == f"4 runs, {4 * 18} device-seconds"
    assert "coarse 1" in tuning_table(done).caption
    assert f"{4 * 18} device-seconds" in tuning_table(done).caption


def test_keys_below_another_are_answered_by_how_they_are_written(load):
    with pytest.raises(InputError, match=r"one key with dots, as in train\.lr"):
        load(SPEC.replace("{train.lr: [0.1, 0.01, 0.001]}", "{train: {lr: [0.1, 0.2]}}"))
    with pytest.raises(InputError, match=r"tune\.train\.lr: .* write \[0\.1\]"):
        load(SPEC.replace("[0.1, 0.01, 0.001]", "0.1"))


def test_one_value_alone_is_nothing_to_choose_from(load):
    with pytest.raises(InputError, match=r"tune.*at least 2"):
        load(SPEC.replace("[0.1, 0.01, 0.001]", "[0.1]"))


def test_a_value_of_the_grid_cannot_be_tuned(plan):
    grid = SPEC[: SPEC.index("variants:")] + "grid: {model.skip: [fcn8s], train.lr: [1, 2]}\n"
    with pytest.raises(InputError, match="the grid states it"):
        plan(grid + SPEC[SPEC.index("tune:") :].replace("baseline: coarse", ""))


def test_set_tries_other_values_or_none(plan):
    found = plan(settings={"tune.train.lr": [0.2, 0.4]})
    assert found.tuning.values == {"train.lr": (0.2, 0.4)}
    with pytest.raises(InputError, match="--set states it"):
        plan(settings={"train.lr": 0.2})
    stated = plan(settings={"tune": {}, "train.lr": 0.2})
    assert stated.tuning is None
    assert {lr_of(one) for one in stated.runs} == {0.2}


def test_a_grid_is_tuned_variant_by_variant(plan):
    grid = SPEC[: SPEC.index("variants:")] + "grid: {model.skip: [fcn32s, fcn8s]}\n"
    found = plan(grid + SPEC[SPEC.index("tune:") :].replace("coarse", "fcn32s"))
    assert found.tries[0].variant == "fcn32s train.lr=0.1"
    assert found.baseline == "fcn32s"


def test_explain_says_what_is_tried_and_nowhere_a_value_that_is_not_used(load):
    explained = explain_spec(load())
    assert explained["tune"] == {"train.lr": [0.1, 0.01, 0.001]}
    assert "train.lr" not in {**explained["shared"], **explained["differences"]}
    assert explain_variant(load(), "fine")["train.lr"].startswith("the best of [0.1, 0.01, 0.001]")


def test_editors_know_what_can_be_tuned():
    keys = question_schema()["properties"]["tune"]["properties"]
    assert keys["train.lr"]["items"]["type"] == "number"
    assert not {"evaluate.split", "train.init_from", "data.dataset"} & set(keys)


def test_an_image_that_chooses_and_is_reported_is_named(plan, make_pack):
    pack = make_pack(val=["v1", "same"], test=["t1", "same"], train=["x1"])
    with pytest.raises(InputError, match="has images of it: same"):
        require_apart_images(plan(), {FACTS.fingerprint: pack})
    apart = make_pack(val=["v1"], test=["t1"], train=["x1"])
    require_apart_images(plan(), {FACTS.fingerprint: apart})

import dataclasses

from streets import finish

from bench.plan import PlannedRun
from reports.results.differences import Change, group_changes, list_changes
from reports.results.frame import Record, read_records


def read(plan, store):
    for planned in plan.runs:
        finish(store, planned, log=False)
    return read_records(plan, store)


def made_with(record, **environment):
    result = dataclasses.replace(
        record.result, environment={**record.result.environment, **environment}
    )
    return dataclasses.replace(record, result=result)


def test_settings_that_differ_are_named_and_seeds_are_none(make_plan, small_store):
    one, again, other, _ = read(make_plan(["a", "b"], (0, 1)), small_store)
    assert list_changes([one], [again]) == []
    assert list(map(str, list_changes([one, again], [other]))) == ["model.head head-0 → head-1"]


def test_commit_software_and_device_are_told_apart(make_plan, small_store):
    (one,) = read(make_plan(["a"]), small_store)
    old = made_with(one, commit="a" * 40, torch="2.11.0")
    new = made_with(one, commit="b" * 40, torch="2.12.0", device_name="other")
    assert list_changes([old], [new]) == [
        Change("commit", "commit", "a" * 12, "b" * 12),
        Change("software", "torch", "2.11.0", "2.12.0"),
        Change("device", "device_name", "NVIDIA H100", "other"),
    ]
    assert list_changes([old, new], [new, old]) == []
    assert str(list_changes([old, new], [new])[1]) == "torch 2.11.0 or 2.12.0 → 2.12.0"


def test_a_side_that_says_nothing_of_its_software_is_no_change(make_plan, small_store):
    (one,) = read(make_plan(["a"]), small_store)
    missing = Record(one.planned, "missing", None, None)
    assert list_changes([one], [missing]) == []
    assert list_changes([one], []) == []


def test_other_parents_are_named_where_settings_say_nothing(make_plan, small_store):
    (one,) = read(make_plan(["a"]), small_store)
    sides = []
    for parent in ("1" * 16, "2" * 16):
        run = dataclasses.replace(one.planned.run, parent=parent)
        sides.append([dataclasses.replace(one, planned=PlannedRun("a", run))])
    (change,) = list_changes(*sides)
    assert str(change) == f"starts from run {'1' * 16} → {'2' * 16}"


def test_what_changed_everywhere_comes_first_and_once(make_plan):
    steps = Change("setting", "train.steps", "400", "800")
    head = Change("setting", "model.head", "a", "b")
    commit = Change("commit", "commit", "1", "2")
    found = group_changes({"x": [head, commit, steps], "y": [commit, steps]})
    assert found == [(steps, ["x", "y"]), (commit, ["x", "y"]), (head, ["x"])]

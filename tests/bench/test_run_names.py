"""Names of runs: what a question calls them, remembered beside their ids."""

import json

import pytest
from pretend import run_of

from bench.plan import Plan, PlannedRun
from bench.store.run_names import RunName, RunNames, names_of
from bench.store.runs import Store
from fcn.errors import InputError

FIRST, SECOND = "0" * 16, "1" * 16


def test_a_name_means_the_run_that_its_question_asked_for_last(tmp_path):
    name = RunName("camvid/skips", "fcn8s", 0)
    RunNames(tmp_path).add([(FIRST, name)])
    RunNames(tmp_path).add([(SECOND, name), (FIRST, RunName("other", "same", 0))])
    names = RunNames(tmp_path)
    assert names.find("camvid/skips/fcn8s/0") == SECOND
    assert [str(n) for n in names.by_id[FIRST]] == ["other/same/0", "camvid/skips/fcn8s/0"]
    RunNames(tmp_path).add([(FIRST, name)])  # asked for again as it was at first
    assert RunNames(tmp_path).find(str(name)) == FIRST


def test_what_is_known_is_not_written_again(tmp_path):
    name = RunName("q", "a", 0)
    for _ in range(3):
        RunNames(tmp_path).add([(FIRST, name)])
    assert (tmp_path / "names.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("cut", ['{"id": "00', "not ours\n", "[1, 2]\n", '{"id": 3}\n'])
def test_a_line_that_was_cut_costs_no_other(tmp_path, cut):
    RunNames(tmp_path).add([(FIRST, RunName("q", "a", 0))])
    with (tmp_path / "names.jsonl").open("a") as file:
        file.write(cut)
    RunNames(tmp_path).add([(SECOND, RunName("q", "b", 0))])
    names = RunNames(tmp_path)
    assert (names.find("q/a/0"), names.find("q/b/0")) == (FIRST, SECOND)


def test_a_seed_may_be_left_out_where_there_is_one(tmp_path):
    names = RunNames(tmp_path)
    with pytest.raises(InputError, match="has a name yet"):
        names.find("q/a")
    names.add([(FIRST, RunName("q", "a", 3)), (SECOND, RunName("q", "b", 0))])
    assert names.find("q/a") == FIRST
    names.add([(SECOND, RunName("q", "a", 4))])
    with pytest.raises(InputError, match="q/a has runs with seed 3, 4; name one, as in q/a/3"):
        names.find("q/a")
    with pytest.raises(InputError, match="did you mean 'q/b/0'"):
        names.find("q/c/0")


def test_a_store_finds_a_run_by_its_name_as_by_its_id(tmp_path):
    store, run = Store(tmp_path), run_of(0)
    store.prepare(run)
    plan = Plan("camvid/skips", "q", "", (PlannedRun("a variant", run),))
    store.names.add(names_of(plan))
    assert store.find("camvid/skips/a variant/0") == store.find(run.id[:5]) == run.id
    (store.run_dir(run.id) / "spec.yaml").unlink()
    with pytest.raises(InputError, match="does not have"):
        store.find("camvid/skips/a variant/0")


def test_a_name_of_any_letters_comes_back(tmp_path):
    name = RunName('a"b\n', "ü/\\", 0)
    RunNames(tmp_path).add([(FIRST, name)])
    assert dict(RunNames(tmp_path).ids) == {name: FIRST}
    (line,) = (tmp_path / "names.jsonl").read_text().splitlines()
    assert json.loads(line)["variant"] == "ü/\\"

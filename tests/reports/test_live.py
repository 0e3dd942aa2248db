import dataclasses
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from streets import finish

from bench.store.runs import Failure
from fcn.errors import InputError
from reports import watch
from reports.scalars import export_scalars


@pytest.fixture
def written(monkeypatch):
    """The reports that a watch writes, as (refresh seconds), drawn by nobody."""
    calls = []

    def write(plan, store, out_dir, *, refresh_seconds=None, say=None, **_):
        calls.append(refresh_seconds)
        if say is not None:
            say("note: one")
        return out_dir / "index.html"

    monkeypatch.setattr(watch, "write_report", write)
    return calls


def test_a_watch_writes_when_a_run_moved_and_ends_with_the_last(
    make_plan, small_store, tmp_path, written
):
    plan = make_plan(["a", "b"])
    events = [
        lambda: None,
        lambda: finish(small_store, plan.runs[0], log=False),
        lambda: small_store.record_failure(plan.runs[1].run.id, Failure("error", "x")),
    ]
    small_store.prepare(plan.runs[1].run)
    said = []
    page = watch.watch_report(
        plan, small_store, tmp_path, every_seconds=7, say=said.append,
        sleep=lambda seconds: events.pop(0)(),
    )  # fmt: skip
    assert page == tmp_path / "index.html"
    assert written == [7, 7, None]  # nothing moved in the first seven seconds; the last page rests
    assert "2 of 2 runs not ended" in said[0]
    assert "1 of 2 runs not ended" in said[1]
    assert said[2:] == ["note: one"]  # of what has ended, once


def test_a_watch_of_what_has_ended_writes_once(small_store, tmp_path, written, make_plan):
    done = make_plan(["a"])
    finish(small_store, done.runs[0], log=False)
    watch.watch_report(done, small_store, tmp_path, every_seconds=1, say=print, sleep=pytest.fail)
    assert written == [None]


def test_scalars_need_their_extra(plan, store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(InputError, match=r"fcn-bench\[tensorboard\]"):
        export_scalars(plan, store, tmp_path)


@pytest.mark.filterwarnings("default")  # tensorboard's own
def test_scalars_come_back_as_logged(make_plan, small_store, tmp_path):
    pytest.importorskip("tensorboard.summary", exc_type=ImportError)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = make_plan(["../a b", "c"])
    finish(small_store, plan.runs[0])
    assert export_scalars(plan, small_store, tmp_path / "tb") == 1
    assert export_scalars(plan, small_store, tmp_path / "tb") == 1  # replaced, not doubled
    (folder,) = (tmp_path / "tb").rglob("seed-0")
    assert folder.resolve().is_relative_to(tmp_path / "tb")
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    logged = [row for row in small_store.logs(plan.runs[0].run.id) if "loss" in row]
    tags = events.Tags()
    assert {"train/loss", "train/lr", "val/miou", "test/miou"} <= {
        *tags["tensors"],
        *tags["scalars"],
    }
    found = (
        events.Tensors("train/loss")
        if "train/loss" in tags["tensors"]
        else events.Scalars("train/loss")
    )
    assert [event.step for event in found] == [row["step"] for row in logged]
    assert found[3].wall_time == logged[3]["seconds"]


@pytest.fixture
def events(monkeypatch):
    """TensorBoard's writer as far as its files go: each opened one has a new name."""
    numbers = count()

    class Writer:
        def __init__(self, folder):
            self.path = Path(folder) / f"events.out.tfevents.{next(numbers)}.host.1.0"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("")

        def add_scalar(self, tag, value, step, wall_time):
            with self.path.open("a") as file:
                file.write(f"{tag} {value} {step}\n")

        def flush(self):
            pass

        def close(self):
            pass

    monkeypatch.setitem(sys.modules, "tensorboard.summary", SimpleNamespace(Writer=Writer))
    monkeypatch.setitem(sys.modules, "tensorboard", SimpleNamespace())


def list_events(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("events.*"))


@pytest.mark.usefixtures("events")
def test_variants_whose_folders_would_meet_have_two(make_plan, small_store, tmp_path):
    names = ["a/b", "a_b", "A_b", "é", "e\u0301", "..", ".", "x" * 120, "x" * 121, "plain", "PLAIN"]
    plan = make_plan(names)
    for planned in plan.runs:
        finish(small_store, planned)
    assert export_scalars(plan, small_store, tmp_path) == len(names)
    folders = {path.split("/")[0].casefold() for path in list_events(tmp_path)}
    assert len(folders) == len(names)
    assert all(len(path.split("/")) == 3 for path in list_events(tmp_path))


@pytest.mark.usefixtures("events")
def test_a_plain_name_is_its_folders(make_plan, small_store, tmp_path):
    plan = make_plan(["resnet50-fcn8s", "lr=0.1"])
    for planned in plan.runs:
        finish(small_store, planned)
    export_scalars(plan, small_store, tmp_path)
    folders = [path.rsplit("/", 1)[0] for path in list_events(tmp_path)]
    assert folders == ["lr=0.1/seed-0", "resnet50-fcn8s/seed-0"]


@pytest.mark.usefixtures("events")
def test_events_of_somebody_are_neither_removed_nor_mixed_with(make_plan, small_store, tmp_path):
    plan = make_plan(["a", "b"])
    finish(small_store, plan.runs[0])
    mine = tmp_path / "a" / "seed-0" / "events.out.tfevents.mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"tfevents\.mine is not .* --tensorboard DIR, or move"):
        export_scalars(plan, small_store, tmp_path)
    assert list_events(tmp_path) == ["a/seed-0/events.out.tfevents.mine"]
    mine.rename(tmp_path / "elsewhere")
    export_scalars(plan, small_store, tmp_path)
    before = list_events(tmp_path)
    export_scalars(make_plan(["b"]), small_store, tmp_path)  # the same run by another name
    assert [path.split("/")[0] for path in list_events(tmp_path)] == ["b"]
    export_scalars(plan, small_store, tmp_path)
    assert [path.split("/")[0] for path in list_events(tmp_path)] == ["a"]
    assert list_events(tmp_path) != before  # TensorBoard looks for new names


@pytest.mark.usefixtures("events")
def test_two_specs_share_an_export_where_their_variants_do_not_meet(
    make_plan, small_store, tmp_path
):
    first = make_plan(["a"], spec_file=str(tmp_path / "exp1" / "q.yaml"))
    second = make_plan(["b"], spec_file=str(tmp_path / "exp2" / "q.yaml"))
    third = dataclasses.replace(make_plan(["a", "c"]), spec_file=str(tmp_path / "exp3" / "q.yaml"))
    for plan in (first, second, third):
        for planned in plan.runs:
            finish(small_store, planned)
    export_scalars(first, small_store, tmp_path / "tb")
    export_scalars(second, small_store, tmp_path / "tb")
    before = list_events(tmp_path / "tb")
    assert len(before) == 2
    with pytest.raises(InputError, match=r"another export of scalars, that of .*exp1/q\.yaml"):
        export_scalars(third, small_store, tmp_path / "tb")
    assert list_events(tmp_path / "tb") == before

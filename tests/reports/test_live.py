import sys

import pytest
from streets import finish

from bench.store import Failure
from fcn.errors import InputError
from reports import watch
from reports.scalars import export_scalars


@pytest.fixture
def written(monkeypatch):
    """The reports that a watch writes, as (refresh seconds), drawn by nobody."""
    calls = []

    def write(plan, store, out_dir, *, refresh_seconds=None):
        calls.append(refresh_seconds)
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

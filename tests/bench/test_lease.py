"""One writer per run: who may write, who is turned out, and what the latter can still do."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pretend import pretend_elsewhere

from bench.store import holder as holders
from bench.store.atomic import replacing, write_json
from bench.store.lease import (
    BusyError,
    DoneError,
    FolderGoneError,
    LeaseLostError,
    Watch,
    count_attempts,
    find_stale,
    hold,
)  # fmt: skip

SHORT = 0.4
"""A lease short enough for a test."""


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "ab" / "abcdef"
    folder.mkdir(parents=True)
    (folder / "spec.yaml").touch()
    return folder


def start(context, target, *arguments):
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def take_and_wait(run_dir, seconds=60.0):
    with hold(run_dir, seconds):
        (run_dir / "held").touch()
        time.sleep(600)


@pytest.fixture
def fork():
    context = multiprocessing.get_context("fork")
    yield context
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def wait_for(path):
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


DAY = 86_400.0


@pytest.mark.parametrize("jump", [-DAY, DAY, -1e9])
def test_a_live_holder_is_left_alone_whatever_the_clock_says(run_dir, monkeypatch, jump):
    with hold(run_dir, SHORT):
        lease, now = pretend_elsewhere(run_dir), time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        for path in lease.iterdir():  # as that machine's clock has it
            os.utime(path, (abs(now() + jump), abs(now() + jump)))
        with pytest.raises(BusyError), hold(run_dir, SHORT):
            pass
        time.sleep(2 * SHORT)
        assert not Watch(run_dir, SHORT).is_free()
    assert count_attempts(run_dir) == 1


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
def test_times_for_people_are_utc_wherever_a_run_is_made(run_dir, monkeypatch, zone):
    before = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with hold(run_dir) as lease:
            since = datetime.fromisoformat(lease.holder.since)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert since.utcoffset() == timedelta(0)
    assert before <= since <= datetime.now(UTC)


def test_no_decision_is_made_by_the_clock_on_the_wall():
    """It may jump, and no two machines agree on it: what decides counts its own seconds."""
    root = Path(holders.__file__).parents[1]
    files = [path for room in ("store", "grid", "run") for path in (root / room).glob("*.py")]
    assert len(files) > 30
    users = {p.name for p in files if re.search(r"time\.time\(|datetime\.now\(", p.read_text())}
    # Times for people: begun, finished, claimed; and the age of leftovers in a store that only can
    # be read.
    told = {"holder.py", "execute.py", "evaluate_other.py", "noted.py"}
    assert users == told | {"scratch.py"}


def test_a_released_lease_leaves_only_the_record(run_dir):
    for attempt in (1, 2, 3):
        with hold(run_dir) as lease:
            assert lease.holder.attempt == attempt
    assert {path.name for path in run_dir.iterdir()} == {"spec.yaml", "attempts.json"}
    assert count_attempts(run_dir) == 3


def test_a_run_that_is_done_is_not_held_and_counts_no_attempt(run_dir, monkeypatch):
    with hold(run_dir):
        (run_dir / "result.json").touch()
    with pytest.raises(DoneError), hold(run_dir):
        pass
    # Done between the look and the taking: seen then.
    exists, looks = Path.exists, []

    def look(path):
        looks.append(path.name)
        return exists(path) and not (path.name == "result.json" and looks.count(path.name) == 1)

    monkeypatch.setattr(Path, "exists", look)
    with pytest.raises(DoneError), hold(run_dir):
        pass
    assert looks.count("result.json") == 2
    assert count_attempts(run_dir) == 1
    assert not list(run_dir.glob("lease-*"))


def test_an_error_within_passes_through_and_frees_the_run(run_dir):
    with pytest.raises(ZeroDivisionError), hold(run_dir):
        raise ZeroDivisionError
    assert Watch(run_dir).is_free()


def test_a_killed_holder_is_replaced_at_once(run_dir, fork):
    process = start(fork, take_and_wait, run_dir)
    wait_for(run_dir / "held")
    assert not Watch(run_dir).is_free()
    os.kill(process.pid, signal.SIGKILL)  # and nobody waits for it: it stays as a zombie
    deadline = time.monotonic() + 30
    while not find_stale(run_dir):
        assert time.monotonic() < deadline
    with hold(run_dir, seconds=3600) as lease:  # an hour's lease: not waited for
        assert lease.holder.attempt == 2
    assert not find_stale(run_dir)


def test_a_child_of_the_holder_does_not_keep_the_lease(run_dir, fork):
    def die_and_leave_a_child():
        with hold(run_dir):
            child = os.fork()
            if child == 0:
                time.sleep(600)
            (run_dir / "child").write_text(str(child))
            os.kill(os.getpid(), signal.SIGKILL)

    start(fork, die_and_leave_a_child).join()
    child = int((run_dir / "child").read_text())
    try:
        with hold(run_dir, seconds=3600) as lease:
            assert lease.holder.attempt == 2
            os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_process_number_given_again_is_another_process(run_dir, monkeypatch):
    with hold(run_dir) as lease:
        assert not lease.holder.is_dead()
        monkeypatch.setattr(holders, "_process_start", lambda pid: "later")
        assert lease.holder.is_dead()
        assert not replace(lease.holder, host="elsewhere").is_dead()
        assert not replace(lease.holder, machine="another boot").is_dead()


@pytest.fixture
def hide(monkeypatch):
    """Have /proc show no other process, as hidepid does with those of other users."""
    read_text = Path.read_text

    def read(path, *args, **kwargs):
        number = path.parent.name
        if path.parent.parent == Path("/proc") and number.isdigit() and int(number) != os.getpid():
            raise FileNotFoundError(2, "hidden", str(path))
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)


def test_a_live_holder_that_proc_hides_keeps_its_lease(run_dir, fork, hide, monkeypatch):
    process = start(fork, take_and_wait, run_dir)
    wait_for(run_dir / "held")
    assert not find_stale(run_dir)
    watch = Watch(run_dir)
    assert not watch.is_free()
    assert not watch.is_free()

    def refuse(pid, number):  # what the system says of another user's process
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        assert not find_stale(run_dir)
    process.kill()
    process.join()
    assert find_stale(run_dir)  # gone, for all that /proc hides


def test_a_number_in_a_proc_of_another_namespace_is_not_believed(run_dir, monkeypatch):
    """As in a container that is shown its host's /proc: there, our number is another process."""
    readlink = os.readlink
    outer = {"/proc/self": "1"}
    monkeypatch.setattr(os, "readlink", lambda path: outer.get(str(path)) or readlink(path))
    with hold(run_dir) as lease:
        assert lease.holder.process == "?"
        outer.clear()
        assert not lease.holder.is_dead()


def can_unshare():
    """Whether a test may make a process namespace of its own."""
    command = ["unshare", "--pid", "--fork", "true"]
    return bool(shutil.which("unshare")) and not subprocess.call(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="needs the right to unshare")
@pytest.mark.parametrize("proc", [["--mount-proc"], []])
def test_a_number_of_another_namespace_says_nothing_here(run_dir, proc):
    """Two containers of one machine and one name: the holder's number is another process here."""
    code = (
        "import sys, test_lease as t; from pathlib import Path; t.take_and_wait(Path(sys.argv[1]))"
    )
    command = ["unshare", "--pid", "--fork", "--kill-child", *proc]
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent.parent)])
    holder = subprocess.Popen(
        [*command, sys.executable, "-c", code, str(run_dir)],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        wait_for(run_dir / "held")
        (lease,) = run_dir.glob("lease-*")
        assert json.loads((lease / "holder.json").read_bytes())["pid"] == 1
        assert not find_stale(run_dir)
        assert not Watch(run_dir).is_free()
    finally:
        holder.kill()
        holder.wait()


def test_where_a_system_names_no_boot_only_the_beat_tells(run_dir, monkeypatch):
    """Two machines may have one name, and process numbers of their own."""
    monkeypatch.setattr(holders, "_machine", lambda: "")
    with hold(run_dir, SHORT) as lease:
        monkeypatch.setattr(holders, "_process_start", lambda pid: "")
        assert not lease.holder.is_dead()


@pytest.mark.parametrize(
    "damage",
    [{"pid": "12"}, {"pid": 0}, {"pid": -1}, {"pid": 2**40}, {"host": None}, {"attempt": 1.5}],
)
def test_a_holder_of_wrong_types_is_nobody_that_is_asked_for(run_dir, damage):
    with hold(run_dir) as lease:
        path = lease.folder / "holder.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **damage}))
        assert holders.Holder.read(path) is None
        assert not Watch(run_dir).is_free()


def test_who_was_frozen_along_with_a_holder_turns_nobody_out(run_dir, monkeypatch):
    """A job is suspended and goes on: by the clock an hour has passed without a beat."""
    with hold(run_dir, 3600):
        pretend_elsewhere(run_dir)
        now = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        watch = Watch(run_dir, 60)
        seen = []
        for passed in (0, 1, 3600, 1, 1, 40):
            now[0] += passed
            seen.append(watch.is_free())
        assert seen == [False] * 5 + [True]


def test_a_frozen_holder_is_replaced_after_the_lease_and_writes_nothing_more(run_dir, fork):
    process = start(fork, write_on_and_on, run_dir)
    wait_for(run_dir / "text")
    os.kill(process.pid, signal.SIGSTOP)
    with hold(run_dir, SHORT) as lease:
        assert lease.holder.attempt == 2
        write_json(run_dir / "text", {"by": "second"})
        os.kill(process.pid, signal.SIGCONT)
        process.join(60)
        assert process.exitcode == 76
    assert json.loads((run_dir / "text").read_text()) == {"by": "second"}
    assert {path.name for path in run_dir.iterdir()} == {"spec.yaml", "attempts.json", "text"}


def write_on_and_on(run_dir):
    """Write as fast as possible, checking nothing: the fence alone must hold."""
    try:
        with hold(run_dir, SHORT):
            while True:
                write_json(run_dir / "text", {"by": "first"})
    except LeaseLostError:
        os._exit(76)


@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_write_that_wakes_up_late_does_not_arrive(run_dir, moment):
    """Frozen anywhere, also between its last check and the rename."""
    path = run_dir / "text"

    def write_late():
        with hold(run_dir, 3600) as lease:
            lease.check()
            if moment == "before":
                others_take_it_over(run_dir)
            with replacing(path) as temporary:
                temporary.write_text("late")
                if moment == "within":
                    others_take_it_over(run_dir)

    with pytest.raises(LeaseLostError):
        write_late()
    assert path.read_text() == "new"


def others_take_it_over(run_dir):
    pretend_elsewhere(run_dir)
    done = threading.Event()  # another thread has a stage of its own, as another process would

    def take():
        watch = Watch(run_dir, 0)
        while not watch.is_free():
            pass
        with hold(run_dir):
            (run_dir / "text").write_text("new")
            done.set()

    threading.Thread(target=take).start()
    assert done.wait(60)


def test_a_deleted_folder_is_told_from_a_lost_lease(run_dir):
    def write_into_nothing():
        with hold(run_dir) as lease:
            shutil.rmtree(run_dir)
            with pytest.raises(FolderGoneError, match="abcdef was deleted"):
                lease.check()
            write_json(run_dir / "eval" / "test.json", {})

    with pytest.raises(FolderGoneError):
        write_into_nothing()
    assert not run_dir.exists()


def test_what_is_taken_between_looking_and_taking_is_left_alone(run_dir, monkeypatch):
    with hold(run_dir) as lease:
        monkeypatch.setattr(Watch, "is_free", lambda watch: True)  # as it was a moment ago
        with pytest.raises(BusyError), hold(run_dir):
            pass
        lease.check()
    assert count_attempts(run_dir) == 1


def test_of_many_that_try_at_once_one_at_a_time_succeeds(run_dir, fork):
    """Processes that die in the middle are among them; each attempt has its own number."""
    processes = [start(fork, try_often, run_dir, seed) for seed in range(6)]
    for process in processes:
        process.join(120)
    assert {process.exitcode for process in processes} <= {0, -9}
    with hold(run_dir):
        pass
    numbers = [
        a["attempt"] for a in json.loads((run_dir / "attempts.json").read_text())["attempts"]
    ]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 12
    assert not (run_dir / "collision").exists()


def try_often(run_dir, seed):
    until, count = time.monotonic() + 20, 0
    while count < 4 and time.monotonic() < until:
        try:
            with hold(run_dir, 3600):
                count += 1
                try:
                    os.close(os.open(run_dir / "inside", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    (run_dir / "collision").touch()
                time.sleep(0.002)
                (run_dir / "inside").unlink(missing_ok=True)
                if seed == 0 and count == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
        except BusyError:
            pass
        time.sleep(0.001)


def test_only_what_leases_left_is_cleared_away(run_dir):
    for name in (".tmp-lost-000001", ".tmp-ended-abcd_123", ".tmp-mine", ".tmp-lost-and-found"):
        (run_dir / name).mkdir()
    with hold(run_dir, SHORT) as lease:
        left = {path.name for path in run_dir.glob(".tmp-*")}
        assert left == {".tmp-mine", ".tmp-lost-and-found"}
        assert lease.holder.attempt == 2  # the number of one that was turned out is not given again

"""Array jobs: what is asked of Slurm, jobs requeued and lost, settings that it would not take."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from attempts import bits, wait_for
from slurm_stand_in import make_slurm

from bench.grid.contracts import Exit
from bench.grid.engines import Request, create_engine
from bench.grid.exit_status import last_step
from bench.grid.node import Order
from bench.grid.slots import Slot
from bench.grid.slurm_files import Orders, State, read_orders, read_state, write
from bench.grid.slurm_job import SlurmRun
from bench.grid.slurm_settings import place_jobs, read_settings
from bench.run.execute import Options, execute
from bench.run.outcome import BUSY
from bench.store.lease import count_attempts
from bench.upkeep import verify
from fcn.errors import InputError

SMALL = {
    "data.options": {"size": 32, "num_train": 4, "num_val": 2, "num_test": 2},
    "evaluate.eval_every": 0,
}
SLOW = SMALL | {"train.steps": 100, "train.batch_size": 2}


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30:00", 90), ("12:30", 13), ("0:00:30", 1), ("2-00", 2880), ("1-2:30", 1590)],
)
def test_time_is_read_as_sbatch_reads_it(text, minutes):
    assert read_settings([f"time={text}"]).minutes == minutes


def test_settings_are_those_of_lines_and_files(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "partition: gpu\ncpus-per-task: 4\ntime: 1:00:00\nsetup: [module load cuda]\n"
        "sbatch: {switches: 1}\n"
    )
    found = read_settings([str(file), "gpus_per_node=1", "partition=long"])
    assert found.parameters() == {
        "gpus_per_node": 1,
        "cpus_per_task": 4,
        "timeout_min": 60,
        "slurm_partition": "long",
        "slurm_setup": ["module load cuda"],
        "slurm_additional_parameters": {"switches": 1},
    }
    slot, _ = place_jobs(found, ("auto",), 1)
    assert slot == Slot("cuda:0", 4)
    slot, asked = place_jobs(read_settings([]), ("cuda",), 2)
    assert slot.devices == ("cuda:0", "cuda:1")
    assert asked.num_gpus == 2
    assert place_jobs(read_settings([]), ("auto",), 1)[0] == Slot("cpu", 0)


@pytest.mark.parametrize(
    ("words", "devices", "said"),
    [
        (["partitoin=gpu"], "cpu", "did you mean 'partition'"),
        (["time=soon"], "cpu", "H:MM:SS"),
        (["time=0"], "cpu", "no time at all"),
        (["gpus_per_node=many"], "cpu", "whole number"),
        (["missing.yaml"], "cpu", "KEY=VALUE"),
        (["cluster=moon"], "cpu", "unknown cluster"),
        (["gpus_per_node=2"], "auto", "a job is one run"),
        (["gpus_per_node=1"], "cpu", "leave one out"),
        ([], "cuda:1", "Slurm's to say"),
    ],
)
def test_what_slurm_would_not_take_is_named(words, devices, said):
    with pytest.raises(InputError, match=said):
        place_jobs(read_settings(words), (devices,), 1)


def test_without_slurm_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="on a login node"):
        create_engine("slurm", Request(tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(InputError, match="--slurm are about a cluster"):
        create_engine("local", Request(tmp_path, slurm=["time=3"]))


def test_files_are_read_while_they_are_written(tmp_path):
    path = tmp_path / "orders"
    write(path, Orders(3, kill=("a" * 30,)))
    inode = path.stat().st_ino
    write(path, Orders(4))
    assert read_orders(path) == Orders(4, kill=[])
    assert path.stat().st_ino == inode
    path.write_text('{"beat": 4, "st')
    assert read_orders(path) is None
    assert read_state(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("orders", "code"), [(Orders(stop=True), BUSY), (Orders(kill=("run",)), -9), (None, BUSY)]
)
def test_a_job_whose_command_is_gone_or_stops_starts_nothing(tmp_path, orders, code):
    (tmp_path / "run").mkdir()
    if orders:
        write(tmp_path / "orders", orders)
        write(tmp_path / "state", State())
    order = Order(str(tmp_path / "run"), Slot("cpu", 1), (), str(tmp_path), 1.0)
    job = SlurmRun(order, str(tmp_path / "orders"), str(tmp_path / "state"), 5.0)
    assert job() == code
    assert read_state(tmp_path / "state") == (State("ended", code) if orders else None)
    assert not (tmp_path / "run/log.txt").exists()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = make_slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("bench.grid.slurm.ANSWER_SECONDS", 4.0)
    monkeypatch.setattr("bench.grid.slurm.ASK_SECONDS", 1.0)
    return folder


@pytest.fixture
def engine(slurm, tiny_run):
    store, _ = tiny_run(SMALL)
    words = ["partition=gpu", "cpus_per_task=1", "time=30"]
    made = create_engine("slurm", Request(store.root, ("cpu",), slurm=words))
    yield made
    made.stop()
    assert not [path for path in store.root.iterdir() if path.name.startswith(".tmp-")]
    assert list(verify(store)) == []


def finish(engine, count):
    exits, until = [], time.monotonic() + 120
    while len(exits) < count:
        assert time.monotonic() < until
        exits += engine.poll(0.5)
    return exits


def below(pid):
    """Return the processes that descend from one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@pytest.mark.slow
def test_an_array_of_runs_one_requeued_and_one_lost(slurm, engine, tiny_run):
    runs = [tiny_run(SLOW | {"seed": seed}) for seed in (0, 1, 2)]
    store = runs[0][0]

    def pid_of(job):
        return int((slurm / f"jobs/{job}.pid").read_text())

    kept, requeued, lost = (run for _, run in runs)
    folders = [store.run_dir(run.id) for _, run in runs]
    for folder in folders:
        engine.start(folder)
    assert engine.is_queued(kept.id)
    engine.poll(0)
    script = (slurm / "submitted").read_text()
    for line in ("--array=0-2%3", "--partition=gpu", "--time=30", "--signal=USR1@90"):
        assert f"#SBATCH {line}\n" in script
    wait_for(lambda: last_step(folders[1])[0])
    for pid in below(pid_of("100_1")):  # its time is nearly up: all but the batch shell are told
        os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: (slurm / "jobs/100_2.pid").exists())
    (slurm / "jobs/100_2.state").write_text("NODE_FAIL")
    os.killpg(pid_of("100_2"), signal.SIGKILL)
    exits = {exit_.run_id: exit_ for exit_ in finish(engine, 3)}
    assert exits[kept.id] == Exit(kept.id, 0)
    assert exits[requeued.id] == Exit(requeued.id, 0)
    assert exits[lost.id].lost == "job 100_2 was lost with its node"
    assert [count_attempts(folder) for folder in folders[:2]] == [1, 2]
    here, _ = tiny_run(SLOW | {"seed": 1}, folder="here")
    assert execute(here.run_dir(requeued.id), Options("cpu", 1)) == 0
    assert bits(store, requeued) == bits(here, requeued)
    # It may have been lost with its lease; whoever asks for it again goes on.
    assert execute(folders[2], Options("cpu", 1)) == 0


@pytest.mark.slow
def test_what_waits_is_cancelled_and_what_is_refused_is_said(slurm, engine, tiny_run):
    store, run = tiny_run(SMALL)
    (slurm / "hold").touch()
    engine.start(store.run_dir(run.id))
    engine.poll(1.0)
    assert engine.is_queued(run.id)
    engine.kill(run.id)
    assert engine.poll(1.0) == [Exit(run.id, -9)]
    assert (slurm / "jobs/100.state").read_text() == "CANCELLED"
    (slurm / "refuse").touch()
    engine.start(store.run_dir(run.id))
    with pytest.raises(InputError, match=r"invalid partition.*sinfo"):
        engine.poll(1.0)

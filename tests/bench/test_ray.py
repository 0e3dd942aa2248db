"""Ray: nodes that are lost, join, or cannot be used; clusters that let strangers in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from attempts import bits, process_of, wait_for

from bench.grid import cluster, nodes
from bench.grid.contracts import Exit
from bench.grid.controller import execute_plan
from bench.grid.engines import Request, create_engine
from bench.plan import Plan, PlannedRun
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.store.lease import count_attempts
from bench.store.runs import Store
from fcn.errors import InputError

SHORT = {"train.steps": 3, "train.grad_accum_steps": 1, "evaluate.eval_every": 0}
LONG = {**SHORT, "train.steps": 150}  # some is left when a node has gone
ENDLESS = {**SHORT, "train.steps": 100_000}


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'fcn-bench\[ray\]'"):
        cluster.import_ray()


@dataclass
class Ticking:
    """Calls back once, between polls."""

    action: object = None
    retries: list = field(default_factory=list)

    def started(self, planned): ...

    def ended(self, planned, failure): ...

    def left(self, planned): ...

    def lost(self, why): ...

    def retried(self, planned, failure):
        self.retries.append((failure.reason, failure.message))

    def tick(self):
        if self.action and self.action():
            self.action = None


OPEN = """
import os, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def open_cluster():
    """Address of a cluster that asks for no token."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    with process:
        yield process.stdout.readline().strip()
        process.stdin.close()


def try_to_join(address, tmp_path, *options, **variables):
    """Join a cluster as a user whose home is `tmp_path`; return the last line said."""
    code = (
        "import sys, ray; from bench.grid.cluster import connect\n"
        "connect(sys.argv[1], insecure='--insecure' in sys.argv); print(len(ray.nodes()), 'nodes')"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code, address, *options],
        env={**environment, "HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.ray
def test_a_cluster_that_asks_for_no_token_is_refused(open_cluster, tmp_path):
    # With a token of one's own, too: that it is not asked for is the point.
    token = {"RAY_AUTH_TOKEN": "0" * 64}
    assert "asks for no token" in try_to_join(open_cluster, tmp_path, **token)
    assert try_to_join(open_cluster, tmp_path, "--insecure") == "1 nodes"


@pytest.mark.ray
def test_a_cluster_is_joined_with_its_token_alone(ray_cluster, tmp_path):
    address, path = ray_cluster.address, os.environ["RAY_AUTH_TOKEN_PATH"]
    assert try_to_join(address, tmp_path, RAY_AUTH_TOKEN_PATH=path).endswith("nodes")
    for variables in ({}, {"RAY_AUTH_TOKEN": "0" * 64}):
        assert "does not take ours" in try_to_join(address, tmp_path, **variables)
    assert "no cluster can be joined" in try_to_join("127.0.0.1:9", tmp_path)
    assert "Ray Client" in try_to_join(f"ray://{address}", tmp_path)


@pytest.mark.ray
def test_a_cluster_of_ones_own_asks_for_a_token_that_only_its_owner_reads(tmp_path):
    code = (
        "import ray; from bench.grid.cluster import connect\n"
        "connect(None); print(ray.get_runtime_context().gcs_address, flush=True); input()"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    owner = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        address = owner.stdout.readline().strip()
        path = tmp_path / ".ray" / "auth_token"
        assert path.stat().st_mode & 0o777 == 0o600
        assert try_to_join(address, tmp_path).endswith("nodes")
        assert "does not take ours" in try_to_join(address, tmp_path / "stranger")
        owner.stdin.close()


def engine_over(store, **settings):
    return create_engine("ray", Request(store.root, **{"devices": ("cpu",), **settings}))


@pytest.mark.ray
def test_a_lost_node_costs_its_runs_nothing(ray_cluster, add_node, tiny_run):
    runs = [tiny_run({**LONG, "seed": seed}) for seed in (0, 1)]
    store = runs[0][0]
    other = add_node()

    def lose():
        there = [i for i, task in engine._running.items() if task.node.id == other.node_id]
        if any(store.heartbeat(run_id) for run_id in there):
            ray_cluster.remove_node(other, allow_graceful=False)
            return True
        return False

    watcher, engine = Ticking(lose), engine_over(store, slots=2)
    plan = Plan("p", "q", "", tuple(PlannedRun("v", run) for _, run in runs))
    assert execute_plan(plan, store, engine, watcher) == 0
    ((reason, message),) = watcher.retries
    assert reason == "lost"
    assert "was lost" in message
    for seed in (0, 1):
        here, run = tiny_run({**LONG, "seed": seed}, folder="here")
        assert execute(here.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
        assert bits(store, run) == bits(here, run)


@pytest.mark.long
@pytest.mark.ray
def test_a_node_that_joins_a_grid_under_way_takes_its_share(ray_cluster, add_node, tiny_run):
    """One slot at first, and a run that waits; then two nodes are at work at the same time."""
    runs = [tiny_run({**ENDLESS, "seed": seed}) for seed in (0, 1)]
    store, joined = runs[0][0], []

    def meddle():
        under_way = [run for _, run in runs if store.heartbeat(run.id)]
        if not joined and under_way:
            assert len(under_way) == 1
            joined.append(add_node())
        if len(under_way) == 2:
            assert len({task.node.id for task in engine._running.values()}) == 2
            raise KeyboardInterrupt

    watcher = Ticking(meddle)
    engine = engine_over(store, slots=1)
    wait_for(lambda: engine.free_slots() == 1)  # the cluster takes its time to see what ended
    plan = Plan("p", "q", "", tuple(PlannedRun("v", run) for _, run in runs))
    with pytest.raises(KeyboardInterrupt):
        execute_plan(plan, store, engine, watcher)
    assert watcher.retries == []
    assert [count_attempts(store.run_dir(run.id)) for _, run in runs] == [1, 1]
    assert [store.failure(run.id).reason for _, run in runs] == ["stopped"] * 2


@pytest.mark.slow
@pytest.mark.ray
def test_what_other_users_of_a_cluster_hold_is_left_to_them(ray_cluster, tiny_run):
    """Nothing is started while they hold it, one run beside them, and all when they are gone."""
    import ray

    runs = [tiny_run({**SHORT, "seed": seed}) for seed in range(3)]
    store = runs[0][0]

    @ray.remote
    def hold(path):
        while not Path(path).exists():
            time.sleep(0.05)

    marks = [store.root.parent / f"free-{i}" for i in range(2)]
    held = [hold.options(num_cpus=1).remote(str(mark)) for mark in marks]
    wait_for(lambda: ray.available_resources().get("CPU", 0) == 0)
    engine = engine_over(store, slots=2)
    assert engine.free_slots() == 0
    most, polls = [0], [0]

    def meddle():
        most[0] = max(most[0], len(engine._running))
        polls[0] += 1
        if polls[0] == 4:
            assert most == [0]
            marks[0].touch()
        if polls[0] > 4 and not marks[1].exists():
            assert most[0] <= 1
            if any(store.status(run.id) == "done" for _, run in runs):
                assert most == [1]
                marks[1].touch()

    watcher = Ticking(meddle)
    plan = Plan("p", "q", "", tuple(PlannedRun("v", run) for _, run in runs))
    assert execute_plan(plan, store, engine, watcher) == 0
    assert marks[1].exists()
    assert watcher.retries == []
    ray.get(held)


@pytest.mark.slow
@pytest.mark.ray
def test_room_that_others_take_first_costs_a_run_nothing(ray_cluster, tiny_run):
    """The task waits in Ray's queue: it is no hang, and is taken back when the grid is stopped."""
    import ray

    store, run = tiny_run(SHORT)

    @ray.remote
    def hold(path):
        while not Path(path).exists():
            time.sleep(0.05)

    mark = store.root.parent / "free"
    engine = engine_over(store, slots=2)
    wait_for(lambda: engine.free_slots() == 2)
    held = [hold.options(num_cpus=1).remote(str(mark)) for _ in range(2)]
    wait_for(lambda: ray.available_resources().get("CPU", 0) == 0)
    engine.start(store.run_dir(run.id))  # it was free when it was asked
    assert engine.poll(2) == []
    engine.kill(run.id)  # as the controller does with what shows no life
    exits = []
    while not exits:
        exits = engine.poll(1)
    assert exits == [Exit(run.id, outcome.BUSY)]  # nobody's failure: it is tried again later
    assert count_attempts(store.run_dir(run.id)) == 0
    mark.touch()
    ray.get(held)
    wait_for(lambda: engine.free_slots() == 2)
    engine.start(store.run_dir(run.id))
    exits = []
    while not exits:
        exits = engine.poll(1)
    assert exits == [Exit(run.id, outcome.DONE)]
    engine.stop()


@pytest.mark.ray
def test_a_killed_worker_takes_its_run_along(ray_cluster, tiny_run):
    store, run = tiny_run(ENDLESS)
    engine = engine_over(store, slots=1)
    wait_for(engine.free_slots)
    engine.start(store.run_dir(run.id))
    wait_for(lambda: store.heartbeat(run.id))
    (holder,) = store.run_dir(run.id).glob("lease-*/holder.json")
    pid = json.loads(holder.read_text())["pid"]
    worker = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    exits = []
    while not exits:
        exits = engine.poll(1)
    assert exits == [Exit(run.id, -9)]
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    engine.stop()


@pytest.mark.ray
def test_a_fraction_of_a_gpu_is_a_slot(add_node, tiny_run):
    """A GPU that only Ray believes in: its two slots are full at the same time."""
    store, run = tiny_run()
    _, other = tiny_run({"seed": 1})
    add_node(num_gpus=1)
    engine = engine_over(store, devices=("auto",), slots=2)
    wait_for(lambda: engine.free_slots() == 2)
    for one in (run, other):
        engine.start(store.run_dir(one.id))
    assert engine.free_slots() == 0
    exits = []
    while len(exits) < 2:
        exits += engine.poll(1)
    engine.stop()
    assert {e.code for e in exits} == {outcome.INPUT}
    assert "'cuda' cannot be used" in store.failure(run.id).message


@pytest.mark.ray
def test_a_node_with_other_software_is_named(ray_cluster, tmp_path, monkeypatch):
    """Here, a newer path comes first, with another torch to be found."""
    record = tmp_path / "torch-0.1.dist-info" / "METADATA"
    record.parent.mkdir()
    record.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    engine = engine_over(Store(tmp_path))
    with pytest.raises(InputError, match=r"node .* would give other results.*torch .*\(here 0.1\)"):
        engine.free_slots()
    engine.stop()


HEADED = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
(server,) = cluster.head_node.all_processes["gcs_server"]
print(cluster.address, server.process.pid, flush=True)
sys.stdin.read()
"""

SPEC = """
question: Who is left without a head?
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 4}}
  train: {steps: 100000, batch_size: 2}
variants: {a: {}, b: {train.lr: 0.02}}
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_head_that_dies_ends_the_command_with_a_word_and_a_report(tmp_path):
    """Ray's own patience is set from a minute to half of it."""
    variables = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    variables |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "30"}
    (tmp_path / "q.yaml").write_text(SPEC)
    store = Store(tmp_path / "runs")
    piped = {"stdout": subprocess.PIPE, "env": {**os.environ, **variables}, "text": True}
    with process_of([sys.executable, "-c", HEADED], stdin=subprocess.PIPE, **piped) as head:
        address, server = head.stdout.readline().split()
        command = [sys.executable, "-m", "ablations.cli", "run", "q.yaml", "--engine", "ray"]
        command += ["--address", address, "--insecure", "--devices", "cpu"]
        with process_of(command, cwd=tmp_path, stderr=subprocess.STDOUT, **piped) as process:
            wait_for(lambda: any(map(store.heartbeat, store.run_ids())), seconds=240)
            os.kill(int(server), signal.SIGKILL)
            said, _ = process.communicate(timeout=200)
        head.stdin.close()
    assert process.returncode == 1, said
    assert f"error: the head of the Ray cluster at {address} is gone" in said
    assert "2 of 2 runs did not finish; the report says why" in said
    assert (tmp_path / "out" / "q" / "index.html").exists()
    (begun,) = [run_id for run_id in store.run_ids() if count_attempts(store.run_dir(run_id))]
    assert store.failure(begun).reason == "stopped"
    assert list(store.run_dir(begun).glob("checkpoint-*.json"))


def can_unshare():
    command = ["unshare", "-m", "true"]
    return bool(shutil.which("unshare")) and not subprocess.call(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.ray
@pytest.mark.skipif(not can_unshare(), reason="needs the right to mount")
def test_a_node_that_does_not_see_the_store_is_named(ray_cluster, tmp_path, monkeypatch):
    """Another disk is mounted over the store, for one node alone."""
    monkeypatch.setattr(nodes, "APPEAR_SECONDS", 1.0)
    store = Store(tmp_path / "store")
    store.packs_dir.mkdir(parents=True)
    before = engine_over(store)
    after = engine_over(store)
    assert before.free_slots() == 2
    ray = f"{sys.executable} -m ray.scripts.scripts start --address {ray_cluster.address}"
    script = f"mount -t tmpfs none '{store.root}' && exec {ray} --num-cpus 2 --block"
    blind = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.DEVNULL)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wait_for(lambda: (before.free_slots(), caught)[1])
        assert "does not see the store" in str(caught[0].message)
        assert before.free_slots() == 2
        with pytest.raises(InputError, match=r"node .* does not see the store: .*tmp-node-check"):
            after.free_slots()
    finally:
        blind.terminate()
        blind.wait()
        before.stop()
        after.stop()
    assert not list(store.root.glob(".tmp-*"))

"""What every engine promises: one suite over the registry. A new engine is in it by registering."""

import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
from attempts import end_of, fork, process_of, wait_for
from processes import execute_in_group

from bench.data.catalog import Catalog
from bench.grid.contracts import Exit
from bench.grid.engines import ENGINES, Request, create_engine
from bench.grid.local import LocalEngine
from bench.grid.warm import WarmEngine
from bench.plan import Run
from bench.plugins import load_plugins
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.spec import RunSpec, parse
from bench.store.runs import Store
from fcn.errors import InputError

CODES = (outcome.BUSY, *outcome.REASONS)
MARKS = {"ray": [pytest.mark.ray], "slurm": [pytest.mark.slow]}
"""Engines that need an extra, and one whose jobs take seconds to begin and to end."""
HERE_IN_CI = pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[*MARKS.get(n, ()), *[pytest.mark.long] * (n in MARKS)])
        for n in ENGINES
    ],
    indirect=True,
    scope="module",
)
"""For what takes those a minute: `.ci/long` tries it over all engines."""
SLURM = ("cluster=local", "cpus_per_task=1", "patience=8")
"""Jobs on this machine, by submitit's local executor."""

ACTING = '''
"""Backbones that act on their way; that they are found shows that plugins are passed on."""
import os, signal, sys, time
import timm
from timm.models import register_model

def speak():
    print(f"pid {os.getpid()}", f"leak {os.environ.get('LEAK')}", flush=True)
    os.environ["LEAK"] = "seen"

def net(**settings):
    return timm.create_model("test_resnet", **settings)

@register_model
def acts_loudly(pretrained=False, **settings):
    speak()
    for _ in range(64):
        print("x" * 16_000)
        print("y" * 16_000, file=sys.stderr)
    return net(**settings)

@register_model
def acts_deaf(pretrained=False, **settings):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    speak()
    time.sleep(1000)

@register_model
def acts_killed(pretrained=False, **settings):
    speak()
    os.kill(os.getpid(), signal.SIGKILL)

def exits(code):
    def act(pretrained=False, **settings):
        speak()
        os._exit(code)
    act.__name__ = f"acts_exit_{code}"
    act.__module__ = __name__
    return register_model(act)

for code in CODES:
    globals()[f"acts_exit_{code}"] = exits(code)
'''.replace("CODES", repr(CODES))
CODE = hashlib.sha256(
    json.dumps([["", hashlib.sha256(ACTING.encode()).hexdigest()]]).encode()
).hexdigest()
"""Digest of a plugin that imports nothing of its own."""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "acting_backbones.py"
    path.write_text(ACTING)
    return str(path)


@pytest.fixture(scope="module", params=[pytest.param(n, marks=MARKS.get(n, ())) for n in ENGINES])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def store(name, tmp_path_factory):
    return Store(tmp_path_factory.mktemp("läufe 中") / name)


@pytest.fixture(scope="module")
def new_engine(request, name, store, plugin):
    """Make engines of one kind: new_engine() has two slots."""
    if name == "ray":
        request.getfixturevalue("ray_cluster")

    def make(slots=2, **more):
        more |= {"slurm": SLURM} if name == "slurm" else {}
        return create_engine(name, Request(store.root, ("cpu",), slots, (plugin,), **more))

    return make


@pytest.fixture(scope="module")
def engine(new_engine):
    engine = new_engine()
    yield engine
    engine.stop()


def prepare(store, backbone, steps=3, seed=0):
    values = {
        "model": {"backbone": backbone, "score_init": "random"},
        "data": {"dataset": "shapes",
                 "options": {"size": 32, "num_train": 4, "num_val": 2, "num_test": 2}},
        "train": {"steps": steps, "batch_size": 2, "lr": 0.01, "crop": [32, 32]},
        "seed": seed,
    }  # fmt: skip
    spec = parse(RunSpec, values, where="acting")
    sources = {"model.backbone": f"code {CODE}"} if backbone.startswith("acts_") else {}
    run = Run(spec, Catalog(store, None).pack(spec.data).fingerprint, sources=sources)
    return run, store.prepare(run)


def finish(engine, count, seconds=120):
    """Wait for so many runs to end."""
    exits, until = [], time.monotonic() + seconds
    while len(exits) < count:
        assert time.monotonic() < until
        exits += engine.poll(0.5)
    return exits


def spoken(folder):
    """Read the words that a run's backbone said, once it has."""
    log = folder / "log.txt"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    found = re.search(r"^pid (\S+) leak (\S+)$", text, re.M)  # libraries may say things before
    return {"pid": found[1], "leak": found[2]} if found else None


def is_alive(pid):
    """A process that has ended may wait for its parent to ask: it is not alive."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def execute_with(plugin, folder):
    load_plugins([plugin])
    return execute(folder, Options("cpu", 1))


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_run_gives_the_same_bits_as_in_process(engine, store, plugin, tmp_path):
    """Under a folder with a space and signs beyond ASCII, with more output than a pipe holds."""
    run, folder = prepare(store, "acts_loudly")
    wait_for(lambda: engine.free_slots() == 2)  # a cluster takes a moment to count
    engine.start(folder)
    assert engine.free_slots() == 1
    assert finish(engine, 1) == [Exit(run.id, 0)]
    wait_for(lambda: engine.free_slots() == 2)
    log = (folder / "log.txt").read_text()
    assert log.count("x") > 1_000_000
    assert log.count("y") > 1_000_000
    here = Store(tmp_path)
    _, again = prepare(here, "acts_loudly")
    # Forked: what a plugin registers stays with the process that imports it.
    assert end_of(fork(lambda: execute_with(plugin, again))) == outcome.DONE
    files = ("model.safetensors", "eval/test.npz")
    digests = [s.result(run.id).digests for s in (store, here)]
    assert [digests[0][f] for f in files] == [digests[1][f] for f in files]


def test_a_run_that_is_killed_is_reported_by_its_signal(engine, store):
    run, folder = prepare(store, "acts_killed")
    engine.start(folder)
    assert finish(engine, 1) == [Exit(run.id, -9)]


def test_a_deaf_run_is_ended_beside_another(engine, store):
    """As the controller ends what hangs; two slots of one device are full at the same time."""
    deaf, folder = prepare(store, "acts_deaf")
    other, other_folder = prepare(store, "acts_deaf", seed=1)
    engine.start(folder)
    engine.start(other_folder)
    assert engine.free_slots() == 0
    wait_for(lambda: spoken(folder) and spoken(other_folder))
    engine.kill(deaf.id)
    assert finish(engine, 1) == [Exit(deaf.id, -9)]
    assert is_alive(spoken(other_folder)["pid"])
    wait_for(lambda: engine.free_slots() == 1)
    engine.kill(other.id)
    assert finish(engine, 1) == [Exit(other.id, -9)]


@pytest.mark.slow
@HERE_IN_CI
def test_exit_codes_come_back_and_environments_stay_apart(name, engine, store):
    codes = CODES if name == "warm" else CODES[::4]  # a fresh process takes seconds to start
    runs = {code: prepare(store, f"acts_exit_{code}") for code in codes}
    waiting, exits = list(runs.values()), []
    while len(exits) < len(runs):
        for _ in range(min(engine.free_slots(), len(waiting))):
            engine.start(waiting.pop()[1])
        exits += engine.poll(0.5)
    assert {e.run_id: e.code for e in exits} == {run.id: code for code, (run, _) in runs.items()}
    assert {spoken(folder)["leak"] for _, folder in runs.values()} == {"None"}
    assert "LEAK" not in os.environ


def test_a_run_sees_the_environment_as_it_is_when_it_starts(engine, store, monkeypatch):
    """Also one forked from a server that was started before."""
    run, folder = prepare(store, "test_resnet", seed=77)
    monkeypatch.setenv("FCN_BENCH_FAULT", "run.locked:raise")
    engine.start(folder)
    assert finish(engine, 1) == [Exit(run.id, outcome.ERROR)]
    assert store.failure(run.id).message.endswith("fault at run.locked")
    monkeypatch.delenv("FCN_BENCH_FAULT")
    engine.start(folder)
    assert finish(engine, 1) == [Exit(run.id, outcome.DONE)]


def test_stopping_leaves_checkpoints_and_no_process(new_engine, store):
    engine = new_engine()
    runs = [prepare(store, "acts_loudly", steps=100_000, seed=seed) for seed in (0, 1)]
    for _, folder in runs:
        engine.start(folder)
    wait_for(lambda: all(store.heartbeat(run.id) for run, _ in runs))
    engine.stop()
    for run, folder in runs:
        assert not is_alive(spoken(folder)["pid"])
        assert store.failure(run.id).reason == "stopped"
        assert list(folder.glob("checkpoint-*.safetensors"))


@pytest.mark.slow
@HERE_IN_CI
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_run_over_two_devices_is_that_of_two_processes(name, new_engine, store, plugin, tmp_path):
    """Bit for bit; the engine of forked runs says who can make it."""
    if name == "warm":
        with pytest.raises(InputError, match="choose --engine local"):
            new_engine(1, devices_per_run=2)
        return
    run, folder = prepare(store, "acts_loudly", seed=3)
    engine = new_engine(1, devices_per_run=2)
    wait_for(lambda: engine.free_slots() == 1)  # those before may just have been stopped
    engine.start(folder)
    assert finish(engine, 1) == [Exit(run.id, 0)]
    engine.stop()
    here = Store(tmp_path)
    _, again = prepare(here, "acts_loudly", seed=3)

    def execute_over_two():
        load_plugins([plugin])
        return execute_in_group(2, again)

    assert end_of(fork(execute_over_two)) == outcome.DONE
    results = [s.result(run.id) for s in (store, here)]
    assert [result.environment["processes"] for result in results] == [2, 2]
    for file in ("model.safetensors", "eval/test.npz"):
        assert results[0].digests[file] == results[1].digests[file]


CONTROLLER = """
import sys, time
from pathlib import Path
from bench.grid.engines import Request, create_engine
if __name__ == "__main__":
    name, store, run_dir, plugin, *slurm = sys.argv[1:]
    engine = create_engine(name, Request(Path(store), ("cpu",), 1, (plugin,), slurm=slurm))
    engine.start(Path(run_dir))
    while True:
        engine.poll(0.5)
"""


def test_no_run_outlives_a_killed_controller(name, store, plugin, tmp_path):
    run, folder = prepare(store, "acts_loudly", steps=100_000, seed=2)
    script = tmp_path / "controller.py"
    script.write_text(CONTROLLER)
    command = [sys.executable, str(script), name, str(store.root), str(folder), plugin]
    command += SLURM if name == "slurm" else ()
    with process_of(command):
        wait_for(lambda: store.heartbeat(run.id))
        pid = spoken(folder)["pid"]
    wait_for(lambda: not is_alive(pid), 20)
    assert store.status(run.id) != "done"


def test_auto_is_warm_on_cpus_and_local_for_a_run_over_several(tmp_path):
    def chosen(**request):
        engine = create_engine("auto", Request(tmp_path, ("cpu",), **request))
        engine.stop()
        return engine

    assert type(chosen()) is WarmEngine
    assert type(chosen(devices_per_run=2)) is LocalEngine

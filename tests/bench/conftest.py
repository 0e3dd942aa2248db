"""A store with tiny runs over a tiny drawn dataset."""

import signal
from contextlib import contextmanager

import pytest
from attempts import LEARNT, TINY, bits

from bench.data.catalog import Catalog, open_data
from bench.plan import Plan, PlannedRun, Run
from bench.run.execute import Options, execute
from bench.sources import find_sources
from bench.spec import RunSpec
from bench.store.run_names import RunName
from bench.store.runs import Store


@pytest.fixture
def tiny_run(tmp_path):
    """Prepare runs: tiny_run({"train.lr": 1}, parent=None) -> (store, run)."""
    from bench.spec import override, parse

    base = {
        "model": {"backbone": "test_resnet", "skip": "fcn16s", "score_init": "random",
                  "dropout": 0.1},
        "data": {
            "dataset": "shapes",
            "options": {"size": 32, "num_train": 12, "num_val": 3, "num_test": 5},
        },
        "train": {"steps": 6, "batch_size": 2, "grad_accum_steps": 2, "lr": 0.05,
                  "scale": [0.8, 1.25], "crop": [32, 32], "class_weights": "median_frequency",
                  "clip_grad_norm": 5.0},
        "evaluate": {"eval_every": 3},
    }  # fmt: skip

    def prepare(differences=None, parent=None, folder="store", streams=()):
        spec = parse(RunSpec, override(base, differences or {}), where="tiny")
        store = Store(tmp_path / folder)
        packed = Catalog(store, None).pack(spec.data)
        run = Run(spec, packed.fingerprint, parent, streams, find_sources(spec))
        store.prepare(run)
        return store, run

    return prepare


@pytest.fixture
def trained(tiny_run):
    """Train a tiny network: its store, its run, and the images that it is of."""
    store, run = tiny_run(LEARNT)
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == 0
    store.names.add([(run.id, RunName("q", "a", 0))])
    return store, run, open_data(store, run)


@pytest.fixture
def tiny_plan(tiny_run):
    """Plan variants a, b, ... with these differences: tiny_plan({...}) -> (plan, packs)."""

    def plan(*differences):
        runs, packs = [], {}
        for variant, own in zip("abc", differences, strict=False):
            store, run = tiny_run(own)
            packs[run.fingerprint] = Catalog(store, None).pack(run.spec.data)
            runs.append(PlannedRun(variant, run))
        return Plan("p", "q", "e", tuple(runs)), packs

    return plan


@pytest.fixture
def stopped_after():
    """Have runs of this process be told to stop: `with stopped_after(3): execute(...)`."""
    from bench.run import execute as module

    @contextmanager
    def stop(step):
        fit = module.fit

        def fit_and_signal(*args, **kwargs):
            for log in fit(*args, **kwargs):
                if log.step == step:
                    signal.raise_signal(signal.SIGTERM)
                yield log

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "fit", fit_and_signal)
            yield

    return stop


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    """A Ray cluster of one node with two CPUs, which this process has joined.

    Its token is its own; the user's is left alone.
    """
    import ray
    from ray.cluster_utils import Cluster

    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0123456789abcdef" * 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 starves on a busy machine
        ray._raylet.Config.initialize("")  # another test may have imported Ray before
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def add_node(ray_cluster):
    """Add nodes to the cluster for one test: add_node(num_gpus=1)."""
    added = []

    def add(**settings):
        added.append(ray_cluster.add_node(**{**NODE, **settings}))
        return added[-1]

    yield add
    for node in ray_cluster.worker_nodes & set(added):
        ray_cluster.remove_node(node)


NODE = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture
def reference(tiny_run):
    """What the run TINY gives, never interrupted; made once."""
    if not REFERENCE:
        store, run = tiny_run(TINY, folder="reference")
        assert execute(store.run_dir(run.id), Options("cpu", 1)) == 0
        REFERENCE.append(bits(store, run))
    return REFERENCE[0]


REFERENCE: list[tuple] = []

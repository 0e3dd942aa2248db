"""A grid in which everything goes wrong: each failure is one run's, and the page shows it."""

import html
import json
import os
import re
import resource
import shutil
import signal
import sys
from functools import partial

import numpy as np
import pytest
from attempts import OFTEN, TINY, FaultyEngine, bits, end_of, fork, wait_for
from PIL import Image

from ablations import cli
from ablations.planning import plan_spec
from bench import faults
from bench.data.catalog import Catalog
from bench.grid import controller
from bench.grid.controller import Policy
from bench.grid.engines import ENGINES
from bench.plan import Run
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.spec import RunSpec
from bench.store.runs import Store
from bench.upkeep import verify
from fcn.errors import InputError

SPEC = """
question: What does one run's failure do to the others?
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 4}}
  train: {steps: 30, batch_size: 2, lr: 0.01}
variants:
  whole: {}
  raised: {train.lr: 0.011}
  child: {train.init_from: raised, train.lr: 0.012}
  grandchild: {train.init_from: child, train.lr: 0.013}
  memory: {train.lr: 0.014}
  poisoned: {train.lr: 0.015}
  killed: {train.lr: 0.016}
  hung: {train.lr: 0.017}
  full: {train.lr: 0.018}
  toolarge: {train.lr: 0.019}
  deleted: {train.lr: 0.021, train.steps: 100000}
  cut: {data.options.num_train: 9, train.steps: 100000}
  late: {train.init_from: whole, train.lr: 0.022}
"""

FAULTS = {
    "raised": "step:raise@4",
    "memory": "step:oom@4",
    "poisoned": "loss:nan@14",
    "killed": "step:crash@14",
    "hung": "step:hang@14",
    "full": "weights.written:enospc",
}

REASONS = {
    "raised": ("error", "RuntimeError: fault at step"),
    "child": ("blocked", "which failed"),
    "grandchild": ("blocked", "which failed"),
    "memory": ("memory", "CUDA out of memory"),
    "poisoned": ("nonfinite", "the loss is nan at step 14"),
    "killed": ("killed", "SIGKILL"),
    "hung": ("hung", "no step was made for too long"),
    "full": ("disk", "No space left on device"),
    "toolarge": ("disk", "File too large"),
    "deleted": ("disk", "was deleted while the run was made"),
    "cut": ("spec or data", "is damaged"),
}
"""Reason and words of each failure; the other variants finish."""


class Mishaps(FaultyEngine):
    """Does to some runs, while they are made, what is not a fault of the code."""

    def __init__(self, store, ids):
        wanted = {ids[variant]: [fault] * 3 for variant, fault in FAULTS.items()}
        super().__init__(2, wanted)
        self.store, self.ids = store, ids

    def start(self, run_dir):
        super().start(run_dir)
        if run_dir.name == self.ids["toolarge"]:
            process = self._running[run_dir.name][0]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (500_000, 500_000))

    def poll(self, seconds):
        deleted, cut = (self.store.run_dir(self.ids[name]) for name in ("deleted", "cut"))
        if self.store.heartbeat(deleted.name):
            shutil.rmtree(deleted)
        if self.store.heartbeat(cut.name):
            pack = self.store.packs_dir / self.store.run(cut.name).fingerprint[:16]
            os.truncate(pack / "images.bin", 5)
        return super().poll(seconds)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_failure_is_one_runs_and_is_shown(tmp_path, monkeypatch, capsys):
    (tmp_path / "q.yaml").write_text(SPEC)
    store = Store(tmp_path / "runs")
    plan, _ = plan_spec(str(tmp_path / "q.yaml"), store, None, None)
    ids = {planned.variant: planned.run.id for planned in plan.runs}
    monkeypatch.setitem(ENGINES._parts, "mishaps", lambda request: Mishaps(store, ids))
    monkeypatch.setattr(controller, "Policy", partial(Policy, hang_seconds=12))
    code, text = run_command(monkeypatch, tmp_path, "--engine", "mishaps")
    said = capsys.readouterr().out
    print(said)
    assert code == 1
    assert f"{len(REASONS)} of {len(ids)} runs did not finish" in said

    for variant, run_id in ids.items():
        failure = store.failure(run_id)
        if variant not in REASONS:
            assert failure is None
            assert store.status(run_id) == "done"
            continue
        reason, message = REASONS[variant]
        assert failure.reason == reason, variant
        assert message in failure.message, variant
        assert message.split(" (")[0] in text, variant
        if reason not in ("blocked", "spec or data") and variant != "deleted":  # with its log
            assert failure.step, variant
            assert f"(last logged step: {failure.step})" in text, variant
        if reason in ("error", "memory"):
            assert "Traceback" in failure.details
    assert "SIGBUS" in said  # the first end of the run whose pack was cut
    assert [f.kind for f in verify(store) if f.kind != "leftover"] == ["damaged"]


def run_command(monkeypatch, tmp_path, *words):
    """Run the command on q.yaml in this process; return its exit code and the text of its page."""
    words = ["run", str(tmp_path / "q.yaml"), "--runs", str(tmp_path / "runs"), *words]
    monkeypatch.setattr(sys, "argv", ["fcn-bench", *words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, (tmp_path / "out" / "index.html").read_text()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_a_footnote_of_the_page(tmp_path, monkeypatch):
    """From the run that met it to the page that the command writes."""
    (tmp_path / "q.yaml").write_text(SPEC.partition("  raised:")[0])
    store = Store(tmp_path / "runs")
    plan, catalog = plan_spec(str(tmp_path / "q.yaml"), store, None, None)
    (planned,) = plan.runs
    catalog.pack(planned.run.spec.data)
    folder = store.prepare(planned.run)
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    monkeypatch.setenv(faults.VARIABLE, "step:raise@6")
    assert execute(folder, OFTEN) == outcome.ERROR
    monkeypatch.delenv(faults.VARIABLE)
    newest = max(folder.glob("checkpoint-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert execute(folder, OFTEN) == outcome.DONE
    code, page = run_command(monkeypatch, tmp_path)
    assert code == 0
    (note, *_) = store.result(planned.run.id).notes
    assert note.startswith("checkpoint checkpoint-000000005 was damaged")
    footnotes = re.search('<ul class="notes footnotes">(.*?)</ul>', page, re.DOTALL)[1]
    assert f"whole, seed 0: {note}" in html.unescape(footnotes)


def draw_images(folder):
    """Write six images and masks of 32 x 32."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(6):
        image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"p{i}.png")
        Image.fromarray(image[..., 0] // 128).save(folder / "masks" / f"p{i}.png")
    (folder / "classes.txt").write_text("dark\nlight\n")
    splits = {"train": ["p0", "p1", "p2"], "val": ["p3"], "test": ["p4", "p5"]}
    (folder / "splits.yaml").write_text(json.dumps(splits))


def test_images_that_go_bad_under_a_run_change_nothing(tmp_path):
    """They are read once, before anything is trained: a run sees the pack alone."""
    draw_images(tmp_path / "mine")
    model = {"backbone": "test_resnet", "skip": "fcn32s", "score_init": "random"}
    spec = RunSpec.model_validate(
        {"model": model, "data": {"dataset": "folder"}, "train": {"steps": 4, "batch_size": 2}}
    )
    given = []
    for name in ("before", "after"):
        store = Store(tmp_path / name)
        packed = Catalog(store, tmp_path / "mine").pack(spec.data)
        run = Run(spec, packed.fingerprint)
        if name == "after":
            for path in tmp_path.glob("mine/*/*.png"):
                path.write_bytes(path.read_bytes()[:50])
        assert execute(store.prepare(run), Options("cpu", 1)) == 0
        given.append(bits(store, run))
    assert given[0] == given[1]
    with pytest.raises(InputError, match=r"p0\.png"):
        Catalog(Store(tmp_path / "new"), tmp_path / "mine").pack(spec.data)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_pack_that_is_cut_under_a_run_ends_that_run_and_is_found(tiny_run):
    store, run = tiny_run({**TINY, "train.steps": 100_000})
    folder, (pack,) = store.run_dir(run.id), store.packs_dir.iterdir()
    pid = fork(lambda: execute(folder, OFTEN))
    wait_for(lambda: store.heartbeat(run.id))
    os.truncate(pack / "images.bin", 5)
    assert end_of(pid) == -signal.SIGBUS
    assert execute(folder, OFTEN) == outcome.INPUT  # the second attempt names the pack
    assert str(pack) in store.failure(run.id).message
    (finding,) = verify(store)
    assert (finding.kind, finding.path) == ("damaged", pack)


@pytest.mark.parametrize("name", ["images.bin", "targets.bin"])
def test_a_changed_byte_in_a_pack_is_found(tiny_run, name):
    """By the run that reads it, and by who verifies the store."""
    store, run = tiny_run(TINY)
    (pack,) = store.packs_dir.iterdir()
    assert list(verify(store)) == []
    with (pack / name).open("r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 1]))
    (finding,) = verify(store)
    assert (finding.kind, finding.path) == ("damaged", pack / name)
    assert "delete it" in finding.message
    assert execute(store.run_dir(run.id), OFTEN) == outcome.INPUT
    said = store.failure(run.id).message
    assert "of train is not what was packed" in said
    assert f"{pack} is damaged" in said


def test_a_child_does_not_start_from_damaged_weights_nor_before_its_parent(tiny_run):
    store, parent = tiny_run({**TINY, "train.steps": 1})
    _, child = tiny_run({**TINY, "train.steps": 2}, parent=parent.id)
    folder = store.run_dir(child.id)
    assert execute(folder, OFTEN) == outcome.BUSY
    assert store.status(child.id) == "missing"
    assert execute(store.run_dir(parent.id), OFTEN) == outcome.DONE
    weights = store.run_dir(parent.id) / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 0x40]))
    assert execute(folder, OFTEN) == outcome.INPUT
    assert f"prune {parent.id}" in store.failure(child.id).message
    weights.write_bytes(content)
    assert execute(folder, OFTEN) == outcome.DONE


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_folder_deleted_under_a_run_ends_it_without_a_trace(tiny_run):
    store, run = tiny_run({**TINY, "train.steps": 100_000})
    folder = store.run_dir(run.id)
    pid = fork(lambda: execute(folder, OFTEN))
    wait_for(lambda: store.heartbeat(run.id))
    gone = folder.rename(store.root.with_name("gone"))  # at once: a lease that goes first is lost
    shutil.rmtree(gone)
    assert end_of(pid) == outcome.DISK
    assert not folder.exists()

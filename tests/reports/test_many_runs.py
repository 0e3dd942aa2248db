"""A report of a thousand runs: the page stays small, and no run's counts are read again and again.

How long it takes is measured by `fcn-bench speed store`.
"""

from collections import Counter

import numpy as np
import pytest
from streets import FINGERPRINT, PALETTE, make_spec

from bench.plan import Plan, PlannedRun, Run
from bench.store.evaluation_file import EvaluationFile
from bench.store.runs import Result, Store
from reports.page import write_report
from reports.study import MAX_DRAWN

NUM_RUNS, NUM_CLASSES, NUM_IMAGES, NUM_STEPS = 1000, 8, 16, 400


def make_plan():
    runs = []
    for i in range(NUM_RUNS // 2):
        for seed in (0, 1):
            spec = make_spec(f"net{i // 4}", ("fcn32s", "fcn16s", "fcn8s", "fcn4s")[i % 4], seed)
            name = f"{spec.model.backbone}-{spec.model.skip}"
            runs.append(PlannedRun(name, Run(spec, FINGERPRINT)))
    return Plan("many", "Which of very many?", "none", tuple(runs), baseline="net0-fcn32s")


def fill(store, plan):
    """Write small results without the fsync of each, which is the disk's time and not ours."""
    rng = np.random.default_rng(0)
    labels = rng.integers(20, 200, (NUM_IMAGES, NUM_CLASSES))
    names = np.array([f"image{i:03d}" for i in range(NUM_IMAGES)])
    log = "".join(
        f'{{"step": {s}, "loss": {1 + 1 / s:.4f}, "lr": 0.01, "seconds": {s / 10}}}\n'
        for s in range(1, NUM_STEPS + 1)
    )
    for planned in plan.runs:
        right = rng.binomial(labels, rng.uniform(0.4, 0.9))
        counts = np.zeros((NUM_IMAGES, NUM_CLASSES, NUM_CLASSES), np.int32)
        c = np.arange(NUM_CLASSES)
        counts[:, c, c] = right
        counts[:, c, (c + 1) % NUM_CLASSES] = labels - right
        folder = store.prepare(planned.run)
        (folder / "eval").mkdir()
        np.savez(
            folder / "eval" / "test.npz", names=names, confusions=counts,
            predicted_names=np.array([], dtype=str),
        )  # fmt: skip
        (folder / "metrics.jsonl").write_text(log)
        store.publish(
            Result(
                run_id=planned.run.id,
                run=planned.run.to_json(),
                split="test",
                num_images=NUM_IMAGES,
                class_names=tuple("abcdefgh"),
                palette=PALETTE,
                confusion=counts.sum(0).tolist(),
                num_parameters=int(rng.integers(1e6, 1e8)),
                train_seconds=float(rng.uniform(60, 6000)),
                evaluate_seconds=1.0,
                environment={"device": "cpu", "torch": "2.11.0", "commit": "abc"},
                digests={},
                finished="2026-05-01T10:00:00+00:00",
            )
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_runs_are_reported_and_the_page_says_what_it_left_out(tmp_path, monkeypatch):
    plan, store = make_plan(), Store(tmp_path / "store")
    fill(store, plan)
    reads, read = Counter(), EvaluationFile.__init__

    def count_and_read(self, path, result):
        reads[str(path)] += 1
        read(self, path, result)

    monkeypatch.setattr(EvaluationFile, "__init__", count_and_read)
    html = write_report(plan, store, tmp_path / "out").read_text()
    assert f"Figures show {MAX_DRAWN} of {NUM_RUNS // 2} variants" in html
    assert html.count("<article id=") == NUM_RUNS
    assert len(html) < 10e6
    assert len(reads) == NUM_RUNS
    assert max(reads.values()) <= 2, reads.most_common(3)

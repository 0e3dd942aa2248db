"""A store full of finished runs that nobody trained, in the real format, for measuring its scale.

In: a plan. Out: every run of it done, with counts of some images and a log. Numbers are drawn
from a seed and mean nothing.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.plan import Plan, Run
from bench.store.runs import Result, Store

NUM_CLASSES = 11
"""As in CamVid."""
PIXELS = 360 * 480


@dataclass(frozen=True)
class Sizes:
    """What each run leaves behind."""

    num_images: int = 16
    """Images with counts; 0 for no counts."""
    num_steps: int = 100
    """Lines of the log."""


def fill(store: Store, plan: Plan, sizes: Sizes, *, seed: int = 0) -> None:
    """Finish every run of a plan without training it."""
    rng = np.random.default_rng(seed)
    lines = [
        json.dumps({"step": step, "loss": 1 + 1 / step, "lr": 0.01, "seconds": step / 10}) + "\n"
        for step in range(1, sizes.num_steps + 1)
    ]
    log = "".join(lines)
    names = np.array([f"image{i:04d}" for i in range(sizes.num_images)])
    with _without_fsync():
        for run in plan.unique_runs():
            counts = _draw_counts(rng, max(1, sizes.num_images))
            folder = store.prepare(run)
            (folder / "metrics.jsonl").write_text(log, encoding="utf-8")
            if sizes.num_images:
                (folder / "eval").mkdir(exist_ok=True)
                none = np.array([], dtype=str)
                path = folder / "eval" / f"{run.spec.evaluate.split}.npz"
                np.savez_compressed(path, names=names, confusions=counts, predicted_names=none)
            store.publish(_result(run, counts, rng))


def _draw_counts(rng: np.random.Generator, num_images: int) -> NDArray[np.int32]:
    """Draw pixel counts, (N, C, C), of a network that is right half of the time."""
    C = NUM_CLASSES
    target = np.full((num_images, C), PIXELS // C)
    share = np.full((C, C), 0.5 / (C - 1))
    np.fill_diagonal(share, rng.uniform(0.4, 0.6))
    share /= share.sum(1, keepdims=True)
    return rng.multinomial(target, share).astype(np.int32)


def _result(run: Run, counts: NDArray[np.int32], rng: np.random.Generator) -> Result:
    C = NUM_CLASSES
    return Result(
        run_id=run.id,
        run=run.to_json(),
        split=run.spec.evaluate.split,
        num_images=len(counts),
        class_names=tuple(f"class {i}" for i in range(C)),
        palette=tuple((20 * i, 255 - 20 * i, 128) for i in range(C)),
        confusion=counts.sum(0, dtype=np.int64).tolist(),
        num_parameters=int(rng.integers(10**6, 10**8)),
        train_seconds=float(rng.uniform(60, 6000)),
        evaluate_seconds=float(rng.uniform(1, 60)),
        environment={
            "device": "cpu",
            "device_name": "none",
            "threads": 1,
            "torch": "2.14.1",
            "commit": "0" * 40,
            "plugins": "none",
        },
        digests={f"eval/{i}.npz": "0" * 64 for i in range(4)},
        finished="2026-01-01T00:00:00+00:00",
        gmacs=1.0,
        latency_ms=float(rng.uniform(1, 100)),
        peak_memory_mib=float(rng.uniform(100, 1000)),
    )


@contextmanager
def _without_fsync() -> Iterator[None]:
    """Write without waiting for the disk each time: its time is not what is measured."""
    fsync = os.fsync
    os.fsync = lambda fd: None
    try:
        yield
    finally:
        os.fsync = fsync

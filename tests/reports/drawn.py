"""Stores of variants that are as good as a test says: counts drawn around a share of right pixels.

Images are easier or harder for all variants alike, seeds move each variant by itself; nothing is
trained and no image exists.
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from streets import finish, make_spec

from bench.plan import Plan, PlannedRun, Run
from bench.store.runs import Store

CLASSES = ("road", "tree", "car", "sky")


def draw(
    store: Store,
    qualities: Mapping[str, float],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    dataset: str = "streets",
    num_images: int = 24,
    spread: float = 0.01,
    name: str = "heads",
    steps: int = 400,
    **texts: object,
) -> Plan:
    """Finish a run of each variant and seed, and return the plan.

    Args:
        store: Where they go.
        qualities: Share of right pixels by variant, in the mean.
        seeds: Of each variant.
        dataset: Name of the data; images of each name are of their own difficulty.
        num_images: Of the test split.
        spread: How far seeds move a variant, a standard deviation.
        name: The question's.
        steps: Of training: runs of other steps are other runs.
        texts: Further fields of the plan.
    """
    runs = []
    for variant in qualities:
        for seed in seeds:
            spec = make_spec("vgg16", "fcn8s", seed)
            model = spec.model.model_copy(update={"head": variant})
            train = spec.train.model_copy(update={"steps": steps})
            data = spec.data.model_copy(update={"dataset": dataset})
            spec = spec.model_copy(update={"model": model, "train": train, "data": data})
            runs.append(PlannedRun(variant, Run(spec, f"{zlib.crc32(dataset.encode()):064x}")))
    plain = Plan(name, f"Which head on {dataset}?", "", tuple(runs), next(iter(qualities)))
    plan = dataclasses.replace(plain, **texts)
    for planned in plan.runs:
        counts = draw_counts(qualities[planned.variant], planned, num_images, spread)
        finish(store, planned, class_names=CLASSES, confusions=counts, log=False)
    return plan


def draw_counts(quality: float, planned: PlannedRun, num_images: int, spread: float) -> np.ndarray:
    """Draw the confusion matrices of a run, (N, C, C)."""
    spec = planned.run.spec
    of_images = np.random.default_rng(zlib.crc32(spec.data.dataset.encode()))
    key = zlib.crc32(f"{planned.variant} {spec.data.dataset} {spec.seed}".encode())
    rng = np.random.default_rng([key, spec.train.steps or 0])
    C = len(CLASSES)
    share = quality + of_images.normal(0, 0.05, (num_images, 1)) + rng.normal(0, spread)
    share = np.clip(share + rng.normal(0, 0.01, (num_images, C)), 0.3, 0.98)
    pixels = 400 + zlib.crc32(spec.data.dataset.encode()) % 100  # of a class: other labels
    right = np.round(pixels * share).astype(int)
    counts = np.zeros((num_images, C, C), np.int32)
    for c in range(C):  # what is wrong is called the next class
        counts[:, c, c] = right[:, c]
        counts[:, c, (c + 1) % C] = pixels - right[:, c]
    return counts

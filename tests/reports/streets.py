"""Synthetic runs, written through the real API: believable numbers without any training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.claims import Claim
from bench.plan import Plan, PlannedRun, Published, Run
from bench.spec import DataSpec, EvaluateSpec, ModelSpec, RunSpec, TrainSpec
from bench.store.runs import Failure, Result, Store

BACKBONES = {"alexnet": 0.0, "vgg16": 0.09, "googlenet": 0.05, "resnet50": 0.13}
SKIPS = {"none": 0.0, "fcn16s": 0.035, "fcn8s": 0.045}
CLASS_NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "car", "bicyclist")
PALETTE = (
    *[(128, 190, 230), (150, 90, 70), (200, 200, 60), (110, 80, 130)],
    *[(220, 110, 170), (70, 140, 60), (50, 60, 150), (230, 120, 40)],
)
IGNORE = 255
STEPS = 400
FAILED = ("googlenet-fcn16s", 1)
MISSING = ("resnet50-none", 0)
NUM_IMAGES = 8
FINGERPRINT = "f" * 64


@dataclass
class DrawnPack:
    """A pack of street-like images, with the interface of `bench.data.packs.pack.Pack`."""

    class_names: tuple[str, ...] = CLASS_NAMES
    palette: tuple[tuple[int, int, int], ...] = PALETTE
    ignore_index: int = IGNORE

    def indices(self, split: str) -> list[int]:
        return list(range(NUM_IMAGES)) if split == "test" else []

    def name(self, index: int) -> str:
        return f"street_{index:03d}"

    def target(self, index: int) -> np.ndarray:
        return draw_target(index)

    def image(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        target = self.target(index)
        table = np.full((256, 3), 90)
        table[: len(PALETTE)] = PALETTE
        noise = rng.normal(0, 14, (*target.shape, 3))
        return np.clip(0.6 * table[target] + 55 + noise, 0, 255).astype(np.uint8)


def draw_target(index: int, height: int = 90, width: int = 120) -> np.ndarray:
    """Sky over houses over a road, with things on it and an unlabelled rim."""
    rng = np.random.default_rng(index)
    target = np.zeros((height, width), np.uint8)
    y, x = np.indices(target.shape)
    target[y > 30 + 10 * np.sin(x / 17 + index)] = 1
    target[(x // 15 + index) % 4 == 0] = np.where(y > 25, 5, 0)[(x // 15 + index) % 4 == 0]
    target[y > 60] = 4
    target[y > 64 - np.abs(x - 60) * 0.1 + 4 * (np.abs(x - 60) > 40)] = 3
    for _ in range(3):
        cx, cy = rng.integers(15, width - 15), rng.integers(58, 76)
        target[(np.abs(x - cx) < 9) & (np.abs(y - cy) < 5)] = 6
    target[(np.abs(x - rng.integers(10, 110)) < 2) & (y > 20) & (y < 66)] = 2
    target[-3:] = IGNORE
    target[:, :2] = IGNORE
    return target


def predict(target: np.ndarray, quality: float, coarse: int, seed: int) -> np.ndarray:
    """Spoil a target: blocks for a coarse stride, and some blobs of other classes."""
    rng = np.random.default_rng([seed, int(1000 * quality)])
    H, W = target.shape
    known = np.where(target == IGNORE, 3, target)
    ys, xs = (np.minimum((np.arange(n) // coarse) * coarse + coarse // 2, n - 1) for n in (H, W))
    pred = known[np.ix_(ys, xs)].astype(np.uint8)
    y, x = np.indices(target.shape)
    for _ in range(int(26 * (1 - quality))):
        cy, cx, r = rng.integers(0, H), rng.integers(0, W), rng.integers(3, 8)
        pred[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.integers(0, 7)
    return pred


def count(target: np.ndarray, pred: np.ndarray, num_classes: int) -> np.ndarray:
    matrix = np.zeros((num_classes, num_classes), np.int32)
    np.add.at(matrix, (target[target != IGNORE], pred[target != IGNORE]), 1)
    return matrix


def make_spec(backbone: str, skip: str, seed: int) -> RunSpec:
    return RunSpec(
        model=ModelSpec(backbone=backbone, skip=skip),
        data=DataSpec(dataset="streets"),
        train=TrainSpec(steps=STEPS, batch_size=8),
        evaluate=EvaluateSpec(split="test", eval_split="val", eval_every=100),
        seed=seed,
    )


def finish(
    store: Store,
    planned: PlannedRun,
    *,
    class_names: Sequence[str] = CLASS_NAMES,
    confusions: np.ndarray | None = None,
    log: bool = True,
    **recorded: object,
) -> Result:
    """Write a run as if it had been trained and evaluated."""
    run, spec = planned.run, planned.run.spec
    skip, C = spec.model.skip, len(class_names)
    quality = 0.55 + 2 * (BACKBONES.get(spec.model.backbone, 0.0) + SKIPS.get(skip, 0.0))
    quality += 0.03 * spec.seed
    coarse = {"none": 10, "fcn16s": 6}.get(skip, 3)
    folder = store.prepare(run)
    targets = [draw_target(i) for i in range(NUM_IMAGES)]
    preds = [predict(t, quality, coarse, 100 * spec.seed + i) for i, t in enumerate(targets)]
    if confusions is None:
        confusions = np.stack([count(t, p, C) for t, p in zip(targets, preds, strict=True)])
    (folder / "eval").mkdir(exist_ok=True)
    np.savez_compressed(
        folder / "eval" / "test.npz",
        names=np.array([DrawnPack().name(i) for i in range(len(confusions))]),
        confusions=confusions,
        predicted_names=np.array([DrawnPack().name(i) for i in range(NUM_IMAGES)]),
        **{f"pred_{i}": pred for i, pred in enumerate(preds)},
    )
    if log:
        write_log(folder / "metrics.jsonl", quality, spec.seed, confusions.sum(0))
    result = Result(
        run_id=run.id,
        run=run.to_json(),
        split="test",
        num_images=len(confusions),
        class_names=tuple(class_names),
        palette=PALETTE,
        confusion=confusions.sum(0).tolist(),
        num_parameters=int(2e7 + 4e8 * BACKBONES.get(spec.model.backbone, 0.0)),
        train_seconds=610.0 + 400 * quality + 7 * spec.seed,
        evaluate_seconds=4.5,
        environment={"device": "cuda", "device_name": "NVIDIA H100", "torch": "2.11.0"},
        digests={},
        finished=f"2026-05-0{1 + spec.seed}T10:00:00+00:00",
        **{"weights": {"pretrained": False}, **recorded},
    )
    store.publish(result)
    return result


def write_log(path: Path, quality: float, seed: int, confusion: np.ndarray) -> None:
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, STEPS + 1):
        loss = 0.3 + (1.4 - quality) + 1.2 * np.exp(-step / 80) + rng.normal(0, 0.08)
        row = {"step": step, "loss": float(loss), "lr": 0.01, "seconds": 1.5 * step}
        lines.append(json.dumps(row))
        if step % 100 == 0:
            noise = (
                confusion.sum() * 2e-2 * np.exp(-step / 150) * np.ones(confusion.shape)
            ).astype(int)
            watched = {"step": step, "split": "val", "confusion": (confusion + noise).tolist()}
            lines.append(json.dumps(watched))
    path.write_text("\n".join(lines) + "\n")


def grid_plan() -> Plan:
    runs = tuple(
        PlannedRun(f"{backbone}-{skip}", Run(make_spec(backbone, skip, seed), FINGERPRINT))
        for backbone in BACKBONES
        for skip in SKIPS
        for seed in (0, 1)
    )
    return Plan(
        name="streets/backbones",
        question="Which backbone labels a street best, and how much do finer skips add?",
        expectation="resnet50 first; 8s > 16s > 32s everywhere, most of it with the first skip.",
        runs=runs,
        baseline="alexnet-none",
        claims=(Claim(left="fcn8s", right="none", every="model.backbone"),),
        published=(
            Published(
                variant="vgg16-fcn8s", source="Long et al. 2015, Table 2",
                differs="VOC2011, ImageNet weights", miou=0.627, pixel_acc=0.903,
            ),
        ),
        note="Scores at the label's own size, on all eight test images.",
        command="fcn-bench report streets/backbones --runs runs",
    )  # fmt: skip


def fill(store: Store, plan: Plan) -> None:
    """Finish every run but one that failed and one that is missing."""
    for planned in plan.runs:
        place = (planned.variant, planned.run.spec.seed)
        if place == FAILED:
            store.prepare(planned.run)
            store.record_failure(
                planned.run.id,
                Failure(
                    "memory", "the device ran out of memory at step 12", 12, "...\nOutOfMemory"
                ),
            )
        elif place != MISSING:
            finish(store, planned)

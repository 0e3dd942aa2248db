"""Time to a score: ours and the usual loop train one network until its mIoU is reached.

In: the settings of a run, its images, a score. Out: a section that grows with each look at the
split. Network, starting weights, crops, batch and steps are the same; on the one side everything
else is a run's, on the other torchvision's reference: its loader, transforms and optimiser.

Reference: references/segmentation/train.py and presets.py of torchvision, their defaults.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.metrics import summarize
from bench.run.ema import ema_applied
from bench.run.optim import create_optimizer
from bench.spec import TrainSpec
from bench.speed.loops import evaluate_ours, ours
from bench.speed.section import Section
from bench.speed.usual import UsualLoop
from bench.speed.workload import Workload
from fcn.errors import InputError
from fcn.model import Network

NOTE = (
    "Seconds of training until the split's mIoU is reached, looks at the split not counted. Both "
    "sides have the network, the weights it begins with, crops, batch, steps and the split in "
    "common; they take turns in blocks of the steps between two looks. ours: the run of the "
    "question, with its optimiser, schedule, augmentation and average of weights. usual: "
    "torchvision's segmentation reference at its best: DataLoader with PIL transforms (resize by "
    "0.5 to 2, flip, crop), cross-entropy, SGD at a rate of 0.01 with momentum 0.9 "
    "and decay 1e-4, poly. The curve is mIoU by seconds of training."
)
REFERENCE: dict[str, Any] = {
    **{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "ema_decay": 0.0},
    "scale": (0.5, 2.0),
}
"""What of `train` is the reference's, by its defaults."""

LOSS_KEYS = ("loss", "loss_reduction", "class_weights", "aux")
"""What of `train` says how errors count."""


@dataclass(frozen=True)
class Goal:
    """What is to be reached, and how long is tried."""

    miou: float = 0.5
    every: int = 50
    """Steps between two looks."""
    most_seconds: float = 2700.0
    """Of training, on each side."""


@dataclass
class Learner:
    """One side."""

    name: str
    workload: Workload
    model: Network
    step: Callable[[], object]
    averaged: Callable[[], AbstractContextManager[object]] = nullcontext
    """Has the network be what is scored, for a while."""
    settle: Callable[[], object] = lambda: None
    """Returns when nothing works in the background."""
    steps: int = 0
    seconds: float = 0.0
    curve: list[tuple[float, float, int]] = field(default_factory=list)
    """Seconds, mIoU and steps at each look."""

    def advance(self, steps: int) -> None:
        """Train for some steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.workload.wait()
        self.seconds += time.perf_counter() - start
        self.steps += steps
        self.settle()

    def look(self) -> None:
        """Score the split."""
        with self.averaged():
            evaluation = evaluate_ours(self.workload, self.model)
        self.model.train()
        miou = summarize(evaluation.confusion).miou
        self.curve.append((self.seconds, miou, self.steps))

    def reached(self, goal: Goal) -> tuple[float, float, int] | None:
        """Return the look at which the goal was reached first."""
        return next((look for look in self.curve if look[1] >= goal.miou), None)

    def is_open(self, goal: Goal) -> bool:
        """Say whether there is more to try."""
        left = (self.workload.spec.train.steps or 0) - self.steps
        return self.reached(goal) is None and left > 0 and self.seconds < goal.most_seconds


def reach_section(workload: Workload, scratch: Path, goal: Goal, workers: int) -> Iterator[Section]:
    """Train both sides until each has reached the goal, or may try no longer.

    Args:
        workload: The run, with its steps.
        scratch: Folder for files of the loops.
        goal: What is to be reached.
        workers: Processes that load images for the usual loop.

    Raises:
        InputError: The run resizes images or shows whole ones, as the reference's loader does not,
            or has a loss of its own.
    """
    spec = workload.spec
    if spec.data.input_scale != 1 or spec.train.crop is None:
        raise InputError(
            "the usual loop shows crops of images at their own size: give a variant with "
            "train.crop, and with data.input_scale 1"
        )
    asked = [key for key in LOSS_KEYS if getattr(spec.train, key) != getattr(TrainSpec(), key)]
    if asked:
        raise InputError(
            f"both loops have plain cross-entropy, and the variant sets train.{asked[0]}: leave "
            "it out"
        )
    sides = [_ours(workload, scratch), _usual(workload, scratch, workers)]
    section = Section("reach", f"Time to {100 * goal.miou:g} % mIoU", NOTE, ())
    while any(side.is_open(goal) for side in sides):
        for side in sides:
            if side.is_open(goal):
                left = (side.workload.spec.train.steps or 0) - side.steps
                side.advance(min(goal.every, left))
                side.look()
        yield replace(section, records=_list_records(sides, goal))


def _ours(workload: Workload, scratch: Path) -> Learner:
    model = workload.create_network()
    optimizer = create_optimizer(model, workload.spec.train, workload.spec.model)
    steps = ours(workload, scratch / "ours", model, optimizer)
    return Learner("ours", workload, model, lambda: next(steps), lambda: ema_applied(optimizer))


def _usual(workload: Workload, scratch: Path, workers: int) -> Learner:
    own = workload.with_train(**REFERENCE)
    steps = own.spec.train.steps
    loop = UsualLoop(own, scratch / "files", workers, total_steps=steps, interpolated=False)
    return Learner("usual", own, loop.model, loop.step, settle=loop.settle)


def _list_records(sides: Sequence[Learner], goal: Goal) -> list[dict[str, Any]]:
    """Return a row for each side."""
    (_, usual) = reached = [side.reached(goal) for side in sides]
    records = []
    for side, own in zip(sides, reached, strict=True):
        spec = side.workload.spec
        best = max(miou for _, miou, _ in side.curve)
        ratio = usual[0] / own[0] if own and usual else None
        records.append(
            {
                "loop": side.name,
                "network": f"{spec.model.backbone} {spec.model.skip}",
                "crops": "x".join(map(str, spec.train.crop or ())),
                "batch": spec.train.batch_size,
                "optimiser": f"{spec.train.optimizer}, {spec.train.lr:g}",
                "seconds": own[0] if own else None,
                "steps": own[2] if own else None,
                "speed ÷ usual": ratio,
                "best mIoU, %": 100 * best,
                "curve": ", ".join(f"{100 * m:.1f} ({s:.0f} s)" for s, m, _ in side.curve),
            }
        )
    return records

"""Selection: which step's weights a run keeps, the last or the best of a split scored on the way.

In: scores as they are taken. Out: whether to go on, and at the end the weights of the best step.
The best so far follows from the log; its weights lie beside the checkpoints, those of two steps, so
that a run which falls back to the older checkpoint has what was best then.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import nn

from bench.metrics import CONFUSION, METRICS, class_counts, score_rows, split_rows
from bench.run.distributed import Group
from bench.run.weights import save_weights
from bench.settings.calls import read_call, require_arguments
from bench.spec import RunSpec
from bench.store.records import EvalRow
from fcn.errors import InputError
from fcn.registry import unknown_name, unknown_part

NUM_KEPT = 2
"""As many as checkpoints are kept."""

_NAME = re.compile(r"best-(\d{9})\.safetensors")


@dataclass(frozen=True)
class Best:
    """The setting `train.select: best(metric="miou", patience=5)`."""

    metric: str = "miou"
    """One of `bench.metrics.METRICS` that is made of confusion counts."""
    patience: int | None = None
    """Scores in a row without a better one after which training ends; None for never."""


def read_select(spec: RunSpec) -> Best | None:
    """Return how a run chooses its step; None for the last.

    Raises:
        InputError: There is no such way, or no split to choose by that is not reported.
    """
    call = read_call(spec.train.select)
    if call.name not in ("last", "best"):
        raise InputError(unknown_name("value of train.select", call.name, ("last", "best")))
    what = f"train.select {call.name}: {{}}"
    require_arguments(what, _best if call.name == "best" else _last, call.arguments, given=0)
    if call.name == "last":
        return None
    best = _best(**call.arguments)
    judge = spec.evaluate
    known = [name for name in METRICS if METRICS[name].counts == CONFUSION]
    if best.metric not in known:
        raise InputError(f"train.select: {unknown_part('metric', best.metric, known)}")
    if best.patience is not None and best.patience < 1:
        raise InputError(f"train.select: patience is {best.patience}; give 1 or more, or leave it")
    if not judge.eval_every:
        raise InputError(
            "train.select best chooses among the scores that are taken along the way; set "
            "evaluate.eval_every to the steps between two of them"
        )
    if judge.eval_split == judge.split:
        raise InputError(
            f"train.select best would choose by split {judge.split!r}, which is the one reported: "
            "its score would be too good; set evaluate.eval_split to another"
        )
    return best


def _last() -> None:
    """Take no arguments."""


def _best(*, metric: str = "miou", patience: int | None = None) -> Best:
    return Best(metric, patience)


class Selection:
    """The best step so far, and its weights.

    Args:
        best: How it is chosen.
        folder: The run's.
        rows: What was scored along the way up to the checkpoint that training goes on from.
        group: The processes of the run; the first decides, and writes.
    """

    def __init__(self, best: Best, folder: Path, rows: Sequence[EvalRow], group: Group) -> None:
        self._best, self._folder, self._group = best, folder, group
        self.step, self._score, self._waited = 0, -math.inf, 0
        for row in rows:
            self._note(row["step"], row["confusion"])
        if group.is_first:
            for step, path in self._kept():
                if step > max((row["step"] for row in rows), default=0):
                    path.unlink()  # of steps that will be made again

    def take(self, step: int, confusion: Sequence[Sequence[int]], model: nn.Module) -> bool:
        """Note a score, and keep the weights if it is the best; say whether it is, to all."""
        is_better = self._group.any(self._group.is_first and self._note(step, confusion))
        if is_better and self._group.is_first:
            save_weights(self._path(step), model)
            for _, old in sorted(self._kept())[:-NUM_KEPT]:
                old.unlink()
        return is_better

    def has_ended(self) -> bool:
        """Say whether no better score came for long enough."""
        patience = self._best.patience
        own = self._group.is_first and patience is not None and self._waited >= patience
        return self._group.any(own)

    def restore(self, model: nn.Module) -> str:
        """Give the network the weights of the best step; return a sentence about it.

        Raises:
            InputError: They are gone.
        """
        own = self.step if self._group.is_first else 0
        self.step = int(self._group.sum(torch.tensor(own)))
        if not self.step:
            raise InputError(
                f"train.select best: {self._best.metric} was not a number at any step, so none is "
                "the best; choose another metric"
            )
        path = self._path(self.step)
        if not path.is_file():
            raise InputError(
                f"{path} is gone, which had the weights of the best step; remove the checkpoints "
                "beside it, and the run begins anew"
            )
        model.load_state_dict(load(path.read_bytes()))
        return f"weights of step {self.step}, the best {self._best.metric} along the way"

    def remove_files(self) -> None:
        """Remove what is not needed once the run is done."""
        for _, path in self._kept():
            path.unlink()

    def _note(self, step: int, confusion: Sequence[Sequence[int]]) -> bool:
        metric = METRICS[self._best.metric]
        score = float(score_rows(metric, split_rows(class_counts(np.array(confusion)))))
        score = -score if metric.less_is_better else score
        if not score > self._score:  # not a number is no score
            self._waited += 1
            return False
        self.step, self._score, self._waited = step, score, 0
        return True

    def _path(self, step: int) -> Path:
        return self._folder / f"best-{step:09d}.safetensors"

    def _kept(self) -> list[tuple[int, Path]]:
        named = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return [(int(match[1]), path) for match, path in named if match]

"""The log of a run: `metrics.jsonl`, one JSON object a line, appended as steps are made.

    {"step": 7, "loss": 1.92, "lr": 0.0009, "seconds": 3.1}
    {"step": 50, "split": "val", "confusion": [[...], ...]}

`seconds` is training time since step 0, over all attempts, without evaluation.
"""

import json
import math
import os
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from bench.faults import fault_point
from bench.run.evaluate import Evaluation
from bench.run.outcome import NonFiniteLossError
from bench.run.readback import Readback, is_awaited
from bench.run.train import StepLog
from bench.store.atomic import replacing
from bench.store.records import EvalRow, LogRow, StepRow, read_rows

WRITE_EVERY = 10
"""Steps between writes. Of a GPU's steps the ten before the last ten are written: these are done,
and it has work while they are. So a loss that is not finite is noticed twenty steps later at most,
and by all processes of a run at the same step."""


class _Sent(NamedTuple):
    """Logs of some steps, whose losses are on their way."""

    logs: list[tuple[StepLog, float]]
    losses: Readback

    def read(self) -> Iterator[tuple[StepLog, float, float]]:
        """Yield each step with its seconds and its loss."""
        for (log, seconds), loss in zip(self.logs, self.losses.values(), strict=True):
            yield log, seconds, loss


class RunLog:
    """Writer of a run's log, which reads losses from the device when they are there.

    Args:
        path: The file. Rows after step `after` belong to steps that will be made again: they go.
            None for a log that checks losses and writes nothing.
        after: Step of the checkpoint that training goes on from; 0 for a fresh start.
    """

    def __init__(self, path: Path | None, after: int) -> None:
        kept, self.notes = _read_rows(path, after) if path else ([], ())
        """What a reader of the result must know."""
        self.evaluations = [EvalRow(**row) for row in kept if "confusion" in row]
        """What was scored along the way up to step `after`."""
        self.seconds = max((row["seconds"] for row in kept if "seconds" in row), default=0.0)
        self._pending: list[tuple[StepLog, float]] = []
        self._sent: deque[_Sent] = deque()
        self._mark = time.perf_counter()
        self._descriptor: int | None = None
        if path is not None:
            self._open(path, kept)

    def add(self, log: StepLog) -> None:
        """Take a step's log; write when enough have come together."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._mark = now
        self._pending.append((log, self.seconds))
        if len(self._pending) >= WRITE_EVERY or log.step == 1:
            self._send()
            self._write_sent(but=1 if is_awaited(log.loss.device) else 0)

    def add_evaluation(self, step: int, split: str, evaluation: Evaluation) -> None:
        """Write the counts of a score taken along the way, and start the clock again."""
        self.flush()
        counts = evaluation.confusion.tolist()
        self._append([EvalRow(step=step, split=split, confusion=counts)])
        self._mark = time.perf_counter()

    def flush(self) -> None:
        """Write what is pending.

        Raises:
            NonFiniteLossError: A loss is NaN or infinite; the rows before it are written.
        """
        self._send()
        self._write_sent()

    def sync(self) -> None:
        """Write what is pending so that it outlives a loss of power, as a checkpoint does.

        Raises:
            NonFiniteLossError: As `flush`.
        """
        self.flush()
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def _open(self, path: Path, kept: Sequence[LogRow]) -> None:
        # A new file, and held open: rows of an attempt that lost its lease go to the old one.
        with replacing(path) as temporary:
            self._descriptor = os.open(temporary, os.O_WRONLY | os.O_APPEND)
            weakref.finalize(self, os.close, self._descriptor)
            self._write(kept)

    def _send(self) -> None:
        """Ask for the losses of what is pending, all in one."""
        if self._pending:
            losses = Readback(torch.stack([log.loss for log, _ in self._pending]))
            self._sent.append(_Sent(self._pending, losses))
            self._pending = []

    def _write_sent(self, but: int = 0) -> None:
        """Write what was asked for, the last few askings excepted."""
        rows: list[LogRow] = []
        while len(self._sent) > but:
            for log, seconds, loss in self._sent.popleft().read():
                if not math.isfinite(loss):
                    self._append(rows)
                    raise NonFiniteLossError(
                        f"the loss is {loss} at step {log.step}; lower train.lr, raise "
                        "train.warmup_steps, or set train.clip_grad_norm"
                    )
                rows.append(StepRow(step=log.step, loss=loss, lr=log.lr, seconds=round(seconds, 4)))
        self._append(rows)

    def _append(self, rows: Sequence[LogRow]) -> None:
        self._write(rows)
        fault_point("log.written")

    def _write(self, rows: Sequence[LogRow]) -> None:
        rest = "".join(map(_line, rows)).encode()
        while rest and self._descriptor is not None:  # a disk that fills up takes a part first
            rest = rest[os.write(self._descriptor, rest) :]


def _line(row: LogRow) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _read_rows(path: Path, after: int) -> tuple[list[LogRow], tuple[str, ...]]:
    """Read whole lines up to a step, and say what of them is lost.

    A loss of power may leave anything behind the rows that a checkpoint saw synced; before them,
    only a disk that changes what it holds can.
    """
    rows, problem = read_rows(path.read_bytes()) if path.exists() else ([], None)
    last = max((row["step"] for row in rows), default=0)
    rows = [row for row in rows if row["step"] <= after]
    if last >= after:
        return rows, ()
    why = problem or "it is cut"
    return rows, (f"the log was damaged ({why}): its steps {last + 1} to {after} are lost",)

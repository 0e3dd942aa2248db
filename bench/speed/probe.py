"""Where a step's time goes on a device, part by part: `python -m bench.speed.probe FILE`.

In: a device and images. Out: a line of JSON for each finding, written before the next is looked
for; what fails is a line too. For a machine that is at hand for minutes: see `.ci/evidence`.
"""

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.run.chunking import CHUNK_MIB
from bench.run.confusion import count
from bench.run.environment import configure_torch
from bench.run.losses import network_loss, upsampled
from bench.run.losses.kinds import Labels
from bench.run.losses.sliced import Scores, sliced_loss
from bench.run.losses.terms import CROSS_ENTROPY
from bench.run.optim import create_optimizer
from bench.run.replay import WARM_UP, CudaRecorder
from bench.run.train import autocast, fit
from bench.speed.loops import create_batches, limit
from bench.speed.request import Request
from bench.speed.workload import Workload
from fcn.alignment import FixedUpsampling

MOST_KERNELS = 15
"""Kernels that are named, those that take longest."""

TIMES = 20
"""Calls of a part, after a quarter as many that are not counted."""


class Probe:
    """Findings of one sitting.

    Args:
        file: Takes a line for each.
        until: When nothing more is begun, by `time.monotonic`.
    """

    def __init__(self, file: Path, until: float) -> None:
        self._file, self._until = file, until

    def say(self, what: str, **facts: Any) -> None:
        """Write a finding down at once."""
        line = json.dumps({"what": what, **facts})
        print(line, flush=True)
        with self._file.open("a") as out:
            out.write(line + "\n")

    def part(self, what: str, find: Callable[[], dict[str, Any]]) -> None:
        """Write what is found, or how that failed."""
        if time.monotonic() > self._until:
            return self.say(what, skipped="no time is left")
        try:
            facts = find()
        except Exception as error:  # the rest is worth as much
            facts = {"failed": f"{type(error).__name__}: {error}"[:600]}
            facts["where"] = traceback.format_exc()[-1200:]
        return self.say(what, **facts)


def times(call: Callable[[], object], wait: Callable[[], None], number: int) -> dict[str, float]:
    """Return milliseconds of a call: on the host until it returns, and until the device is done."""
    for _ in range(max(1, number // 4)):
        call()
    wait()
    host, start = [], time.perf_counter()
    for _ in range(number):
        began = time.perf_counter()
        call()
        host.append(time.perf_counter() - began)
    wait()
    whole = (time.perf_counter() - start) / number
    return {"host ms": round(1e3 * median(host), 3), "ms": round(1e3 * whole, 3)}


def machine() -> dict[str, Any]:
    """Say what there is."""
    facts: dict[str, Any] = {"torch": torch.__version__, "cores": os.cpu_count()}
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
        facts |= {"cuda": torch.version.cuda, "benchmark": torch.backends.cudnn.benchmark}
        facts |= {"conv tf32": torch.backends.cudnn.allow_tf32}
        facts |= {"matmul tf32": torch.backends.cuda.matmul.allow_tf32}
    return facts


def find_parts(work: Workload, number: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield what is looked at of a network, by name."""
    model = work.create_network().train()
    batches = create_batches(work, model)
    numbers = iter(range(10**6))
    timed = partial(times, wait=work.wait, number=number)
    yield "batch", lambda: timed(lambda: batches.batch(next(numbers)))
    yield "limit", lambda: timed(partial(next, limit(work)))
    if work.device.type == "cuda":
        yield "limit, one graph", lambda: _graph(work, timed)
    yield "ours", lambda: timed(partial(next, _fit(work)))

    @cache
    def batch() -> tuple[Tensor, Tensor]:  # when it is first needed: it may fail
        return batches.batch(0)

    def score() -> Tensor:
        with autocast(work.device, work.spec.train.precision), torch.no_grad():
            return model.score(batch()[0])

    def by_slices() -> Tensor:
        return _loss_by_slices(score(), batch()[1], work, model)

    yield "scores, without gradient", lambda: timed(score)
    yield "loss, sliced", lambda: timed(by_slices)
    if work.device.type == "cuda":
        yield "loss, fused", lambda: _fused(score(), batch()[1], work, model, timed)
    yield "counts", lambda: timed(partial(_count, batch()[1], work))
    yield "kernels of the limit", lambda: _profile(work)


def _count(target: Tensor, work: Workload) -> Tensor:
    """Count a prediction of one class everywhere: pixels of a class all fall into one place."""
    pred = torch.zeros_like(target)
    return count(pred, target, work.num_classes, work.pack.ignore_index)


def _graph(work: Workload, timed: Callable[..., dict[str, float]]) -> dict[str, float]:
    steps = limit(work, CudaRecorder(work.device))
    for _ in range(WARM_UP + 1):
        next(steps)
    return timed(partial(next, steps))


def _profile(work: Workload) -> dict[str, Any]:
    """Say which kernels a step spends its time in, on a CPU which operations: ms and calls."""
    steps, is_gpu = limit(work), work.device.type == "cuda"
    for _ in range(WARM_UP):
        next(steps)
    work.wait()
    kind = ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU
    with profile(activities=[kind]) as seen:
        for _ in range(WARM_UP):
            next(steps)
        work.wait()
    spent = "self_device_time_total" if is_gpu else "self_cpu_time_total"  # in microseconds
    found = sorted(seen.key_averages(), key=lambda event: -getattr(event, spent))
    rows = [
        {
            "name": event.key[:100],
            "ms": round(getattr(event, spent) / 1e3 / WARM_UP, 4),
            "calls": event.count / WARM_UP,
        }
        for event in found[:MOST_KERNELS]
    ]
    return {"kinds": len(found), "of a step": rows}


def _fit(work: Workload) -> Iterator[object]:
    model, train = work.create_network(), work.spec.train
    loss_fn = partial(network_loss, model, targets=work.targets)
    optimizer = create_optimizer(model, train)
    return fit(model, create_batches(work, model), loss_fn, optimizer, train, seed=0)


def _loss_by_slices(scores: Tensor, target: Tensor, work: Workload, model: Any) -> Tensor:
    leaf = scores.detach().requires_grad_()
    labelled = target != work.pack.ignore_index
    labels = Labels(target.where(labelled, 0), labelled, None)
    whole = Scores(leaf, model.upsampling, labels)
    loss = sliced_loss(whole, CROSS_ENTROPY, "mean", lambda number: number)
    loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return torch.cat([loss.detach()[None], leaf.grad.flatten().float()])


def _fused(
    scores: Tensor, target: Tensor, work: Workload, model: Any, timed: Callable[..., Any]
) -> dict[str, Any]:
    """Time the fused loss, and set it beside the one by slices."""
    assert isinstance(model.upsampling, FixedUpsampling)

    def fused() -> Tensor:
        leaf = scores.detach().requires_grad_()
        loss = upsampled.upsampled_cross_entropy(
            leaf, target, model.upsampling, ignore_index=work.pack.ignore_index
        )
        loss.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return torch.cat([loss.detach()[None], leaf.grad.flatten().float()])

    ours, sliced = fused(), _loss_by_slices(scores, target, work, model)
    apart = (ours[1:] - sliced[1:]).norm() / sliced[1:].norm()
    same = bool(torch.equal(ours, fused()))
    facts = {"loss apart": float((ours[0] - sliced[0]).abs()), "gradient apart": float(apart)}
    return {**timed(fused), **facts, "same bits again": same, "slice MiB": CHUNK_MIB["cuda"]}


def main(
    file: Annotated[Path, typer.Argument(help="Takes a line of JSON for each finding.")],
    data: Annotated[Path | None, typer.Option(help="Folder of CamVid; drawn images else.")] = None,
    backbone: Annotated[list[str] | None, typer.Option(help="Any timm name; repeatable.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of crops in pixels.")] = None,
    seconds: Annotated[float, typer.Option(help="After which nothing more is begun.")] = 100.0,
    number: Annotated[int, typer.Option(help="Calls of each part.")] = TIMES,
) -> None:
    """Look at the parts of a step, one after another."""
    probe = Probe(file, time.monotonic() + seconds)
    configure_torch(None, deterministic=False, benchmark=True)
    probe.part("machine", machine)
    request = Request(
        backbones=tuple(backbone) if backbone else None,
        sizes=((size, size),) if size else None,
        data=data,
    )
    with tempfile.TemporaryDirectory(prefix="fcn-bench-probe-") as name:
        for work in request.workloads(Path(name)):
            for what, find in find_parts(work, number):
                probe.part(f"{work.spec.model.backbone}: {what}", find)


if __name__ == "__main__":
    typer.run(main)

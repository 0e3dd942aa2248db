"""A step recorded once and replayed: one CUDA graph in place of hundreds of launches.

In: a step as a function of its batches. Out: the same step, whose launches are recorded after a few
true ones, and from then on are given to the device as one. Batches are copied to where the recorded
ones lay; learning rates are read there too, see `bench.run.rates`. The kernels are those of the
step, in its order: so are the bits. What cannot be recorded goes on step by step.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.spec import TrainSpec

Batch = tuple[Tensor, Tensor]
"""Images and target."""

Step = Callable[[Iterable[Batch]], Tensor]
"""Batches of a step -> its loss, (), on the device."""

WARM_UP = 3
"""Steps made before one is recorded: memory of the optimiser is taken, kernels are chosen."""


class Recorder(Protocol):
    """What records launches."""

    def record(self, launches: Callable[[], None]) -> Callable[[], None]:
        """Call a function without its launches being made; return what makes them.

        Raises:
            RuntimeError: It asks for a value, or for something else that no recording has.
        """
        ...


class CudaRecorder:
    """CUDA graphs."""

    def record(self, launches: Callable[[], None]) -> Callable[[], None]:
        """Capture a function's launches on a stream of their own."""
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may go on with what a graph could not hold.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            launches()
        return graph.replay


def find_recorder(
    optimizer: Optimizer, train: TrainSpec, device: torch.device, processes: int
) -> Recorder | None:
    """Return what records the steps of a run; None where they are made one by one.

    Args:
        optimizer: Recorded where it reads its learning rate on the device.
        train: Steps of fp16 look at their gradients; batch norm by groups and activations made anew
            keep numbers of their own on the host.
        device: CUDA alone has graphs.
        processes: Those that share the run. Who waits for others does so outside of a graph.
    """
    is_plain = (
        train.precision != "fp16"
        and train.batch_norm_groups == 1
        and not train.checkpoint_activations
    )
    reads = all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)
    is_cuda = device.type == "cuda" and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return CudaRecorder() if is_cuda and processes == 1 and is_plain and reads else None


class Replay:
    """A step that is recorded as soon as it can be.

    Args:
        step: What is repeated. It depends on its batches, and on tensors that stay where they are.
        recorder: None for a step that is made anew each time.
    """

    def __init__(self, step: Step, recorder: Recorder | None) -> None:
        self._step, self._recorder = step, recorder
        self.forget()

    def forget(self) -> None:
        """Record anew: another part of the network trains now."""
        self._made = 0
        self._places: list[Batch] = []
        self._replay: Callable[[], None] | None = None

    def __call__(self, batches: Iterator[Batch]) -> Tensor:
        """Make a step with its batches and return its loss, ()."""
        if self._recorder is None or self._made < WARM_UP:
            self._made += 1
            return self._step(batches)
        given = list(batches)
        if self._replay is None and not self._record(self._recorder, given):
            return self._step(given)
        if [_shapes(batch) for batch in given] != [_shapes(place) for place in self._places]:
            return self._step(given)  # the last batch of a kind, or images of another size
        for batch, place in zip(given, self._places, strict=True):
            for tensor, its_place in zip(batch, place, strict=True):
                its_place.copy_(tensor)
        assert self._replay is not None
        self._replay()
        return self._loss.clone()  # the next step writes over it

    def _record(self, recorder: Recorder, given: list[Batch]) -> bool:
        self._places = [(images.clone(), target.clone()) for images, target in given]

        def launches() -> None:
            self._loss = self._step(self._places)

        try:
            self._replay = recorder.record(launches)
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            print(f"steps are made one by one, as they cannot be recorded: {why}", file=sys.stderr)
            self._recorder, self._places = None, []
        return self._replay is not None


def _shapes(batch: Batch) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in batch]

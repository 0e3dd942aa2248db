"""A step recorded once and replayed: one CUDA graph in place of hundreds of launches.

In: a step as a function of its batches. Out: the same step, whose launches are recorded after a few
true ones, and from then on are given to the device as one. Batches are copied to where the recorded
ones lay; learning rates are read there too, see `bench.run.rates`. The kernels are those of the
step, in its order: so are the bits. What cannot be recorded goes on step by step.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.spec import TrainSpec
from fcn.constants import keeping

Batch = tuple[Tensor, Tensor]
"""Images and target."""

Shapes = list[list[tuple[torch.Size, torch.dtype]]]
"""Of each batch of a step, images and target."""

Step = Callable[[Iterable[Batch]], Tensor]
"""Batches of a step -> its loss, (), on the device."""

WARM_UP = 3
"""Steps on batches of one shape that are made before one is recorded: memory of the optimiser is
taken, kernels are chosen and compiled."""

_WAITING = "called a synchronizing CUDA operation"
"""What torch says of whatever waits for the device, where it is asked to."""


class Recorder(Protocol):
    """What records launches."""

    def watch(self) -> AbstractContextManager[list[str]]:
        """Notice what a recording would refuse of that which is done in a block."""
        ...

    def record(self, launches: Callable[[], None]) -> Callable[[], None]:
        """Call a function without its launches being made; return what makes them.

        Raises:
            RuntimeError: It asks for a value, or for something else that no recording has.
        """
        ...


class CudaRecorder:
    """CUDA graphs.

    Args:
        device: Where they are recorded.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device  # which need not be torch's current one
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def watch(self) -> Iterator[list[str]]:
        """Have torch say what waits for the device: a capture that meets it is lost.

        Its memory is lost with it, in torch before 2.14.
        """
        found: list[str] = []
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            show = warnings.showwarning

            def note(message: Any, *rest: Any, **more: Any) -> None:
                if _WAITING in str(message):
                    found.append(_WAITING)
                else:
                    show(message, *rest, **more)

            warnings.showwarning = note
            warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
            warnings.filterwarnings("always", message=_WAITING)
            torch.cuda.set_sync_debug_mode(max(before, 1))  # 1 says so, 2 raises
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode(before)

    def record(self, launches: Callable[[], None]) -> Callable[[], None]:
        """Capture a function's launches on a stream of their own."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            with self._capture(graph):
                launches()
        except RuntimeError:
            # torch stays on the stream of a capture that ends badly. Before 2.14 its generator
            # waits for that end, too, and refuses all dropout: one that ends well sets it free.
            torch.cuda.set_stream(current)
            with self._capture(torch.cuda.CUDAGraph()):
                torch.zeros((), device=self._device)
            raise
        return graph.replay

    def _capture(self, graph: Any) -> AbstractContextManager[None]:
        # Other threads of the process may go on with what a graph could not hold.
        return torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")


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
    return CudaRecorder(device) if is_cuda and processes == 1 and is_plain and reads else None


class Replay:
    """A step that is recorded as soon as it can be.

    Args:
        step: What is repeated. It depends on its batches, and on tensors that stay where they are.
        recorder: None for a step that is made anew each time.
    """

    def __init__(self, step: Step, recorder: Recorder | None) -> None:
        self._step, self._recorder = step, recorder
        self._shapes: Shapes = []
        self.forget()

    def forget(self) -> None:
        """Record anew: another part of the network trains now."""
        self._made = 0
        self._places: list[Batch] = []
        self._constants: list[object] = []
        self._replay: Callable[[], None] | None = None

    def __call__(self, batches: Iterator[Batch]) -> Tensor:
        """Make a step with its batches and return its loss, ()."""
        if self._recorder is None:
            return self._step(batches)
        given = list(batches)
        shapes = [_shapes(batch) for batch in given]
        if self._replay is None:
            # Others than in the step before: what these need is not all there yet.
            self._made = self._made + 1 if shapes == self._shapes else 1
            self._shapes = shapes
            if self._made <= WARM_UP:
                return self._warm_up(self._recorder, given)
            if not self._record(self._recorder, given):
                return self._step(given)
        if shapes != self._shapes:
            return self._step(given)  # the last batch of a kind, or images of another size
        for batch, place in zip(given, self._places, strict=True):
            for tensor, its_place in zip(batch, place, strict=True):
                its_place.copy_(tensor)
        assert self._replay is not None
        self._replay()
        return self._loss.clone()  # the next step writes over it

    def _warm_up(self, recorder: Recorder, given: list[Batch]) -> Tensor:
        """Make a step; give recording up where the last of these waits for the device."""
        if self._made < WARM_UP:
            return self._step(given)
        with recorder.watch() as refused:
            loss = self._step(given)
        if refused:
            self._give_up(refused[0])
        return loss

    def _record(self, recorder: Recorder, given: list[Batch]) -> bool:
        self._places = [(images.clone(), target.clone()) for images, target in given]

        def launches() -> None:
            self._loss = self._step(self._places)

        try:
            with keeping() as self._constants:
                self._replay = recorder.record(launches)
        except RuntimeError as error:
            self._give_up(str(error).partition("\n")[0])
        return self._replay is not None

    def _give_up(self, why: str) -> None:
        print(f"steps are made one by one, as they cannot be recorded: {why}", file=sys.stderr)
        self._recorder = None
        self.forget()


def _shapes(batch: Batch) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in batch]

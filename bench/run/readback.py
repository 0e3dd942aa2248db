"""Numbers read back from a device that nobody waits for: asked for now, read some steps later."""

import torch
from torch import Tensor


def is_awaited(device: torch.device) -> bool:
    """Say whether a device works on its own, so that reading a number would wait for it."""
    return device.type == "cuda"


class Readback:
    """A copy of a tensor, on its way to the CPU behind all that the device was given before.

    Args:
        tensor: (n,), on any device; it may be changed as soon as this returns.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._copy = tensor
        if is_awaited(tensor.device):
            # Into pinned memory: a copy to any other waits until it is done.
            self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._copy.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(tensor.device))

    def values(self) -> list[float]:
        """Return the numbers; waits for as much of the device's work as came before the copy."""
        if self._arrived is not None:
            self._arrived.synchronize()
        found: list[float] = self._copy.tolist()
        return found

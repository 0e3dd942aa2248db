"""A GPU that refuses to be waited for: tensors that claim to lie on it, computed on this CPU.

Values are real, and so is autograd. What would have a real GPU waited for is an error: reading a
value, an operation whose result has a size that only values tell, a copy from memory that is not
pinned, or to it. So more is seen than on torch's fake tensors, which know no value and no backward.
"""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

GPU = torch.device("cuda:0")

READING = {
    *(Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__, Tensor.nonzero),
    *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__contains__),
}


class Waited(Exception):  # noqa: N818
    """The device would have been waited for."""


class OnGpu(Tensor):
    """A tensor that claims to lie on the GPU."""


class Pinned(Tensor):
    """A tensor that claims to lie in pinned memory."""


def on_gpu(tensor):
    return tensor.as_subclass(OnGpu)


def _on_gpu_if_any(tensor):
    return None if tensor is None else on_gpu(tensor)


def move(model):
    """Put a network on the GPU."""
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = nn.Parameter(on_gpu(weight.detach()))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = on_gpu(buffer)
    return model


class Event:
    """A place in the queue of the GPU. What came before it is done when something comes later."""

    def __init__(self, gpu):
        self._gpu = gpu

    def record(self, stream=None):
        self._gpu.recorded.append(self)

    def synchronize(self):
        if self._gpu.is_strict and self._gpu.recorded[-1] is self:
            raise Waited("for the last thing that the device was given")


class RefusingGpu(TorchFunctionMode):
    """What torch does while it is entered; from `be_strict` on nothing may wait.

    Before, as in the first step of a run, constants may be copied to the device.
    """

    def __init__(self):
        super().__init__()
        self.is_strict = False
        self.recorded = []
        self.seeded = []

    def be_strict(self):
        self.is_strict = True

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        ours = args and isinstance(args[0], OnGpu)
        if func == Tensor.device.__get__:  # made anew at each look
            return GPU if ours else func(*args)
        if func == Tensor.is_cuda.__get__:
            return bool(ours)
        if func == Tensor.grad.__get__:  # autograd's own tensors do not know where they lie
            grad = func(*args)
            return on_gpu(grad) if ours and grad is not None else grad
        if func is Tensor.pin_memory:
            return args[0].clone().as_subclass(Pinned)
        if self.is_strict and ours and func in READING:
            raise Waited(f"{func.__name__} of a tensor on the device")
        if func is Tensor.copy_:
            return self._copy(*args, **kwargs)
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        if kwargs.pop("pin_memory", False):
            return func(*args, **kwargs).as_subclass(Pinned)
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "cuda":
            return func(*args, **kwargs)
        if self.is_strict and func in (torch.tensor, torch.as_tensor):
            raise Waited("numbers are copied to the device from memory that is not pinned")
        return on_gpu(func(*args, **{**kwargs, "device": "cpu"}))

    def _copy(self, to, source, non_blocking=False):
        crosses = isinstance(source, OnGpu) != isinstance(to, OnGpu)
        there = source if isinstance(to, OnGpu) else to
        if self.is_strict and crosses and not (non_blocking and isinstance(there, Pinned)):
            raise Waited("a copy between the device and memory that is not pinned")
        with torch._C.DisableTorchFunction():
            to.copy_(source)
        return to

    def _to(self, tensor, *args, **kwargs):
        words = {key: kwargs.pop(key) for key in ("device", "non_blocking") if key in kwargs}
        devices = [one for one in args if isinstance(one, str | torch.device)]
        rest = [one for one in args if not isinstance(one, str | torch.device)]
        others = [one for one in rest if isinstance(one, Tensor)]
        device = words.get("device", devices[0] if devices else None)
        goes = None if device is None else torch.device(device).type == "cuda"
        if others:
            goes = isinstance(others[0], OnGpu)
        is_there = isinstance(tensor, OnGpu)
        if self.is_strict and goes is not None and goes != is_there:
            if is_there:
                raise Waited("a tensor on the device is copied back")
            if not (isinstance(tensor, Pinned) and words.get("non_blocking")):
                raise Waited("a copy to the device from memory that is not pinned")
        moved = tensor.to(*rest, **kwargs) if rest or kwargs else tensor
        if goes is None or goes == is_there:
            return moved
        return moved.as_subclass(OnGpu) if goes else moved.as_subclass(Tensor)


class _RefusingOperations(TorchDispatchMode):
    """Below autograd, backward included: no operation may need a value to know what to do."""

    def __init__(self, gpu):
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        needs = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        if func is torch.ops.aten.index.Tensor:  # a mask has to be counted, numbers do not
            needs = any(one is not None and one.dtype == torch.bool for one in args[1])
        if func is torch.ops.aten._local_scalar_dense.default:
            needs = isinstance(args[0], OnGpu)  # an optimiser counts its steps on the CPU
        if self._gpu.is_strict and needs:
            raise Waited(f"{func} needs a value")
        return func(*args, **(kwargs or {}))


@contextmanager
def refusing_gpu():
    """Have torch believe in a GPU, which computes here and refuses to be waited for."""
    gpu = RefusingGpu()

    @contextmanager
    def started(device):
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            yield

    def by_device(*args):
        found = _group_tensors_by_device_and_dtype(*args)
        return {
            (GPU, kind): ([list(map(_on_gpu_if_any, group)) for group in groups], places)
            for (_, kind), (groups, places) in found.items()
        }

    generator = SimpleNamespace(manual_seed=gpu.seeded.append)
    patches = {
        "torch.cuda.default_generators": (generator,),
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.current_stream": lambda device: None,
        "torch.cuda.Event": lambda: Event(gpu),
        "bench.data.resident.free_bytes": lambda device: 2**40,
        # By C++, which knows better where they lie.
        "torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype": by_device,
        "torch.optim.optimizer._group_tensors_by_device_and_dtype": by_device,
        "bench.run.losses.upsampled.has_kernels": lambda device: False,
        "bench.data.device_views.starting_on": started,
    }
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(mock.patch(name, value))
        stack.enter_context(_RefusingOperations(gpu))
        stack.enter_context(gpu)
        yield gpu

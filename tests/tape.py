"""A recorder for tests: what a CUDA graph does, on a CPU.

Operations are taken down with the tensors they were given, and replayed into the same memory:
whatever the host decided stays decided, whatever it read stays as it was. To ask for a value is
refused, and recording changes nothing, as in a graph.
"""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REFUSED = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")


class Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.recorded = 0
        self.replayed = 0
        self.watched = []

    @contextmanager
    def watch(self):
        """Notice values that are asked for, as a GPU notices that it is waited for."""
        with _Watch() as seen:
            yield seen.found
        self.watched.append(seen.found)

    def record(self, launches):
        self._calls, self._own, self._before = [], set(), []
        state = torch.get_rng_state()
        try:
            with self:
                launches()
        finally:
            for tensor, value in reversed(self._before):
                with torch.no_grad():
                    tensor.detach().copy_(value)
            torch.set_rng_state(state)
        self.recorded += 1
        calls = self._calls

        def replay():
            self.replayed += 1
            with torch.no_grad():
                for function, args, kwargs, places in calls:
                    found = _tensors(function(*args, **kwargs))
                    for place, value in zip(places, found if places else [], strict=True):
                        place.copy_(value)

        return replay

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(function.overloadpacket.__name__ == name for name in REFUSED):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        schema = function._schema
        for number, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[number] if number < len(args) else kwargs.get(argument.name)
                self._keep(_tensors(given))
        if function.overloadpacket.__name__ == "native_batch_norm":  # does not say what it changes
            self._keep(_tensors(args[3:5]))
        out = function(*args, **kwargs)
        is_fresh = all(one.alias_info is None for one in schema.returns)
        places = _tensors(out) if is_fresh else []
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in places}
        if is_fresh or schema.is_mutable:  # a view is where its base is
            self._calls.append((function, args, kwargs, places))
        return out

    def _keep(self, tensors):
        """Keep what recording is about to write over."""
        for tensor in tensors:
            if tensor.untyped_storage().data_ptr() not in self._own:
                self._before.append((tensor, tensor.detach().clone()))


class _Watch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in REFUSED:
            self.found.append(f"{function.overloadpacket.__name__} waits")
        return function(*args, **(kwargs or {}))


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]

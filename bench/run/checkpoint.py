"""Checkpoints: weights, optimiser state and the step in one safetensors file; no pickle.

Nothing else is state: batches, augmentation, dropout and learning rate are functions of the step.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.atomic import replacing

_MODEL = "model."
_OPTIMIZER = "optimizer."


def save_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Write weights, optimiser state and step, atomically."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            if tensor is not None:  # SGD without momentum keeps None
                tensors[f"{_OPTIMIZER}{index}.{name}"] = tensor
    with replacing(path) as temporary:
        save_file(_to_cpu(tensors), temporary, metadata={"step": str(step)})


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Restore what `save_checkpoint` wrote and return its step; 0 if there is no file."""
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
    tensors = load_file(path)
    model.load_state_dict(_below(tensors, _MODEL))

    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _below(tensors, _OPTIMIZER).items():
        index, _, name = key.partition(".")
        states.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    return step


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's weights and buffers, atomically."""
    with replacing(path) as temporary:
        save_file(_to_cpu(model.state_dict()), temporary)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read weights that `save_weights` wrote."""
    return load_file(path)


def copy_shared_weights(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, list[str]]:
    """Copy each tensor whose name and shape the model shares; the rest stays as it was made.

    Returns:
        Names under `copied`, `new` (only in the model) and `unused` (only in the weights).
    """
    own = model.state_dict()
    copied = [name for name, t in own.items() if name in weights and weights[name].shape == t.shape]
    model.load_state_dict({name: weights[name] for name in copied}, strict=False)
    taken = set(copied)
    return {
        "copied": copied,
        "new": [name for name in own if name not in taken],
        "unused": [name for name in weights if name not in taken],
    }


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy to plain memory: channels-last tensors are written in the usual order."""
    return {
        name: torch.clone(t.cpu(), memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

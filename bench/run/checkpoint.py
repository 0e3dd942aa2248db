"""Checkpoints: weights, optimiser state and the step, in safetensors; no pickle.

Nothing else is state: batches, augmentation, dropout and learning rate are functions of the step.
A checkpoint is a tensor file and, written after it, a manifest with checksums of both: neither
format notices a flipped bit by itself. The last two are kept; a damaged one is set aside for the
older.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.atomic import file_digest, replacing, write_json
from bench.faults import fault_point
from bench.run.weights import to_plain_memory
from bench.store import EXACT_KEYS

NUM_KEPT = 2

_NAME = re.compile(r"checkpoint-(\d{9})\.json")
_MODEL = "model."
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Resumed:
    """Where training goes on from."""

    step: int = 0
    """Step already made; 0 for a fresh start."""
    notes: tuple[str, ...] = ()
    """What a reader of the result must know: damage that was met, or why bits may differ."""


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, step: int, environment: Mapping[str, Any]
) -> None:
    """Write a checkpoint, atomically, and remove all but the last two."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            if tensor is not None:  # SGD without momentum keeps None
                tensors[f"{_OPTIMIZER}{index}.{name}"] = tensor
    path = folder / f"checkpoint-{step:09d}.safetensors"
    with replacing(path) as temporary:
        save_file(to_plain_memory(tensors), temporary)
    fault_point("checkpoint.tensors_written")
    setting = {key: environment.get(key) for key in EXACT_KEYS}
    manifest = {"step": step, "sha256": file_digest(path), "environment": setting}
    write_json(path.with_suffix(".json"), {**manifest, "own_sha256": _digest(manifest)})
    fault_point("checkpoint.written")
    for old in _manifests(folder)[NUM_KEPT:]:
        _remove(old)
    fault_point("checkpoint.pruned")


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, environment: Mapping[str, Any]
) -> Resumed:
    """Restore the newest checkpoint that is whole; damaged ones go to `quarantine/`."""
    notes: list[str] = []
    for path in _manifests(folder):
        try:
            manifest = _restore(path, model, optimizer)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            notes.append(f"checkpoint {path.stem} was damaged ({error}) and set aside")
            _set_aside(path)
            continue
        changed = [
            f"{key} {was!r} -> {environment.get(key)!r}"
            for key, was in manifest["environment"].items()
            if was != environment.get(key)
        ]
        if changed:
            notes.append(f"resumed inexactly at step {manifest['step']}: {', '.join(changed)}")
        return Resumed(manifest["step"], tuple(notes))
    return Resumed(0, tuple(notes))


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a finished run."""
    for path in _manifests(folder):
        _remove(path)


def _restore(path: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    if manifest.pop("own_sha256") != _digest(manifest):
        raise ValueError("the checksum of its manifest is another")
    tensor_file = path.with_suffix(".safetensors")
    if file_digest(tensor_file) != manifest["sha256"]:
        raise ValueError("its checksum is another")
    tensors = load_file(tensor_file)
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _below(tensors, _OPTIMIZER).items():
        index, _, name = key.partition(".")
        states.setdefault(int(index), {})[name] = tensor
    model.load_state_dict(_below(tensors, _MODEL))
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifests(folder: Path) -> list[Path]:
    """Return the manifests of a run's folder, newest first."""
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def _remove(manifest: Path) -> None:
    # The manifest first: without it the tensors are no checkpoint.
    for path in (manifest, manifest.with_suffix(".safetensors")):
        path.unlink(missing_ok=True)


def _set_aside(manifest: Path) -> None:
    quarantine = manifest.parent / "quarantine"
    quarantine.mkdir(exist_ok=True)
    for path in (manifest, manifest.with_suffix(".safetensors")):
        if path.exists():
            path.replace(quarantine / path.name)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

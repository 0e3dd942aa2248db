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

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.faults import fault_point
from bench.run.optimizer_state import optimizer_tensors, restore_optimizer
from bench.run.weights import to_plain_memory
from bench.store.atomic import file_digest, replacing, write_json
from bench.store.records import Count, Digest, describe_fault
from bench.store.runs import EXACT_KEYS

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


@dataclass(frozen=True)
class _Manifest:
    """What stands beside a checkpoint's tensors."""

    step: Count
    sha256: Digest
    """Of the tensor file."""
    environment: dict[str, str | int | None]
    """Of `EXACT_KEYS`."""
    run: str | None = None
    """Whose it is; None in those of earlier versions."""


_MANIFEST = TypeAdapter(_Manifest)


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer, step: int, environment: Mapping[str, Any]
) -> None:
    """Write a checkpoint, atomically, and remove all but the last two."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in optimizer_tensors(optimizer).items()}
    path = folder / f"checkpoint-{step:09d}.safetensors"
    with replacing(path) as temporary:
        save_file(to_plain_memory(tensors), temporary)
    fault_point("checkpoint.tensors_written")
    setting = {key: environment.get(key) for key in EXACT_KEYS}
    manifest = {
        "run": folder.name, "step": step, "sha256": file_digest(path), "environment": setting
    }  # fmt: skip
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
        except (OSError, ValueError, SafetensorError) as error:
            notes.append(f"checkpoint {path.stem} was damaged ({error}) and set aside")
            _set_aside(path)
            continue
        changed = [
            f"{key} {was!r} -> {environment.get(key)!r}"
            for key, was in manifest.environment.items()
            if was != environment.get(key)
        ]
        if changed:
            notes.append(f"resumed inexactly at step {manifest.step}: {', '.join(changed)}")
        return Resumed(manifest.step, tuple(notes))
    return Resumed(0, tuple(notes))


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a finished run, and tensors that a kill left without a manifest."""
    for path in _manifests(folder):
        _remove(path)
    for path in folder.glob("checkpoint-*.safetensors"):
        if _NAME.fullmatch(path.with_suffix(".json").name):
            path.unlink(missing_ok=True)


def _restore(path: Path, model: nn.Module, optimizer: Optimizer) -> _Manifest:
    content = from_json(path.read_bytes())
    checksum = content.pop("own_sha256", None) if isinstance(content, dict) else None
    if checksum != _digest(content):
        raise ValueError("the checksum of its manifest is another")
    try:
        manifest = _MANIFEST.validate_python(content)
    except ValidationError as error:
        raise ValueError(describe_fault(error)) from None
    if manifest.run not in (None, path.parent.name):
        raise ValueError(f"it is of run {manifest.run}")
    tensor_file = path.with_suffix(".safetensors")
    tensor_bytes = tensor_file.read_bytes()
    if hashlib.sha256(tensor_bytes).hexdigest() != manifest.sha256:
        raise ValueError("its checksum is another")
    tensors = load(tensor_bytes)
    weights = _below(tensors, _MODEL)
    _require_shapes(weights, model.state_dict())  # torch copies what fits before it complains
    model.load_state_dict(weights)
    restore_optimizer(optimizer, _below(tensors, _OPTIMIZER))
    return manifest


def _require_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    shapes = [{name: t.shape for name, t in state.items()} for state in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError("it is of another network")


def _digest(manifest: Any) -> str:
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

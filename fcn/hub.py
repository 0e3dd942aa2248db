"""Models kept in a folder: `config.json` and `model.safetensors`, as model hubs expect them.

In: a model that `create_model` built. Out: the folder; and from the folder the same model again.
The folder is all there is: no network, no pickle, and no code but ours (and that of a plugin or an
external library, where the model has parts of theirs). huggingface_hub's `upload_folder` takes it
to a hub. Its PyTorchModelHubMixin prints, leaves tensors unset that a file lacks, falls back to
pickle, and builds a model by its class, not by `create_model`.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fcn.errors import InputError
from fcn.model import Network, create_model

LIBRARY, FORMAT = "fcn-bench", 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SEAL = "sha256"
"""Key of a digest over all that is told of a model, and its weights: of what is as it was saved."""


def save_pretrained(
    model: Network,
    folder: str | Path,
    *,
    input_scale: float = 1.0,
    class_names: Sequence[str] = (),
) -> Path:
    """Write a model's settings and weights to a folder and return it; makes the folder.

    What an earlier call wrote there is replaced, as long as nobody changed it.

    Args:
        model: The model.
        folder: Where it goes.
        input_scale: By which images are resized before the model sees them: `config.json` tells.
        class_names: Of its classes, in order; likewise.

    Raises:
        InputError: The model was put together by hand: its settings are not known. Or the folder
            holds somebody else's model, or one that was changed since it was saved.
    """
    settings = getattr(model, "settings", None)
    if settings is None:
        raise InputError("only models built by fcn.create_model know the settings that are saved")
    folder = Path(folder)
    _require_free(folder)
    config: dict[str, Any] = {
        "library": LIBRARY,
        "format": FORMAT,
        # What whoever uses the model elsewhere must know; `settings` alone builds it.
        "mean": list(model.mean),
        "std": list(model.std),
        "input_scale": input_scale,
        "class_names": list(class_names),
        "settings": settings,
    }
    tensors = {  # copied, because safetensors refuses two names for one memory
        name: torch.clone(tensor.cpu(), memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    weights = save(tensors, metadata={"format": "pt"})
    text = json.dumps(config | {SEAL: _seal(config, weights)}, indent=1, ensure_ascii=False)
    _write(folder, {WEIGHTS: weights, CONFIG: f"{text}\n".encode()})
    return folder


def from_pretrained(folder: str | Path) -> Network:
    """Build the model of a folder, with its weights, ready for prediction (`eval`).

    Raises:
        InputError: The folder holds no such model, or a part of it is not known here.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = create_model(**config["settings"])
    seen = [list(model.mean), list(model.std)]
    if seen != [config.get(key, own) for key, own in zip(("mean", "std"), seen, strict=True)]:
        raise InputError(
            f"{folder / CONFIG} has images normalised by mean {config['mean']} and std "
            f"{config['std']}, and its settings by {seen[0]} and {seen[1]}: earlier versions kept "
            "no tag of the weights that training began with. Export the model again, or add the "
            "tag to `backbone` there, as in resnet50.a1_in1k"
        )
    try:
        model.load_state_dict(load((folder / WEIGHTS).read_bytes()))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {reason}") from error
    return model.eval()


def _require_free(folder: Path) -> None:
    """Refuse to replace what another program or person wrote, or changed."""
    taken = [name for name in (CONFIG, WEIGHTS) if os.path.lexists(folder / name)]
    if taken and not _is_as_saved(folder):
        raise InputError(
            f"{folder} holds {' and '.join(taken)} that fcn.save_pretrained did not write, or that "
            "is not as it was written, and nothing is replaced there; give another folder, or move "
            "them away"
        )


def _is_as_saved(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        seal = config.pop(SEAL)
        return bool(seal == _seal(config, (folder / WEIGHTS).read_bytes()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError):  # none of ours
        return False


def _seal(config: dict[str, Any], weights: bytes) -> str:
    told = json.dumps([config, hashlib.sha256(weights).hexdigest()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files beside their places, then give them their names: none is ever seen half."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as beside:
        parts = {name: Path(beside, name) for name in contents}
        for name, part in parts.items():
            part.write_bytes(contents[name])
        for name, part in parts.items():
            part.replace(folder / name)


def read_config(folder: Path) -> dict[str, Any]:
    """Read what a folder tells of its model: what `save_pretrained` was given.

    Returns:
        `settings`, `mean`, `std`, `input_scale` and `class_names`, which earlier versions lack.

    Raises:
        InputError: The folder holds no such model, or says of it what cannot be.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no model ({error}); give a folder that fcn.save_pretrained wrote"
        ) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(f"{path} is not of format {FORMAT} of fcn-bench")
    scale, names = config.setdefault("input_scale", 1.0), config.setdefault("class_names", [])
    is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not (is_number and 0 < scale < math.inf and are_names):
        raise InputError(
            f"{path}: input_scale is {scale!r} and class_names is {names!r}; the one is a factor "
            "above 0, the other a list of names: put back what was exported"
        )
    return config

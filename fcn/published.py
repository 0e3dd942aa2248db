"""Published weights: which file timm means, and where it belongs on this machine.

In: timm's description of pretrained weights. Out: addresses and paths, best first.
timm's own loader is not used: offline it retries for three quarters of a minute, it checks no hash,
and it does not say which file it took.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub import constants

from fcn.download import MissingError, fetch, reach
from fcn.errors import InputError

_SAFE_NAMES = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


@dataclass(frozen=True)
class PublishedFile:
    """One file of weights."""

    address: str
    path: Path
    """Where it is kept, whether or not it is there yet."""


def candidates(config: Any) -> list[PublishedFile]:
    """Return the files that may hold the weights of a timm `PretrainedCfg`, the safest first."""
    if config.file:
        return [PublishedFile(str(config.file), Path(config.file))]
    if not config.hf_hub_id:
        return [PublishedFile(config.url, cached_path(config.url.rpartition("/")[2]))]
    repository, _, revision = config.hf_hub_id.partition("@")
    files = []
    for name in _file_names(config.hf_hub_filename or "pytorch_model.bin"):
        known = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
        path = cached_path(f"{repository.replace('/', '--')}--{name}")
        address = f"{constants.ENDPOINT}/{repository}/resolve/{revision or 'main'}/{name}"
        files.append(PublishedFile(address, Path(known) if isinstance(known, str) else path))
    return files


def fetch_any(whose: str, files: Sequence[PublishedFile]) -> PublishedFile:
    """Fetch the first of some files that exists; uses the network and the disk.

    Raises:
        InputError: None can be had; the message names the first and where to put it.
    """
    return _first(whose, files, fetch)


def require_any(whose: str, files: Sequence[PublishedFile]) -> PublishedFile:
    """See that one of some files is here or can be fetched; asks servers, and downloads nothing.

    Raises:
        InputError: As `fetch_any`.
    """
    return _first(whose, files, reach)


def _first(
    whose: str, files: Sequence[PublishedFile], get: Callable[[str, Path], object]
) -> PublishedFile:
    reason: OSError | None = None
    offline = constants.HF_HUB_OFFLINE  # the user's word, for all servers
    for file in files:
        if offline and not file.path.is_file():
            reason = reason or OSError("it is not here, and HF_HUB_OFFLINE forbids to fetch it")
            continue
        try:
            get(file.address, file.path)
            return file
        except MissingError as error:  # a repository may hold the other one only
            reason = reason or error
        except OSError as error:
            reason, offline = error, True  # asked once; the other file may be here
    raise InputError(
        f"the weights of {whose} at {files[0].address} cannot be had ({reason}); fetch that file "
        f"on a machine with a connection and put it at {files[0].path}, or anywhere and set "
        "model.pretrained to its path (.safetensors or .pth)"
    ) from reason


def cached_path(name: str) -> Path:
    """Return where a file of weights of that name is kept: torch's own folder for them."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _file_names(name: str) -> list[str]:
    """Return a file's name after that of the same weights without pickle."""
    safe = _SAFE_NAMES.get(name, f"{name.removesuffix('.bin')}.safetensors")
    return [safe, name] if name.endswith(".bin") else [name]

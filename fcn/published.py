"""Published weights: which file timm means, and where it belongs on this machine.

In: timm's description of pretrained weights. Out: addresses and paths, best first.
timm's own loader is not used: offline it retries for three quarters of a minute, it checks no hash,
and it does not say which file it took.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants

from fcn.download import MissingError, announced_hash, fetch, file_hash, reach
from fcn.errors import InputError
from fcn.weights_folder import HUB, weights_folder

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
    names = _file_names(config.hf_hub_filename or "pytorch_model.bin")
    return [_file_of_hub(config.hf_hub_id, name) for name in names]


def hub_files(pretrained: str) -> list[PublishedFile]:
    """Return the files that may hold the weights of `hf-hub:OWNER/NAME[@REVISION]`, safest first.

    Raises:
        InputError: It is no such name.
    """
    if not re.fullmatch(rf"{HUB}[\w.-]+/[\w.-]+(@[\w.-]+)?", pretrained):
        raise InputError(
            f"model.pretrained is {pretrained!r}; a repository is written hf-hub:OWNER/NAME, or "
            "hf-hub:OWNER/NAME@REVISION"
        )
    names = _file_names("pytorch_model.bin")
    return [_file_of_hub(pretrained.removeprefix(HUB), name) for name in names]


def find_hub_digest(pretrained: str) -> str | None:
    """Return the sha256 of a repository's weights, which are not here, as its server says it.

    Where it does not say, the file is fetched. None where neither can be had.
    """
    for file in hub_files(pretrained):
        with suppress(OSError):
            return announced_hash(file.address) or _hash_fetched(file)
    return None


def fetch_hub_config(pretrained: str) -> None:
    """Fetch what a repository says of its weights, if it says anything; uses the network."""
    file = _file_of_hub(pretrained.removeprefix(HUB), "config.json")
    with suppress(OSError):
        fetch(file.address, file.path)


def _hash_fetched(file: PublishedFile) -> str:
    return file_hash(fetch(file.address, file.path))


def _file_of_hub(identity: str, name: str) -> PublishedFile:
    """Return a file of OWNER/NAME[@REVISION]: where the hub's own cache or this one has it."""
    repository, _, revision = identity.partition("@")
    known = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision or None)
    path = cached_path(f"{identity.replace('/', '--').replace('@', '--')}--{name}")
    address = f"{constants.ENDPOINT}/{repository}/resolve/{revision or 'main'}/{name}"
    return PublishedFile(address, Path(known) if isinstance(known, str) else path)


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
    is_reached = True
    for file in files:
        if not is_reached and not file.path.is_file():
            continue
        try:
            get(file.address, file.path)
            return file
        except MissingError as error:  # a repository may hold the other one only
            reason = reason or error
        except OSError as error:
            reason, is_reached = error, False  # asked once; the other file may be here
    raise InputError(
        f"the weights of {whose} at {files[0].address} cannot be had ({reason}); fetch that file "
        f"on a machine with a connection and put it at {files[0].path}, or under that name into "
        "the folder of --weights DIR, or anywhere and set model.pretrained to its path"
    ) from reason


def cached_path(name: str) -> Path:
    """Return where a file of weights is kept: in the folder of `--weights`, or in torch's own."""
    folder = weights_folder()
    if folder and (folder / name).is_file():
        return folder / name
    return _hub_dir() / "checkpoints" / name


def _hub_dir() -> Path:
    """Return `torch.hub.get_dir()`; by its rule, where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return Path(torch.hub.get_dir())
    home = os.environ.get("TORCH_HOME")
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return (Path(home) if home else Path(cache) / "torch").expanduser() / "hub"


def _file_names(name: str) -> list[str]:
    """Return a file's name after that of the same weights without pickle."""
    safe = _SAFE_NAMES.get(name, f"{name.removesuffix('.bin')}.safetensors")
    return [safe, name] if name.endswith(".bin") else [name]

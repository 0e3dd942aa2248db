"""The names that a store's folders hold: what has another is somebody else's, and stays.

In: the folder of a run, a pack or an evaluation, or what lies where they do. Out: paths that are
not ours.
A link is never ours: what it leads to lies elsewhere.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.store.lease import SCRATCH
from bench.store.scratch import is_scratch

_RUN_ID = re.compile("[0-9a-f]{16}")
_CHECKPOINT = re.compile(r"checkpoint-\d{9}\.(json|safetensors)")
_RUN_FILES = re.compile(
    r"spec\.yaml|(env|attempts|notes|failure|result)\.json|metrics\.jsonl|heartbeat|log\.txt"
    rf"|model\.safetensors|best-\d{{9}}\.safetensors|{_CHECKPOINT.pattern}"
)
_FILES_BELOW = {"eval": re.compile(r".+\.npz"), "quarantine": _CHECKPOINT}
_LEASE = re.compile(r"lease-\d{6}")
_EVALUATION_FILES = re.compile(r"evaluation\.json|counts\.npz")
_PACK_FILES = re.compile(r"(index|groups)\.json|(images|targets|input-.+|target-.+)\.bin")


def list_run_dirs(root: Path) -> Iterator[Path]:
    """Yield the folders of runs in a store by their names, sorted; a spec need not be there."""
    for path in sorted(root.glob("[0-9a-f][0-9a-f]/*")):
        if is_run_dir(path):
            yield path


def is_run_dir(path: Path) -> bool:
    """Say whether a path is the folder of a run by its name: 16 hex digits below the first two."""
    is_named = _RUN_ID.fullmatch(path.name) and path.name[:2] == path.parent.name
    return bool(is_named) and _is_own_folder(path)


def is_pack_dir(path: Path) -> bool:
    """Say whether a path is the folder of a pack by its name: 16 hex digits."""
    return bool(_RUN_ID.fullmatch(path.name)) and _is_own_folder(path)


def list_evaluation_dirs(root: Path) -> list[Path]:
    """Return the folders of evaluations in a store by their names, sorted: 16 hex digits."""
    return sorted(filter(is_pack_dir, root.glob("evaluations/*")))


def is_checkpoint(path: Path) -> bool:
    """Say whether a path is a file of a checkpoint by its name."""
    return _is_file(path, _CHECKPOINT)


def find_foreign(folder: Path) -> list[Path]:
    """Return what is not ours in the folder of a run, of a pack or of an evaluation."""
    if folder.parent.name == "evaluations":
        return _others(folder, lambda p: is_scratch(p.name) or _is_file(p, _EVALUATION_FILES))
    if folder.parent.name == "packs":
        return _others(folder, lambda path: _is_file(path, _PACK_FILES))
    return _others(folder, _belongs_to_run)


def find_strays(root: Path) -> list[Path]:
    """Return what lies where runs, packs and evaluations do in a store, and is none of them."""
    runs = root.glob("[0-9a-f][0-9a-f]/*")
    packs = itertools.chain(root.glob("packs/*"), root.glob("evaluations/*"))
    strays = [path for path in runs if not is_run_dir(path) and not is_scratch(path.name)]
    strays += [path for path in packs if not is_pack_dir(path) and not is_scratch(path.name)]
    return sorted(strays)


def _belongs_to_run(path: Path) -> bool:
    name = path.name
    if path.is_symlink():
        return False
    if is_scratch(name) or SCRATCH.fullmatch(name):
        return True
    if not path.is_dir():
        return bool(_RUN_FILES.fullmatch(name))
    if name not in _FILES_BELOW:
        return bool(_LEASE.fullmatch(name))
    below = _FILES_BELOW[name]
    return not _others(path, lambda file: is_scratch(file.name) or _is_file(file, below))


def _others(folder: Path, is_ours: Callable[[Path], bool]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_ours(path))
    except FileNotFoundError:  # it just went
        return []


def _is_file(path: Path, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

"""A foreign `fcn`, `bench` or `reports` in place of ours: said in a paragraph that names its owner.

The wheel puts four plain names into site-packages, three of which other distributions have too. The
standard library alone is used here, for nothing of ours can be relied on. Where `ablations` itself
is foreign, nothing of ours runs, and nothing can be said.
"""

import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, NoReturn

NAMES = ("fcn", "bench", "reports")
OURS = "fcn-bench"
ROOT = Path(__file__).resolve().parent.parent
"""Folder of the four packages: site-packages, or a checkout."""
INPUT_ERROR = 65
"""As in `bench.cli.command`, which cannot be asked."""
_AGAIN = f"install {OURS} again, with pip install --force-reinstall --no-deps WHEEL-OR-CHECKOUT"


class Listed(NamedTuple):
    """A file that the RECORD of an installed distribution lists."""

    distribution: str
    path: Path
    digest: str | None
    """sha256 as RECORD writes it."""


@contextmanager
def require_ours() -> Iterator[None]:
    """Leave with exit code 65 and a paragraph if others' code is in place of ours.

    Where each package would be imported from is looked at first, in less than a millisecond. Whose
    files they are is asked only if one is elsewhere, or an import or a name in the block fails:
    then the RECORD of every installed distribution is read.
    """
    for name in NAMES:
        found = _find_elsewhere(name)
        if found is not None:
            _leave(_say_elsewhere(name, found))
    try:
        yield
    except (ImportError, AttributeError):
        overwritten = _find_overwritten()
        if not overwritten or "--debug" in sys.argv:
            raise
        _leave(_say_overwritten(overwritten))


def _leave(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(INPUT_ERROR)


def _find_elsewhere(name: str) -> Path | None:
    """Return the file or folder that a name of ours would be imported from; None if it is ours."""
    spec = find_spec(name)
    if spec is None:
        return ROOT / name
    found = Path(spec.origin or next(iter(spec.submodule_search_locations or ())))
    return None if found.resolve() == ROOT / name / "__init__.py" else found


def _say_elsewhere(name: str, found: Path) -> str:
    if found.resolve() == ROOT / name:
        return (
            f"{ROOT / name} has no __init__.py: files of {OURS} are gone, as after another "
            f"distribution with a package {name!r} was uninstalled. Way out: {_AGAIN}"
        )
    listed = [one.distribution for one in _list_files() if one.path.is_relative_to(found.resolve())]
    if listed:
        whose = f"of the distribution {listed[0]}, whose RECORD lists it"
        way_out = f"pip uninstall {listed[0]}, or install {OURS} in an environment of its own"
    else:
        whose = "which is in the RECORD of no installed distribution"
        way_out = "start in another folder, take its folder off PYTHONPATH, or rename it"
    return (
        f"{OURS} needs its own package {name!r}, {ROOT / name}, but Python would import {found}, "
        f"{whose}. Way out: {way_out}"
    )


def _find_overwritten() -> dict[Path, str]:
    """Return files of ours that others wrote over, each with the distribution that lists it too."""
    listed = [one for one in _list_files() if one.path.is_relative_to(ROOT)]
    ours = {(one.path, one.digest) for one in listed if one.distribution == OURS}
    return {
        path: distribution
        for distribution, path, _ in listed
        if distribution != OURS
        and path.suffix == ".py"
        and path.is_file()
        and (path, _digest(path)) not in ours
    }


def _say_overwritten(overwritten: dict[Path, str]) -> str:
    owners = list(dict.fromkeys(overwritten.values()))
    first, *more = [str(path.relative_to(ROOT)) for path in overwritten]
    files = f"{first} and {len(more)} more files are" if more else f"{first} is"
    return (
        f"{files} not what {OURS} installed in {ROOT}: overwritten by {', '.join(owners)}, whose "
        f"RECORD lists the same. Way out: pip uninstall {' '.join(owners)}, then {_AGAIN}; or "
        f"install {OURS} in an environment of its own"
    )


def _list_files() -> Iterator[Listed]:
    """Yield all files that distributions list below the names of our packages."""
    for distribution in distributions():
        for file in distribution.files or ():
            if file.parts[0] in ("ablations", *NAMES):
                path = Path(str(distribution.locate_file(file))).resolve()
                yield Listed(distribution.name, path, file.hash.value if file.hash else None)


def _digest(path: Path) -> str:
    return urlsafe_b64encode(sha256(path.read_bytes()).digest()).rstrip(b"=").decode()

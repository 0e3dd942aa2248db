"""The folder of weights files that `--weights DIR` or FCN_BENCH_WEIGHTS names."""

import os
from pathlib import Path

from fcn.errors import InputError

VARIABLE = "FCN_BENCH_WEIGHTS"
"""Names a folder of weights files; processes that a command starts, on other machines too, inherit
it."""

HUB = "hf-hub:"
"""How the name of a repository of huggingface.co begins."""


def weights_folder() -> Path | None:
    """Return the folder of weights files that the command or the environment names."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def use_weights_folder(folder: Path | None) -> None:
    """Look for weights files in a folder too: in this process, and in those that it starts.

    Raises:
        InputError: There is no such folder.
    """
    if folder is None:
        return
    if not folder.expanduser().is_dir():
        raise InputError(f"--weights {str(folder)!r} is no folder; name one that weights lie in")
    os.environ[VARIABLE] = str(folder.expanduser().resolve())

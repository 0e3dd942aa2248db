"""A Ray cluster joined, or one of this machine started: never one that lets strangers in.

In: an address or none. Out: Ray initialised in this process. Whoever can reach the port of a
cluster without a token runs code on all of its machines, so such a cluster is refused.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from fcn.errors import InputError

CONNECT_SECONDS = 60.0
"""Time for the head of a cluster to answer."""

_REFUSED = 3

_STRANGER = f"""
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except ray.exceptions.AuthenticationError:
    sys.exit({_REFUSED})
"""
"""A driver that knows no token. Whether a cluster asks for one, only trying tells: the settings of
this process say nothing about it, and a driver with a token is welcome everywhere."""

_MODE = "RAY_AUTH_MODE"


def import_ray() -> ModuleType:
    """Import Ray, which is an extra.

    Raises:
        InputError: It is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError(
            "--engine ray needs Ray, which is not installed here: pip install 'fcn-bench[ray]'"
        ) from None
    return ray


def connect(address: str | None, *, insecure: bool = False) -> None:
    """Initialise Ray; sets RAY_* variables of this process, and may write ~/.ray/auth_token.

    Args:
        address: HOST:PORT of the head, `auto` for the cluster that this machine belongs to, or None
            for a new one of this machine alone, which ends with this process.
        insecure: Whether a cluster that asks for no token is used.

    Raises:
        InputError: The cluster cannot be reached, refuses us, or refuses nobody.
    """
    ray = import_ray()
    if address is None:
        _start_own(ray, insecure=insecure)
        return
    if "://" in address:
        raise InputError(
            f"--address {address}: give HOST:PORT of the cluster's head (6379 unless it was "
            "started with another --port) or auto; Ray Client addresses cannot be used"
        )
    if not insecure:
        _refuse_open(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError:
        raise InputError(
            f"the cluster at {address} asks for a token, and has not taken ours. Copy the file "
            "~/.ray/auth_token of its head to this machine, mode 0600, or name a copy in "
            f"RAY_AUTH_TOKEN_PATH; {_MODE} must not be `disabled`"
        ) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(_unreachable(address, str(error))) from None


def _start_own(ray: ModuleType, *, insecure: bool) -> None:
    if os.environ.get(_MODE, "token").lower() != "token" and not insecure:
        raise InputError(
            f"{_MODE}={os.environ[_MODE]} would start a cluster without a token, in which anybody "
            "who reaches this machine can run code; unset it, or add --insecure"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not insecure:
        _provide_token()
    ray.init(
        address="local",  # without it, RAY_ADDRESS would be joined, which nobody named here
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 * 2**20,  # nothing but exit codes goes through it
    )
    # Ray chose to ask for the token, unless it is older than that; it reads the variable only when
    # it is imported, so setting it here would come too late.
    if os.environ.get(_MODE, "").lower() != "token" and not insecure:
        ray.shutdown()
        raise InputError(
            f"Ray {ray.__version__} starts clusters that ask for no token: install 2.59 or newer, "
            f"or set {_MODE}=token"
        )


def _provide_token() -> None:
    """See that there is a token which only its owner reads. Ray would write it for all to read."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if path.exists():
        path.chmod(0o600)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def _refuse_open(address: str) -> None:
    """Go there as a stranger, and refuse a cluster that does not send one away."""
    secret = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    environment = {k: v for k, v in os.environ.items() if k not in secret}
    command = [sys.executable, "-c", _STRANGER, address]
    try:
        stranger = subprocess.run(
            command,
            env={**environment, _MODE: "disabled"},
            capture_output=True,
            text=True,
            timeout=CONNECT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise InputError(_unreachable(address, "no answer")) from None
    if stranger.returncode == 0:
        raise InputError(
            f"the cluster at {address} asks for no token: whoever reaches its ports can run code "
            "on all of its machines. Start it again with a token (docs/several-machines.md), or "
            "add --insecure if nobody else can reach it"
        )
    if stranger.returncode != _REFUSED:
        raise InputError(_unreachable(address, stranger.stderr))


def _unreachable(address: str, error: str) -> str:
    why = (error.strip().splitlines() or ["no reason given"])[-1]
    return (
        f"no cluster can be joined at {address}: {why}. Check with `ray status --address "
        f"{address}` that its head runs, that its port can be reached from here, and that Python "
        "and Ray have the same versions on both sides"
    )

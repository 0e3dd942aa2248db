"""A Ray cluster joined, or one of this machine started: never one that lets strangers in.

In: an address or none. Out: Ray initialised in this process. Whoever can reach the port of a
cluster without a token runs code on all of its machines, so such a cluster is refused.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

from bench.grid.contracts import EngineLostError
from fcn.errors import InputError

CONNECT_SECONDS = 60.0
"""Time for the head of a cluster to answer."""

REACH_SECONDS = 10.0
"""Time for its port to be open."""

_MODE = "RAY_AUTH_MODE"
_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"


class Head:
    """The head of the cluster that this process has joined: whether it still answers.

    Ray ends a process from below, without a word, once its head has been gone for too long; and
    what asks the head for something waits until then. So it is looked for before it is asked.
    """

    def __init__(self) -> None:
        self._address: str = import_ray().get_runtime_context().gcs_address
        self._gone_since: float | None = None
        self.patience = float(os.environ.get(_PATIENCE, 60.0))
        """Seconds until Ray ends this process."""

    @property
    def is_gone(self) -> bool:
        """Whether it did not answer when it was last looked for."""
        return self._gone_since is not None

    def answers(self) -> bool:
        """Say whether the head's port is open.

        Raises:
            EngineLostError: It has been closed for half of Ray's patience.
        """
        now = time.monotonic()
        try:
            _connect(self._address, timeout=self.patience / 10)
        except OSError:
            self._gone_since = now if self._gone_since is None else self._gone_since
            if now - self._gone_since < self.patience / 2:
                return False
            raise EngineLostError(
                f"the head of the Ray cluster at {self._address} is gone: no answer for "
                f"{now - self._gone_since:.0f} s. Its runs are asked to leave; what they have is "
                "in the store. Start the cluster again (docs/several-machines.md): the same "
                "command goes on from the last checkpoints"
            ) from None
        self._gone_since = None
        return True


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


def losses(ray: ModuleType) -> tuple[type[Exception], ...]:
    """Return the errors of a task whose node has died."""
    return (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError)


def connect(address: str | None, *, insecure: bool = False) -> bool:
    """Initialise Ray; sets RAY_* variables of this process, and may write ~/.ray/auth_token.

    Args:
        address: HOST:PORT of the head, `auto` for the cluster that this machine belongs to, or None
            for a new one of this machine alone, which ends with this process.
        insecure: Whether a cluster that asks for no token is used.

    Returns:
        Whether this was needed: False where this process has joined a cluster already.

    Raises:
        InputError: The cluster cannot be reached, refuses us, or refuses nobody.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return False
    if not insecure:
        os.environ.setdefault(_MODE, "token")
    was_imported = "ray" in sys.modules
    ray = import_ray()
    if was_imported:
        # Ray reads the variable when it is imported; this is how it makes itself read it again.
        ray._raylet.Config.initialize("")
    if address is None:
        _start(ray, insecure=insecure)
    else:
        _join(ray, address, insecure=insecure)
    return True


def _join(ray: ModuleType, address: str, *, insecure: bool) -> None:
    if "://" in address:
        raise InputError(
            f"--address {address}: give HOST:PORT of the cluster's head (6379 unless it was "
            "started with another --port) or auto; Ray Client addresses cannot be used"
        )
    _reach(address)
    if not insecure:
        _refuse_open(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise InputError(_unreachable(address, str(error))) from None


def _start(ray: ModuleType, *, insecure: bool) -> None:
    if not insecure:
        if os.environ[_MODE].lower() != "token":
            raise InputError(
                f"{_MODE}={os.environ[_MODE]} would start a cluster without a token, in which "
                "whoever reaches this machine can run code; unset it, or add --insecure"
            )
        _provide_token()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by Ray's 15, all else would go before runs
    # A worker that is sent SIGTERM would kill its run before the checkpoint; a run whose worker is
    # gone leaves by itself, for its input closes.
    os.environ.setdefault("RAY_kill_child_processes_on_worker_exit", "false")
    ray.init(
        address="local",  # without it, RAY_ADDRESS would be joined, which nobody named here
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 * 2**20,  # nothing but exit codes goes through it
    )


def _provide_token() -> None:
    """See that there is a token which only its owner reads. Ray would write it for all to read."""
    path = _token_path()
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    if path.exists():
        path.chmod(0o600)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def _token_path() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def _reach(address: str) -> None:
    """See that something listens; Ray itself would take a minute to find that nothing does."""
    if address == "auto":
        return
    try:
        _connect(address, REACH_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(_unreachable(address, str(error))) from None


def _connect(address: str, timeout: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()


def _refuse_open(address: str) -> None:
    """Go there as a stranger, and refuse a cluster that does not send one away; then as ourselves.

    Whether a cluster asks for a token, only trying tells: the settings of this process say nothing
    about it, and who has a token is welcome everywhere.
    """
    secret = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    nameless = {k: v for k, v in os.environ.items() if k not in secret}
    if _is_let_in(address, {**nameless, _MODE: "disabled"}):
        raise InputError(
            f"the cluster at {address} asks for no token: whoever reaches its ports can run code "
            "on all of its machines. Start it again with a token (docs/several-machines.md), or "
            "add --insecure if nobody else can reach it"
        )
    has_token = bool(os.environ.get("RAY_AUTH_TOKEN")) or _token_path().exists()
    if not has_token or not _is_let_in(address, dict(os.environ)):
        raise InputError(
            f"the cluster at {address} asks for a token, and does not take ours. Copy the file "
            "~/.ray/auth_token of its head to this machine, mode 0600, or name a copy in "
            f"RAY_AUTH_TOKEN_PATH; {_MODE} must not be `disabled`"
        )


def _is_let_in(address: str, environment: dict[str, str]) -> bool:
    """Ask a cluster for its state, in a process of its own: Ray reads its settings once."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        asked = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=CONNECT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InputError(_unreachable(address, "no answer")) from None
    if asked.returncode and "AuthenticationError" not in asked.stderr:
        raise InputError(_unreachable(address, asked.stderr))
    return asked.returncode == 0


def _unreachable(address: str, error: str) -> str:
    why = (error.strip().splitlines() or ["no reason given"])[-1]
    return (
        f"no cluster can be joined at {address}: {why}. Check with "
        f"`{_MODE}={os.environ.get(_MODE, 'disabled')} ray status --address {address}` that its "
        "head runs, that its port can be reached from here, and that Python and Ray have the same "
        "versions on both sides"
    )

"""The slurm engine: the runs of a grid as array jobs of a Slurm cluster, sent by submitit.

Runs that can start at the same time are one array. A job is one run: it starts the same command as
the local engine, its results are in the store, and its exit code comes back by a file. What Slurm
ends without one, for want of memory or with its node, is asked of Slurm itself.
"""

import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.grid.contracts import Exit
from bench.grid.local import GRACE_SECONDS
from bench.grid.node import Order
from bench.grid.slots import Slot
from bench.grid.slurm_files import Orders, State, read_state, write
from bench.grid.slurm_job import REQUEUE_SIGNAL, SlurmRun
from bench.grid.slurm_settings import SlurmSettings
from bench.run.outcome import STOPPED
from bench.store.scratch import scratch_prefix
from fcn.errors import InputError

MOST_JOBS = 1000
"""Jobs at Slurm at a time, unless `--slots` says: one less than an array may have by default."""
BEAT_SECONDS = 2.0
LOOK_SECONDS = 0.2
"""Time between two looks at the states of jobs, at least; with many, `READ_SECONDS` for each."""
READ_SECONDS = 0.005
ASK_SECONDS = 30.0
"""Time between two questions to Slurm itself."""
ANSWER_SECONDS = 20.0
"""Time for a file to be seen by the other side, beyond a run's grace."""
REQUEUES = 1_000_000
"""A job that gains steps is requeued as often as it needs; see `SlurmRun.checkpoint`."""


@dataclass
class _Job:
    """A run that was sent."""

    job: Any
    run_dir: Path
    file: Path
    state: State = field(default_factory=State)
    """How it stood when it was last read."""
    doomed_since: float | None = None
    """When it was to be ended at once."""
    gone_since: float | None = None
    """When Slurm was first heard to say that it has ended."""


class SlurmEngine:
    """Runs `python -m bench exec RUN_DIR` as a subprocess of a Slurm job per run.

    Args:
        store: Folder of the store, which all nodes see under this path.
        slot: The devices of a run on its node; no threads leaves them to what the job is given.
        most: Jobs at a time, in the queue or running; None for what Slurm takes.
        settings: What `--slurm` says.
        plugins: Modules that each run imports beside the installed plugins.

    Raises:
        InputError: submitit or Slurm is not here, or it does not take a setting.
    """

    def __init__(
        self,
        store: Path,
        slot: Slot,
        most: int | None,
        settings: SlurmSettings,
        plugins: Sequence[str] = (),
    ) -> None:
        store.mkdir(parents=True, exist_ok=True)
        # Only this user writes there: jobs load what lies in it.
        folder = tempfile.mkdtemp(dir=store.resolve(), prefix=scratch_prefix("slurm"))
        self._folder = Path(folder)
        try:
            self._executor = _create_executor(self._folder, settings)
        except InputError:
            shutil.rmtree(self._folder)
            raise
        on_cluster = settings.cluster == "slurm"
        self._can_cancel = on_cluster  # here, jobs see the orders when they begin
        self._most = most or (MOST_JOBS if on_cluster else os.cpu_count() or 1)
        self._ask_seconds = ASK_SECONDS if on_cluster else LOOK_SECONDS
        self._answer_seconds = ANSWER_SECONDS if on_cluster else 1.0
        self._slot, self._settings, self._plugins = slot, settings, tuple(plugins)
        self._waiting: list[Path] = []
        self._running: dict[str, _Job] = {}
        self._dropped: list[str] = []
        self._leaving: list[Any] = []  # processes of this machine that have said their last word
        self._count = 0
        self._refused_at: float | None = None
        self._asked_at = self._read_at = time.monotonic()
        self._orders = Orders()
        self._fault: InputError | None = None
        self._telling, self._sending = threading.Lock(), threading.Lock()
        self._ended = threading.Event()
        self._say()
        threading.Thread(target=self._beat, daemon=True, name="slurm-orders").start()

    def free_slots(self) -> int:
        """Return how many more runs can be sent."""
        return max(0, self._most - len(self._running) - len(self._waiting))

    def start(self, run_dir: Path) -> None:
        """Send a run to Slurm, with the others that are started before the next `poll`."""
        with self._sending:
            self._waiting.append(run_dir.resolve())

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for jobs to end, and return those that did.

        Raises:
            InputError: Slurm refuses the jobs, and none is left that may make room for them.
        """
        self._send()
        if self._fault is not None:
            raise self._fault
        until = time.monotonic() + seconds
        while True:
            self._read_states()
            self._ask_slurm()
            dropped = [Exit(run_id, -signal.SIGKILL) for run_id in self._dropped]
            self._dropped.clear()
            exits = dropped + [e for run_id in list(self._running) for e in self._settle(run_id)]
            left = until - time.monotonic()
            if exits or left <= 0:
                return exits
            time.sleep(min(left, LOOK_SECONDS))

    def is_queued(self, run_id: str) -> bool:
        """Say whether a run waits for its turn at Slurm."""
        sent = self._running.get(run_id)
        return sent is None or sent.state.state == "queued"

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        with self._sending:
            kept = [path for path in self._waiting if path.name != run_id]
            was_sent, self._waiting = len(kept) == len(self._waiting), kept
        if not was_sent:
            self._dropped.append(run_id)
            return
        self._say(kill=(*self._orders.kill, run_id))
        self._read_states(now=True)
        if self._can_cancel and self.is_queued(run_id):
            self._forget(run_id, cancel=True)
            self._dropped.append(run_id)
        else:
            self._running[run_id].doomed_since = time.monotonic()

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave; cancel what waits, and what does not leave.

        Removes the files of this command.
        """
        with self._sending:
            self._waiting.clear()
        self._say(stop=True)
        try:
            self._read_states(now=True)
            queued = [run_id for run_id in self._running if self.is_queued(run_id)]
            for run_id in queued if self._can_cancel else ():
                self._forget(run_id, cancel=True)
            until = time.monotonic() + GRACE_SECONDS + ANSWER_SECONDS
            while self._running and time.monotonic() < until:
                self.poll(BEAT_SECONDS)
        finally:  # also when a second Ctrl-C cuts the grace short
            for run_id in list(self._running):
                self._forget(run_id, cancel=True)
            self._ended.set()
            until = time.monotonic() + ANSWER_SECONDS
            while self._await_leaving() and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
            with self._telling:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self) -> None:
        """Submit what was started since, as one array; a refusal is kept for `poll`."""
        with self._sending:
            is_early = self._refused_at and not _is_past(self._refused_at, ASK_SECONDS)
            if not self._waiting or is_early or self._fault is not None:
                return
            runs = [self._prepare(run_dir) for run_dir in self._waiting]
            try:
                jobs = self._submit(runs)
            except InputError as error:
                if not self._running:
                    self._fault = error
                self._refused_at = time.monotonic()  # a limit, say: jobs that end make room
                return
            self._refused_at = None
            for run_dir, run, job in zip(self._waiting, runs, jobs, strict=True):
                self._running[run_dir.name] = _Job(job, run_dir, file=Path(run.state))
            self._waiting.clear()

    def _submit(self, runs: Sequence[SlurmRun]) -> list[Any]:
        kinds = import_module("submitit.core.utils")
        try:
            with self._executor.batch():
                return [self._executor.submit(run) for run in runs]
        except (kinds.FailedJobError, kinds.FailedSubmissionError, OSError) as error:
            raise InputError(
                f"Slurm refused the jobs: {' '.join(str(error).split())}; `--slurm KEY=VALUE` "
                "sets partition, account, time and the like, `sinfo` and `sacctmgr show "
                "associations` say what there is"
            ) from None

    def _prepare(self, run_dir: Path) -> SlurmRun:
        self._count += 1  # a requeued job of an earlier attempt has its own file
        state = self._folder / f"{run_dir.name}-{self._count}.state"
        write(state, State())
        if run_dir.name in self._orders.kill:
            self._say(kill=tuple(one for one in self._orders.kill if one != run_dir.name))
        order = Order(
            run_dir=str(run_dir),
            slot=self._slot,
            plugins=self._plugins,
            folder=os.getcwd(),
            grace_seconds=GRACE_SECONDS,
            variables={k: v for k, v in os.environ.items() if k.startswith("FCN_BENCH_")},
        )
        return SlurmRun(order, str(self._folder / "orders"), str(state), self._settings.patience)

    def _read_states(self, *, now: bool = False) -> None:
        """Read the states of all jobs, unless that was just done."""
        seconds = max(LOOK_SECONDS, READ_SECONDS * len(self._running))
        if not now and not _is_past(self._read_at, seconds):
            return
        for sent in list(self._running.values()):
            sent.state = read_state(sent.file) or sent.state
        self._read_at = time.monotonic()
        self._await_leaving()

    def _ask_slurm(self) -> None:
        """Ask now and then which jobs have ended; the last word of one may still be on its way."""
        if not _is_past(self._asked_at, self._ask_seconds):
            return
        self._asked_at = time.monotonic()
        for i, sent in enumerate(list(self._running.values())):
            if not sent.job.done(force_check=i == 0):  # one question is about all
                sent.gone_since = None
            elif sent.gone_since is None:
                sent.gone_since = time.monotonic()

    def _settle(self, run_id: str) -> list[Exit]:
        """Return how a job ended, if it has."""
        sent = self._running[run_id]
        if sent.state.state == "ended":
            # Slurm may put a job that it stopped into the queue again: another is sent for it.
            self._forget(run_id, cancel=sent.state.code == STOPPED)
            return [Exit(run_id, sent.state.code)]
        if sent.doomed_since and _is_past(sent.doomed_since, ANSWER_SECONDS):
            self._forget(run_id, cancel=True)
            return [Exit(run_id, -signal.SIGKILL)]
        if sent.gone_since is None or not _is_past(sent.gone_since, self._answer_seconds):
            return []
        return [self._lose(run_id)]

    def _lose(self, run_id: str) -> Exit:
        """Tell of a job that ended without a word."""
        sent = self._running[run_id]
        said = sent.job.state
        with (sent.run_dir / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{_read_end(sent.job)}job {sent.job.job_id} of Slurm ended: {said}\n")
        self._forget(run_id, cancel=False)
        lost = f"job {sent.job.job_id} was lost with its node" if said == "NODE_FAIL" else None
        return Exit(run_id, -signal.SIGKILL, lost=lost)

    def _forget(self, run_id: str, *, cancel: bool) -> None:
        sent = self._running.pop(run_id)
        if not self._can_cancel:
            self._leaving.append(sent.job)
        elif cancel:
            sent.job.cancel(check=False)
        for path in self._folder.glob(f"jobs/{sent.job.job_id}_*"):
            path.unlink(missing_ok=True)
        if not cancel:
            sent.file.unlink(missing_ok=True)

    def _await_leaving(self) -> int:
        """Return how many processes of this machine are about to end."""
        self._leaving = [job for job in self._leaving if not job.done()]
        return len(self._leaving)

    def _say(self, **changes: Any) -> None:
        """Write the orders, changed or with another number."""
        with self._telling:
            self._orders = replace(self._orders, beat=self._orders.beat + 1, **changes)
            write(self._folder / "orders", self._orders)

    def _beat(self) -> None:
        """Show that this process lives, and send what nobody polls for."""
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):  # a full disk is no death
                self._say()
            self._send()


def _is_past(since: float, seconds: float) -> bool:
    return time.monotonic() - since > seconds


def _read_end(job: Any) -> str:
    """Return the end of what a job said outside of its run: why Python did not start, say."""
    with suppress(OSError):
        return str(job.paths.stderr.read_text(encoding="utf-8", errors="replace")[-2000:])
    return ""


def _create_executor(folder: Path, settings: SlurmSettings) -> Any:
    """Create submitit's executor, with all settings; nothing is sent yet."""
    if find_spec("submitit") is None:
        raise InputError("--engine slurm needs submitit: pip install 'fcn-bench[slurm]'")
    if settings.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise InputError(
            "--engine slurm: sbatch and srun are not on this machine; give the command on a login "
            "node of the cluster, or try it here with --slurm cluster=local"
        )
    submitit = import_module("submitit")
    # In the text of the job, and in the job itself.
    import_module("submitit.core.job_environment").JobEnvironment.USR_SIG = REQUEUE_SIGNAL
    is_seen = {"", os.getcwd()} & set(sys.path)
    words = ["env", f"SUBMITIT_PREEMPT_SIGNAL={REQUEUE_SIGNAL}"]
    words += [] if is_seen else ["PYTHONSAFEPATH=1"]
    options = {"python": shlex.join([*words, sys.executable]), "max_num_timeout": REQUEUES}
    named = {f"{settings.cluster}_{key}": value for key, value in options.items()}
    executor = submitit.AutoExecutor(folder / "jobs", cluster=settings.cluster, **named)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        executor.update_parameters(**{"name": "fcn-bench", **settings.parameters()})
    return executor

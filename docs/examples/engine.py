"""An engine: runs on the CPU at the lowest priority, as `--engine polite`.

An engine starts the process of a run somewhere, and says how it ended. Which run is next, what is
tried again, and who may write a run is decided above it, so every engine gives the same results.

A question, in question.yaml, and the engine that its runs are started by:

```yaml
question: What does the first skip add?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {backbone: resnet10t, score_init: random}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
variants:
  fcn32s: {model.skip: fcn32s}
  fcn16s: {model.skip: fcn16s}
baseline: fcn32s
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/engine.py --engine polite
```
"""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.grid.contracts import Engine, Exit
from bench.grid.engines import ENGINES, Request
from bench.grid.slots import Slot, exec_command, exec_environment, plan_slots
from bench.plugins import absolute
from fcn.errors import InputError

PREFIX = ("nice", "-n", "19")
"""What stands before the command of each run."""
GRACE_SECONDS = 30.0
"""Time a run has to write its checkpoint when it is asked to leave."""


@ENGINES.register("polite")
def create_polite(request: Request) -> Engine:
    """Return the engine; each run loads the plugins that the command was given.

    Raises:
        InputError: The command asks for other devices than the CPU.
    """
    if set(request.devices) - {"auto", "cpu"}:
        raise InputError(
            f"--devices {', '.join(request.devices)}: --engine polite starts runs on the CPU; "
            "leave the option out, or choose --engine local"
        )
    slots = plan_slots(["cpu"], request.slots, request.devices_per_run)
    return PoliteEngine(slots, absolute(request.plugins))


class PoliteEngine:
    """A process of `python -m bench exec RUN_DIR` for each run."""

    def __init__(self, slots: Sequence[Slot], plugins: Sequence[str]) -> None:
        self._free = list(slots)
        self._plugins = plugins
        self._running: dict[str, tuple[subprocess.Popen[bytes], Slot]] = {}

    def free_slots(self) -> int:
        """Return how many runs can be started now."""
        return len(self._free)

    def start(self, run_dir: Path) -> None:
        """Start a run; what it prints goes to `log.txt` in its folder."""
        slot = self._free.pop()
        with (run_dir / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*PREFIX, *exec_command(run_dir, slot, self._plugins)],
                stdin=subprocess.PIPE,  # the run leaves when this closes: it outlives no command
                stdout=log,
                stderr=log,
                env=exec_environment(slot),
                start_new_session=True,  # Ctrl-C reaches the run through `stop`
            )
        self._running[run_dir.name] = process, slot

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for runs to end, and return the exits of those that did."""
        until = time.monotonic() + seconds
        while not (ended := self._ended()) and time.monotonic() < until:
            time.sleep(0.05)
        return [self._leave(run_id) for run_id in ended]

    def is_queued(self, run_id: str) -> bool:
        """Say that no run waits: each that is started has its slot."""
        return False

    def kill(self, run_id: str) -> None:
        """End a run at once; `poll` then reports it."""
        self._running[run_id][0].kill()

    def stop(self) -> None:
        """Ask all runs to write a checkpoint and leave; end those that do not."""
        for process, _ in self._running.values():
            process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        try:
            while len(self._ended()) < len(self._running) and time.monotonic() < until:
                time.sleep(0.05)
        finally:  # a second Ctrl-C cuts the grace short
            for run_id in list(self._running):
                self.kill(run_id)
                self._leave(run_id)

    def _ended(self) -> list[str]:
        return [run_id for run_id, (p, _) in self._running.items() if p.poll() is not None]

    def _leave(self, run_id: str) -> Exit:
        process, slot = self._running.pop(run_id)
        code = process.wait()
        assert process.stdin is not None
        process.stdin.close()
        self._free.append(slot)
        return Exit(run_id, code)

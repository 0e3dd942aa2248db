"""Places: the slots of a machine as runs come and go, and a GPU to itself for a run that needs it.

Memory that ran out beside neighbours may suffice alone. A GPU is then kept: nothing new is started
on it, and when the last of its runs has ended, the one that waits gets all of its memory.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.grid.slots import Slot


class Places:
    """Which slots are free, and which runs share a GPU.

    Args:
        slots: Places for runs; several may name one device.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._free = list(slots)
        self._taken: dict[str, Slot] = {}
        self._shared: set[str] = set()
        self._kept: str | None = None
        """GPU on which nothing new is started."""
        self._alone: str | None = None
        """Run that has it."""

    def count_free(self) -> int:
        """Return how many runs can be started now."""
        return len(self._open())

    def take(self, run_id: str) -> Slot:
        """Give the next free slot to a run."""
        return self._give(self._open()[0], run_id)

    def take_alone(self, run_id: str) -> Slot | None:
        """Give a run a GPU that nobody else uses; None while there is none: one is then kept."""
        if self._alone is not None:
            return None  # one after the other
        for slot in self._free:
            if slot.on_gpu and not self._count_runs(slot) and self._kept in (None, *slot.places):
                self._kept, self._alone = slot.places[0], run_id
                return replace(self._give(slot, run_id), share=1.0)
        if self._kept is None:
            slots = [slot for slot in (*self._free, *self._taken.values()) if slot.on_gpu]
            self._kept = min(slots, key=self._count_runs).places[0]
        return None

    def give_back(self, run_id: str) -> bool:
        """Free the slot of a run that ended, and say whether it ever shared its GPU."""
        self._free.append(self._taken.pop(run_id))
        if run_id == self._alone:
            self._kept = self._alone = None
        was_shared = run_id in self._shared
        self._shared.discard(run_id)
        return was_shared

    def _open(self) -> list[Slot]:
        return [slot for slot in self._free if self._kept not in slot.places]

    def _give(self, slot: Slot, run_id: str) -> Slot:
        beside = [other for other, one in self._taken.items() if _meet(one, slot)]
        if slot.on_gpu and beside:
            self._shared |= {run_id, *beside}
        self._free.remove(slot)
        self._taken[run_id] = slot
        return slot

    def _count_runs(self, slot: Slot) -> int:
        return sum(_meet(one, slot) for one in self._taken.values())


class Starting:
    """How an engine of this machine starts runs: each in its place.

    Args:
        slots: Places for runs; several may name one device.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._places = Places(slots)

    def free_slots(self) -> int:
        """Return how many runs can be started now."""
        return self._places.count_free()

    def start(self, run_dir: Path) -> None:
        """Start a run's process; its output goes to `log.txt` in the run's folder."""
        self._start(run_dir, self._places.take(run_dir.name))

    def start_alone(self, run_dir: Path) -> bool:
        """Start a run with a GPU to itself; False while there is none, and one is kept for it."""
        slot = self._places.take_alone(run_dir.name)
        if slot is not None:
            self._start(run_dir, slot)
        return slot is not None

    def is_queued(self, run_id: str) -> bool:
        """Say that no run waits: each that is started has its slot."""
        return False

    def _start(self, run_dir: Path, slot: Slot) -> None:
        raise NotImplementedError


def _meet(one: Slot, other: Slot) -> bool:
    return not set(one.places).isdisjoint(other.places)

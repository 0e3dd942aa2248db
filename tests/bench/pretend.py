"""A controller's surroundings without a process: runs, an engine, a watcher."""

import json
from dataclasses import asdict, dataclass, field, replace

from bench.grid.contracts import Exit
from bench.plan import Plan, PlannedRun, Run
from bench.spec import RunSpec, TrainSpec
from bench.store.holder import Holder
from bench.store.runs import Failure, Result, Store

CODES = {"done": 0, "killed": -9, "busy": 69, "lost": 76, "unwritten": 74}
"""Ends that leave no record of a failure."""


def run_of(seed, parent=None):
    return Run(RunSpec(train=TrainSpec(steps=1), seed=seed), "f" * 64, parent)


def plan_of(*runs):
    return Plan("p", "q", "", tuple(PlannedRun(f"v{i}", run) for i, run in enumerate(runs)))


def result_of(run):
    return Result(
        run.id, run.to_json(), "test", 1, ("a",), ((0, 0, 0),), [[1]], 1, 1.0, 1.0, {}, {}, ""
    )


@dataclass
class PretendEngine:
    """Ends each run soon; `outcomes` says how, by seed (done if not named)."""

    store: Store
    slots: int = 1
    outcomes: dict = field(default_factory=dict)
    started: list = field(default_factory=list)
    running: list = field(default_factory=list)
    stopped: bool = False
    polls: dict = field(default_factory=dict)
    """How many polls a run takes, by seed; 1 if not named."""

    def free_slots(self):
        return self.slots - len(self.running)

    def start(self, run_dir):
        assert self.free_slots() > 0
        self.started.append(run_dir.name)
        self.running.append(run_dir.name)

    def is_queued(self, run_id):
        return False

    def poll(self, seconds):
        exits = []
        for run_id in list(self.running):
            run = self.store.run(run_id)
            self.polls[run.spec.seed] = self.polls.get(run.spec.seed, 1) - 1
            if self.polls[run.spec.seed] > 0:
                continue
            self.running.remove(run_id)
            outcome = self.outcomes.get(run.spec.seed, "done")
            if outcome == "done":
                self.store.publish(result_of(run))
            elif outcome not in CODES:
                reason = outcome if outcome in ("nonfinite", "disk", "memory") else "error"
                self.store.record_failure(run_id, Failure(reason, outcome))
            exits.append(Exit(run_id, CODES.get(outcome, 70)))
        return exits

    def stop(self):
        self.stopped = True


@dataclass
class Notes:
    ends: dict = field(default_factory=dict)
    retries: list = field(default_factory=list)
    pauses: list = field(default_factory=list)

    def started(self, planned): ...

    def ended(self, planned, failure):
        self.ends[planned.variant] = failure and failure.reason

    def retried(self, planned, failure):
        self.retries.append(failure.reason)

    def left(self, planned): ...

    def paused(self, why):
        self.pauses.append(why)

    def lost(self, why):
        self.pauses.append(why)

    def tick(self): ...


def pretend_elsewhere(run_dir):
    """Make the present lease look like one of another machine, whose processes we cannot see."""
    (lease,) = run_dir.glob("lease-*")
    path = lease / "holder.json"
    path.write_text(json.dumps(asdict(replace(Holder.read(path), host="elsewhere"))))
    return lease

"""One run, from its folder to its result: where model, data, loop and store meet.

In: a run's folder with `spec.yaml`. Out: the files of that folder; `result.json` comes last.
A run that was stopped goes on from its checkpoint, with the same bits as if it never had been.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.atomic import file_digest, write_json
from bench.data.batches import Batches, eval_batches
from bench.data.layers import COLOUR, to_json
from bench.data.pack import open_pack
from bench.faults import fault_point
from bench.lease import LEASE_SECONDS, BusyError, Lease, LeaseLostError, hold
from bench.run import outcome
from bench.run.average import averaged, swap_average
from bench.run.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from bench.run.costs import measure_costs
from bench.run.environment import choose_device, describe_environment
from bench.run.evaluate import Evaluation, evaluate, save_evaluation
from bench.run.log import RunLog
from bench.run.losses import network_loss, resolve_class_weights, split_class_weights
from bench.run.optim import create_optimizer
from bench.run.signals import StopFlag, stop_on_signals
from bench.run.train import StepLog, fit
from bench.run.weights import copy_shared_weights, load_parent, save_weights
from bench.store import Result, Store
from fcn.model import Network, create_model
from fcn.weights import find_loaded

EVAL_BATCH_SIZE = 8


@dataclass(frozen=True)
class Options:
    """How a run is executed. Nothing here changes its result beyond rounding."""

    device: str = "auto"
    threads: int | None = None
    """CPU threads; None leaves torch's choice."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints."""
    lease_seconds: float = LEASE_SECONDS
    """Time after which a holder of the run that shows no life is turned out."""


def execute(run_dir: Path, options: Options) -> int:
    """Execute the run of a folder and return an exit code of `bench.run.outcome`.

    Reads and writes the store; sets torch's thread count and global random state.
    """
    try:
        with hold(run_dir, options.lease_seconds) as lease:
            return _execute(lease, Store(run_dir.parent.parent), options)
    except (BusyError, LeaseLostError, OSError) as error:  # OSError: no record could be written
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return outcome.exit_code(error)


def _execute(lease: Lease, store: Store, options: Options) -> int:
    run_id = lease.run_dir.name
    try:
        fault_point("run.locked")
        if store.status(run_id) != "done":
            store.forget_failure(run_id)
            _Execution(lease, store, run_id, options).complete()
    except BusyError:
        raise
    except Exception as error:
        # The one place where a run ends: whatever happened becomes its record.
        lease.check()
        logs = store.logs(run_id)
        store.record_failure(run_id, outcome.describe(error, logs[-1]["step"] if logs else None))
        return outcome.exit_code(error)
    return outcome.DONE


class _Execution:
    """What the stages of one run share."""

    def __init__(self, lease: Lease, store: Store, run_id: str, options: Options) -> None:
        if options.threads:
            torch.set_num_threads(options.threads)
        self.lease = lease
        self.store = store
        self.options = options
        self.run = store.run(run_id)
        self.spec = self.run.spec
        self.folder = store.run_dir(run_id)
        self.device = choose_device(options.device)
        self.environment = describe_environment(self.device)
        data = self.spec.data
        whole = open_pack(store.packs_dir, self.run.fingerprint)
        self.pack = whole.choose(data.inputs, data.targets)
        write_json(self.folder / "env.json", self.environment)
        self.notes: tuple[str, ...] = ()

    def complete(self) -> None:
        """Train, evaluate, publish."""
        model, weights = self.start_model()
        train_seconds = self.train(model)
        save_weights(self.folder / "model.safetensors", model)
        fault_point("weights.written")

        split = self.spec.evaluate.split
        start = time.perf_counter()
        evaluation = self.evaluate(model, split, boundary=self.spec.evaluate.boundary)
        evaluate_seconds = time.perf_counter() - start
        save_evaluation(self.folder / "eval" / f"{split}.npz", evaluation)
        fault_point("evaluation.written")

        first_picture = next(self.named_batches(model, split))[1][:1]
        outlines = evaluation.boundaries
        files = ("spec.yaml", "metrics.jsonl", "model.safetensors", f"eval/{split}.npz")
        result = Result(
            run_id=self.run.id,
            run=self.run.to_json(),
            split=split,
            num_images=len(evaluation.names),
            class_names=self.pack.class_names,
            palette=self.pack.palette,
            confusion=evaluation.confusion.tolist(),
            others=self.describe_others(evaluation),
            inputs=tuple(to_json(one) for one in self.pack.inputs if one != COLOUR),
            num_parameters=sum(p.numel() for p in model.parameters()),
            train_seconds=train_seconds,
            evaluate_seconds=evaluate_seconds,
            environment=self.environment,
            digests={name: file_digest(self.folder / name) for name in files},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            weights=weights,
            boundary=None if outlines is None else outlines.sum(0, dtype=np.int64).tolist(),
            notes=self.notes,
            **asdict(measure_costs(model, first_picture)),
        )
        fault_point("result.writing")
        self.lease.check()
        self.store.publish(result)
        remove_checkpoints(self.folder)

    def start_model(self) -> tuple[Network, dict[str, Any]]:
        """Create the network as it is before the first step, and say where its weights are from."""
        torch.manual_seed(self.spec.seed)
        settings = self.spec.model.model_dump()
        model = create_model(**settings, **self.pack.network_options())
        loaded = find_loaded(model)
        weights: dict[str, Any] = {
            "pretrained": self.spec.model.pretrained,
            **(asdict(loaded) if loaded else {}),
        }
        if self.run.parent is not None:
            parent = load_parent(self.store, self.run.parent)
            weights = {"parent": self.run.parent, **copy_shared_weights(model, parent)}
        layout = torch.channels_last if self.spec.train.channels_last else torch.contiguous_format
        model.to(device=self.device, memory_format=layout)  # type: ignore[call-overload]
        return model, weights

    def train(self, model: Network) -> float:
        """Train from the checkpoint, if any, to the last step; return its seconds in all."""
        train = self.spec.train
        loss_fn = partial(
            network_loss,
            model,
            targets=self.pack.targets,
            class_weights=self.class_weights(),
            target_weights=train.target_weights,
        )
        batches = Batches(
            self.pack,
            train,
            input_scale=self.spec.data.input_scale,
            seed=self.spec.seed,
            mean=model.mean,
            std=model.std,
            device=self.device,
        )
        optimizer = create_optimizer(model, train)
        resumed = load_checkpoint(self.folder, model, optimizer, self.environment)
        self.notes = self.store.add_notes(self.run.id, resumed.notes)
        log = RunLog(self.folder / "metrics.jsonl", resumed.step)
        seed = self.spec.seed
        steps = fit(model, batches, loss_fn, optimizer, train, seed=seed, after=resumed.step)
        saved = time.monotonic()
        with stop_on_signals() as stop:
            for step_log in steps:
                self.note_step(step_log, log)
                self.watch(model, optimizer, step_log.step, log)
                if step_log.step < (train.steps or 0) and self.is_due(saved, stop):
                    log.flush()
                    save_checkpoint(self.folder, model, optimizer, step_log.step, self.environment)
                    saved = time.monotonic()
                    if stop.requested:
                        raise outcome.StoppedError(
                            f"stopped by a signal after step {step_log.step}"
                        )
        log.flush()
        swap_average(optimizer)
        return log.seconds

    def note_step(self, step_log: StepLog, log: RunLog) -> None:
        """Log a step, and show that the run is alive."""
        self.lease.check()
        fault_point("step")
        if fault_point("loss"):
            step_log = replace(step_log, loss=step_log.loss * float("nan"))
        log.add(step_log)
        (self.folder / "heartbeat").touch()

    def is_due(self, saved: float, stop: StopFlag) -> bool:
        """Say whether a checkpoint is due: by a signal, or by time since the last."""
        waited = time.monotonic() - saved
        return stop.requested or waited >= self.options.checkpoint_seconds

    def watch(self, model: Network, optimizer: Optimizer, step: int, log: RunLog) -> None:
        """Score a split along the way, where the spec asks for it."""
        settings = self.spec.evaluate
        if settings.watch_every and step % settings.watch_every == 0:
            log.flush()
            with averaged(optimizer):
                evaluation = self.evaluate(model, settings.watch_split)
            log.add_watched(step, settings.watch_split, evaluation)

    def evaluate(self, model: Network, split: str, *, boundary: bool = False) -> Evaluation:
        """Count every picture of a split."""
        return evaluate(
            model,
            self.named_batches(model, split),
            num_images=len(self.pack.indices(split)),
            targets=self.pack.targets,
            precision=self.spec.train.precision,
            boundary=boundary,
        )

    def named_batches(
        self, model: Network, split: str
    ) -> Iterator[tuple[list[str], Tensor, Tensor]]:
        """Yield the pictures of a split with their names."""
        batches = eval_batches(
            self.pack,
            split,
            input_scale=self.spec.data.input_scale,
            mean=model.mean,
            std=model.std,
            device=self.device,
            batch_size=EVAL_BATCH_SIZE,
        )
        for indices, images, target in batches:
            yield [self.pack.name(i) for i in indices], images, target

    def class_weights(self) -> list[Tensor | None]:
        """Return the loss weight of each class on the device, or None, by label map."""
        train, targets = self.spec.train, self.pack.targets
        settings = split_class_weights(train.class_weights, [len(t.class_names) for t in targets])
        found = [
            resolve_class_weights(own, self.pack.image_class_counts(train.split, target.name))
            for own, target in zip(settings, targets, strict=True)
        ]
        return [None if weights is None else weights.to(self.device) for weights in found]

    def describe_others(self, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
        """Return what the record holds of further label maps."""
        return {
            target.name: {
                "class_names": target.class_names,
                "palette": target.palette,
                "confusion": evaluation.others[target.name].confusion.tolist(),
            }
            for target in self.pack.targets[1:]
        }

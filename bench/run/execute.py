"""One run, from its folder to its result: where model, data, loop and store meet.

In: a run's folder with `spec.yaml`. Out: the files of that folder; `result.json` comes last.
A run that was stopped goes on from its checkpoint, with the same bits as if it never had been.
"""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.optim import Optimizer

from bench.data.batches import Batches, has_one_shape
from bench.data.catalog import open_data
from bench.data.layers import COLOUR, Input
from bench.data.masking import masked
from bench.data.roles import judged_by, require_same_groups, trained_on
from bench.faults import fault_point
from bench.run import outcome
from bench.run.activations import checkpoint_blocks
from bench.run.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from bench.run.compiling import compiled
from bench.run.costs import count_others, measure_costs, measure_step_memory
from bench.run.distributed import Group, joined
from bench.run.ema import ema_applied, swap_ema
from bench.run.environment import (
    choose_device,
    configure_torch,
    describe_environment,
    limit_memory,
)
from bench.run.evaluate import save_evaluation
from bench.run.evaluate_split import describe_others, evaluate_split, named_batches
from bench.run.life import Life
from bench.run.log import RunLog
from bench.run.losses import create_terms, find_class_weights, network_loss
from bench.run.optim import create_optimizer
from bench.run.selection import Selection, read_select
from bench.run.signals import handlers_kept, stop_on_signals
from bench.run.train import StepLog, fit, place, require_finite
from bench.run.twins import copy_log, find_twin
from bench.run.weights import (
    copy_from_parents,
    require_planned,
    require_planned_file,
    save_weights,
)
from bench.store.atomic import file_digest, write_json
from bench.store.lease import LEASE_SECONDS, BusyError, DoneError, Lease, LeaseLostError, hold
from bench.store.records import FileWeights, InputLayer, Weights
from bench.store.runs import Result, Store
from fcn.errors import InputError
from fcn.model import Network, coarsest_stride, create_model
from fcn.weights import LoadedWeights, find_loaded


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
    rank: int = 0
    """Number of this process among those that share the run; the first writes."""
    processes: int = 1
    """How many processes share the run."""
    memory_share: float = 1.0
    """Part of a GPU's memory that the run may take, where others are on it too."""


@handlers_kept()
def execute(run_dir: Path, options: Options) -> int:
    """Execute the run of a folder and return an exit code of `bench.run.outcome`.

    Reads and writes the store; sets torch's thread count and global random state.
    """
    is_first = options.rank == 0  # the others compute, and write nothing
    try:
        store = Store(run_dir.parent.parent)
        with hold(run_dir, options.lease_seconds) if is_first else nullcontext() as lease:
            return _execute(lease, store, run_dir.name, options)
    except DoneError:
        return outcome.DONE
    except (BusyError, LeaseLostError, OSError) as error:  # OSError: no record could be written
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return outcome.exit_code(error)


def _execute(lease: Lease | None, store: Store, run_id: str, options: Options) -> int:
    """Execute a run, or this process's share of it; return the exit code."""
    try:
        if lease:
            fault_point("run.locked")
            store.forget_failure(run_id)
        with joined(options.rank, options.processes, choose_device(options.device)) as group:
            _Execution(lease, store, run_id, options, group).complete()
    except BusyError:
        raise
    except Exception as error:
        # The one place where a run ends: whatever happened becomes its record.
        return _end(lease, store, run_id, error)
    return outcome.DONE


def _end(lease: Lease | None, store: Store, run_id: str, error: Exception) -> int:
    """Record the error that ended a run, if it is this process's to record; return its code."""
    code = outcome.exit_code(error)
    if lease:
        lease.check()
    elif isinstance(error, outcome.StoppedError | outcome.NonFiniteLossError):
        return outcome.DONE  # all see these at the same step; the first process records them
    if lease is None or code == outcome.PEER:  # that cause is another's: see bench.grid.launch
        traceback.print_exception(error)
        return code
    logs = store.logs(run_id)
    store.record_failure(run_id, outcome.describe(error, logs[-1]["step"] if logs else None))
    return code


class _Execution:
    """What the stages of one run share; the first process alone has the lease, and writes."""

    def __init__(
        self, lease: Lease | None, store: Store, run_id: str, options: Options, group: Group
    ) -> None:
        self.lease = lease
        self.store = store
        self.options = options
        self.run = store.run(run_id)
        self.spec = self.run.spec
        require_planned(self.run)
        self.folder = store.run_dir(run_id)
        self.device = choose_device(options.device)
        limit_memory(self.device, options.memory_share)
        self.group = group
        whole = open_data(store, self.run)
        require_same_groups(whole, self.run)
        self.pack, self.trained = judged_by(whole, self.spec), trained_on(whole, self.spec)
        train = self.spec.train
        configure_torch(
            options.threads,
            deterministic=train.deterministic,
            tf32=train.precision == "tf32",
            benchmark=has_one_shape(self.trained, train),
        )
        self.environment = describe_environment(self.device, group.size)
        if lease:
            write_json(self.folder / "env.json", self.environment)
        self.evaluate = partial(
            evaluate_split,
            pack=self.pack,
            spec=self.spec,
            device=self.device,
            group=group,
            after_batch=self.show_life,
        )
        self.life = Life(lease, self.folder)
        self.notes: tuple[str, ...] = ()
        self.selection: Selection | None = None
        self.measure_step: Callable[[], float | None] = lambda: None

    def complete(self) -> None:
        """Train, evaluate, publish."""
        with self.group.main_process_first():  # it may download
            model, weights = self.start_model()
        self.hide(model)
        twin = self.take_twin(model)
        train_seconds = twin.train_seconds if twin else self.train(model)
        if self.lease:
            save_weights(self.folder / "model.safetensors", model)
            fault_point("weights.written")

        split = self.spec.evaluate.split
        start = time.perf_counter()
        evaluation = self.evaluate(
            model,
            split=split,
            pack=self.judge,
            boundary=self.spec.evaluate.boundary,
            surface=self.spec.evaluate.surface,
            calibration=self.spec.evaluate.calibration,
        )
        evaluate_seconds = time.perf_counter() - start
        # The network is another after it.
        step_memory = twin.step_memory_mib if twin else self.measure_step()
        if not self.lease:
            return
        groups = self.pack.groups(split)
        save_evaluation(self.folder / "eval" / f"{split}.npz", evaluation, groups)
        fault_point("evaluation.written")

        batches = named_batches(model, self.judge, split, self.spec, self.device)
        outlines, surfaces = evaluation.boundaries, evaluation.surfaces
        sure = evaluation.calibrations
        files = ("spec.yaml", "metrics.jsonl", "model.safetensors", f"eval/{split}.npz")
        result = Result(
            run_id=self.run.id,
            run=self.run.to_json(),
            split=split,
            num_images=len(evaluation.names),
            class_names=self.pack.class_names,
            palette=self.pack.palette,
            confusion=evaluation.confusion.tolist(),
            others=describe_others(evaluation, self.pack.targets),
            inputs=tuple(_describe_input(one) for one in self.pack.inputs if one != COLOUR),
            num_parameters=sum(p.numel() for p in model.parameters()),
            train_seconds=train_seconds,
            evaluate_seconds=evaluate_seconds,
            environment=self.environment,
            digests={name: file_digest(self.folder / name) for name in files},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            weights=weights,
            boundary=None if outlines is None else outlines.sum(0, dtype=np.int64).tolist(),
            surface=None if surfaces is None else surfaces.sum(0, dtype=np.int64).tolist(),
            calibration=None if sure is None else sure.sum(0).tolist(),
            notes=(*self.notes, *self.group.notes(self.spec.model.dropout)),
            step_memory_mib=step_memory,
            selected_step=twin.selected_step if twin else self._selected_step(),
            num_trained=len(self.trained.indices(self.spec.train.split)),
            **asdict(measure_costs(model, next(batches)[1][:1], self.count_others)),
        )
        fault_point("result.writing")
        self.lease.check()
        self.store.publish(result)
        remove_checkpoints(self.folder)
        if self.selection:
            self.selection.remove_files()

    def start_model(self) -> tuple[Network, Weights]:
        """Create the network as it is before the first step, and say where its weights are from."""
        torch.manual_seed(self.spec.seed)
        settings = self.spec.model.model_dump()
        model = create_model(**settings, **self.pack.network_options())
        loaded = find_loaded(model)
        require_planned_file(self.run, loaded)
        weights = _describe_weights(self.spec.model.pretrained, loaded)
        copied = copy_from_parents(model, self.store, self.run)
        place(model, self.spec.train, self.device)
        return model, copied or weights

    def hide(self, model: Network) -> None:
        """Have images hide what the settings say, by the mean colour that the network subtracts."""
        data, statistics = self.spec.data, (model.mean, model.std)
        self.judge = masked(self.pack, self.spec.judging_mask, data, *statistics)
        self.trained = masked(self.trained, data.mask, data, *statistics)
        self.pack = masked(self.pack, data.mask, data, *statistics)

    def take_twin(self, model: Network) -> Result | None:
        """Take weights and log of a run that was trained as this one is; None where none is done.

        The first process decides: another may see it later.
        """
        found = find_twin(self.store, self.run, self.pack.splits)
        if not self.group.any(self.group.is_first and found is not None):
            return None
        if found is None:
            raise InputError(f"run {self.run.id} starts from a run that this process cannot read")
        twin, weights = found
        model.load_state_dict(weights)
        if self.lease:
            copy_log(self.store, twin, self.folder)
        note = f"trained as run {twin.run_id}, which differs in how it is judged alone"
        self.notes = (*self.notes, *twin.notes, note)
        return twin

    def _selected_step(self) -> int | None:
        return self.selection.step if self.selection else None

    def train(self, model: Network) -> float:
        """Train from the checkpoint, if any, to the last step; return its seconds in all."""
        train = self.spec.train
        loss_fn = partial(
            network_loss,
            model,
            targets=self.pack.targets,
            terms=create_terms(train.loss),
            reduction=train.loss_reduction,
            class_weights=find_class_weights(train, self.trained, self.device),
            target_weights=train.target_weights,
            aux=train.aux,
            add_up=self.group.sum,
        )
        batches = Batches(
            self.trained,
            train,
            input_scale=self.spec.data.input_scale,
            seed=self.spec.seed,
            mean=model.mean,
            std=model.std,
            device=self.device,
            part=(self.group.rank, self.group.size),
            cell=coarsest_stride(model),
        )
        checkpoint_blocks(model, train)
        optimizer = create_optimizer(model, train, self.spec.model)
        with self.group.main_process_first():  # it sets damaged checkpoints aside
            resumed = load_checkpoint(self.folder, model, optimizer, self.environment)
        log = RunLog(self.folder / "metrics.jsonl" if self.lease else None, resumed.step)
        if self.lease:
            self.notes = self.store.add_notes(self.run.id, (*resumed.notes, *log.notes))
        fit_further = partial(
            fit, model, batches, loss_fn, optimizer, seed=self.spec.seed, group=self.group
        )
        steps = fit_further(train, after=resumed.step)
        best = read_select(self.spec)
        if best:
            self.selection = Selection(best, self.folder, log.evaluations, self.group)
        saved = time.monotonic()
        with compiled(model, train), stop_on_signals() as stop:
            for step_log in steps:
                self.note_step(step_log, log)
                is_better = self.watch(model, optimizer, step_log.step, log)
                if self.selection and self.selection.has_ended():
                    break
                stopping = self.group.any(stop.requested)
                is_due = is_better or self.is_due(saved, stopping)
                if step_log.step < (train.steps or 0) and is_due:
                    log.sync()
                    self.save(model, optimizer, step_log.step)
                    saved = time.monotonic()
                    if stopping:
                        raise outcome.StoppedError(
                            f"stopped by a signal after step {step_log.step}"
                        )
        log.sync()
        if self.selection and train.steps:
            self.notes = (*self.notes, self.selection.restore(model))
        else:
            swap_ema(optimizer)
        require_finite(model)
        one_more = train.model_copy(update={"steps": (train.steps or 0) + 1})
        further = fit_further(one_more, after=train.steps or 0)

        def step() -> None:
            next(further)

        self.measure_step = partial(measure_step_memory, step, model, optimizer, self.device)
        return log.seconds

    def count_others(self) -> int:
        """Count the other runs of the store that are at work on the device."""
        return count_others(self.store.root, self.run.id, self.environment)

    def note_step(self, step_log: StepLog, log: RunLog) -> None:
        """Log a step, and show that the run is alive."""
        self.show_life()
        fault_point("step")
        if fault_point("loss"):
            step_log = replace(step_log, loss=step_log.loss * float("nan"))
        log.add(step_log)

    def show_life(self) -> None:
        """See that the run is still this process's to make, and say that it is alive."""
        self.life.show()

    def is_due(self, saved: float, stopping: bool) -> bool:
        """Say whether a checkpoint is due: by a signal, or by time since the last."""
        return stopping or time.monotonic() - saved >= self.options.checkpoint_seconds

    def save(self, model: Network, optimizer: Optimizer, step: int) -> None:
        """Write a checkpoint, for all processes."""
        if self.lease:
            save_checkpoint(self.folder, model, optimizer, step, self.environment)

    def watch(self, model: Network, optimizer: Optimizer, step: int, log: RunLog) -> bool:
        """Score a split along the way, where the spec asks for it; say whether it is the best."""
        settings = self.spec.evaluate
        is_last = bool(self.selection) and step == self.spec.train.steps
        if not settings.eval_every or (step % settings.eval_every and not is_last):
            return False
        log.flush()
        with ema_applied(optimizer):
            evaluation = self.evaluate(model, split=settings.eval_split, pack=self.pack)
            log.add_evaluation(step, settings.eval_split, evaluation)
            counts = evaluation.confusion.tolist()
            return bool(self.selection and self.selection.take(step, counts, model))


def _describe_weights(pretrained: bool | str, loaded: LoadedWeights | None) -> FileWeights:
    """Record where starting weights are from, as far as it is known."""
    weights = FileWeights(pretrained=pretrained)
    if loaded is None:
        return weights
    weights |= FileWeights(
        source=loaded.source, sha256=loaded.sha256, num_tensors=loaded.num_tensors
    )
    if loaded.missing:
        weights["missing"] = list(loaded.missing)
    if loaded.origin:
        weights["origin"] = loaded.origin
    if loaded.licence:
        weights["licence"] = loaded.licence
    return weights


def _describe_input(one: Input) -> InputLayer:
    layer = InputLayer(
        name=one.name, channels=one.channels, mean=one.mean, std=one.std, log_range=one.log_range
    )
    if one.value_range:
        layer["value_range"] = one.value_range
    return layer

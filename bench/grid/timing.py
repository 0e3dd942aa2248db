"""How long a plan takes on this machine: by runs that the store has, else by a timed step.

In: a plan, its packs, a slot. Out: seconds of training and of evaluation by variant. They are
estimates: neither what runs beside each other do to one another is in them, nor waiting for disks.
"""

import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch

from bench.data.augment import scaled_size
from bench.data.packs.pack import Pack
from bench.data.roles import judged_by
from bench.grid.building import ModelCost, build
from bench.grid.gpus import find_gpus
from bench.grid.pace import PAST, SCALED, TIMED, Pace
from bench.grid.slots import Slot
from bench.plan import Plan, PlannedRun
from bench.run.environment import describe_environment
from bench.run.losses import network_loss
from bench.run.outcome import is_out_of_memory
from bench.run.train import autocast, place
from bench.spec import RunSpec
from bench.store.runs import Store
from fcn.errors import InputError

MOST_GMACS = 60.0
"""Forward, of a step that is timed on a CPU: it takes seconds, and more images take no longer each.
A GPU is only as fast as it should be with whole batches."""

LOOKED_AT = 2000
"""Finished runs of a store that are asked how long they took, the latest."""


def find_paces(
    plan: Plan,
    store: Store,
    packs: Mapping[str, Pack],
    costs: Mapping[str, ModelCost],
    slot: Slot,
    budget_seconds: float,
) -> dict[str, Pace]:
    """Estimate how long a run of each variant takes in a slot.

    Args:
        plan: What is to be run.
        store: Knows how long runs of the same settings took on such a device.
        packs: Packed data by fingerprint.
        costs: Of each variant's network.
        slot: Where runs are made.
        budget_seconds: Time after which no further step is timed; of variants that are left the
            multiply-adds are compared with those of variants that were timed, of the same
            backbone and precision where one was: a multiply-add of a depthwise convolution takes
            far longer, and so does one of bf16 where a processor imitates it.

    Returns:
        By variant; nothing of a variant for which nothing is known.
    """
    device = torch.device(slot.device)
    paces: dict[str, Pace] = {}
    past = _PastRuns(store, device, slot)
    timed: dict[str, float] = {}
    start = time.perf_counter()
    firsts = _kinds_in_turn(list(plan.first_seeds()))
    for planned in firsts:
        pack = judged_by(packs[planned.run.fingerprint], planned.run.spec)
        pace = past.pace_of(planned, len(pack.indices(planned.run.spec.evaluate.split)))
        if pace is None and time.perf_counter() - start < budget_seconds:
            pace = _time(planned, pack, costs[planned.variant], device, slot.threads)
            if pace is not None:
                timed[planned.variant] = pace.train_seconds / _work(planned, costs)
        if pace is not None:
            paces[planned.variant] = pace
    if timed:
        for planned in firsts:
            if planned.variant not in paces:
                pack = judged_by(packs[planned.run.fingerprint], planned.run.spec)
                seconds = _seconds_a_unit(planned, firsts, timed) * _work(planned, costs)
                evaluation = _scale_to_evaluation(planned, pack, seconds)
                paces[planned.variant] = Pace(seconds, evaluation, SCALED)
    return {name: paces[name] for name in plan.variants if name in paces}


def _kind_of(planned: PlannedRun) -> tuple[str, str]:
    """Return what decides most of how long a multiply-add takes: backbone and precision."""
    return planned.run.spec.model.backbone, planned.run.spec.train.precision


def _kinds_in_turn(firsts: list[PlannedRun]) -> list[PlannedRun]:
    """Return first one variant of each kind, then a second one, so that all are timed."""
    met: Counter[tuple[str, str]] = Counter()
    turns: list[tuple[int, int]] = []
    for place_in_plan, planned in enumerate(firsts):
        met[_kind_of(planned)] += 1
        turns.append((met[_kind_of(planned)], place_in_plan))
    return [firsts[place_in_plan] for _, place_in_plan in sorted(turns)]


def _seconds_a_unit(
    planned: PlannedRun, firsts: Sequence[PlannedRun], timed: Mapping[str, float]
) -> float:
    """Return the seconds of a unit of work, as timed of the kind, or else of what is next to it.

    That is another backbone in the same precision: where a processor imitates bf16, a step takes
    ten times as long.
    """
    own, kinds = _kind_of(planned), {one.variant: _kind_of(one) for one in firsts}
    of_kind = [seconds for variant, seconds in timed.items() if kinds[variant] == own]
    in_precision = [seconds for variant, seconds in timed.items() if kinds[variant][1] == own[1]]
    return statistics.median(of_kind or in_precision or timed.values())


def _work(planned: PlannedRun, costs: Mapping[str, ModelCost]) -> float:
    """Return what training takes, in a unit that networks have in common."""
    return max(1e-9, costs[planned.variant].gmacs * planned.run.num_images)


class _PastRuns:
    """How long finished runs of a store took, by what decides it."""

    def __init__(self, store: Store, device: torch.device, slot: Slot) -> None:
        self._where = [device.type, _device_name(device, slot), len(slot.devices)]
        self._threads = slot.threads if device.type == "cpu" else None
        self._known: dict[str, list[tuple[float, float]]] = {}
        latest = sorted(_result_times(store), reverse=True)[:LOOKED_AT]
        for _, run_id in latest:
            self._learn(store, run_id)

    def pace_of(self, planned: PlannedRun, num_scored: int) -> Pace | None:
        """Return the median of what is known of such runs; None where there is none."""
        found = self._known.get(_key_of(planned.run.spec, planned.run.fingerprint))
        if not found:
            return None
        by_step, by_image = (statistics.median(column) for column in zip(*found, strict=True))
        steps = planned.run.spec.train.steps or 0
        return Pace(by_step * steps, by_image * num_scored, PAST)

    def _learn(self, store: Store, run_id: str) -> None:
        try:
            result = store.result(run_id)
            run = store.run(run_id)
        except InputError:
            return
        steps = run.spec.train.steps
        if result is None or not steps or not result.num_images:
            return
        where = result.environment
        here = [where.get("device"), where.get("device_name"), where.get("processes", 1)]
        if here != self._where or self._threads not in (None, where.get("threads")):
            return
        key = _key_of(run.spec, run.fingerprint)
        times = (result.train_seconds / steps, result.evaluate_seconds / result.num_images)
        self._known.setdefault(key, []).append(times)


def _device_name(device: torch.device, slot: Slot) -> str:
    """Return what results call a slot's device; a GPU is not touched for it."""
    if device.type != "cuda":
        return str(describe_environment(device)["device_name"])
    names = [gpu.name for gpu in find_gpus() if gpu.uuid in slot.gpus or not slot.gpus]
    return names[0] if names else ""


def _key_of(spec: RunSpec, fingerprint: str) -> str:
    """Name what decides how long a step and an image of a run take; seeds and rates do not."""
    model = spec.model.model_copy(update={"pretrained": False, "score_init": "zero"})
    train = spec.train
    counts = (train.batch_size, train.grad_accum_steps, train.crop, train.scale, train.precision)
    return repr((model, spec.data, counts, train.channels_last, spec.evaluate, fingerprint))


def _result_times(store: Store) -> Iterator[tuple[float, str]]:
    for run_id in store.run_ids():
        try:
            yield (store.run_dir(run_id) / "result.json").stat().st_mtime, run_id
        except OSError:  # not done
            continue


def _time(
    planned: PlannedRun, pack: Pack, cost: ModelCost, device: torch.device, threads: int
) -> Pace | None:
    """Time a step of training and scale it; None where it does not fit into the memory."""
    train = planned.run.spec.train
    size = train.crop or _mean_size(pack, train.split, planned.run.spec.data.input_scale)
    number = train.batch_size
    if device.type == "cpu":
        of_one = cost.gmacs * math.prod(size) / math.prod(cost.size)
        number = min(number, max(2, int(MOST_GMACS / max(1e-9, of_one))))
    try:
        seconds = _time_step(planned.run.spec, pack, size, number, device, threads)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None
        raise
    training = seconds / number * planned.run.num_images
    return Pace(training, _scale_to_evaluation(planned, pack, training), TIMED)


def _time_step(
    spec: RunSpec,
    pack: Pack,
    size: tuple[int, int],
    number: int,
    device: torch.device,
    threads: int,
) -> float:
    """Return the seconds of forward and backward of one batch, after a first one."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = build(spec.model, pack.network_options(), "cpu").train()
        place(model, spec.train, device)
        images = torch.zeros(number, pack.num_channels, *size, device=device)
        layers = () if len(pack.targets) == 1 else (len(pack.targets),)
        target = torch.zeros(number, *layers, *size, dtype=torch.long, device=device)
        times = []
        for _ in range(2 if device.type == "cpu" else 4):
            start = time.perf_counter()
            with autocast(device, spec.train.precision):
                loss = network_loss(model, images, target, targets=pack.targets)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.item()  # waits for a GPU
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return min(times[1:])


def _scale_to_evaluation(planned: PlannedRun, pack: Pack, train_seconds: float) -> float:
    """Estimate the evaluations of a run: a forward pass is a third of a step, pixel by pixel."""
    spec = planned.run.spec
    steps, settings = spec.train.steps or 0, spec.evaluate
    trained = spec.train.crop or _mean_size(pack, spec.train.split, spec.data.input_scale)
    pixels = planned.run.num_images * math.prod(trained)
    if not pixels:
        return 0.0
    scored = _num_pixels(pack, settings.split, spec.data.input_scale)
    if settings.eval_every:
        times = steps // settings.eval_every
        scored += times * _num_pixels(pack, settings.eval_split, spec.data.input_scale)
    return train_seconds / 3 * scored / pixels


def _num_pixels(pack: Pack, split: str, scale: float) -> int:
    return sum(math.prod(scaled_size(pack.size(i), scale)) for i in pack.indices(split))


def _mean_size(pack: Pack, split: str, scale: float) -> tuple[int, int]:
    sizes = [scaled_size(pack.size(i), scale) for i in pack.indices(split)]
    sides = zip(*sizes, strict=True)
    height, width = (round(statistics.fmean(side)) for side in sides)
    return height, width

"""Schedules: the learning rate as a pure function of the step, by name.

In: how many steps are done after the warm-up, and how many there are. Out: a share of `train.lr`.
Durations are shares of those steps, so that a shape stays what it is when training gets longer.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Annotated, Any

from pydantic import Field

from bench.settings.calls import read_call, require_arguments
from bench.spec import TrainSpec
from fcn.errors import InputError, foreign_code
from fcn.registry import Registry

SCHEDULES: Registry[Callable[..., float]] = Registry("schedule")
"""name -> function of (step, steps), step from 0 to steps - 1, and arguments by name."""

ALMOST = 1e-9
"""What rounding may take from a share of the steps that is reached."""
LEAST_SHARE = 0.001
"""Of the steps, of the first of warm restarts: one after the other they are gone through."""

TRIED = 1000
"""Steps, evenly spread, whose rates are looked at before training."""

Factor = Annotated[float, Field(ge=0)]


def list_schedules() -> list[str]:
    """Return the names of all registered schedules."""
    return list(SCHEDULES)


def lr_at(step: int, train: TrainSpec) -> float:
    """Learning rate of a step.

    Args:
        step: The step, from 1 to `train.steps`.
        train: Settings; `steps` must be resolved.

    Raises:
        InputError: The schedule is unknown, or does not take its arguments.
    """
    assert train.steps is not None
    if step <= train.warmup_steps:
        return train.lr * step / train.warmup_steps
    shape = _shape(train.schedule, train.power)
    steps = max(1, train.steps - train.warmup_steps)
    return float(train.lr * shape(step - 1 - train.warmup_steps, steps))


def require_schedule(train: TrainSpec) -> None:
    """See that a schedule gives a learning rate for each step.

    Raises:
        InputError: It is unknown, does not take its arguments, or gives no usable rate.
    """
    steps = train.steps or 0
    _shape(train.schedule, train.power)  # also where no step is made
    for step in sorted({1, train.warmup_steps + 1, steps, *range(1, steps, 1 + steps // TRIED)}):
        if not 0 < step <= steps:
            continue
        with foreign_code(f"train.schedule {train.schedule!r} fails at step {step}: "):
            lr = lr_at(step, train)
        if not 0 <= lr < math.inf:
            raise InputError(
                f"train.schedule {train.schedule!r} gives a learning rate of {lr} at step {step}; "
                "it must be a number from 0 on"
            )


@lru_cache(maxsize=16)
def _shape(setting: str, power: float) -> Callable[[int, int], float]:
    call = read_call(setting)
    function = SCHEDULES[call.name]
    is_poly = call.name == "poly"  # whose one argument is a key of its own
    if is_poly and "power" in call.arguments:
        raise InputError("train.schedule poly: power is train.power of the spec")
    require_arguments(
        f"train.schedule {call.name}: {{}}", function, call.arguments, given=2 + is_poly
    )
    extra: dict[str, Any] = {"power": power} if is_poly else {}
    return partial(function, **call.arguments, **extra)


@SCHEDULES.register("poly")
def poly(step: int, steps: int, power: float) -> float:
    """Falls to 0 as a power, `train.power`, of what is left."""
    return float((1 - step / steps) ** power)


@SCHEDULES.register("cosine")
def cosine(step: int, steps: int, *, end: float = 0.0) -> float:
    """Falls to `end` as half a cosine.

    Reference: Loshchilov and Hutter, 2017, equation 5, arXiv:1608.03983.
    """
    return end + (1 - end) * (1 + math.cos(math.pi * (step / steps))) / 2


@SCHEDULES.register("constant")
def constant(step: int, steps: int) -> float:
    """Stays what it is."""
    return 1.0


@SCHEDULES.register("linear")
def linear(step: int, steps: int, *, end: float = 0.0) -> float:
    """Falls to `end` along a line."""
    return 1 - (1 - end) * step / steps


@SCHEDULES.register("step")
def step_down(step: int, steps: int, *, every: float = 1 / 3, factor: Factor = 0.1) -> float:
    """Is multiplied by `factor` after each share `every` of the steps."""
    _require_shares("step: every", [every])
    return float(factor) ** math.floor(step / steps / every + ALMOST)


@SCHEDULES.register("multistep")
def multistep(
    step: int, steps: int, *, at: Sequence[float] = (0.5, 0.75), factor: Factor = 0.1
) -> float:
    """Is multiplied by `factor` at each of several shares of the steps."""
    _require_shares("multistep: at", at)
    return float(factor) ** sum(step / steps + ALMOST >= share for share in at)


@SCHEDULES.register("one_cycle")
def one_cycle(
    step: int, steps: int, *, rise: float = 0.3, start: float = 0.04, end: float = 4e-6
) -> float:
    """Rises from `start` to 1 over the share `rise` of the steps, then falls to `end`; as cosines.

    Reference: Smith and Topin, 2018, arXiv:1708.07120; numbers and ends as torch has them.
    """
    _require_shares("one_cycle: rise", [rise])
    top, last = rise * steps - 1, max(1, steps - 1)
    if step <= top:
        return _between(start, 1.0, step / top) if top > 0 else 1.0
    return _between(1.0, end, (step - top) / (last - top))


@SCHEDULES.register("warm_restarts")
def warm_restarts(
    step: int, steps: int, *, first: float = 0.1, growth: float = 2.0, end: float = 0.0
) -> float:
    """Cosines one after the other: the first over the share `first`, each `growth` times as long.

    Reference: Loshchilov and Hutter, 2017, section 3, arXiv:1608.03983.
    """
    _require_shares("warm_restarts: first", [first])
    if first < LEAST_SHARE:
        raise InputError(
            f"train.schedule warm_restarts: first is {first}, more than a thousand cosines; give "
            f"{LEAST_SHARE} of the steps or more"
        )
    if growth < 1:
        raise InputError(f"train.schedule warm_restarts: growth is {growth}; give 1 or more")
    begin, length = 0.0, first * steps
    while step + ALMOST * steps >= begin + length:
        begin, length = begin + length, length * growth
    return _between(1.0, end, max(0.0, step - begin) / length)


def _between(start: float, end: float, done: float) -> float:
    """Return the way from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _require_shares(what: str, shares: Sequence[float]) -> None:
    if not shares or not all(0 < share <= 1 for share in shares):
        raise InputError(
            f"train.schedule {what} is {', '.join(map(str, shares)) or 'empty'}; give shares of "
            "the steps, above 0 and up to 1"
        )

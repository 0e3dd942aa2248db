"""Names that hold: what a variant states of itself stays so, or the spec is refused.

In: an ablation and what differs in its variants. Out: an `InputError` where `--set` or `adjust`
would undo a variant's own word: its row of the table would name a setting that was not run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ablations.fitting import spelled
from ablations.spec import Ablation, Adjustment, Differences
from bench.settings.keys import flatten, overlap
from bench.spec import parse_value
from fcn.errors import InputError

DURATIONS = {"train.steps", "train.epochs"}
"""Two keys for one thing: the one given last wins."""

MOST_NAMES = 4
"""Names of variants that a message lists."""


def require_names_that_hold(ablation: Ablation, variants: Mapping[str, Differences]) -> None:
    """Refuse what `--set` forces on variants that state another value themselves.

    Raises:
        InputError: There are such variants; the message names the keys and the way out.
    """
    for key, value in flatten(ablation.forced).items():
        undone = {
            name: own for name, diff in variants.items() for own in _undone(diff, {key: value})
        }
        if not undone:
            continue
        first, own = next(iter(undone.items()))
        way = f"change the variant itself, as in --set variants.{first}.{own}=..."
        if ablation.grid:
            way = (
                f"choose from the grid, as in --set 'grid.{own}=[...]', or leave combinations out "
                "with `exclude`"
            )
        raise InputError(
            f"{ablation.name}: --set {key}={spelled(value)} would undo {own}, which "
            f"{'the grid gives' if ablation.grid else 'is stated by'} {list_names(list(undone))}: "
            f"names would stand for what was not run; leave it out of --set, or {way}"
        )


def require_own_word(
    ablation: Ablation, name: str, differences: Differences, adjustment: Adjustment
) -> None:
    """Refuse an adjustment of what a variant that it fits states itself, to another value.

    Raises:
        InputError: It is one.
    """
    for own in _undone(differences, adjustment.set):
        states = "grid gives" if ablation.grid else "variant states itself"
        raise InputError(
            f"{ablation.name}, variant {name}: adjust.set would undo {own}, which the {states}; "
            "take it out of adjust.set, or narrow adjust.when"
        )


def _undone(stated: Differences, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield each key that is stated, and given another value."""
    for own, value in flatten(stated).items():
        for key, new in flatten(given).items():
            same = own == key and _same(key, value, new)
            if not same and (overlap(own, key) or {own, key} <= DURATIONS):
                yield own


def _same(key: str, one: Any, other: Any) -> bool:
    try:
        return bool(parse_value(key, one, where="") == parse_value(key, other, where=""))
    except InputError:  # judged where it is used
        return bool(one == other)


def list_names(names: list[str]) -> str:
    """Write the first of some names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more

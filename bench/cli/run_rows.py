"""Rows of `runs list`: what a run is, how it stands, how old and large it is, what it scored.

In: a store, and what a person wants to see of it. Out: a row for each run, all values plain.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench.durations import spell_bytes, spell_duration
from bench.metrics import summarize
from bench.settings.yaml_file import parse_setting
from bench.spec import RunSpec, parse_value
from bench.store.run_names import RunName
from bench.store.runs import Store
from bench.store.state import state_of
from fcn.errors import InputError
from fcn.registry import unknown_name

STATES = ("done", "running", "stopped", "failed", "missing", "unreadable")

COLUMNS = (
    *("id", "ablation", "variant", "seed", "state", "reason", "trial"),
    *("changed", "bytes", "pixel_acc", "miou"),
    *("backbone", "skip", "dataset", "steps", "seconds", "names"),
)


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted; what is empty wants all."""

    ablation: str = ""
    """Name of a question, or a pattern such as `camvid/*`."""
    variant: str = ""
    """The same of variants."""
    states: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by dotted key, as the schema of a run reads them."""

    @classmethod
    def read(
        cls, ablation: str, variant: str, states: Sequence[str], where: Sequence[str]
    ) -> "Filter":
        """Read what a command was given; `where` holds texts `key=value`.

        Raises:
            InputError: There is no such state, or a key or value is none of a run's.
        """
        for state in states:
            if state not in STATES:
                raise InputError(unknown_name("state", state, STATES))
        settings = {}
        for text in where:
            key, value = parse_setting(text, option="--where")
            settings[key] = parse_value(key, value, where="--where")
        return cls(ablation, variant, states, settings)

    def takes_name(self, names: Sequence[RunName]) -> bool:
        """Say whether one of a run's names is wanted, or none is asked for."""
        return not (self.ablation or self.variant) or any(
            fnmatchcase(name.ablation, self.ablation or "*")
            and fnmatchcase(name.variant, self.variant or "*")
            for name in names
        )

    def takes_spec(self, spec: RunSpec) -> bool:
        """Say whether a run's settings have the values that are wanted."""
        return all(_value_of(spec, key) == value for key, value in self.settings.items())


def list_rows(store: Store, wanted: Filter) -> Iterator[dict[str, Any]]:
    """Yield a row for each run of a store that is wanted, with the keys in `COLUMNS`."""
    names = store.names.by_id
    for run_id in store.run_ids():
        own = _in_order(names.get(run_id, ()), wanted)
        if not wanted.takes_name(own):
            continue
        row = run_row(store, run_id, own, wanted)
        if row is not None and (not wanted.states or row["state"] in wanted.states):
            yield row


def run_row(
    store: Store,
    run_id: str,
    names: Sequence[RunName],
    wanted: Filter | None = None,
) -> dict[str, Any] | None:
    """Return the row of one run; None where its settings are not those that are wanted.

    Args:
        store: The store.
        run_id: One of its runs.
        names: What questions call it.
        wanted: Which settings are wanted.
    """
    folder = store.run_dir(run_id)
    named = names[0] if names else None
    row = dict.fromkeys(COLUMNS) | {
        "id": run_id,
        "ablation": named and named.ablation,
        "variant": named and named.variant,
        "seed": named and named.seed,
        "names": [str(name) for name in names],
    }
    row["bytes"], changed = _measure(folder)
    row["changed"] = datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
    try:
        spec = store.run(run_id).spec
        result = store.result(run_id)
        failure = None if result else store.failure(run_id)
    except InputError as error:
        is_wanted = wanted is None or not wanted.settings
        return row | {"state": "unreadable", "reason": str(error)} if is_wanted else None
    if wanted is not None and not wanted.takes_spec(spec):
        return None
    scores = None if result is None else summarize(result.confusion)
    if result is not None:  # its files may have been copied since
        row["changed"] = result.finished
    seconds = result and round(result.train_seconds + result.evaluate_seconds, 1)
    return row | {
        "seed": spec.seed,
        "state": state_of(store, run_id),
        "reason": None if failure is None else str(failure.reason),
        "trial": spec.data.limit_images,
        "pixel_acc": None if scores is None else scores.pixel_acc,
        "miou": None if scores is None else scores.miou,
        "backbone": spec.model.external or spec.model.backbone,
        "skip": None if spec.model.external else spec.model.skip,
        "dataset": spec.data.dataset,
        "steps": spec.train.steps,
        "seconds": seconds,
    }


def show_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row for which a terminal has room, as people say them."""
    named = None if row["ablation"] is None else f"{row['ablation']}/{row['variant']}"
    network = "-".join(filter(None, (row["backbone"], row["skip"])))
    age = (datetime.now(UTC) - datetime.fromisoformat(row["changed"])).total_seconds()
    is_told = row["reason"] in (None, row["state"])
    state = row["state"] if is_told else f"{row['state']}: {row['reason']}"
    return {
        "id": row["id"],
        "ablation/variant": named or f"({network})",
        "seed": row["seed"],
        "state": state if row["trial"] is None else f"{state} (trial)",
        "mIoU, %": None if row["miou"] is None else f"{100 * row['miou']:.1f}",
        "age": spell_duration(max(0.0, age)),
        "size": spell_bytes(row["bytes"]),
    }


def _in_order(names: Sequence[RunName], wanted: Filter) -> list[RunName]:
    """Put the names that are wanted before those that are not."""
    return sorted(names, key=lambda name: not wanted.takes_name([name]))


def _value_of(spec: RunSpec, key: str) -> Any:
    value: Any = spec
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part)
    return value


def _measure(folder: Path) -> tuple[int, float]:
    """Return the bytes of a run's folder, and when one of its files changed last."""
    size, changed = 0, 0.0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            changed = max(changed, status.st_mtime)
            size += status.st_size if not path.is_dir() else 0
    return size, changed

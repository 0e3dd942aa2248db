"""What questions call their runs: `ablation/variant/seed`, beside the id that a run's content has.

In: plans, as commands meet them. Out: ids by name, and names by id. Kept in the store's
`names.jsonl`, a line for each name that was given, the latest last: a name means the run that its
question asked for last, and a run of which two questions ask has two names. Lines are only added,
each command's at once, so that no two commands lose each other's; what was cut is passed over.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from bench.plan import Plan
from bench.store.atomic import append_lines
from bench.store.records import CLOSED
from fcn.errors import InputError
from fcn.registry import unknown_name

FILE = "names.jsonl"


@dataclass(frozen=True)
class RunName:
    """A run's place in a question."""

    ablation: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.ablation}/{self.variant}/{self.seed}"


@with_config(CLOSED)
class _Line(TypedDict):
    id: str
    ablation: str
    variant: str
    seed: int


_LINE = TypeAdapter(_Line)


class RunNames:
    """The names of a store's runs; reads disk once, when it is first asked.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    @cached_property
    def ids(self) -> Mapping[RunName, str]:
        """Id by name."""
        return {name: run_id for run_id, name in self._lines}

    @cached_property
    def by_id(self) -> Mapping[str, tuple[RunName, ...]]:
        """Names of each run that has any, the latest first."""
        found: dict[str, dict[RunName, None]] = {}
        for run_id, name in reversed(self._lines):
            found.setdefault(run_id, {})[name] = None
        return {run_id: tuple(names) for run_id, names in found.items()}

    def find(self, text: str) -> str:
        """Return the id of the run that is named; the seed may be left out where there is one.

        Raises:
            InputError: No run has that name, with the nearest one, or the seeds of a variant.
        """
        spelled = {str(name): run_id for name, run_id in self.ids.items()}
        if text in spelled:
            return spelled[text]
        seeds = {str(n.seed): i for n, i in self.ids.items() if f"{n.ablation}/{n.variant}" == text}
        if len(seeds) == 1:
            return next(iter(seeds.values()))
        if seeds:
            raise InputError(
                f"{text} has runs with seed {', '.join(seeds)}; name one, as in {text}/{min(seeds)}"
            )
        if not spelled:
            raise InputError(
                f"no run in {self._path.parent} has a name yet, and {text!r} is no id; `fcn-bench "
                "run` names the runs of its question, `fcn-bench runs list` shows the ids"
            )
        raise InputError(unknown_name("run", text, spelled))

    def add(self, named: Iterable[tuple[str, RunName]]) -> None:
        """Remember names of runs, given as id and name; what is known already is not written."""
        lines = [
            {"id": run_id, **asdict(name)} for run_id, name in named if self.ids.get(name) != run_id
        ]
        if not lines:
            return
        append_lines(self._path, [json.dumps(line, ensure_ascii=False) for line in lines])
        for key in ("_lines", "ids", "by_id"):
            self.__dict__.pop(key, None)

    @cached_property
    def _lines(self) -> list[tuple[str, RunName]]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        found = []
        for line in content.split(b"\n"):
            try:
                row = _LINE.validate_json(line, strict=True)
            except ValidationError:  # cut short, or none of ours
                continue
            found.append((row["id"], RunName(row["ablation"], row["variant"], row["seed"])))
        return found


def names_of(plan: Plan) -> list[tuple[str, RunName]]:
    """Return id and name of each run of a plan, in its order."""
    return [(one.run.id, RunName(plan.name, one.variant, one.run.spec.seed)) for one in plan.runs]

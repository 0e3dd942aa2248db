"""Where the numbers are from: settings, software and logs, as text to show.

In: a plan and the records of its runs. Out: cleaned text, unescaped.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from bench.plan import Plan, PlannedRun
from bench.store.runs import EXACT_KEYS, Failure
from bench.text import clean, clean_block, number_of
from reports.formats import Table
from reports.results.frame import Record
from reports.results.settings import flatten, own_values, share_values
from reports.style import MISSING, duration

MAX_LOG = 4000
"""Characters of a failure's log that are shown: its end."""

MAX_LISTED = 2000
"""Runs that a page lists; `runs.csv` has all."""


@dataclass(frozen=True)
class Unfinished:
    """A planned run without a result, and why."""

    name: str
    status: str
    reason: str
    message: str
    details: str


def list_unfinished(records: Sequence[Record]) -> list[Unfinished]:
    """List the planned runs that have no result, in the plan's order."""
    return [
        Unfinished(
            name=f"{clean(record.planned.variant)}, seed {record.planned.run.spec.seed}",
            status=record.status,
            reason=clean(record.failure.reason) if record.failure else "",
            message=clean(_say(record.failure)) if record.failure else "not run yet",
            details=clean_block(record.failure.details)[-MAX_LOG:] if record.failure else "",
        )
        for record in records
        if record.status != "done"
    ]


def list_footnotes(records: Sequence[Record]) -> list[str]:
    """Say what a reader of the scores must know: machines mixed, inexact resumes, damage met."""
    runs: dict[str, list[str]] = {}
    for record in records:
        for note in record.result.notes if record.result else ():
            name = f"{clean(record.planned.variant)}, seed {record.planned.run.spec.seed}"
            runs.setdefault(clean(note), []).append(name)
    own = [f"{'; '.join(names)}: {note}" for note, names in runs.items()]
    return [*_list_mixtures(records), *own]


def _list_mixtures(records: Sequence[Record]) -> Iterator[str]:
    """Yield what the runs were made with more than one of, where that changes bits."""
    made = [record.result.environment for record in records if record.result]
    for key in EXACT_KEYS:
        # On a GPU, threads of the CPU move no sum.
        where = [one for one in made if key != "threads" or one.get("device") == "cpu"]
        found = [clean(one.get(key)) for one in where if key in one]
        if len(set(found)) > 1:
            name = key.replace("_", " ")
            yield (
                f"made with more than one {name}: {_tally(found)}. The same run has other last "
                "bits there, and after many steps other scores; between variants, that is part of "
                "the difference"
            )


def _say(failure: Failure) -> str:
    """Return a failure's message, with the last step that was logged before it."""
    return failure.message + (f" (last logged step: {failure.step})" if failure.step else "")


@dataclass(frozen=True)
class RunFacts:
    """What is known of one planned run: everything that leads from a number to its making."""

    name: str
    anchor: str
    """Its id on the page."""
    facts: tuple[tuple[str, str], ...]
    """Name and value: state, id, commit, versions, device, durations, folder, command."""
    settings: str
    """Settings in which it differs from the others, a line for each."""


def choose_listed(records: Sequence[Record]) -> list[int]:
    """Choose the runs that a page lists, by place: of very many those without a result first."""
    places = sorted(range(len(records)), key=lambda k: records[k].status == "done")
    return sorted(places[:MAX_LISTED])


def name_anchors(records: Sequence[Record]) -> list[str]:
    """Name the place of each planned run on the page, by its id: adding a variant moves no link.

    A run that stands for several variants has several places.
    """
    seen: Counter[str] = Counter()
    anchors = []
    for record in records:
        run_id = record.planned.run.id
        seen[run_id] += 1
        anchors.append(f"run-{run_id}" + f"-{seen[run_id]}" * (seen[run_id] > 1))
    return anchors


def name_variant_anchor(variant: str) -> str:
    """Name the place of a variant on the page by its name, in characters that an address holds."""
    plain = re.sub(r"[^\w.-]+", "_", variant)
    told_apart = hashlib.sha256(variant.encode(errors="surrogatepass")).hexdigest()[:6]
    return f"variant-{plain}" if plain == variant else f"variant-{plain}-{told_apart}"


def list_facts(plan: Plan, records: Sequence[Record]) -> dict[str, list[RunFacts]]:
    """List the facts of every planned run by variant, in the plan's order."""
    common = share_values([_dump(planned) for planned in plan.runs])
    facts: dict[str, list[RunFacts]] = {}
    for anchor, record in zip(name_anchors(records), records, strict=True):
        planned = record.planned
        own = own_values(_dump(planned), common)
        facts.setdefault(planned.variant, []).append(
            RunFacts(
                name=f"{clean(planned.variant)}, seed {planned.run.spec.seed}",
                anchor=anchor,
                facts=tuple((name, clean(value)) for name, value in _list_facts(plan, record)),
                settings=clean_block(
                    "\n".join(f"{k}: {_brief(v)}" for k, v in flatten(own).items())
                ),
            )
        )
    return facts


def _list_facts(plan: Plan, record: Record) -> Iterator[tuple[str, str]]:
    """Yield name and value of what is known; what is not known is left out."""
    run, result, failure = record.planned.run, record.result, record.failure
    reason = f" ({failure.reason}): {_say(failure)}" if failure else ""
    yield "state", f"{record.status}{reason}"
    yield "run", run.id
    if run.parents:
        yield "starts from run", ", ".join(run.parents)
    yield "folder in the store", f"{run.id[:2]}/{run.id}/"
    yield "dataset fingerprint", run.fingerprint[:16]
    if result is not None:
        environment = result.environment
        yield "commit", str(environment.get("commit") or "not recorded")
        names = ("python", "torch", "torchvision", "timm", "numpy", "fcn-bench")
        versions = [f"{name} {found}" for name in names if (found := environment.get(name))]
        yield "versions", ", ".join(versions) or "not recorded"
        device = [environment.get(name) for name in ("device", "device_name", "platform")]
        count = environment.get("threads")
        threads = None if count is None else f"{count} thread{'s' * (str(count) != '1')}"
        yield "device", ", ".join(str(part) for part in (*device, threads) if part)
        yield "training", duration(result.train_seconds)
        yield "evaluation", duration(result.evaluate_seconds)
        yield "finished", result.finished
        for note in result.notes:
            yield "note", note
    if plan.command:
        yield "command", plan.command


def shared_settings(plan: Plan) -> str:
    """Write the settings that all runs have in common, as YAML."""
    common = share_values([_dump(planned) for planned in plan.runs])
    return clean_block(yaml.safe_dump(common, sort_keys=False, allow_unicode=True))


def settings_table(runs: pd.DataFrame, factors: Sequence[str]) -> Table:
    """Show each variant's value of every setting in which the variants differ."""
    variants = runs.drop_duplicates("variant")
    cells = pd.DataFrame({"variant": [clean(name) for name in variants["variant"]]})
    names = {"backbone": "model.backbone", "skip": "model.skip"}
    for factor in ("backbone", "skip", *factors):
        if factor not in names or variants[factor].nunique() > 1:
            cells[clean(names.get(factor, factor))] = [clean(value) for value in variants[factor]]
    return Table(cells, frozenset())


def environment_table(records: Iterable[Record]) -> Table:
    """Show device and versions; where runs differ, each value with the number of its runs."""
    values: dict[str, list[str]] = {}
    for record in records:
        for key, value in record.result.environment.items() if record.result else ():
            values.setdefault(clean(key), []).append(clean(value))
    rows = [(key, _tally(found)) for key, found in values.items()]
    return Table(pd.DataFrame(rows, columns=["what", "value"]), frozenset())


def weights_table(records: Iterable[Record]) -> Table:
    """Show where each variant's starting weights came from, as its runs recorded it."""
    weights: dict[str, list[str]] = {}
    for record in records:
        if record.result and record.result.weights:
            text = "; ".join(f"{k}: {_brief(v)}" for k, v in record.result.weights.items())
            weights.setdefault(clean(record.planned.variant), []).append(clean(text))
    rows = [(variant, found[0]) for variant, found in weights.items()]
    return Table(pd.DataFrame(rows, columns=["variant", "starting weights"]), frozenset())


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entr{'y' if len(value) == 1 else 'ies'}" if value else "none"
    return value if isinstance(value, str) else json.dumps(value)


def _tally(found: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(found))
    if len(distinct) == 1:
        return distinct[0] or MISSING
    return ", ".join(f"{value} ({number_of(found.count(value), 'run')})" for value in distinct)


def _dump(planned: PlannedRun) -> dict[str, Any]:
    return planned.run.spec.model_dump(mode="json")

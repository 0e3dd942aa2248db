"""When claims were written down: before their runs, or after. The store's `claims.json`.

In: a plan that is about to be run. Out: for each claim the time at which it was first noted here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from bench.plan import Plan
from bench.store.atomic import write_json
from bench.store.records import read_record

NOTED = "claims.json"
Times = dict[str, dict[str, str]]
"""By question and digest of the claim, the time in ISO 8601, UTC."""
_TIMES = TypeAdapter(Times)


def note_claims(root: Path, plan: Plan) -> None:
    """Note the claims of a plan that are not noted yet; call it before its first step.

    Raises:
        InputError: What was noted before is damaged.
    """
    if not plan.claims:
        return
    times = _read(root)
    own = times.setdefault(plan.name, {})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = {plan.digest(claim): now for claim in plan.claims}
    if new.keys() - own.keys():
        times[plan.name] = new | own
        write_json(root / NOTED, times)


def read_noted(root: Path, plan: Plan) -> Mapping[str, str]:
    """Return when each claim of a plan was noted first, by its digest.

    Raises:
        InputError: The file is damaged.
    """
    return _read(root).get(plan.name, {})


def _read(root: Path) -> Times:
    way_out = "delete it: all claims then count as added after their runs"
    return read_record(root / NOTED, _TIMES, way_out=way_out) or {}

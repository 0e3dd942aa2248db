"""Looks at claims, kept: what was decided when, and with how much of the 5 %. `looks.json`.

In: a question's plan with its own seeds. Out: its `Looks`, or why those that lie there are not of
it any more. A look is written once, whole, and never again: whoever goes on finds what was decided.
"""

import hashlib
import json
from pathlib import Path

from pydantic import TypeAdapter

from bench.looks import Looks
from bench.plan import Plan
from bench.store.atomic import write_json
from bench.store.records import read_record
from fcn.errors import InputError

FILE = "looks.json"
_LOOKS = TypeAdapter(dict[str, dict[str, Looks]])
"""By question, and by digest of what its variants are."""
_PLAIN = TypeAdapter(Looks)


def read_looks(root: Path, plan: Plan) -> Looks | None:
    """Return the looks that were taken at a question; None where there is none.

    Args:
        root: Folder of the store.
        plan: The question with the seeds of its spec.

    Raises:
        InputError: The file is damaged.
    """
    return _read(root).get(plan.name, {}).get(digest_variants(plan))


def write_looks(root: Path, plan: Plan, looks: Looks) -> None:
    """Keep the looks at a question in the place of what was kept of it; takes what the above does.

    Raises:
        InputError: The file is damaged, or holds a look that these do not.
    """
    known = _read(root)
    own = known.setdefault(plan.name, {})
    before = own.get(digest_variants(plan))
    if before is not None and before.looks != looks.looks[: len(before.looks)]:
        raise InputError(
            f"{root / FILE}: another command has taken a look at {plan.name} meanwhile; give this "
            "command again, and it goes on from there"
        )
    own[digest_variants(plan)] = looks
    write_json(
        root / FILE,
        {
            name: {key: _PLAIN.dump_python(one, mode="json") for key, one in of_name.items()}
            for name, of_name in known.items()
        },
    )


def digest_variants(plan: Plan) -> str:
    """Return what tells the variants of a question from others of its name: their first runs."""
    first = plan.runs[0].run.spec.seed
    ids = {one.variant: one.run.id for one in plan.runs if one.run.spec.seed == first}
    return _digest(sorted(ids.items()))


def digest_question(plan: Plan) -> str:
    """Return what looks may not survive a change of: claims, margin and seeds."""
    claims = sorted(plan.digest(claim) for claim in plan.claims)
    return _digest([claims, list_seeds(plan)])


def list_seeds(plan: Plan) -> list[int]:
    """Return the seeds of a plan, in order."""
    return list(dict.fromkeys(one.run.spec.seed for one in plan.runs))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _read(root: Path) -> dict[str, dict[str, Looks]]:
    way_out = (
        "delete it, and `run --until-decided` takes all looks anew; verdicts from before then "
        "count for nothing"
    )
    return read_record(root / FILE, _LOOKS, way_out=way_out) or {}

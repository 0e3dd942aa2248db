"""What may be tuned, and by what: keys, values, and a split that chooses and is not reported.

In: a question with `tune`, and what is tried of it. Out: the combinations of values, or an
`InputError` before anything is trained.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from ablations.expand import variants_of
from ablations.fitting import spelled
from ablations.names import DURATIONS, list_names
from bench.data.overlap import NUM_NAMED, name_shared
from bench.settings.calls import read_call
from bench.settings.keys import flatten, overlap
from bench.spec import ModelSpec, TrainSpec, parse_value
from fcn.errors import InputError
from fcn.registry import suggest_name

if TYPE_CHECKING:
    from ablations.spec import Ablation
    from bench.data.packs.pack import Pack
    from bench.plan import Plan, PlannedRun

MOST_TRIED = 64
"""Runs for each variant."""
ALSO_TUNABLE = ("data.input_scale",)
"""Keys beside those of model and train: the others say what is asked, or who judges."""
NOT_TUNABLE = (
    *("train.split", "train.init_from", "train.init_streams"),
    "train.checkpoint_activations",
)


def list_tuned(ablation: "Ablation") -> dict[str, list[Any]]:
    """Return the values that are tried, by key, as a run has them.

    Raises:
        InputError: A key cannot be tuned or is stated elsewhere, or a value is wrong or there
            twice, or there are too many.
    """
    where = f"{ablation.name}: tune"
    tried = {}
    for key, given in ablation.tune.items():
        _require_key(key, where)
        values = [to_jsonable_python(parse_value(key, one, where=where)) for one in given]
        twice = [value for k, value in enumerate(values) if value in values[:k]]
        if twice:
            raise InputError(f"{where}: {key} has {spelled(twice[0])} twice; keep one of them")
        tried[key] = values
    _require_apart(ablation)
    if (number := math.prod(map(len, tried.values()))) > MOST_TRIED:
        sizes = " x ".join(str(len(values)) for values in tried.values())
        raise InputError(
            f"{where}: {sizes} values are {number} runs for each variant, and there may be "
            f"{MOST_TRIED}; try fewer values, or tune fewer keys together"
        )
    return tried


def require_judge(ablation: str, planned: "PlannedRun") -> None:
    """See that a run is scored at its end, by a split that may choose."""
    spec = planned.run.spec
    judge, train = spec.evaluate, spec.train
    where = f"{ablation}: tune chooses by scores of evaluate.eval_split"
    steps = train.steps or 0
    if not judge.eval_every:
        raise InputError(
            f"{where}, and evaluate.eval_every is 0, so that there are none; write "
            f"evaluate.eval_every: {max(steps, 1)}, for one at the end"
        )
    for key, split in (("evaluate.split", judge.split), ("train.split", train.split)):
        if judge.eval_split == split:
            what = "is reported" if key == "evaluate.split" else "is trained on"
            raise InputError(
                f"{where} {split!r}, which {what} ({key}): the scores of what is chosen would be "
                "too good, or the choice worth nothing; name another split"
            )
    if read_call(train.select).name == "last" and steps % judge.eval_every:
        divisor = max(k for k in range(1, judge.eval_every) if steps % k == 0)
        raise InputError(
            f"{where}, and none is taken at the end of training: evaluate.eval_every "
            f"{judge.eval_every} does not divide train.steps {steps}; write {divisor}, say, or "
            f"{steps}"
        )


def require_apart_images(plan: "Plan", packs: "Mapping[str, Pack]") -> None:
    """See that no image by which values are chosen is one that is reported.

    Args:
        plan: With what is tried.
        packs: Packed data by fingerprint.

    Raises:
        InputError: There are such images; some are named.
    """
    seen = set()
    for planned in plan.tries:
        run, judge = planned.run, planned.run.spec.evaluate
        if (key := (run.fingerprint, judge.eval_split, judge.split)) in seen:
            continue
        seen.add(key)
        pack = packs[run.fingerprint]
        names = name_shared((pack, judge.eval_split), (pack, judge.split))
        if names:
            more = f" and others, {len(names)} in all" if len(names) > NUM_NAMED else ""
            raise InputError(
                f"{plan.name}: tune would choose by evaluate.eval_split {judge.eval_split!r}, and "
                f"split {judge.split!r}, which is reported, has images of it: "
                f"{', '.join(names[:NUM_NAMED])}"
                f"{more}; scores of what is chosen would be too good. Choose by a split without "
                "them"
            )


def is_tunable(key: str) -> bool:
    """Say whether a dotted key is one of those that may be tuned, or lies below one."""
    return any(f"{key}.".startswith(f"{name}.") for name in _list_tunable())


def _list_tunable() -> list[str]:
    known = [*(f"model.{name}" for name in ModelSpec.model_fields)]
    known += [*(f"train.{name}" for name in TrainSpec.model_fields), *ALSO_TUNABLE]
    return [name for name in known if name not in NOT_TUNABLE]


def _require_key(key: str, where: str) -> None:
    """Refuse a key whose values say what is asked, or who judges it."""
    if is_tunable(key):
        return
    known = _list_tunable()
    short = [name for name in known if name.endswith(f".{key}")]
    meant = f"; did you mean {short[0]!r}?" if short else suggest_name(key, known)
    raise InputError(
        f"{where}: {key!r} is no key that can be tuned{meant} Those of `model` and `train` are, "
        f"and {', '.join(ALSO_TUNABLE)}, but for {list_names(list(NOT_TUNABLE))}; the others "
        "say what is asked, or who judges it"
    )


def _require_apart(ablation: "Ablation") -> None:
    """Refuse to tune what something else in the spec, or --set, states already."""
    stated = {f"variant {name}": own for name, own in variants_of(ablation).items()}
    if ablation.grid:
        stated = {"the grid": dict.fromkeys(ablation.grid)}
    stated["--set"] = dict(ablation.forced)
    for one in ablation.adjust:
        stated["adjust.set"] = {**stated.get("adjust.set", {}), **flatten(one.set)}
        stated["adjust.when"] = {**stated.get("adjust.when", {}), **flatten(one.when)}
    for key in ablation.tune:
        whose = [
            who
            for who, own in stated.items()
            if any(overlap(key, other) or {key, other} <= DURATIONS for other in flatten(own))
        ]
        if whose:
            raise InputError(
                f"{ablation.name}: tune chooses {key} for every variant among the same values, and "
                f"{list_names(whose)} {'states' if len(whose) == 1 else 'state'} it: take it out "
                "there, or out of `tune` (--set tune={} leaves nothing to tune)"
            )

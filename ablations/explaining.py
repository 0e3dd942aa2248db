"""A spec explained: what all variants share, in what they differ, and what stays as it is.

In: an `Ablation`. Out: for each key that is not everywhere its default, its value in each variant,
bases, grids and adjustments resolved. Neither data nor torch is needed.
"""

from collections.abc import Iterable
from typing import Any

from ablations.expand import specs_of
from ablations.fitting import spelled
from ablations.spec import Ablation
from ablations.tunable import list_tuned
from bench.settings.keys import flatten, overlap
from bench.spec import RunSpec
from fcn.errors import InputError
from fcn.registry import unknown_name


def explain_spec(ablation: Ablation) -> dict[str, Any]:
    """Return what a spec asks for, resolved, as plain values.

    Returns:
        `name`, `question`, `seeds`, `baseline`; `tune`: by key, the values of which each variant
        gets its best, which then is nowhere else; `shared`: what all variants have in common and
        the defaults do not, by dotted key; `differences`: by key, the value of each variant by
        name.

    Raises:
        InputError: As `expand.specs_of`.
    """
    tried = list_tuned(ablation)
    settings = {name: _settings(spec, tried) for name, spec in specs_of(ablation).items()}
    defaults = _settings(RunSpec())
    keys = list(dict.fromkeys(key for own in settings.values() for key in own))
    first = next(iter(settings.values()))
    shared, differences = {}, {}
    for key in keys:
        values = {name: own.get(key) for name, own in settings.items()}
        if any(value != values[next(iter(values))] for value in values.values()):
            differences[key] = values
        elif first.get(key) != defaults.get(key):
            shared[key] = first.get(key)
    return {
        "name": ablation.name,
        "question": ablation.question,
        "seeds": list(ablation.seeds),
        "baseline": ablation.baseline,
        "tune": tried,
        "shared": shared,
        "differences": differences,
    }


def explain_variant(ablation: Ablation, variant: str) -> dict[str, Any]:
    """Return every setting of one variant by dotted key, defaults too.

    Raises:
        InputError: There is no such variant, or as `expand.specs_of`.
    """
    specs = specs_of(ablation)
    if variant not in specs:
        raise InputError(unknown_name("variant", variant, specs))
    tried = list_tuned(ablation)
    of = {key: f"the best of {spelled(values)}, chosen by tune" for key, values in tried.items()}
    return {**_settings(specs[variant], tried), **of}


def shared_rows(explained: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the settings that all variants share, beside the defaults."""
    defaults = _settings(RunSpec())
    return [
        {"in all variants": key, "value": spelled(value), "default": spelled(defaults.get(key))}
        for key, value in explained["shared"].items()
    ]


def tuned_rows(explained: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each key that is tuned, with what is tried."""
    return [
        {"each variant has its best": key, "of": spelled(values)}
        for key, values in explained["tune"].items()
    ]


def difference_rows(explained: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each variant, with a column for each key in which they differ."""
    differences = explained["differences"]
    names = list(next(iter(differences.values()), {}))
    return [
        {"variant": name, **{key: spelled(own[name]) for key, own in differences.items()}}
        for name in names
    ]


def _settings(spec: RunSpec, tried: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings of a variant by dotted key, without those that are `tried`."""
    values = flatten(spec.model_dump(mode="json"))
    values.pop("seed")  # each variant is run with every one
    values = {k: v for k, v in values.items() if not any(overlap(k, key) for key in tried)}
    if not spec.data.options:
        values.pop("data.options", None)
    return values

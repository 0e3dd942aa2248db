"""How networks were trained, in sentences: what all share, where they differ, what was chosen."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.settings.keys import overlap
from bench.text import clean, number_of
from bench.tuning import spell_value, spell_values
from reports.methods.citing import cite
from reports.methods.references import METHOD
from reports.results.settings import flat_settings, plain
from reports.study import Study
from reports.style import enumerate_names, label

RECIPE = {
    "model.backbone": "backbone",
    "model.skip": "skip",
    "model.head": "head",
    "model.upsampling": "upsampling",
    "model.pretrained": "pretrained weights",
    "data.input_scale": "images scaled by",
    "train.steps": "updates",
    "train.batch_size": "images in a batch",
    "train.optimizer": "optimiser",
    "train.lr": "learning rate",
    "train.weight_decay": "weight decay",
    "train.schedule": "schedule",
    "train.warmup_steps": "updates of warm-up",
    "train.loss": "loss",
    "train.class_weights": "class weights",
    "train.crop": "crops of",
    "train.scale": "random scale",
    "train.flip": "random flip",
    "train.ema_decay": "decay of averaged weights",
    "train.precision": "precision",
}
"""Settings that are told, in their order, with their words; others are in `runs.csv`."""
JOINED = {"train.crop": "x", "train.scale": " to "}
"""What stands between the two numbers of a setting."""


def tell_training(study: Study) -> Iterator[str]:
    """Yield sentences on the variants, their settings, their seeds, and what finished."""
    variants = study.plan.variants
    names = enumerate_names(map(clean, variants), most=len(variants))
    is_one = len(variants) == 1
    yield (
        f"{number_of(len(variants), 'variant')} ({names}) of fully convolutional networks"
        f"{cite(*METHOD)} "
        + (
            "was trained."
            if is_one
            else "were trained by one loop, so that they differ in their settings alone."
        )
    )
    shared, varied = _split_settings(study)
    if varied:
        yield f"They differ in {enumerate_names(varied, most=len(varied))}."
    yield from _tell_tuning(study)
    yield f"{'It has' if is_one else 'All have'} {'; '.join(shared)}."
    yield from _tell_weights(study)
    yield (
        f"{_tell_seeds(study)}; a seed decides on initial weights, the order of images and their "
        "augmentation."
    )
    planned, done = len(study.runs), int((study.runs["status"] == "done").sum())
    lost = study.runs[study.runs["status"] != "done"]
    runs = zip(lost["variant"], lost["seed"], lost["status"], strict=True)
    told = "; ".join(f"{clean(variant)}, seed {seed}, {status}" for variant, seed, status in runs)
    yield f"{done} of {number_of(planned, 'run')} finished{f' ({told})' * bool(told)}."


def _tell_weights(study: Study) -> Iterator[str]:
    """Say of each file of starting weights where it is from, as far as its runs recorded it."""
    found: dict[tuple[str, str, str], None] = {}
    for record in study.records:
        weights: Mapping[str, Any] = record.result.weights if record.result else {}
        if origin := weights.get("origin"):
            found[str(weights["pretrained"]), origin, weights.get("licence", "")] = None
    for name, origin, licence in found:
        under = f"; licence {clean(licence)}" * bool(licence)
        yield f"The weights {clean(name)} are from {clean(origin)}{under}."


def _tell_seeds(study: Study) -> str:
    """Say with which seeds variants were trained: all with the same, or each with its own."""
    seeds: dict[str, list[int]] = {}
    for planned in study.plan.runs:
        seeds.setdefault(planned.variant, []).append(planned.run.spec.seed)
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for variant, own in seeds.items():
        by_seeds.setdefault(tuple(sorted(own)), []).append(clean(variant))
    told = []
    for numbers, variants in by_seeds.items():
        who = "Each" if len(by_seeds) == 1 else enumerate_names(variants, most=len(variants))
        was = "was" if len(by_seeds) == 1 or len(variants) == 1 else "were"
        which = enumerate_names(map(str, numbers), most=len(numbers))
        told.append(f"{who} {was} trained with seed{'s' * (len(numbers) > 1)} {which}")
    return "; ".join(told)


def _tell_tuning(study: Study) -> Iterator[str]:
    """Say how values were chosen of which each variant has its best, and which they are."""
    tuning = study.plan.tuning
    if tuning is None:
        return
    for key, values in tuning.values.items():
        told = enumerate_names((clean(spell_value(one)) for one in values), most=len(values))
        yield f"For {RECIPE.get(key, clean(key))} each variant had the same values, {told}."
    known = [one.device_seconds for one in tuning.budget if one.device_seconds is not None]
    yield (
        f"{number_of(tuning.number, 'run')} of each variant with seed {tuning.seed} "
        f"({np.sum(known) / 3600:.3g} device-hours in all) chose the highest "
        f"{label(tuning.metric)} on split {clean(tuning.split)}, which is not reported; with what "
        "was chosen all seeds were run."
    )
    chosen = [f"{clean(n)} {clean(spell_values(o.values))}" for n, o in tuning.chosen.items()]
    if chosen:
        yield f"Chosen were: {'; '.join(chosen)}."


def _split_settings(study: Study) -> tuple[list[str], list[str]]:
    """Return settings in words: those that all runs share, and those in which variants differ."""
    rows = flat_settings(study.plan)
    shared: list[str] = []
    varied: list[str] = []
    tuned = study.plan.tuning.values if study.plan.tuning else ()
    for key, words in RECIPE.items():
        if any(overlap(key, one) for one in tuned):
            continue
        values = list(dict.fromkeys(_say(row.get(key), JOINED.get(key, " and ")) for row in rows))
        told = enumerate_names(map(clean, values), most=len(values))
        if len(values) == 1:
            shared.append(f"{words} {told}")
        else:
            varied.append(f"{words} ({told})")
    rest = [
        clean(name)
        for name in study.factors
        if name not in RECIPE and not any(overlap(name, one) for one in tuned)
    ]
    return shared, varied + rest


def _say(value: Any, between: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return between.join(map(plain, value)) or "none"
    if isinstance(value, Mapping):
        return between.join(f"{key} {plain(one)}" for key, one in value.items()) or "none"
    return "none" if value is None else plain(value)

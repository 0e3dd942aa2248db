"""Stores whose runs were judged by counts that a test writes down, a few pixels in a few images."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from streets import FINGERPRINT, finish, make_spec

from bench.plan import Plan, PlannedRun, Run
from bench.store.runs import Store

CLASSES = ("ground", "cat", "cow")
GOOD = [[55, 5, 0], [6, 34, 0], [0, 0, 0]]
"""Pixels of one image: 60 of ground and 40 of cat, none of cow; rows are the labels."""
FAIR = [[52, 8, 0], [10, 30, 0], [0, 0, 0]]
STRAY = [[54, 5, 1], [6, 34, 0], [0, 0, 0]]
"""One pixel is called cow."""
COLLAPSED = [[60, 0, 0], [40, 0, 0], [0, 0, 0]]
VOID = [[0, 0, 0], [0, 0, 0], [0, 0, 0]]


def plan_arms(arms: Mapping[str, Sequence[Sequence[object]]], **data: object) -> Plan:
    """Plan a variant for each arm, a seed for each of its members, each with a head of its own.

    Args:
        arms: By variant and seed, what `judge` finishes it with.
        data: Fingerprint and dataset by variant, `NAME=("fingerprint", "dataset")`.
    """
    runs = []
    for number, (variant, seeds) in enumerate(arms.items()):
        fingerprint, dataset = data.get(variant, (FINGERPRINT, "streets"))
        for seed in range(len(seeds)):
            spec = make_spec("vgg16", "fcn8s", seed)
            model = spec.model.model_copy(update={"head": f"head-{number}"})
            where = spec.data.model_copy(update={"dataset": dataset})
            spec = spec.model_copy(update={"model": model, "data": where})
            runs.append(PlannedRun(variant, Run(spec, fingerprint)))
    return Plan("heads", "Which head?", "none", tuple(runs), baseline=next(iter(arms)))


def judge(
    store: Store,
    arms: Mapping[str, Sequence[Sequence[object]]],
    class_names: Sequence[str] = CLASSES,
    **data: object,
) -> Plan:
    """Finish every run with the counts of its images, and return the plan."""
    plan = plan_arms(arms, **data)
    for planned in plan.runs:
        images = arms[planned.variant][planned.run.spec.seed]
        confusions = np.array(images, dtype=np.int32)
        names = class_names if confusions.shape[1] == len(class_names) else CLASSES[:2]
        finish(store, planned, class_names=names, confusions=confusions, log=False)
    return plan


def lose_counts(store: Store, plan: Plan) -> Plan:
    """Delete the counts of all images; the records stay."""
    for planned in plan.runs:
        (store.run_dir(planned.run.id) / "eval" / "test.npz").unlink()
    return plan


def without_baseline(plan: Plan) -> Plan:
    return dataclasses.replace(plan, baseline=None)

"""Weights that runs would start from, tried before anything is trained.

Names and shapes are compared; servers are asked, and nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from bench.data.facts import DatasetFacts
from bench.grid.building import build_somehow
from bench.grid.preflight import naming
from bench.plan import Plan, PlannedRun, Run
from bench.run.weights import load_parent, require_shared
from bench.spec import ModelSpec
from bench.store.runs import Store
from fcn.model import require_weights
from fcn.published import PublishedFile
from fcn.weights_file import Description, find_weights_file, read_description


def check_starts(plan: Plan, facts: Mapping[str, DatasetFacts], store: Store) -> list[str]:
    """Try the weights that each run which is not done would start from.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
        store: Has what is done.

    Returns:
        What is to be said of them: which files they are, and which are still to be fetched.

    Raises:
        InputError: Weights do not exist, cannot be had, were damaged, or are of another network.
    """
    runs = {planned.run.id: planned for planned in plan.runs}
    missing = tuple(one for one in plan.runs if store.status(one.run.id) != "done")
    had: set[str] = set()
    remarks: dict[str, None] = {}
    for planned in replace(plan, runs=missing).first_seeds():
        spec = planned.run.spec
        options = facts[planned.run.fingerprint].network_options(spec.data)
        with naming(plan, planned):
            if spec.model.pretrained and (key := repr((spec.model, options))) not in had:
                file = require_weights(**spec.model.model_dump(), **options)
                had.add(key)
                if file is not None:
                    remarks[_say_weights(spec.model, file)] = None
            for run_id in planned.run.parents:
                _require_shared(planned.run, runs[run_id], facts)
    parents = {run_id: child for child in missing for run_id in child.run.parents}
    for run_id, child in parents.items():
        if store.status(run_id) == "done":
            with naming(plan, child):
                load_parent(store, run_id)
    return list(remarks)


def _say_weights(model: ModelSpec, file: PublishedFile) -> str:
    """Say which file a network starts from, whether it is here, and if it wants other images."""
    whose = f"starting weights of {model.external or model.backbone} ({model.pretrained})"
    where = (
        f"{whose} are here: {file.path}" if file.path.is_file() else
        f"{whose} can be fetched: the first run downloads {file.address} to {file.path}; for "
        "a machine without a connection put that file there beforehand"
    )  # fmt: skip
    described = read_description(file.path)
    licence = described.licence and f"licence {described.licence}"
    about = (described.origin, licence, _say_other_images(model, described))
    return "; ".join([where, *(text for text in about if text)])


def _say_other_images(model: ModelSpec, described: Description) -> str:
    """Say that weights are for images of another preprocessing, where they are; else nothing."""
    is_file = find_weights_file(model.pretrained) is not None
    meant = described.preprocessing if is_file else "timm"  # as all that timm knows of
    if model.external is not None or meant in (None, model.preprocessing):
        return ""
    return (
        f"they are for images as model.preprocessing {meant} shows them, and it is "
        f"{model.preprocessing}: set it to {meant}, unless this is what is asked"
    )


def _require_shared(run: Run, parent: PlannedRun, facts: Mapping[str, DatasetFacts]) -> None:
    """See that a run's network gets most of its backbone from its parent's."""
    key, whose = "train.init_from", f"variant {parent.variant}"
    own = _weights_of(run, facts)
    if run.streams:
        name = dict(zip(run.streams, run.spec.data.inputs, strict=True))[parent.run.id]
        key, below = "train.init_streams", f"streams.{name}."
        own = {k.removeprefix(below): v for k, v in own.items() if k.startswith(below)}
    require_shared(own, _weights_of(parent.run, facts), key, whose)


def _weights_of(run: Run, facts: Mapping[str, DatasetFacts]) -> dict[str, Tensor]:
    """Return the tensors of a run's network, most likely without memory: names and shapes."""
    options = facts[run.fingerprint].network_options(run.spec.data)
    return build_somehow(run.spec.model, options).state_dict()

"""What runs start from, tried before anything is trained: published weights, files, other runs.

Names and shapes are compared on the meta device; servers are asked, and nothing is downloaded.
Out: nothing, or an `InputError` that says which variant cannot start as it should.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from bench.check import build, first_seeds, naming
from bench.data.facts import DatasetFacts
from bench.plan import Plan, PlannedRun, Run
from bench.run.weights import load_parent, require_shared
from bench.store import Store
from fcn.errors import InputError
from fcn.model import require_weights


def check_starts(plan: Plan, facts: Mapping[str, DatasetFacts], store: Store) -> None:
    """Try the weights that each run which is not done would start from.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
        store: Has what is done.

    Raises:
        InputError: Weights do not exist, cannot be had, were damaged, or are of another network.
    """
    runs = {planned.run.id: planned for planned in plan.runs}
    missing = tuple(one for one in plan.runs if store.status(one.run.id) != "done")
    had: set[str] = set()
    for planned in first_seeds(replace(plan, runs=missing)):
        spec = planned.run.spec
        options = facts[planned.run.fingerprint].network_options(spec.data)
        with naming(plan, planned):
            if spec.model.pretrained and (key := repr((spec.model, options))) not in had:
                require_weights(**spec.model.model_dump(), **options)
                had.add(key)
            for run_id in planned.run.parents:
                _require_shared(planned.run, runs[run_id], facts)
    parents = {run_id: child for child in missing for run_id in child.run.parents}
    for run_id, child in parents.items():
        if store.status(run_id) == "done":
            with naming(plan, child):
                load_parent(store, run_id)


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
    try:
        return build(run.spec.model, options).state_dict()
    except InputError:  # a network of another library that cannot be built without values
        return build(run.spec.model, options, "cpu").state_dict()

"""Weights of runs: written at the end, read by children and predictions; no pickle."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from bench.plan import Run
from bench.sources import find_sources, list_differences
from bench.store.atomic import replacing
from bench.store.lease import BusyError
from bench.store.records import CopiedWeights, ParentWeights, StreamWeights
from bench.store.runs import Result, Store
from bench.text import our_command, remaking
from fcn.errors import InputError
from fcn.heads import Score
from fcn.weights import MOST, LoadedWeights, lies_between


def require_planned(run: Run) -> None:
    """See that the weights files, plugins and libraries of a run are those of its plan; reads them.

    Raises:
        InputError: They are others, or the run's id is of an earlier version.
    """
    run.require_current()
    _require_same_sources(run, find_sources(run.spec))


def require_planned_file(run: Run, loaded: LoadedWeights | None) -> None:
    """See that what a network was given is the file that its run was planned with.

    It may have been replaced since `require_planned` read it.

    Raises:
        InputError: It is another.
    """
    key = "model.pretrained"
    if loaded is not None and key in run.sources:
        _require_same_sources(run, {**run.sources, key: f"sha256 {loaded.sha256}"})


def _require_same_sources(run: Run, now: Mapping[str, str]) -> None:
    changed = list_differences(run.spec, run.sources, now)
    if changed:
        raise InputError(
            f"run {run.id} was planned with other sources: {'; '.join(changed)}. Put back what it "
            "was planned with, or give the command of its question again, which plans it anew"
        )


def require_same_code(run: Run) -> None:
    """See that the parts of a finished run are what it was trained with, before they are used.

    Another version of a library is warned of: its networks are meant to stay the same.

    Raises:
        InputError: The code of a plugin's part has changed, or is not loaded.
    """
    was = {key: source for key, source in run.sources.items() if key != "model.pretrained"}
    now = {key: source for key, source in find_sources(run.spec).items() if key in was}
    for text in list_differences(run.spec, was, now):
        if " was code " in text:
            raise InputError(
                f"run {run.id} was trained with other code: {text}. Load the plugin as it was then "
                "(--plugin), or train the run again"
            )
        warnings.warn(f"run {run.id}: {text}", RuntimeWarning, stacklevel=2)


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's weights and buffers, atomically."""
    with replacing(path) as temporary:
        save_file(to_plain_memory(model.state_dict()), temporary)


def copy_from_parents(
    model: nn.Module, store: Store, run: Run
) -> ParentWeights | StreamWeights | None:
    """Copy the weights of the runs that a run starts from; say which, and what was copied.

    Returns:
        None for a run without parents.

    Raises:
        BusyError: A parent is not done yet.
        InputError: A parent's weights are not what its result says, or are of another backbone.
    """
    if run.parent is not None:
        weights = load_parent(store, run.parent)
        require_shared(model.state_dict(), weights, "train.init_from", f"run {run.parent}")
        record = copy_shared_weights(model, weights)
        return {"parent": run.parent, **record, "zeroed": zero_new_scores(model, record["new"])}
    if not run.streams:
        return None
    ids = dict(zip(run.spec.data.inputs, run.streams, strict=True))
    found = {name: load_parent(store, run_id) for name, run_id in ids.items()}
    for name, weights in found.items():
        stream = model.get_submodule(f"streams.{name}").state_dict()
        require_shared(stream, weights, "train.init_streams", f"run {ids[name]}")
    return {"streams": ids, **copy_streams(model, found)}


def load_parent(store: Store, run_id: str) -> dict[str, Tensor]:
    """Read the weights of a finished run, for another to start from.

    Raises:
        BusyError: The run is not done yet.
        InputError: Its result or weights are not what it wrote.
    """
    result = store.result(run_id)
    if result is None:
        raise BusyError(f"the weights come from run {run_id}, which is not done")
    return load_weights(store, result)


def load_weights(store: Store, result: Result) -> dict[str, Tensor]:
    """Read the weights of a finished run.

    Raises:
        InputError: They are missing, or not what its record says.
    """
    path = store.run_dir(result.run_id) / "model.safetensors"
    way_out = remaking(result.run_id, store.root)
    try:
        content = path.read_bytes()
    except OSError as error:
        why = f"{path} is damaged or gone ({error.strerror})"
        raise InputError(f"{why}; {way_out}") from None
    if hashlib.sha256(content).hexdigest() != result.digests.get(path.name):
        raise InputError(f"{path} is damaged: it is not what run {result.run_id} wrote; {way_out}")
    return load(content)


def finished_result(store: Store, run_id: str) -> Result:
    """Read the result of a finished run.

    Raises:
        InputError: The run is not done, or its record is not to be believed.
    """
    result = store.result(run_id)
    if result is None:
        listing = our_command("runs list", store.root)
        raise InputError(f"run {run_id} is not finished; {listing} shows which are")
    return result


def require_shared(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], key: str, whose: str
) -> None:
    """See that a network gets most of its backbone from another's weights, by name and shape.

    One of the two may reach less deep: then what lies as deep in the other counts, and layers
    that only one has in between, as deeper networks of one family do. Heads, skips and the number
    of classes may differ.

    Args:
        own: Of the network; on the meta device will do.
        weights: Of the other.
        key: Setting that asks for it.
        whose: Which the other is, for the message.

    Raises:
        InputError: They share less: too little would be carried over.
    """
    ours, theirs = _trunk(own), _trunk(weights)
    places = [at for at, (name, shape) in enumerate(ours.items()) if theirs.get(name) == shape]
    shared = len(places)
    reach = places[-1] + 1 if places else len(ours)
    total = max(reach, shared + sum(lies_between(list(ours), name) for name in theirs))
    if shared <= MOST * total:
        carried = f"only {shared} of {total} tensors of the backbone" if shared else "no weights"
        raise InputError(
            f"{key}: this network shares {carried} with that of {whose}, so too little would "
            "be carried over; start from a network with the same backbone, or leave it out"
        )


def _trunk(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return shapes of a backbone's tensors by name; of all, where no part is called one."""
    shapes = {name: tensor.shape for name, tensor in weights.items() if tensor.ndim}
    parts = {"backbone", "encoder"}  # the latter is smp's word
    trunk = {name: shape for name, shape in shapes.items() if parts & set(name.split("."))}
    return trunk or shapes


def copy_shared_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> CopiedWeights:
    """Copy each tensor whose name and shape the model shares; the rest stays as it was made.

    Returns:
        Names under `copied`, `new` (only in the model) and `unused` (only in the weights).
    """
    own = model.state_dict()
    copied = [name for name, t in own.items() if name in weights and weights[name].shape == t.shape]
    model.load_state_dict({name: weights[name] for name in copied}, strict=False)
    taken = set(copied)
    return {
        "copied": copied,
        "new": [name for name in own if name not in taken],
        "unused": [name for name in weights if name not in taken],
    }


def zero_new_scores(model: nn.Module, new: Sequence[str]) -> list[str]:
    """Set the score layers among the tensors called `new` to zero, and return their names.

    With them the network begins with the predictions of the one it starts from, whatever
    `model.score_init` says.

    Reference: Long et al., 2015, section 4.2, arXiv:1411.4038.
    """
    scores = [
        f"{path}.{name}"
        for path, layer in model.named_modules()
        if isinstance(layer, Score)
        for name, _ in layer.named_parameters()
    ]
    zeroed = [name for name in scores if name in new]
    for name in zeroed:
        nn.init.zeros_(model.get_parameter(name))
    return zeroed


def copy_streams(
    model: nn.Module, streams: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, CopiedWeights]:
    """Copy a network's weights into each stream of late fusion, by name and shape.

    What follows the streams, a learned last upsampling, gets the weights of the first.

    Args:
        model: The network, `fcn.inputs.LateFusion`.
        streams: By input: the weights of a network for it alone.

    Returns:
        What `copy_shared_weights` says, by input.
    """
    first = next(iter(streams.values()))
    last = {name: tensor for name, tensor in first.items() if name.startswith("upsampling.")}
    copy_shared_weights(model, last)
    return {
        name: copy_shared_weights(model.get_submodule(f"streams.{name}"), weights)
        for name, weights in streams.items()
    }


def to_plain_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU in the usual order, whatever their layout on the device."""
    return {
        name: torch.clone(tensor.cpu(), memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }

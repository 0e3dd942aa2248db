"""Weights of runs: written at the end, read by children and predictions; no pickle."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from bench.atomic import replacing
from bench.lease import BusyError
from bench.plan import Run
from bench.sources import find_sources, list_differences
from bench.store import Result, Store
from fcn.errors import InputError
from fcn.heads import Score


def require_planned(run: Run) -> None:
    """See that the weights files, plugins and libraries of a run are those of its plan; reads them.

    Raises:
        InputError: They are others, or the run's id is of an earlier version.
    """
    if run.named is not None:
        raise InputError(
            f"run {run.named} was begun by an earlier version, and this one would make another "
            f"result of it (run {run.id}); give the command of its question again, which plans it "
            "anew"
        )
    changed = list_differences(run.spec, run.sources, find_sources(run.spec))
    if changed:
        raise InputError(
            f"run {run.id} was planned with other sources: {'; '.join(changed)}. Put back what it "
            "was planned with, or give the command of its question again, which plans it anew"
        )


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the model's weights and buffers, atomically."""
    with replacing(path) as temporary:
        save_file(to_plain_memory(model.state_dict()), temporary)


def copy_from_parents(model: nn.Module, store: Store, run: Run) -> dict[str, Any]:
    """Copy the weights of the runs that a run starts from; say which, and what was copied.

    Returns:
        Nothing for a run without parents.

    Raises:
        BusyError: A parent is not done yet.
        InputError: A parent's weights are not what its result says, or the network shares none.
    """
    if run.parent is not None:
        record = copy_shared_weights(model, load_parent(store, run.parent))
        if not record["copied"]:
            raise InputError(
                f"train.init_from: this network shares no weights with that of run {run.parent}, "
                "so nothing would be copied; leave it out, or start from a network like this one"
            )
        return {"parent": run.parent, **record, "zeroed": zero_new_scores(model, record["new"])}
    if not run.streams:
        return {}
    ids = dict(zip(run.spec.data.inputs, run.streams, strict=True))
    found = {name: load_parent(store, run_id) for name, run_id in ids.items()}
    return {"streams": ids, **copy_streams(model, found)}


def load_parent(store: Store, run_id: str) -> dict[str, Tensor]:
    """Read the weights of a finished run, for another to start from.

    Raises:
        BusyError: The run is not done yet.
        InputError: Its weights are not what its result says.
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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); {_remake(store, result)}"
        ) from None
    if hashlib.sha256(content).hexdigest() != result.digests.get(path.name):
        raise InputError(
            f"{path} is damaged: it is not what run {result.run_id} wrote; {_remake(store, result)}"
        )
    return load(content)


def _remake(store: Store, result: Result) -> str:
    return (
        f"`fcn-bench runs prune {result.run_id} --runs {store.root}` removes the run, and the next "
        "command makes it again"
    )


def copy_shared_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
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
) -> dict[str, dict[str, list[str]]]:
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

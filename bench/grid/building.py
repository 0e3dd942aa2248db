"""Networks built, counted and tried without memory: shapes alone, on the meta device.

In: settings of a network, and what data add to them. Out: the network, what it costs, or an
`InputError`. One of another library that goes by the values of its tensors is built on the CPU.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.run.batch_norm import GroupedBatchNorm
from bench.spec import ModelSpec, TrainSpec
from fcn.errors import InputError, foreign_code
from fcn.model import Network, create_model
from fcn.settings import without_weights

OF_ONE = "Expected more than 1"
"""How torch begins to say that a norm has one value to take statistics of."""

KEPT = 256
"""Networks on the meta device that are kept, for the several sizes at which each is run."""


@dataclass(frozen=True)
class ModelCost:
    """What a model costs, independent of any machine."""

    num_parameters: int
    gmacs: float
    """Billions of multiply-adds of one forward pass at `size`."""
    size: tuple[int, int]
    """Height and width in pixels."""


def count_cost(
    model_spec: ModelSpec, options: Mapping[str, Any], size: tuple[int, int]
) -> ModelCost:
    """Build a model on the meta device, run one image of `size`, and count.

    Args:
        model_spec: The network.
        options: What the data add: `num_classes`, and inputs and targets beyond the usual.
        size: Height and width in pixels.

    Raises:
        InputError: The model is impossible, or the image too small for it.
    """
    settings = _settings_of(model_spec, options)
    if model_spec.external is None:
        return _count_on("meta", settings, size)
    failing = (
        f"model.external {model_spec.external!r} fails on an image of {size[0]}x{size[1]} pixels: "
    )
    # A network of another library may go by the values of its tensors.
    with suppress(InputError), foreign_code(failing):
        return _count_on("meta", settings, size)
    with foreign_code(failing):
        return _count_on("cpu", settings, size)


def try_training(
    model_spec: ModelSpec, options: Mapping[str, Any], size: tuple[int, int], train: TrainSpec
) -> None:
    """Run images forward in training, as many as batch norm takes its statistics of.

    Args:
        model_spec: The network, which can be built and run.
        options: As for `count_cost`.
        size: Height and width in pixels.
        train: Takes `batch_size`, `batch_norm_groups` and `steps` from it.

    Raises:
        InputError: A step of training fails, as batch norm over one value does; or batch norm
            cannot be kept to parts of a batch.
    """
    if train.steps:
        number = train.batch_size // train.batch_norm_groups
        _try_training(_settings_of(model_spec, options), number, size)
        if train.batch_norm_groups > 1:
            _try_groups(_settings_of(model_spec, options), size)


@lru_cache(maxsize=KEPT)
def _try_training(settings: str, number: int, size: tuple[int, int]) -> None:
    before = f"a step of training on {number} image(s) of {size[0]}x{size[1]} pixels fails: "
    after = (
        "; raise train.batch_size, lower train.batch_norm_groups, or have larger images by "
        "train.crop or data.input_scale"
    )
    try:
        with foreign_code(before, after):
            _train_on("meta", settings, number, size)
    except InputError as error:
        if str(error.__cause__).startswith(OF_ONE):
            raise
        # It may go by the values of its tensors. Two images are as good as more.
        with foreign_code(before, after):
            _train_on("cpu", settings, min(number, 2), size)


@lru_cache(maxsize=KEPT)
def _try_groups(settings: str, size: tuple[int, int]) -> None:
    """See that images which batch norm keeps apart are apart, windows and tokens of them too."""
    with suppress(InputError), foreign_code():
        if not _train_in_groups("meta", settings, size)[1]:
            return  # images alone, which have an order
    with foreign_code(f"training in parts of a batch fails on {size[0]}x{size[1]} pixels: "):
        logits, _ = _train_in_groups("cpu", settings, size)
    if logits.isnan().any():
        raise InputError(
            f"at {size[0]}x{size[1]} pixels this network has batch norm see parts of images, such "
            "as windows, and not those of one image after those of another, so that "
            "train.batch_norm_groups cannot keep images apart: leave it out, or choose another "
            "network"
        )


def _train_in_groups(device: str, settings: str, size: tuple[int, int]) -> tuple[Tensor, bool]:
    """Run two images forward beside two of NaN, which batch norm sees apart.

    Returns:
        The logits of the two, and whether batch norm saw parts of images.
    """
    images, norm = _black_images(device, settings, 4, size), GroupedBatchNorm(4, 2)
    images[2:] = torch.nan
    model = _build(settings, device).train()
    with torch.no_grad(), norm:
        logits = model(images)
    return logits[:2], norm.saw_parts


def _train_on(device: str, settings: str, number: int, size: tuple[int, int]) -> None:
    """Run N images of H x W forward in training mode."""
    model = _build(settings, device).train()
    with torch.no_grad():
        model(_black_images(device, settings, number, size))


def _count_on(device: str, settings: str, size: tuple[int, int]) -> ModelCost:
    model = _build(settings, device).eval()
    images = _black_images(device, settings, 1, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    # The counter counts a multiply-add as two operations.
    return ModelCost(
        num_parameters=sum(p.numel() for p in model.parameters()),
        gmacs=counter.get_total_flops() / 2e9,
        size=size,
    )


def _black_images(device: str, settings: str, number: int, size: tuple[int, int]) -> Tensor:
    channels = sum(json.loads(settings).get("inputs", {"rgb": 3}).values())
    return torch.zeros(number, channels, *size, device=device)


def build(model_spec: ModelSpec, options: Mapping[str, Any], device: str = "meta") -> Network:
    """Build a network; on the meta device without memory, and once: it is run at several sizes.

    Args:
        model_spec: The network; its starting weights are left out.
        options: As for `count_cost`.
        device: Name of the device.
    """
    return _build(_settings_of(model_spec, options), device)


def _settings_of(model_spec: ModelSpec, options: Mapping[str, Any]) -> str:
    """Return what a network is built from, as JSON."""
    return json.dumps({**without_weights(model_spec.model_dump()), **options})


def _build(settings: str, device: str) -> Network:
    return _build_on_meta(settings) if device == "meta" else _create(settings, device)


@lru_cache(maxsize=KEPT)
def _build_on_meta(settings: str) -> Network:
    return _create(settings, "meta")


def _create(settings: str, device: str) -> Network:
    with torch.device(device):
        return create_model(**json.loads(settings))


def build_somehow(model_spec: ModelSpec, options: Mapping[str, Any]) -> Network:
    """Build a network for the names and shapes of its parameters, most likely without memory."""
    try:
        return build(model_spec, options)
    except InputError:  # a network of another library that cannot be built without values
        return build(model_spec, options, "cpu")

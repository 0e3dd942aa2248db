"""What scoring the largest image takes, told before anything is trained on small crops.

Shapes alone, on the meta device: tensors that are alive at one time; kernels take more.
"""

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from bench.data.augment import scaled_size
from bench.data.packs.pack import Pack
from bench.data.roles import judged_by
from bench.grid.gpus import find_gpus
from bench.plan import Plan
from bench.spec import RunSpec
from fcn.counting import count
from fcn.model import create_model
from fcn.settings import without_weights

LARGE_PX = 2**20
"""Images of fewer pixels are not looked at: they take less than a batch that is trained on."""

GIB = 2**30


def scoring_remarks(plan: Plan, packs: Mapping[str, Pack]) -> Iterator[str]:
    """Yield, for each memory that variants need to score their largest image, a line about it.

    Args:
        plan: What is to be run.
        packs: Packed data by fingerprint.
    """
    known: dict[str, float] = {}
    variants: dict[tuple[str, tuple[int, int], float], list[str]] = {}
    for planned in {planned.variant: planned for planned in plan.runs}.values():
        spec = planned.run.spec
        pack = judged_by(packs[planned.run.fingerprint], spec)
        split, size = _largest(pack, spec)
        if math.prod(scaled_size(size, spec.data.input_scale)) < LARGE_PX:
            continue
        options = pack.network_options()
        key = repr((spec.model, options, size, spec.data.input_scale, spec.train.precision))
        if key not in known:
            known[key] = _estimate_gib(spec, options, size)
        variants.setdefault((split, size, round(known[key], 2)), []).append(planned.variant)
    where, room = _memory_gib() if variants else ("", 0.0)
    for (split, (height, width), gib), names in variants.items():
        too_much = (
            f": {where} has {room:.2f} GiB; cut the images into tiles, or lower data.input_scale"
        )
        yield (
            f"scoring the largest image of split {split} ({width}x{height}) takes {gib:.2f} GiB or "
            f"more, variants {', '.join(names)}{too_much if room and gib > room else ''}"
        )


def _largest(pack: Pack, spec: RunSpec) -> tuple[str, tuple[int, int]]:
    """Return the largest image that is scored, with its split; height first."""
    settings = spec.evaluate
    splits = [settings.split] + [settings.eval_split] * bool(settings.eval_every)
    sized = [(split, pack.size(i)) for split in splits for i in pack.indices(split)]
    return max(sized, key=lambda one: math.prod(one[1]))


def _estimate_gib(spec: RunSpec, options: Mapping[str, Any], size: tuple[int, int]) -> float:
    """Return the memory of one image on its way through the network and to the label's size."""
    settings = without_weights(spec.model.model_dump())
    classes: list[int] = [options["num_classes"], *options.get("more_classes", ())]
    logits = 4 * max(classes) * math.prod(size)
    height, width = scaled_size(size, spec.data.input_scale)
    if spec.model.external is not None:  # it may go by values, which shapes do not have
        return logits / GIB
    with torch.device("meta"):
        model = create_model(**settings, **options).eval()
    channels = sum(options.get("inputs", {"rgb": 3}).values())
    alive = count(model, (1, channels, height, width)).tensor_bytes
    # Under autocast activations have half the bytes, and logits at the label's size do not.
    return max(alive / (2 if spec.train.precision in ("bf16", "fp16") else 1), logits) / GIB


def _memory_gib() -> tuple[str, float]:
    """Return the name and size of the memory that runs take here by default; 0 if unknown."""
    if gpus := find_gpus():
        return "the largest GPU", max(gpu.memory_mib for gpu in gpus) / 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return "this machine", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return "this machine", 0.0

"""The fused loss in Triton's interpreter, beside other routes; prints JSON.

To be run as a process of its own with TRITON_INTERPRET=1, which Triton looks at when it is
imported. For each case the fused loss and the one by slices, each with its gradient, are set beside
cross-entropy in float64.
"""

import json
import sys

import torch
from torch.nn import functional as F

from bench.run.losses import pixel_loss
from bench.run.losses.terms import create_terms
from bench.run.losses.upsampled import upsampled_cross_entropy
from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid

CASES = {
    "as CamVid": {},
    "a size of 1 x 1": {"size": (1, 1), "cells": (1, 1)},
    "no tile is whole": {"size": (5, 63)},
    "two tiles, the second of one pixel": {"size": (5, 65)},
    "the image ends before the cells do": {"size": (4, 20), "cells": (6, 8)},
    "the cells end before the image does": {"size": (9, 90), "cells": (1, 3)},
    "stride 1": {"grid": (1.0, 0.0), "size": (2, 100), "cells": (2, 100)},
    "stride 2": {"grid": (2.0, 0.5), "size": (3, 140), "cells": (3, 70)},
    "stride 32": {"grid": (32.0, 15.5), "size": (2, 130), "cells": (2, 5)},
    "an uneven stride": {"grid": (7.3, -2.0), "size": (6, 70), "cells": (3, 10)},
    "nearest": {"nearest": True},
    "one class": {"classes": 1},
    "two classes": {"classes": 2, "ignore": 2},
    "more classes than a program looks at": {"classes": 130},
    "ignored is -1": {"ignore": -1},
    "ignored is -100": {"ignore": -100},
    "ignored is the number behind the classes": {"ignore": 5},
    "weighted": {"weights": True},
    "weighted, a class weighs nothing": {"weights": "a class weighs nothing"},
    "a sum": {"reduction": "sum", "weights": True},
    "with a factor": {"factor": 0.3},
    "bf16 scores": {"dtype": torch.bfloat16},
    "fp16 scores": {"dtype": torch.float16},
    "scores laid out by channels": {"layout": torch.channels_last},
    "scores that are a part of others": {"part": True},
    "a small target type": {"target": torch.uint8},
    "large scores": {"scale": 200.0},
    "nothing is labelled": {"void": 1.1},
    "everything is labelled": {"void": -1.0},
}


def run(case):
    torch.manual_seed(0)
    C, dtype = case.get("classes", 5), case.get("dtype", torch.float32)
    size, cells = case.get("size", (2, 97)), case.get("cells", (2, 13))
    ignore = case.get("ignore", 255)
    grid = Grid(*case.get("grid", (8.0, 1.5)))
    up = FixedUpsampling(grid, IMAGE_GRID, nearest=case.get("nearest", False))
    scores = (torch.randn(2, C, *cells) * case.get("scale", 2.0)).to(dtype)
    if case.get("part"):
        scores = torch.cat([scores, scores], 1)[:, 2 : 2 + C]
    scores = scores.to(memory_format=case.get("layout", torch.preserve_format))
    target = torch.randint(0, C, (2, *size))
    target[torch.rand(2, *size) < case.get("void", 0.2)] = ignore
    weights = None
    if case.get("weights"):
        weights = torch.rand(C) + 0.5
        if case["weights"] is not True:
            weights[1] = 0
    options = {"reduction": case.get("reduction", "mean"), "class_weights": weights}
    factor = case.get("factor", 1.0)

    def fused(leaf):
        labels = target.to(case.get("target", torch.int64))
        return upsampled_cross_entropy(
            leaf, labels, up, ignore_index=ignore, weight=factor, **options
        )

    def sliced(leaf):
        terms = create_terms({"cross_entropy": factor})
        return pixel_loss(leaf, target, up, ignore_index=ignore, terms=terms, **options)

    def plain(leaf):
        logits, own = up(leaf.double(), size), None if weights is None else weights.double()
        total = F.cross_entropy(logits, target, own, ignore_index=ignore, reduction="sum")
        if options["reduction"] == "sum":
            return total * factor
        counted = target[target != ignore]
        weight = len(counted) if own is None else own[counted].sum()
        return total * factor / max(float(weight), 1e-30)

    found = {}
    exact_loss, exact = step(plain, scores)
    for name, function in {"fused": fused, "sliced": sliced}.items():
        loss, gradient = step(function, scores)
        found[name] = {
            "loss": abs(loss.item() - exact_loss.item()) / max(abs(exact_loss.item()), 1e-9),
            "gradient": float((gradient - exact).norm() / exact.norm().clamp(min=1e-9)),
            "dtypes": [str(loss.dtype), str(gradient.dtype)],
        }
    return found | {"labelled": int((target != ignore).sum()), "norm": exact.norm().item()}


def step(function, scores):
    leaf = scores.clone().requires_grad_()
    loss = function(leaf)
    (loss * 3).backward()
    return loss.detach(), leaf.grad / 3


def odd_ones():
    """Return what the fused loss makes of a target that is no class, and of scores that are NaN."""
    up = FixedUpsampling(Grid(8.0, 3.5), IMAGE_GRID)
    scores, target = torch.randn(1, 3, 1, 2), torch.zeros(1, 2, 16, dtype=torch.int64)
    target[0, 1, 3] = 3
    wrong = upsampled_cross_entropy(scores, target, up, ignore_index=255)
    negative = upsampled_cross_entropy(scores, target.clamp(max=0) - 1, up, ignore_index=255)
    target[0, 1, 3] = 0
    nan = upsampled_cross_entropy(scores.log(), target, up, ignore_index=255)
    shared = upsampled_cross_entropy(
        scores, target, up, ignore_index=255, add_up=lambda number: number.mul_(2)
    )
    alone = upsampled_cross_entropy(scores, target, up, ignore_index=255)
    return {
        "no class": wrong.item(),
        "below every class": negative.item(),
        "nan": nan.item(),
        "share of two": (shared / alone).item(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump({name: run(case) for name, case in CASES.items()} | {"odd": odd_ones()}, sys.stdout)

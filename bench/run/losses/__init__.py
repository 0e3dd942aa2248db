"""Losses by name: logits and target to one number, the same bits every time on every device."""

from bench.run.losses.aux_score import aux_upsampling
from bench.run.losses.class_weights import (
    find_class_weights,
    find_weighting,
    resolve_class_weights,
)
from bench.run.losses.kinds import LOSSES, Labels, OfSums, PerImage, PerPixel, Whole
from bench.run.losses.network import network_loss, pixel_loss
from bench.run.losses.terms import create_terms, list_losses, require_loss

__all__ = [
    "LOSSES",
    "Labels",
    "OfSums",
    "PerImage",
    "PerPixel",
    "Whole",
    "aux_upsampling",
    "create_terms",
    "find_class_weights",
    "find_weighting",
    "list_losses",
    "network_loss",
    "pixel_loss",
    "require_loss",
    "resolve_class_weights",
]

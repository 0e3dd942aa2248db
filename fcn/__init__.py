"""FCNs from parts: any timm backbone, a head, skips, upsampling.

In: names. Out: a model that maps images (N, 3, H, W) to logits (N, C, H, W).
Importing this package loads no torch; the first use of a name does (PEP 562).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.backbones.taps import list_backbones
    from fcn.fusions import list_fusions
    from fcn.heads import list_heads
    from fcn.hub import from_pretrained, save_pretrained
    from fcn.libraries import list_externals
    from fcn.model import FCN, create_model
    from fcn.skips import list_skips
    from fcn.upsampling import list_upsamplings
    from fcn.weights import list_weights

__all__ = [
    "FCN",
    "create_model",
    "from_pretrained",
    "list_backbones",
    "list_externals",
    "list_fusions",
    "list_heads",
    "list_skips",
    "list_upsamplings",
    "list_weights",
    "save_pretrained",
]

_HOMES = {
    "FCN": "fcn.model",
    "create_model": "fcn.model",
    "from_pretrained": "fcn.hub",
    "list_backbones": "fcn.backbones.taps",
    "list_externals": "fcn.libraries",
    "list_fusions": "fcn.fusions",
    "list_heads": "fcn.heads",
    "list_skips": "fcn.skips",
    "list_upsamplings": "fcn.upsampling",
    "list_weights": "fcn.weights",
    "save_pretrained": "fcn.hub",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fcn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""FCNs from parts: any timm backbone, a head, skips, upsampling.

In: names. Out: a model that maps images (N, 3, H, W) to logits (N, C, H, W).

    model = fcn.create_model("resnet18", num_classes=21, skip="fcn8s")

`list_*` are the names that may be given; `from_pretrained` and `save_pretrained` read and write
folders of weights; `InputError` is raised by all four packages for what cannot be used.
Importing this package loads no torch; the first use of a name does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.backbones.taps import list_backbones
    from fcn.errors import InputError
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
    "InputError",
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
    "InputError": "fcn.errors",
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

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        from fcn.lazy import import_public

        return import_public(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return __all__

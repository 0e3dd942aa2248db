"""Losses of other libraries: `smp/DiceLoss(log_loss=true)`, and any `package.module:callable`.

Nothing is known of them, so each sees the whole batch at once, and never an ignored pixel: one that
takes `ignore_index` is told it, another gets the labelled pixels alone, as (1, C, 1, pixels).
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from bench.run.losses.kinds import Labels, Whole
from fcn.errors import InputError, foreign_code
from fcn.registry import unknown_name

IGNORED = -100
"""The label that tells a foreign loss to ignore a pixel: torch's own default."""

WEIGHTS = ("class_weights", "weight")
"""Names under which losses take a weight for each class."""


def is_foreign(name: str) -> bool:
    """Say whether a name is of another library, by its form."""
    return ":" in name or name.startswith("smp/")


def create_foreign(name: str, arguments: Mapping[str, Any]) -> Whole:
    """Find a loss of another library, and return it with its arguments; imports that library.

    Args:
        name: `smp/NAME`, a class of segmentation_models_pytorch.losses, or a callable by
            `package.module:name`: a function of logits (N, C, H, W) and target (N, H, W), or a
            class whose objects are called with them.
        arguments: Given to the class when it is built, or to the function with each batch.

    Raises:
        InputError: There is no such loss, or it does not take the arguments.
    """
    target = _find(name)
    accepted = _parameters_of(target, name)
    arguments = dict(arguments)
    if "ignore_index" in arguments:
        raise InputError(
            f"train.loss {name!r}: ignore_index is what the data set ignores; leave it out"
        )
    if "mode" in accepted:  # smp's way to tell classes from one map each
        arguments.setdefault("mode", "multiclass")
    takes_ignored = "ignore_index" in accepted
    if takes_ignored:
        arguments["ignore_index"] = IGNORED
    weights_key = next((key for key in WEIGHTS if key in accepted), None)

    def loss(logits: Tensor, labels: Labels) -> Tensor:
        own = dict(arguments)
        if labels.class_weights is not None:
            if weights_key is None:
                raise InputError(
                    f"train.loss {name!r} takes no class weights; set train.class_weights to none"
                )
            if weights_key in own:
                raise InputError(
                    f"train.loss {name!r} is given {weights_key}, which train.class_weights says "
                    "too; keep one of the two"
                )
            own[weights_key] = labels.class_weights
        if takes_ignored:
            given = (logits, labels.classes.where(labels.labelled, IGNORED))
        else:
            seen = labels.labelled
            pixels = logits.movedim(1, 0)[:, seen]
            given = (pixels[None, :, None], labels.classes[seen][None, None])
        with foreign_code(f"train.loss {name!r} fails: "):
            if inspect.isclass(target):
                made: Any = target(**own)
                result = (made.to(logits.device) if isinstance(made, nn.Module) else made)(*given)
            else:
                result = target(*given, **own)
        if not isinstance(result, Tensor) or result.numel() != 1:
            raise InputError(f"train.loss {name!r} gives {result!r:.80}, not one number")
        return result.reshape(())

    return Whole(loss)


def _find(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    if name.startswith("smp/"):
        module, attribute = "segmentation_models_pytorch.losses", name.removeprefix("smp/")
    try:
        with foreign_code():
            library = importlib.import_module(module)
    except InputError as error:
        hint = (
            "; it needs the package segmentation-models-pytorch: install it with pip, beside "
            "fcn-bench"
            if name.startswith("smp/")
            else ""
        )
        raise InputError(f"train.loss {name!r} cannot be imported: {error}{hint}") from error
    found = getattr(library, attribute, None)
    if not callable(found):
        known = [key for key, one in vars(library).items() if callable(one) and key[0] != "_"]
        raise InputError(unknown_name(f"loss of {module}:", attribute, known))
    return found  # type: ignore[no-any-return]


def _parameters_of(target: Callable[..., Any], name: str) -> set[str]:
    with foreign_code(f"train.loss {name!r} cannot be called: "):
        return set(inspect.signature(target).parameters)

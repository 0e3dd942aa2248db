"""What fits together: a choice of parts, refused before anything is built or fetched.

In: names, as `create_model` gets them. Out: the stride that is scored first, or an `InputError`.
"""

from typing import Literal

from fcn.backbones.classifiers import require_classifier
from fcn.backbones.taps import list_strides
from fcn.errors import InputError
from fcn.heads import HEADS
from fcn.inputs import InputFusion
from fcn.skips import SKIPS

Padding = Literal["exact", "pad100"]


def require_sense(
    classes: tuple[int, ...], channels: tuple[int, ...], dropout: float, input_fusion: InputFusion
) -> None:
    """Refuse numbers out of range.

    Raises:
        InputError: One of them is.
    """
    if min(classes) < 1 or min(channels, default=0) < 1 or not 0 <= dropout < 1:
        numbers = ", ".join(map(str, classes)), ", ".join(map(str, channels))
        raise InputError(
            f"num_classes {numbers[0]}, channels {numbers[1]}, dropout {dropout}: "
            "the first two must be at least 1, dropout in [0, 1)"
        )
    if input_fusion not in ("early", "late"):
        raise InputError(f"input_fusion is {input_fusion!r}; it may be 'early' or 'late'")


def require_fit(
    backbone: str,
    *,
    skip: str,
    head: str,
    fusion: str,
    padding: Padding,
    output_stride: int | None,
) -> int:
    """Return the stride of the coarsest prediction: the skip's own, or 32, or the deepest.

    Raises:
        InputError: The backbone lacks a feature or a classifier, or two parts exclude each other.
    """
    strategy, classifier = SKIPS[skip], getattr(HEADS[head], "needs_classifier", False)
    if strategy.merge != "fuse" and fusion != "sum":
        raise InputError(
            f"skip {skip!r} stacks its maps, which leaves no place for fusion {fusion!r}; leave "
            "model.fusion out, or use 'fpn', which fuses"
        )
    if padding not in ("exact", "pad100"):
        raise InputError(f"padding is {padding!r}; it may be 'exact' or 'pad100'")
    if padding == "pad100" and (not classifier or strategy.widths):
        raise InputError(
            "padding 'pad100' makes room for an fc6 without padding, in the paper's nets; it goes "
            f"with head 'convolutionalized' and skips such as 'fcn8s', not with {head!r} and "
            f"{skip!r}, which align exactly (padding 'exact')"
        )
    coarsest = _require_strides(backbone, skip, output_stride)
    if classifier:
        if strategy.coarsest is not None:
            raise InputError(
                f"skip {skip!r} cuts the backbone before the layers that head {head!r} is made of; "
                "use head 'linear'"
            )
        require_classifier(backbone)
    return coarsest


def _require_strides(backbone: str, skip: str, output_stride: int | None) -> int:
    available = list_strides(backbone, output_stride)
    coarsest = SKIPS[skip].find_coarsest(available)
    if coarsest is not None:
        return coarsest
    wanted = [*SKIPS[skip].strides]
    first = SKIPS[skip].coarsest or (32 if 32 in available else max(available))
    uses = f"fuses strides {', '.join(map(str, wanted))} into" if wanted else "predicts from"
    possible = [name for name in SKIPS if SKIPS[name].find_coarsest(available) is not None]
    raise InputError(
        f"skip {skip!r} {uses} stride {first}, but backbone {backbone!r} has features of stride "
        f"{', '.join(map(str, available))} only; with it, use {' or '.join(possible)}"
    )

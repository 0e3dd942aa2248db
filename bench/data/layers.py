"""Layers of an image: what goes into a network (inputs) and what it learns (targets).

Every dataset has one input, `rgb`, and one target; some have more: depth, a second labelling.
In: names from a spec. Out: the layers they mean, and how a network must be built for them.
Free of torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fcn.errors import InputError
from fcn.registry import unknown_name

Palette = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Input:
    """One kind of image, 8 bits a channel; 16 where it has a `value_range`."""

    name: str
    channels: int = 3
    mean: tuple[float, ...] = ()
    """Of each channel, for images scaled to 0..1; empty for that of the weights."""
    std: tuple[float, ...] = ()
    """Likewise. It is also the scale at which a network sees the input beside others."""
    log_range: tuple[float, float] | None = None
    """For files of 16 bits, such as depth in millimetres: the values that become 0 and 255, with
    logarithms between; None for files of 8 bits."""
    value_range: tuple[float, float] | None = None
    """For channels that are kept with 16 bits: the values that are 0 and 1 for the network; None
    for 8 bits, 0..255."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Input":
        """Read what `dataclasses.asdict` wrote, by way of JSON."""
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**plain)


COLOUR = Input("rgb")
"""The input of every dataset."""

SEMANTIC = "semantic"
"""Name of a dataset's target, where it has no other."""


@dataclass(frozen=True)
class Target:
    """One labelling of the images."""

    name: str
    class_names: tuple[str, ...]
    """Names of the C classes, in the order of their indices."""
    palette: Palette
    """Display colour of each class, red, green, blue in 0..255."""
    ignore_index: int
    """Label of pixels that are neither trained on nor scored; in 0..255, outside [0, C)."""

    def require_sense(self, where: str) -> None:
        """Refuse classes, colours and `ignore_index` that do not fit each other.

        Args:
            where: Dataset and map, put into the message.

        Raises:
            InputError: They do not.
        """
        C = len(self.class_names)
        if not 2 <= C <= 255:
            raise InputError(f"{where} has {C} classes; give 2 to 255, background included")
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if twice:
            raise InputError(f"{where} has two classes called {twice[0]!r}; rename one")
        if len(self.palette) != C:
            raise InputError(f"{where} has {len(self.palette)} colours for {C} classes")
        if not C <= self.ignore_index <= 255:
            raise InputError(
                f"ignore_index {self.ignore_index} of {where} must lie in {C}..255: "
                f"labels are 8 bit, and 0..{C - 1} are its classes; 255 is usual"
            )


def choose_inputs(available: Sequence[Input], names: Sequence[str]) -> tuple[Input, ...]:
    """Return the inputs of those names, in the order of the names.

    Raises:
        InputError: One is not there.
    """
    known = {one.name: one for one in available}
    _require("data.inputs", "input", known, names)
    return tuple(known[name] for name in names)


def choose_targets(available: Sequence[Target], names: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets of those names, in their order; without names the dataset's first.

    Raises:
        InputError: One is not there.
    """
    if not names:
        return (available[0],)
    known = {target.name: target for target in available}
    require_targets(known, names)
    return tuple(known[name] for name in names)


def require_targets(known: Iterable[str], names: Sequence[str]) -> None:
    """Refuse names of targets that are not known.

    Raises:
        InputError: One is not.
    """
    _require("data.targets", "target", known, names)


def network_options(inputs: Sequence[Input], num_classes: Sequence[int]) -> dict[str, Any]:
    """Return how `fcn.create_model` builds a network for them: nothing unusual for an image alone.

    Args:
        inputs: What the network sees.
        num_classes: Classes of each target.
    """
    options: dict[str, Any] = {"num_classes": num_classes[0]}
    if tuple(inputs) != (COLOUR,):
        options["inputs"] = {one.name: one.channels for one in inputs}
        options["statistics"] = {
            o.name: [list(o.mean), list(o.std)] for o in inputs if o.mean or o.std
        }
    if len(num_classes) > 1:
        options["more_classes"] = list(num_classes[1:])
    return options


def scale_statistics(
    inputs: Sequence[Input], mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation as they are to be applied to stored values over 255.

    For 8 bits these are the ones given, on the scale 0..1; where an input has a `value_range` of
    its own, they are moved and stretched so that its ends are 0 and 1.

    Args:
        inputs: What the network sees.
        mean: Of each channel of all of them, on the scale 0..1.
        std: Likewise.
    """
    ends = [one.value_range or (0.0, 255.0) for one in inputs for _ in range(one.channels)]
    if all(one.value_range is None for one in inputs):
        return tuple(mean), tuple(std)
    moved = [(low + m * (high - low)) / 255 for (low, high), m in zip(ends, mean, strict=True)]
    stretched = [s * (high - low) / 255 for (low, high), s in zip(ends, std, strict=True)]
    return tuple(moved), tuple(stretched)


def to_json(layer: Input | Target) -> dict[str, Any]:
    """Return plain values; what most inputs do not have is left out, as it was before it was."""
    return {k: v for k, v in asdict(layer).items() if v is not None or k != "value_range"}


def _require(key: str, kind: str, known: Iterable[str], names: Sequence[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise InputError(
                f"{key}: {unknown_name(kind, name, known)} The dataset's options may add more."
            )

"""Augmentations by name: torchvision's transforms on the views of a batch, each image by itself.

In: normalised views, their targets, and a seed for each image. Out: the same, transformed. The
first input is the image; geometry moves it together with targets and further inputs, the last two
by nearest. An image of bands that are no colours takes no transform of colours.
What an image does not cover stays 0, the mean, and has no label. All randomness is drawn from
torch's generators, which are set for each image: the same images whatever came before, however many
devices share them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from bench.data.layers import COLOUR, Input
from bench.settings.calls import read_call, require_arguments
from bench.spec import TrainSpec
from fcn.errors import InputError, foreign_code
from fcn.registry import Registry

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of an image (3, h, w), uint8, and maps (M, h, w), float32, as torchvision's tv_tensors, to both
in the same size; an image without colours is (K, h, w), float32, its range 0 to 1. What has no
place in an image any more is below 0 in the maps."""

AUGMENTATIONS: Registry[Callable[..., Transform]] = Registry("augmentation")
"""name -> function of arguments by name, which makes a transform."""

OUTSIDE = -1.0
"""Of maps: there is no image here."""

TRIES = 8
"""Images that transforms are tried on before training."""


@dataclass(frozen=True)
class Views:
    """What a network sees of N images."""

    images: Tensor
    """(N, K, h, w) float32, normalised; the first input's channels come first."""
    targets: list[Tensor]
    """Of each target, (N, h, w) int64."""
    inside: Tensor
    """(N, h, w) bool: what lies in the images."""


class Augmentation:
    """The setting `train.augment`: transforms one after the other.

    Args:
        setting: Calls, in their order.
        mean: Of each channel, on the scale 0..1.
        std: Likewise.
        ignored: The label of pixels without one, of each target.
        first: The input that is transformed as the image.

    Raises:
        InputError: A transform is unknown, does not take its arguments, or is of colours that
            there are not.
    """

    def __init__(
        self,
        setting: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        ignored: Sequence[int],
        first: Input = COLOUR,
    ) -> None:
        self._transforms = [(text, _create(text, first)) for text in setting]
        self._channels, self._has_colours = first.channels, first.name == COLOUR.name
        own = slice(first.channels)
        self._mean, self._std = (torch.tensor(v[own]).view(-1, 1, 1) for v in (mean, std))
        self._ignored = list(ignored)

    def __call__(self, views: Views, seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Return images and targets transformed, each image with its seed."""
        device = views.images.device
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        images = torch.empty_like(views.images)
        targets = [target.clone() for target in views.targets]
        for number, seed in enumerate(seeds):
            with _seeded(seed, device):
                self._transform(views, number, images, targets)
        return images, targets

    def _transform(self, views: Views, n: int, images: Tensor, targets: list[Tensor]) -> None:
        """Transform one image, into its places in `images` and `targets`."""
        from torchvision import tv_tensors

        own, others = views.images[n, : self._channels], views.images[n, self._channels :]
        pixels = own * self._std + self._mean
        if self._has_colours:  # resampling gives whole numbers; this gives them back
            pixels = pixels.mul_(255).round_().clamp_(0, 255).byte()
        labels = [target[n].float() for target in views.targets]
        maps = torch.cat([torch.stack([views.inside[n].float(), *labels]), others])
        image: Any = tv_tensors.Image(pixels)
        moved: Any = tv_tensors.Mask(maps)
        for text, transform in self._transforms:
            with foreign_code(f"train.augment {text} fails: "):
                image, moved = transform(image, moved)
        image, moved = (part.as_subclass(Tensor) for part in (image, moved))
        if image.shape != pixels.shape or moved.shape != maps.shape:
            raise InputError(
                f"train.augment {', '.join(t for t, _ in self._transforms)} changes the size of an "
                f"image from {tuple(pixels.shape)} to {tuple(image.shape)}; train.scale and "
                "train.crop do that"
            )
        inside = moved[0] > 0
        shown = image.float().div_(255) if self._has_colours else image
        shown = (shown - self._mean) / self._std
        images[n] = torch.cat([shown, moved[1 + len(targets) :]]) * inside
        for target, label, void in zip(targets, moved[1:], self._ignored, strict=False):
            target[n] = label.long().where(inside, void)


def list_augmentations() -> list[str]:
    """Return the names of all registered augmentations."""
    return list(AUGMENTATIONS)


def require_augment(
    train: TrainSpec, first: Input = COLOUR, size: tuple[int, int] | None = None
) -> None:
    """See that the transforms of a run exist and work on its images, by trying them.

    Args:
        train: Takes `augment` and `crop` from it.
        first: The first of `data.inputs`.
        size: Height and width of the smallest image, where there is no crop.

    Raises:
        InputError: One is unknown, does not take its arguments, fails, or is of colours that the
            images do not have.
    """
    if not train.augment:
        return
    height, width = size or train.crop or (64, 64)
    K = first.channels
    augmentation = Augmentation(train.augment, [0.5] * K, [0.25] * K, [255], first)
    target = torch.zeros(TRIES, height, width, dtype=torch.int64)
    views = Views(torch.zeros(TRIES, K, height, width), [target], target == 0)
    augmentation(views, range(TRIES))  # most are left out at random, by one half


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Have torch draw from a seed, and go on afterwards as if it had not."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


def _create(text: str, first: Input) -> Transform:
    call = read_call(text)
    if call.name in ELSEWHERE and call.name not in AUGMENTATIONS:
        raise InputError(f"train.augment {call.name}: the spec has {ELSEWHERE[call.name]} for that")
    create = AUGMENTATIONS[call.name]
    if first.name != COLOUR.name and call.name in OF_COLOURS:
        what = f"{first.channels} channel{'s' * (first.channels > 1)}"
        raise InputError(
            f"train.augment {call.name} is made for colours of 8 bits, red, green and blue, and "
            f"the image of this run is data.inputs {first.name} ({what}); leave it out, or take "
            f"one of those that work on any channels: {', '.join(OF_ANY)}"
        )
    require_arguments(f"train.augment {call.name}: {{}}", create, call.arguments, given=0)
    with foreign_code(f"train.augment {text} cannot be created: "):
        return create(**call.arguments)


TORCHVISION = (
    "ColorJitter",
    "ElasticTransform",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomAutocontrast",
    "RandomChannelPermutation",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomInvert",
    "RandomPerspective",
    "RandomPhotometricDistort",
    "RandomPosterize",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
)
"""Transforms of torchvision that leave an image its size."""

ELSEWHERE = {
    "RandomHorizontalFlip": "train.flip",
    **dict.fromkeys(("RandomCrop", "CenterCrop"), "train.crop"),
    **dict.fromkeys(
        ("RandomResizedCrop", "RandomResize", "Resize", "ScaleJitter"), "train.scale and train.crop"
    ),
}
"""What of torchvision is a key of its own."""

_INTERPOLATING = ("ElasticTransform", "RandomAffine", "RandomPerspective", "RandomRotation")

_MOVING = (*_INTERPOLATING, "RandomVerticalFlip")
"""Those that move pixels; all others are for the image alone."""

OF_ANY = (*_MOVING, "GaussianBlur", "GaussianNoise", "RandomErasing")
"""Those that make sense of any channels; the others are of colours."""

OF_COLOURS = ({*TORCHVISION} - {*OF_ANY}) | {"RandAugmentColours"}
"""Those of registered ones that bands without colours are refused."""


def _of_torchvision(name: str, **arguments: Any) -> Transform:
    """Make a transform of torchvision; its package takes seconds to import, so not before."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    made = getattr(v2, name)
    require_arguments(f"train.augment {name}: {{}}", made, arguments, given=0)
    if name == "Grayscale":
        arguments.setdefault("num_output_channels", 3)
    if name in _INTERPOLATING:
        if "fill" in arguments:
            raise InputError(
                f"train.augment {name}: fill: where no image is left there is the mean, and no "
                "label; leave it out"
            )
        arguments.setdefault("interpolation", "bilinear")
        arguments["fill"] = {tv_tensors.Image: 0, tv_tensors.Mask: OUTSIDE}
    if "interpolation" in arguments:
        arguments["interpolation"] = v2.InterpolationMode(arguments["interpolation"])
    transform = made(**arguments)
    if name in _MOVING:
        return transform  # type: ignore[no-any-return]
    return lambda image, maps: (transform(image), maps)


for _name in TORCHVISION:
    AUGMENTATIONS.register(_name)(partial(_of_torchvision, _name))


@AUGMENTATIONS.register("RandAugmentColours")
def create_rand_augment_colours(
    *,
    num_ops: Annotated[int, Field(ge=1)] = 2,
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9,
) -> Transform:
    """RandAugment without what moves pixels: brightness, colour, contrast, sharpness and the rest.

    Args:
        num_ops: Operations on each image, one after the other.
        magnitude: How strong they are, from 0 to 30.

    Reference: Cubuk et al., 2020, arXiv:1909.13719.
    """
    from torchvision.transforms import v2

    moving = ("Shear", "Translate", "Rotate")
    whole = v2.RandAugment(num_ops=num_ops, magnitude=magnitude)
    space = whole._AUGMENTATION_SPACE  # it has no public way to leave a part out
    whole._AUGMENTATION_SPACE = {k: v for k, v in space.items() if not k.startswith(moving)}
    return lambda image, maps: (whole(image), maps)

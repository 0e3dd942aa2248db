"""Images as the usual loop reads them: files on disk, decoded and transformed by PIL.

In: a pack. Out: a JPEG and a PNG of each image, and a torch dataset over them. JPEG because it is
what photographs come in, and decodes faster than PNG.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from bench.data.packs.pack import Pack

JPEG_QUALITY = 95
FileDecoded = tuple[Tensor, Tensor]
"""Image (3, h, w) float32, and target (h, w) int64."""


@dataclass(frozen=True)
class TrainTransform:
    """Random resize, flip, crop; then a normalised tensor. Distributions are those of ours."""

    crop: tuple[int, int]
    scale: tuple[float, float]
    mean: Sequence[float]
    std: Sequence[float]
    ignore_index: int

    def __call__(self, image: Image.Image, target: Image.Image) -> FileDecoded:
        """Transform one image and its mask."""
        factor = math.exp(random.uniform(*map(math.log, self.scale)))
        size = [max(1, round(factor * side)) for side in (image.height, image.width)]
        image = TF.resize(image, size, InterpolationMode.BILINEAR)
        target = TF.resize(target, size, InterpolationMode.NEAREST)
        if random.random() < 0.5:
            image, target = TF.hflip(image), TF.hflip(target)
        missing = [max(0, c - side) for c, side in zip(self.crop, size, strict=True)]
        if any(missing):
            border = [0, 0, missing[1], missing[0]]  # left, top, right, bottom
            image = TF.pad(image, border, fill=0)
            target = TF.pad(target, border, fill=self.ignore_index)
        top = random.randint(0, image.height - self.crop[0])
        left = random.randint(0, image.width - self.crop[1])
        image = TF.crop(image, top, left, *self.crop)
        target = TF.crop(target, top, left, *self.crop)
        return to_tensors(image, target, self.mean, self.std)


@dataclass(frozen=True)
class EvaluateTransform:
    """The image as it is, normalised."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, image: Image.Image, target: Image.Image) -> FileDecoded:
        """Transform one image and its mask."""
        return to_tensors(image, target, self.mean, self.std)


class Files(Dataset[FileDecoded]):
    """Images of a split, decoded when they are asked for.

    Args:
        pairs: Image and label file of each image.
        transform: What is done with them.
    """

    def __init__(
        self, pairs: Sequence[tuple[Path, Path]], transform: TrainTransform | EvaluateTransform
    ) -> None:
        self._pairs = list(pairs)
        self._transform = transform

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> FileDecoded:
        image_path, target_path = self._pairs[index]
        with Image.open(image_path) as image, Image.open(target_path) as target:
            return self._transform(image.convert("RGB"), target)


def write_files(
    pack: Pack, split: str, folder: Path, *, suffix: str = ".jpg"
) -> list[tuple[Path, Path]]:
    """Write a split as files, unless they are there, and return the pairs in the pack's order."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for i in pack.indices(split):
        image, target = folder / f"{i}{suffix}", folder / f"{i}-target.png"
        if not target.exists():
            Image.fromarray(pack.image(i)).save(image, quality=JPEG_QUALITY)
            Image.fromarray(pack.target(i)).save(target)
        pairs.append((image, target))
    return pairs


def to_tensors(
    image: Image.Image, target: Image.Image, mean: Sequence[float], std: Sequence[float]
) -> FileDecoded:
    """Turn an image and its mask into what a network and its loss take."""
    pixels = TF.to_dtype(TF.pil_to_tensor(image), torch.float32, scale=True)
    normalised = TF.normalize(pixels, list(mean), list(std))
    return normalised, TF.pil_to_tensor(target).squeeze(0).long()

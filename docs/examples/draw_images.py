"""Images and masks as a microscope might give them, drawn: something to follow the tutorial with.

`python draw_images.py cells` writes `cells/images/*.jpg`, `cells/masks/*_mask.png` (a colour for
each class) and `cells/classes.csv` (name,r,g,b). No two images are alike, and the same command
always draws the same.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = {"background": (0, 0, 0), "cell": (0, 160, 80), "nucleus": (220, 40, 60)}
SIDE = 64
"""Height and width in pixels."""


def draw(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Draw an image, and its mask in the classes' colours."""
    light = rng.uniform(150, 215)
    tints = [light, light * rng.uniform(0.72, 0.86), light * rng.uniform(0.4, 0.55)]
    image, mask = Image.new("L", (SIDE, SIDE), int(light)), Image.new("RGB", (SIDE, SIDE))
    on_image, on_mask = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(0, SIDE, 2)
        width, height = rng.uniform(9, 14, 2)
        at = rng.uniform(-0.25, 0.25, 2) * (width, height)
        core = rng.uniform(0.4, 0.55) * np.array([width, height])
        for kind, (i, j), (w, h) in (
            ("cell", (x, y), (width, height)),
            ("nucleus", (x + at[0], y + at[1]), core),
        ):
            box = (i - w, j - h, i + w, j + h)
            on_image.ellipse(box, fill=int(tints[list(CLASSES).index(kind)]))
            on_mask.ellipse(box, fill=CLASSES[kind])
    values = np.asarray(image.filter(ImageFilter.GaussianBlur(1.0)), dtype=float)
    shade = np.linspace(-1, 1, SIDE)[:, None] * rng.uniform(-25, 25)
    noisy = (
        values[..., None] * (1.0, 0.93, 0.97) + shade[..., None] + rng.normal(0, 9, (SIDE, SIDE, 3))
    )
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), mask


def main(folder: Path, number: int = 60) -> None:
    """Write a folder of images, masks and their table."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(number):
        image, mask = draw(np.random.default_rng([7, index]))
        image.save(folder / "images" / f"slide{index:02}.jpg", quality=92)
        mask.save(folder / "masks" / f"slide{index:02}_mask.png")
    with (folder / "classes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "r", "g", "b"])
        table.writerows([name, *colour] for name, colour in CLASSES.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

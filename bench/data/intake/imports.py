"""Annotations that are no masks yet, drawn as masks of class indices: labelme, COCO and others.

In: what a tool exported, and the images it is about. Out: a PNG for each image, under the image's
own name, and the names of the classes.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.data.intake.coco import import_coco
from bench.data.intake.drawing import Imported
from bench.data.intake.exports import (
    are_class_folders,
    import_cvat,
    import_folders,
    import_label_studio,
)
from bench.data.intake.labelme import import_labelme
from bench.data.intake.named import Named, find_named
from fcn.errors import InputError
from fcn.registry import unknown_name

SOURCES: dict[str, Callable[[Named, Path, Path], Imported]] = {
    "coco": import_coco,
    "cvat": import_cvat,
    "folders": import_folders,
    "label-studio": import_label_studio,
    "labelme": import_labelme,
}
"""By name: what takes the images, what was exported, and the folder for masks."""


def import_masks(source: str, images: Named, exported: str, folder: Path) -> Imported:
    """Return the masks of images, drawn into a folder where they are not there yet.

    Args:
        source: `masks` for those that are there, or one of `SOURCES`.
        images: The images.
        exported: What a person names as masks.
        folder: Where to draw masks; made if it is needed.

    Raises:
        InputError: There is no such source, or what was exported cannot be understood.
    """
    if source == "masks":
        masks = find_named(exported, "--masks")
        if not are_class_folders(images, masks):
            return Imported(masks)
        drawn = import_folders(images, masks.base, folder)
        said = "masks lie in folders, several to an image: each folder is taken for a class"
        return replace(drawn, said=(said, *drawn.said))
    if source not in SOURCES:
        raise InputError(f"--from {source}: {unknown_name('source', source, ['masks', *SOURCES])}")
    where = Path(exported).expanduser()
    if not where.exists():
        raise InputError(f"--masks {exported} is not there; --from {source} reads it")
    return SOURCES[source](images, where, folder)

"""Oxford-IIIT Pet: 3,680 photographs of cats and dogs to train on and 3,669 to judge.

Layout, that of images.tar.gz and annotations.tar.gz, and of torchvision's `OxfordIIITPet`:
`images/`, `annotations/trimaps/` and the lists `annotations/trainval.txt` and
`annotations/test.txt`. A trimap holds 1 for the pet, 2 for the background, and 3 for a border
between, which is void unless asked.

Reference: Parkhi et al., CVPR 2012, doi:10.1109/CVPR.2012.6248092; robots.ox.ac.uk/~vgg/data/pets.
"""

from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import DescribedDataset, describe_values

LISTS = {"train": "trainval.txt", "test": "test.txt"}
BORDER = 3
FETCH = "unpack images.tar.gz and annotations.tar.gz there (from robots.ox.ac.uk/~vgg/data/pets)"


@DATASETS.register("pets")
def load_pets(data_dir: Path | None, *, border: bool = False) -> DescribedDataset:
    """Find the photographs in `data_dir`, or in its folder `oxford-iiit-pet`.

    Args:
        data_dir: The folder.
        border: Take the border for a third class, as some do; else it is void.

    Raises:
        InputError: The folder or a list is not there.
    """
    root = find_root(
        "pets", data_dir, ("oxford-iiit-pet", "pets"), ("images", "annotations/trimaps"), FETCH
    )
    splits = {
        split: tuple(
            line.split()[0]
            for line in read_lines(root / "annotations" / name)
            if not line.startswith("#")
        )
        for split, name in LISTS.items()
    }
    files = {
        (split, name): (
            Path("images", f"{name}.jpg"),
            Path("annotations", "trimaps", f"{name}.png"),
        )
        for split, names in splits.items()
        for name in names
    }
    classes = {"background": [2], "pet": [1]} | ({"border": [BORDER]} if border else {})
    description = describe_values(classes, void=[] if border else [BORDER])
    return DescribedDataset.of("pets", description, root, splits, files)


@OUTLINES.register("pets")
def outline_pets(*, border: bool = False) -> Outline:
    """3,680 and 3,669 images."""
    return Outline({"train": 3680, "test": 3669}, 3 if border else 2, (375, 500), FETCH)

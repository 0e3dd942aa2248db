"""SIFT Flow: 2,688 outdoor scenes of 256x256, each labelled twice, by 33 classes and by geometry.

Layout, that of SiftFlowDataset.zip: `Images/`, `SemanticLabels/` and `GeoLabels/`, each with the
folder `spatial_envelope_256x256_static_8outdoorcategories`. Lists `trainval.txt` and `test.txt`
with stems are read where they lie beside, else ours: those of the FCN authors, who leave out two
images without labels. Cow, desert and moon are in no image of test.

Reference: Liu et al., 2011, doi:10.1109/TPAMI.2011.131; geometry of Tighe and Lazebnik, ECCV 2010;
splits and class order of data/sift-flow in shelhamer/fcn.berkeleyvision.org.
"""

from pathlib import Path

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import find_root
from bench.data.layers import Target
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.matlab import VOID, MatlabDataset
from bench.data.sets.published_lists import read_published, read_splits

CLASSES = read_published("siftflow-classes")
GEOMETRY = {
    "sky": (110, 160, 220),
    "horizontal": (150, 120, 90),
    "vertical": (200, 90, 70),
}
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
LISTS = {
    "train": ("trainval.txt", "siftflow-trainval"),
    "test": ("test.txt", "siftflow-test"),
}
FETCH = "unpack SiftFlowDataset.zip there (from www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow)"


@DATASETS.register("siftflow")
def load_siftflow(data_dir: Path | None, *, geometric: bool = True) -> MatlabDataset:
    """Find SIFT Flow's files in `data_dir`, or in its folder `sift-flow` or `SiftFlowDataset`.

    Args:
        data_dir: Where the archive was unpacked.
        geometric: Read the geometric labels too, a target called `geometric`.

    Raises:
        InputError: The folder or a list is not there.
    """
    root = find_root(
        "siftflow", data_dir, ("sift-flow", "SiftFlowDataset"), ("Images", "SemanticLabels"), FETCH
    )
    splits = read_splits(root, LISTS)
    keys = [(split, stem) for split, stems in splits.items() for stem in stems]
    more = _targets(geometric)
    return MatlabDataset(
        variable="S",
        name="siftflow",
        class_names=CLASSES,
        palette=spread_colours(len(CLASSES)),
        ignore_index=VOID,
        splits=splits,
        root=root,
        files={
            key: (
                Path("Images", SCENES, f"{key[1]}.jpg"),
                Path("SemanticLabels", SCENES, f"{key[1]}.mat"),
            )
            for key in keys
        },
        more_files={
            one.name: {key: Path("GeoLabels", SCENES, f"{key[1]}.mat") for key in keys}
            for one in more
        },
        more_targets=more,
    )


@OUTLINES.register("siftflow")
def outline_siftflow(*, geometric: bool = True) -> Outline:
    """2,486 and 200 images of 256 x 256."""
    counts = {split: len(read_published(ours)) for split, (_, ours) in LISTS.items()}
    return Outline(counts, len(CLASSES), (256, 256), FETCH, more_targets=_targets(geometric))


def _targets(geometric: bool) -> tuple[Target, ...]:
    return (Target("geometric", tuple(GEOMETRY), tuple(GEOMETRY.values()), VOID),) * geometric

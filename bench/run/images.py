"""Image files that a person names: folders walked, and a name for what is made of each.

A frame of a video goes as a file too: drive.mp4 is taken for a folder drive of 000001.png and on.
"""

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import files_below
from bench.data.formats import SUFFIXES
from bench.outputs.stream import find_manifests
from bench.run.video import SUFFIXES as VIDEO_SUFFIXES
from bench.run.video import Frames, count_frames
from bench.text import MAX_BYTES
from fcn.errors import InputError

LISTS = (".txt", ".lst", ".csv", ".tsv")
"""Endings of files that list images."""


@dataclass(frozen=True)
class ImageFile:
    """An image that was named, or lies in a folder that was."""

    path: Path
    folder: Path | None = None
    """The folder that was named; of a frame, that of its video."""
    frame: tuple[Frames, int] | None = None
    """Of a video, which frame: there is no file of that path."""

    @property
    def inside(self) -> int:
        """How many parts of the path, from its end, say where the image is: its name, or more."""
        return 1 if self.folder is None else len(self.path.relative_to(self.folder).parts)


def find_images(given: Sequence[Path], out: Path) -> list[ImageFile]:
    """Return the images given, those in folders given and below, and frames of videos, each once.

    Hidden files are passed over, and so is what commands of ours wrote there or in `out`.

    Args:
        given: Files, folders, videos, and globs that no shell has read. What is not there comes
            along, and fails where it is read.
        out: Folder that results go to.

    Raises:
        InputError: A folder holds no image, a video cannot be read, nothing of all is there, a
            list is given as an image, or a frame is called as an image is.
    """
    given = [path for one in given for path in _match(one)]
    if not any(path.exists() for path in given):
        shown = ", ".join(map(str, given[:3])) + ", ..." * (len(given) > 3)
        raise InputError(f"{shown}: there is no such file; give images, folders of them, or globs")
    found: dict[str, ImageFile] = {}
    for path in given:
        if path.suffix.lower() in LISTS and path.is_file():
            raise InputError(
                f"{path} is a list, no image; have it read from standard input, as in "
                f"`fcn-bench predict RUN - < {path}`"
            )
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            images = list(_frames_of(path))
        else:
            images = list(_walk(path, out)) if path.is_dir() else [ImageFile(path)]
        if not images:
            raise InputError(
                f"{path} is a folder without images, in it or below (names that end in "
                f"{' '.join(sorted(SUFFIXES))}, not hidden, not written by fcn-bench)"
            )
        for image in images:
            other = found.setdefault(os.path.abspath(image.path), image)
            if (image.frame is None) != (other.frame is None):
                raise InputError(
                    f"{image.path} is an image, and what a frame of a video beside its folder is "
                    "called; give them to two commands, each with its own --out"
                )
    return list(found.values())


def _match(path: Path) -> list[Path]:
    """Return the files of a glob in quotes; a path as it is. A file may have `[1]` in its name."""
    if path.exists():
        return [path]
    return [Path(found) for found in sorted(glob.glob(str(path), recursive=True))] or [path]


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the images in a folder and below, by their path there without its suffix."""
    files: dict[str, list[Path]] = {}
    for path in _image_files(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        files.setdefault(stem, []).append(path)
    return files


def find_beside(path: Path, files: Mapping[str, list[Path]], inside: int) -> list[Path]:
    """Return the files that share the longest end of an image's path, without its suffix.

    Args:
        path: The image.
        files: Those of another folder, as `files_by_stem` gives them.
        inside: How many parts of the path they must share at least.
    """
    parts = path.with_suffix("").parts
    for first in range(len(parts) - inside + 1):
        found = files.get("/".join(parts[first:]))
        if found:
            return found
    return []


def name_results(images: Sequence[ImageFile], endings: Sequence[str]) -> dict[Path, Path]:
    """Name what is made of each image, relative to the folder of results.

    An image that was given itself has its stem, one in a folder its path there (of several folders,
    below what they have in common). Where these meet, the path below the common folder is kept, and
    where that is not enough the suffix: a.png and a.jpg become a.png-mask.png and a.jpg-mask.png.

    Args:
        images: Image files.
        endings: How the name of each result goes on from there.

    Returns:
        The results' path without their endings, by that of the image.

    Raises:
        InputError: Two images would have a result in common, or one's name would be too long.
    """
    folders = {os.path.abspath(image.folder) for image in images if image.folder}
    top = os.path.commonpath(folders) if folders else ""
    places = {i.path: _below(top, i.path) if i.folder else Path(i.path.name) for i in images}
    for group in _meeting(places):
        parents = {os.path.abspath(path.parent) for path in group}
        if len(parents) > 1:
            places |= {path: _below(os.path.commonpath(parents), path) for path in group}
    stems = {path: place.with_suffix("") for path, place in places.items()}
    for group in _meeting(places):
        stems |= {path: places[path] for path in group}
    _require_apart(stems, endings)
    return stems


def _below(folder: str, path: Path) -> Path:
    return Path(os.path.relpath(path, folder))


def _meeting(places: Mapping[Path, Path]) -> list[list[Path]]:
    """Return the groups of images whose places differ in nothing but the suffix."""
    groups: dict[Path, list[Path]] = {}
    for path, place in places.items():
        groups.setdefault(place.with_suffix(""), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _require_apart(stems: Mapping[Path, Path], endings: Sequence[str]) -> None:
    made_of: dict[Path, Path] = {}
    for path, stem in stems.items():
        for result in _results(stem, endings):
            other = made_of.setdefault(result, path)
            if other != path:
                raise InputError(
                    f"{other} and {path} would both become {result}; rename one, or give them to "
                    "two commands, each with its own --out"
                )
            if len(os.fsencode(result.name)) > MAX_BYTES:
                raise InputError(
                    f"the name of {path} is too long for what is made of it ({result.name}): "
                    f"{MAX_BYTES} bytes fit; rename it"
                )


def require_room(
    out: Path,
    stems: Mapping[Path, Path],
    endings: Sequence[str],
    may_write: Callable[[Path, Path], bool],
) -> None:
    """See that results can be written to a folder, over nothing but themselves.

    Args:
        out: The folder, whether or not it is there.
        stems: What `name_results` returned.
        endings: What it was given.
        may_write: (result, image) -> whether nothing is there but what was made of that image.

    Raises:
        InputError: Something is in the way.
    """
    paths = [(out / r, image) for image, stem in stems.items() for r in _results(stem, endings)]
    for folder in dict.fromkeys(parent for path, _ in paths for parent in path.parents):
        if os.path.lexists(folder) and not folder.is_dir():
            raise InputError(
                f"{folder} is no folder, so nothing can go there; choose another --out"
            )
    images = {os.path.realpath(image) for image in stems}
    taken = [p for p, image in paths if os.path.realpath(p) in images or not may_write(p, image)]
    if taken:
        others = f" (so are {len(taken) - 1} other files)" if len(taken) > 1 else ""
        raise InputError(
            f"{taken[0]} is there already{others}, and is not what this run's network made of the "
            "same image; choose another --out, or move it away"
        )


def _results(stem: Path, endings: Sequence[str]) -> list[Path]:
    return [stem.with_name(stem.name + ending) for ending in endings]


def _walk(folder: Path, out: Path) -> Iterator[ImageFile]:
    """Yield the images in a folder and below that no command of ours wrote."""
    homes = dict.fromkeys([out, folder, *(path.parent for path in files_below(folder))])
    made = [manifest for home in homes for manifest in find_manifests(home)]
    for path in _image_files(folder):
        if not any(manifest.is_ours(path) for manifest in made):
            yield ImageFile(path, folder)


def _frames_of(video: Path) -> Iterator[ImageFile]:
    frames = Frames(video)
    for number in range(count_frames(video)):
        path = video.with_suffix("") / f"{number + 1:06d}.png"
        yield ImageFile(path, video.parent, (frames, number))


def _image_files(folder: Path) -> Iterator[Path]:
    """Yield what is taken for an image in a folder and below, sorted; nothing that is hidden."""
    for path in files_below(folder):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden:
            yield path

"""Videos: their frames as images, one after the other. Extra `fcn-bench[video]`, PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn.errors import InputError

SUFFIXES = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))


def count_frames(path: Path) -> int:
    """Return how many frames a video has, by its packets; nothing is decoded.

    Raises:
        InputError: It holds no video, or nothing here reads videos.
    """
    with _opened(path) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


@dataclass
class Frames:
    """A video's frames by number, from 0. Read in order, each is decoded once."""

    path: Path
    _next: int = 0
    _decoded: Iterator[NDArray[np.uint8]] | None = field(default=None, repr=False)

    def read(self, number: int) -> NDArray[np.uint8]:
        """Return a frame as it is shown, (H, W, 3), red, green, blue.

        Raises:
            InputError: It cannot be decoded.
        """
        if self._decoded is None or number < self._next:
            self._decoded, self._next = _decode(self.path), 0
        for frame in self._decoded:
            self._next += 1
            if self._next > number:
                return frame
        raise InputError(f"{self.path} ends before its frame {number + 1}; it is damaged")


def _decode(path: Path) -> Iterator[NDArray[np.uint8]]:
    with _opened(path) as container:
        for frame in container.decode(video=0):
            # As a phone held it: the matrix of the track turns frames anticlockwise.
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a container that has a video; what PyAV raises over it is said in a paragraph."""
    try:
        import av
    except ImportError as error:
        raise InputError(
            f"{path} is a video; pip install 'fcn-bench[video]' reads its frames, or make images "
            f"of them with `ffmpeg -i {path.name} frames/%06d.png` and give the folder frames"
        ) from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no video in it; give one, or images")
            yield container
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read as a video ({error.strerror})") from error

"""A PNG that a command draws where somebody says: it is replaced as long as it is the command's.

A note in the PNG says what it was drawn of, and has a digest of its pixels: another's, and one that
was painted over since, stays.
"""

import hashlib
import os
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.outputs.folder import require_writable
from bench.store.atomic import replacing
from fcn.errors import InputError


class Drawing:
    """A PNG as one command sees it.

    Args:
        path: The file.
        what: What is drawn: "heatmap".
        of: Digest of what it is drawn of.
        source: What that is: "image".
    """

    def __init__(self, path: Path, what: str, *, of: str, source: str) -> None:
        self._path, self._what, self._of, self._source = path, what, of, source
        self._note = f"fcn-bench {what}"

    def require(self) -> None:
        """See, before anything is computed, that it can be drawn.

        Raises:
            InputError: The name is no PNG's; or there is a file of that name that was not drawn of
                the same, or was changed since.
            OSError: Nothing can be written there.
        """
        if self._path.suffix.lower() != ".png":
            raise InputError(
                f"--out {self._path}: the image that is drawn is a PNG; give a name in .png"
            )
        if not os.path.lexists(self._path):
            require_writable(self._path.parent)
        elif not self._is_own():
            raise InputError(
                f"--out {self._path}: there is a file of that name that is no {self._what} of this "
                f"{self._source}, or was changed since; give another name with --out, or move it "
                "away"
            )

    def write(self, drawn: Image.Image) -> None:
        """Write the image with its note.

        Raises:
            OSError: It cannot be written.
        """
        note = PngInfo()
        note.add_text(self._note, f"{self._of} {_digest_pixels(drawn)}")
        with replacing(self._path) as temporary:
            drawn.save(temporary, pnginfo=note)

    def _is_own(self) -> bool:
        try:
            with Image.open(self._path) as there:
                of, _, pixels = str(there.info.get(self._note)).partition(" ")
                return of == self._of and pixels == _digest_pixels(there)
        # No image at all, a damaged one, or one that is larger than Pillow opens.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return False


def _digest_pixels(drawn: Image.Image) -> str:
    return hashlib.sha256(drawn.tobytes()).hexdigest()

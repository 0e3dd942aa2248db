"""Download: a published file fetched once, whole or not at all, and known by its hash.

In: an address and where the file belongs. Out: its path. Nothing is retried: who is offline learns
it at once. Only https is spoken, or http with this very machine, also after a redirect.
"""

import hashlib
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0
"""Longest silence of a server."""

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.[a-z]+$")  # as in googlenet-1378be20.pth


class DownloadError(OSError):
    """A file cannot be had; the message says why."""


class MissingError(DownloadError):
    """The server has no such file."""


def fetch(address: str, path: Path) -> Path:
    """Return `path`, downloading the file to it if it is not there; uses the network and the disk.

    It is written under another name and renamed when it is whole, so that a part of a file never
    passes for one, and two processes may fetch the same.

    Raises:
        DownloadError: No connection, a refusal, a cut body, or bytes of another hash. The hash is
            that of the server (`X-Linked-Etag`, as huggingface.co sends it) or of the file's name.
    """
    if path.is_file():
        require_hash(path, hash_in_name(path.name))
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file, _answer(address) as (request, body):
            _copy(body, file)
            announced = getattr(request, "linked_hash", None)
        require_hash(part, announced or hash_in_name(path.name))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def reach(address: str, path: Path) -> Path:
    """Return `path` if the file is there or can be fetched: asks the server, and downloads nothing.

    Raises:
        DownloadError: As `fetch`, but for what only the bytes show.
    """
    if path.is_file():
        require_hash(path, hash_in_name(path.name))
    else:
        with _answer(address):  # the answer's head is enough; its body is left
            pass
    return path


def announced_hash(address: str) -> str | None:
    """Return the sha256 of a file in hex as its server says it; None if it does not.

    Raises:
        DownloadError: As `reach`.
    """
    with _answer(address) as (request, _):
        return getattr(request, "linked_hash", None)


@contextmanager
def _answer(address: str) -> Iterator[tuple[urllib.request.Request, Any]]:
    """Yield a request and the server's answer to it; what goes wrong until the end is said."""
    _require_safe(address)
    opener = urllib.request.build_opener(_CarefulRedirects)
    request = urllib.request.Request(address, headers={"User-Agent": "fcn-bench"})
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as body:
            yield request, body
    except urllib.error.HTTPError as error:
        error.close()
        kind = MissingError if error.code == 404 else DownloadError
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException) as error:
        raise DownloadError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def file_hash(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_in_name(name: str) -> str | None:
    """Return the first digits of the hash that a file's name holds, as torch's weights do."""
    found = _HASH_IN_NAME.search(name)
    return found and found[1]


def require_hash(path: Path, wanted: str | None) -> None:
    """Compare a file's sha256 with its first digits.

    Raises:
        DownloadError: They differ.
    """
    if wanted and not (found := file_hash(path)).startswith(wanted):
        raise DownloadError(f"its sha256 starts with {found[: len(wanted)]}, not {wanted}")


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to safe addresses, and keeps the hash which the first server names."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        try:
            _require_safe(newurl)
        except DownloadError:
            fp.close()
            raise
        etag = (headers.get("X-Linked-Etag") or "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", etag):
            # On the request that was passed to `open`, however many redirects follow.
            first = getattr(req, "first", req)
            first.linked_hash = etag
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.first = getattr(req, "first", req)  # type: ignore[attr-defined]
        return following


def _require_safe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DownloadError(f"address {address!r} is not https")


def _copy(body: Any, file: IO[bytes]) -> None:
    """Copy a response to a file.

    Raises:
        DownloadError: It is shorter than it said: `read` does not complain about that.
    """
    announced, received = body.headers.get("Content-Length"), 0
    while block := body.read(1 << 20):
        received += file.write(block)
    if announced is not None and received != int(announced):
        raise DownloadError(f"the connection broke after {received} of {announced} bytes")

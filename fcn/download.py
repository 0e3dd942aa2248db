"""Download: a published file fetched once, whole or not at all, and known by its hash.

In: an address and where the file belongs. Out: its path. Nothing is retried: who is offline learns
it at once, and the next call goes on where this one broke. Only https is spoken, or http with this
very machine, also after a redirect. With HF_HUB_OFFLINE set no connection is made at all.
"""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants

from fcn.download_part import Part, claim_part

TIMEOUT_SECONDS = 10.0
"""Longest silence of a server."""

LIMIT_BYTES = 64 * 2**30
"""Most that a server may send where nothing is known of a file's size."""

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.[a-z]+$")  # as in googlenet-1378be20.pth


class DownloadError(OSError):
    """A file cannot be had; the message says why."""


class MissingError(DownloadError):
    """The server has no such file."""


class OfflineError(DownloadError):
    """The user's word forbids to ask any server."""


class WrongFileError(DownloadError):
    """The server has another file than is wanted."""


class _RangeError(DownloadError):
    """The server has no such part of the file."""


@dataclass(frozen=True)
class Wanted:
    """What is known of a file before it is fetched."""

    digest: str = ""
    """`sha256:` or `md5:` and its digits in hex."""
    size: int | None = None
    """Its bytes."""
    limit: int = LIMIT_BYTES
    """Most bytes that it may have."""

    def require_size(self, size: int) -> None:
        """Compare what a server says of a file's bytes with what is known.

        Raises:
            WrongFileError: It is another file, or too large.
        """
        if self.size is not None and size != self.size:
            raise WrongFileError(f"it has {size} bytes, not {self.size}: it is another file")
        if size > self.limit:
            raise WrongFileError(f"it has more than the {self.limit} bytes that it may have")

    def require(self, path: Path) -> None:
        """Compare a file with what is known of it; reads it whole where its digest is.

        Raises:
            WrongFileError: It is another file.
        """
        self.require_size(path.stat().st_size)
        kind, _, digits = self.digest.partition(":")
        if digits and (found := file_hash(path, kind)) != digits:
            raise WrongFileError(f"its {kind} is {found}, not {digits}")


def fetch(
    address: str,
    path: Path,
    wanted: Wanted | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Return `path`, downloading the file to it if it is not there; uses the network and the disk.

    It is written under another name and renamed when it is whole, so that a part of a file never
    passes for one, and two processes may fetch the same. A part stays for the next call, where the
    server can be asked for the rest.

    Args:
        address: Where it is published.
        path: Where it belongs.
        wanted: What it must be. Without it the hash of the server (`X-Linked-Etag`, as
            huggingface.co sends it) or of the file's name decides.
        progress: Told the bytes that are here, and of how many.

    Raises:
        DownloadError: No connection, a refusal, a cut body, or another file than is wanted.
    """
    wanted = wanted or Wanted()
    if path.is_file():
        _require_file(path, wanted, None)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with claim_part(path, address) as part:
        try:
            try:
                announced = _receive(address, part, wanted, progress)
            except _RangeError:  # what is here is no part of what is there
                part.clear()
                announced = _receive(address, part, wanted, progress)
            _require_file(part.path, wanted, announced, path.name)
        except WrongFileError:
            part.clear()
            raise
        part.publish(path)
    return path


def _require_file(path: Path, wanted: Wanted, announced: str | None, name: str = "") -> None:
    wanted.require(path)
    require_hash(path, announced or hash_in_name(name or path.name))


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
def _answer(
    address: str, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[urllib.request.Request, Any]]:
    """Yield a request and the server's answer to it; what goes wrong until the end is said."""
    if constants.HF_HUB_OFFLINE:  # the user's word, for all servers
        raise OfflineError("it is not here, and HF_HUB_OFFLINE forbids to fetch it")
    _require_safe(address)
    opener = urllib.request.build_opener(_CarefulRedirects)
    request = urllib.request.Request(
        address, headers={"User-Agent": "fcn-bench", **(headers or {})}
    )
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as body:
            yield request, body
    except urllib.error.HTTPError as error:
        error.close()
        kind = {404: MissingError, 416: _RangeError}.get(error.code, DownloadError)
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException) as error:
        raise DownloadError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Return the digest of a file, in hex: its sha256, or that of another kind."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def hash_in_name(name: str) -> str | None:
    """Return the first digits of the hash that a file's name holds, as torch's weights do."""
    found = _HASH_IN_NAME.search(name)
    return found and found[1]


def require_hash(path: Path, wanted: str | None) -> None:
    """Compare a file's sha256 with its first digits.

    Raises:
        WrongFileError: They differ.
    """
    if wanted and not (found := file_hash(path)).startswith(wanted):
        raise WrongFileError(f"its sha256 starts with {found[: len(wanted)]}, not {wanted}")


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


def _receive(
    address: str, part: Part, wanted: Wanted, progress: Callable[[int, int], None] | None
) -> str | None:
    """Copy a server's answer behind what is here of a file; return the hash that it announces.

    Raises:
        DownloadError: It is shorter than it said, which `read` does not complain about.
        WrongFileError: It is another file, or larger than it may be.
    """
    with _answer(address, part.headers) as (request, body):
        if body.status != 206:
            part.begin(body.headers)
        elif not part.follows(body.headers):
            raise WrongFileError("the server sent another part of the file than it was asked for")
        length = body.headers.get("Content-Length")
        received = part.size
        total = None if length is None else received + int(length)
        if total is not None:
            wanted.require_size(total)
        while block := _read_block(body, received):
            part.file.write(block)
            received += len(block)
            if received > wanted.limit:  # before it is whole, and where its size was not said
                wanted.require_size(received)
            if progress:
                progress(received, total or wanted.size or received)
        part.file.flush()
        if total is not None and received != total:
            raise DownloadError(f"the connection broke after {received} of {total} bytes")
        return getattr(request, "linked_hash", None)


def _read_block(body: Any, received: int) -> bytes:
    try:
        block: bytes = body.read1(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"the connection broke after {received} bytes: {error}") from error
    return block

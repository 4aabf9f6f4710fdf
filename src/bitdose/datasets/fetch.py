"""Download of one file over HTTP: resumed, retried, verified and placed atomically.

During the download, the file is ``NAME.part``, and ``NAME.part.json`` stores its URL and the
validator (``ETag``, ``Last-Modified``) of RFC 9110. A later call, after a lost connection,
Ctrl-C or kill -9, therefore requests only the rest (``Range``), and only of the same file
(``If-Range``). Server responses:

| response | meaning |
| --- | --- |
| 206 at the requested offset | the rest is appended |
| 200, or 206 at another offset | ``Range`` ignored or file changed: restart |
| 416 | nothing left to send: verify the part, or restart |
| 408, 425, 429, 5xx, lost connection, timeout | retry with backoff; honours ``Retry-After`` |
| any other | failure: the next URL, if any |

A resumed file with a wrong digest is downloaded once more from the start; a file downloaded in one
piece with a wrong digest is renamed to ``NAME.wrong`` and is an error.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from bitdose.datasets.arrange import FULL
from bitdose.datasets.manifest import RemoteFile
from bitdose.datasets.part import Part, set_file_aside
from bitdose.datasets.web import (
    AGAIN,
    NETWORK_ERRORS,
    FetchError,
    Session,
    StoppedError,
    network_reason,
    retry_after,
    wait_before,
    web_opener,
)
from bitdose.errors import BitdoseError
from bitdose.hashing import file_digest

_CHUNK_BYTES = 1 << 16
_RANGE_ENDED = 416
_PARTIAL = 206


class DiskError(BitdoseError):
    """A full disk, which stops all downloads."""


class _LaterError(Exception):
    """A transient failure, with the server's Retry-After in seconds, if any."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def fetch_file(
    file: RemoteFile,
    target: Path,
    *,
    session: Session | None = None,
    gained: Callable[[int], None] = lambda _: None,
) -> str:
    """Download one file to its target, unless a valid one exists.

    Parameters
    ----------
    file : RemoteFile
        File to download.
    target : pathlib.Path
        Target path in an existing folder.
    session : Session, optional
        Retry policy, stop flag and host state, shared by the files of a set.
    gained : callable
        Called with the number of new bytes, negative after a restart.

    Returns
    -------
    str
        ``present`` or ``fetched``.

    Raises
    ------
    FetchError
        If no URL serves the file.
    DiskError
        If the disk is full.
    StoppedError
        If the session was stopped.
    """
    try:
        if target.exists():
            if _is_right(file, target):
                gained(file.n_bytes)
                return "present"
            set_file_aside(target)
        part = Part(target, gained)
        part.settle(file.n_bytes)
        _fetch(file, part, session or Session())
        part.finish(target)
    except OSError as error:
        if error.errno in FULL:
            raise DiskError(
                "the disk is full; received bytes are retained: make room, then run again"
            ) from error
        raise FetchError(f"cannot be written: {error.strerror}") from error
    return "fetched"


def _fetch(file: RemoteFile, part: Part, session: Session) -> None:
    """Complete and verify the part, from the first URL that serves the file."""
    reasons = []
    for url in file.urls:
        host = str(urlsplit(url).hostname)
        if session.is_silent(host):
            reasons.append(f"no connection for an earlier file ({host})")
            continue
        try:
            _from_one_place(file, url, part, session)
        except FetchError as error:
            reasons.append(f"{error} ({host})")
        else:
            return
    raise FetchError("; ".join(dict.fromkeys(reasons)))


def _from_one_place(file: RemoteFile, url: str, part: Part, session: Session) -> None:
    _complete(file, url, part, session)
    if _is_right(file, part.path):
        return
    if part.joined:  # its beginning may belong to another version
        part.drop()
        _complete(file, url, part, session)
        if _is_right(file, part.path):
            return
    part.set_aside()
    raise FetchError("complete, but its SHA-256 differs from the manifest's; renamed to .wrong")


def _complete(file: RemoteFile, url: str, part: Part, session: Session) -> None:
    """Download the part to its full size; retries are unlimited while bytes keep arriving."""
    failures, most = 0, part.n_bytes
    while part.n_bytes < file.n_bytes:
        try:
            _one_request(file, url, part, session)
        except _LaterError as error:
            failures = 1 if part.n_bytes > most else failures + 1
            most = max(most, part.n_bytes)
            if failures > session.how.retries:
                session.failed(str(urlsplit(url).hostname))
                raise FetchError(f"{error}, {session.how.retries} retries did not help") from None
            wait_before(error.wait_s, failures, session.how, session.stop)


def _one_request(file: RemoteFile, url: str, part: Part, session: Session) -> None:
    request = urllib.request.Request(url, headers=_headers(part, url))  # noqa: S310  checked by the manifest
    try:
        with web_opener().open(request, timeout=session.how.timeout_s) as response:
            session.responded(str(urlsplit(url).hostname))
            _begin(file, url, part, response)
            _copy(file, part, response, session.stop)
    except urllib.error.HTTPError as error:
        session.responded(str(urlsplit(url).hostname))
        with error:
            _refused(error, part)
    except NETWORK_ERRORS as error:
        raise _LaterError(network_reason(error)) from None
    except ValueError:  # an invalid header
        raise FetchError("the server's response is not valid HTTP") from None


def _headers(part: Part, url: str) -> dict[str, str]:
    headers = {"User-Agent": "bitdose", "Accept-Encoding": "identity"}
    if part.n_bytes:
        headers["Range"] = f"bytes={part.n_bytes}-"
        validator = part.validator(url)
        if validator:
            headers["If-Range"] = validator
    return headers


def _begin(file: RemoteFile, url: str, part: Part, response: Any) -> None:
    """Position the part at the response's offset, and record the origin of its bytes."""
    start = _start_of(response) if response.status == _PARTIAL else 0
    length = str(response.headers.get("Content-Length", ""))
    if length.isdigit() and start >= 0 and start + int(length) != file.n_bytes:
        raise FetchError(f"the server has {start + int(length)} bytes, the manifest states {file.n_bytes}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("the server compresses the file although this was not requested")
    if start != part.n_bytes:
        part.drop()
        if start:
            raise _LaterError("the server sends a different range than requested")
    part.joined = part.joined or start > 0
    part.remember(url, response.headers)


def _start_of(response: Any) -> int:
    span = str(response.headers.get("Content-Range", "")).removeprefix("bytes ").partition("-")[0]
    return int(span) if span.isdigit() else -1


def _copy(file: RemoteFile, part: Part, response: Any, stop: Event) -> None:
    with part.path.open("ab") as out:
        while True:
            if stop.is_set():
                raise StoppedError("stopped; run again to resume")
            try:
                chunk = response.read(_CHUNK_BYTES)
            except OSError as error:  # distinguished from errors of the disk
                raise _LaterError(network_reason(error)) from None
            if not chunk:
                break
            if part.n_bytes + len(chunk) > file.n_bytes:
                raise FetchError(f"the server sends more than the manifest's {file.n_bytes} bytes")
            part.append(out, chunk)
    if part.n_bytes < file.n_bytes:
        raise _LaterError("the connection was cut")


def _refused(error: urllib.error.HTTPError, part: Part) -> None:
    if error.code == _RANGE_ENDED and part.n_bytes:
        part.drop()
        raise _LaterError("HTTP 416", wait_s=0.0)
    if error.code in AGAIN:
        raise _LaterError(f"HTTP {error.code}", retry_after(error.headers))
    raise FetchError(f"HTTP {error.code}")


def _is_right(file: RemoteFile, path: Path) -> bool:
    return path.stat().st_size == file.n_bytes and file_digest(path) == file.sha256

"""Resumable uploads: a tus 1.0 client that resumes at the byte where the connection was lost.

A small exam is sent with the creating request (creation-with-upload), which saves a round trip. A larger one,
or one that failed at first, is created empty; its bytes follow in PATCH requests, and after an interruption
HEAD returns the offset. No PATCH has a checksum of its own, since a server may then discard an interrupted
one. The digest in the metadata covers the whole, and the server verifies it at the end.

References
----------
tus resumable upload protocol 1.0.0, https://tus.io/protocols/resumable-upload.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from bitdose.client.sending.connection import LaterError, check, over_the_link
from bitdose.wire import EXAM_HEADER, TUS_VERSION, UPLOADS, ExamMeta

if TYPE_CHECKING:
    import httpx

Read = Callable[[int, int], bytes]
"""``read(offset, n_bytes)`` of the payload: at least one byte, at most ``n_bytes``."""
Tick = Callable[[int], None]
_PIECE_BYTES = 4096
_VERSION = {"Tus-Resumable": TUS_VERSION}
_BODY = {"Content-Type": "application/offset+octet-stream"}


class PendingUpload(NamedTuple):
    """An upload at the service.

    Parameters
    ----------
    path : str
        Path of its address; the host of its Location is ignored.
    offset : int
        Number of bytes at the service.
    exam : str
        Id of the exam once complete; empty before.
    view : bytes
        The service's JSON description of the exam, if sent with the id; else empty.
    """

    path: str
    offset: int
    exam: str = ""
    view: bytes = b""


def announce(client: httpx.Client, meta: ExamMeta, *, body: bytes = b"", wait_s: int = 0) -> PendingUpload:
    """Create an upload, with all of its bytes or none.

    With all bytes the service may delay its response for ``wait_s`` seconds and include the exam's prediction
    (RFC 7240, ``Prefer: wait``): a round trip less.

    Raises
    ------
    StopError, RefusedError, LaterError, GoneError
        By the service's response.
    """
    value = base64.b64encode(meta.model_dump_json(exclude_defaults=True).encode("utf-8")).decode("ascii")
    headers = _VERSION | {"Upload-Length": str(meta.payload_bytes), "Upload-Metadata": f"exam {value}"}
    if body:
        headers |= _BODY | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
    with over_the_link():
        response = check(client.post(UPLOADS, headers=headers, content=body or None))
    location = urlsplit(response.headers.get("Location", ""))
    if not location.path:
        raise LaterError("the service created an upload without a Location")
    exam = response.headers.get(EXAM_HEADER, "")
    view = response.content if exam and "Preference-Applied" in response.headers else b""
    return PendingUpload(location.path, _offset(response, len(body) if exam else 0), exam, view)


def find(client: httpx.Client, path: str) -> PendingUpload:
    """Return the state of an upload; raises ``GoneError`` if it no longer exists.

    Parameters
    ----------
    client : httpx.Client
        Output of :func:`bitdose.client.sending.connection.connect`.
    path : str
        Path of the upload.

    Raises
    ------
    GoneError
        If the upload no longer exists.
    StopError, LaterError
        By the service's response.
    """
    with over_the_link():
        response = check(client.head(_at(client, path), headers=_VERSION))
    return PendingUpload(path, _offset(response, 0), response.headers.get(EXAM_HEADER, ""))


def append(
    client: httpx.Client, upload: PendingUpload, read: Read, *, end: int, on_bytes: Tick | None = None
) -> PendingUpload:
    """Send the bytes from an upload's offset up to ``end``, in one request.

    Parameters
    ----------
    client : httpx.Client
        Output of :func:`bitdose.client.sending.connection.connect`.
    upload : PendingUpload
        State of the upload.
    read : callable
        Reader of the payload.
    end : int
        Offset to stop at.
    on_bytes : callable, optional
        Called with the offset as bytes are passed to the connection.

    Raises
    ------
    StopError, RefusedError, LaterError, GoneError
        By the service's response; after ``LaterError`` call :func:`find` first.
    """
    headers = _VERSION | _BODY
    headers |= {"Upload-Offset": str(upload.offset), "Content-Length": str(end - upload.offset)}
    with over_the_link():
        response = check(
            client.patch(
                _at(client, upload.path), headers=headers, content=_pieces(read, upload.offset, end, on_bytes)
            )
        )
    return PendingUpload(upload.path, _offset(response, end), response.headers.get(EXAM_HEADER, ""))


def _at(client: httpx.Client, path: str) -> httpx.URL:
    """Return an upload's address at the token's server, whatever the host of its Location."""
    return client.base_url.copy_with(raw_path=path.encode("ascii", "ignore"))


def _pieces(read: Read, start: int, end: int, on_bytes: Tick | None) -> Iterator[bytes]:
    at = start
    while at < end:
        piece = read(at, min(_PIECE_BYTES, end - at))
        yield piece
        at += len(piece)
        if on_bytes is not None:
            on_bytes(at)


def _offset(response: httpx.Response, default: int) -> int:
    text = response.headers.get("Upload-Offset", str(default))
    if not text.isdigit():
        raise LaterError("the service sent no valid offset")
    return int(text)

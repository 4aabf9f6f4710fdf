"""Resumable uploads: tus 1.0 from the client's side, going on at the byte where the line broke.

A small exam travels with the request that announces it (creation-with-upload): one round trip less. A larger
one, or one that did not arrive at first, is announced alone; its bytes follow in PATCH requests, and after
a break HEAD says how many of them are there. No PATCH carries a checksum of its own: a server may not keep
the part of one that broke. The digest in the metadata covers the whole, and the server checks it at the end.

References
----------
tus resumable upload protocol 1.0.0, https://tus.io/protocols/resumable-upload.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from bitdose.client.sending.connection import LaterError, check, over_the_line
from bitdose.wire import EXAM_HEADER, TUS_VERSION, UPLOADS, ExamMeta

if TYPE_CHECKING:
    import httpx

Read = Callable[[int, int], bytes]
"""``read(offset, n_bytes)`` of the payload: at least one byte, and at most so many."""
Tick = Callable[[int], None]
_PIECE_BYTES = 4096
_VERSION = {"Tus-Resumable": TUS_VERSION}
_BODY = {"Content-Type": "application/offset+octet-stream"}


class PendingUpload(NamedTuple):
    """An upload at the service.

    Parameters
    ----------
    path : str
        Of its address; always at the server that was asked, wherever its Location leads.
    offset : int
        Bytes that are there.
    exam : str
        The exam's id once all are; empty before.
    view : bytes
        What the service said of the exam with that, as JSON; empty where it did not.
    """

    path: str
    offset: int
    exam: str = ""
    view: bytes = b""


def announce(client: httpx.Client, meta: ExamMeta, *, body: bytes = b"", wait_s: int = 0) -> PendingUpload:
    """Make an upload, with all of its bytes or none of them.

    With all of them the service may hold its word back for ``wait_s``, and say the exam's answer with it
    (RFC 7240, ``Prefer: wait``): a round trip less.

    Raises
    ------
    StopError, RefusedError, LaterError, GoneError
        As the service says.
    """
    value = base64.b64encode(meta.model_dump_json(exclude_defaults=True).encode("utf-8")).decode("ascii")
    headers = _VERSION | {"Upload-Length": str(meta.payload_bytes), "Upload-Metadata": f"exam {value}"}
    if body:
        headers |= _BODY | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
    with over_the_line():
        response = check(client.post(UPLOADS, headers=headers, content=body or None))
    location = urlsplit(response.headers.get("Location", ""))
    if not location.path:
        raise LaterError("the service made an upload and did not say where")
    exam = response.headers.get(EXAM_HEADER, "")
    view = response.content if exam and "Preference-Applied" in response.headers else b""
    return PendingUpload(location.path, _offset(response, len(body) if exam else 0), exam, view)


def find(client: httpx.Client, path: str) -> PendingUpload:
    """Ask how much of an upload is there; raises ``GoneError`` where it is no more."""
    with over_the_line():
        response = check(client.head(_at(client, path), headers=_VERSION))
    return PendingUpload(path, _offset(response, 0), response.headers.get(EXAM_HEADER, ""))


def append(
    client: httpx.Client, upload: PendingUpload, read: Read, *, end: int, on_bytes: Tick | None = None
) -> PendingUpload:
    """Send the bytes from where an upload stands up to ``end``, in one request.

    Parameters
    ----------
    client : httpx.Client
        From :func:`bitdose.client.sending.connection.connect`.
    upload : PendingUpload
        Where it stands.
    read : callable
        Reads the payload.
    end : int
        Offset to stop at.
    on_bytes : callable, optional
        Called with the offset as bytes are handed to the line.

    Raises
    ------
    StopError, RefusedError, LaterError, GoneError
        As the service says; after ``LaterError`` ask :func:`find` first.
    """
    headers = _VERSION | _BODY
    headers |= {"Upload-Offset": str(upload.offset), "Content-Length": str(end - upload.offset)}
    with over_the_line():
        response = check(
            client.patch(
                _at(client, upload.path), headers=headers, content=_pieces(read, upload.offset, end, on_bytes)
            )
        )
    return PendingUpload(upload.path, _offset(response, end), response.headers.get(EXAM_HEADER, ""))


def _at(client: httpx.Client, path: str) -> httpx.URL:
    """Return an upload's address: at the server that the token is for, wherever its Location leads."""
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
        raise LaterError("the service gives no offset")
    return int(text)

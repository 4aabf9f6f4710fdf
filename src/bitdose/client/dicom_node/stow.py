"""DICOMweb STOW-RS client (PS3.18, 10.5), one object per request.

With one object per request, a lost connection costs one object, and the response refers to one object.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bitdose.client.sending.connection import RefusedError, check, over_the_link

if TYPE_CHECKING:
    import httpx

_CONFLICT, _ACCEPTED = 409, 202
_FAILED, _FAILURE_REASON = "00081198", "00081197"
_BOUNDARY_BYTES = 16
_PIECE_BYTES = 1 << 16


def store(client: httpx.Client, data: bytes) -> None:
    """Store one DICOM object in an archive.

    Parameters
    ----------
    client : httpx.Client
        Output of :func:`bitdose.client.sending.connection.connect` for the archive's DICOMweb root.
    data : bytes
        A DICOM file.

    Raises
    ------
    RefusedError
        If the archive rejects it, with the failure reason of PS3.18, table 10.5.3-1.
    StopError, LaterError, GoneError
        As for a service.
    """
    boundary = secrets.token_hex(_BOUNDARY_BYTES)  # 128 random bits: absent from the data
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    headers = {
        "Accept": "application/dicom+json",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(len(head) + len(data) + len(tail)),
    }
    with over_the_link():
        response = client.post("/studies", headers=headers, content=_body(head, data, tail))
    reason = _failure(response)
    if response.status_code == _CONFLICT or reason:
        raise RefusedError(f"the archive does not store it ({reason or 'no reason given'})")
    check(response)


def _body(head: bytes, data: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    for at in range(0, len(data), _PIECE_BYTES):
        yield data[at : at + _PIECE_BYTES]
    yield tail


def _failure(response: httpx.Response) -> str:
    """Return the failure reason of a store response, as four hexadecimal digits; empty without one."""
    if response.status_code not in (200, _ACCEPTED, _CONFLICT):
        return ""
    try:
        failed: Any = json.loads(response.content)[_FAILED]["Value"]
        code = failed[0][_FAILURE_REASON]["Value"][0] if failed else None
    except (ValueError, LookupError, TypeError):
        return ""
    return f"failure reason {code:04X}H" if isinstance(code, int) else ""

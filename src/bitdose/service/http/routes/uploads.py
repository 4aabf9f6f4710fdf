"""tus 1.0: creation, creation-with-upload, expiration, checksum, termination.

Bytes received before a lost connection are retained, also of a piece with a checksum: the payload's SHA-256
is verified at the end.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
import time
from email.utils import format_datetime
from typing import IO, Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from bitdose.errors import BitdoseError
from bitdose.service.exams import tus
from bitdose.service.exams.admission import meta_refusal
from bitdose.service.exams.intake import DamagedError, NoProfileError, active_profile, complete
from bitdose.service.http.access import Caller, require
from bitdose.service.http.context import Context, context_of
from bitdose.service.http.routes.exams import MOST_WAIT_S, exam
from bitdose.service.problems import MEDIA_TYPE, declared, refuse
from bitdose.wire import (
    CHECKSUM,
    EXAM_HEADER,
    TUS_EXTENSIONS,
    TUS_VERSION,
    UPLOADS,
    ExamMeta,
    Problem,
    Role,
)

router = APIRouter(tags=["uploads"])

Sender = Annotated[Caller, Depends(require(Role.CLINIC))]

_STREAM = "application/offset+octet-stream"
_MISMATCH = 460
_PIECE_BYTES = 1 << 20
_PIECE_S = 1.0
_IN_MEMORY_BYTES = 1 << 22
_WAIT = re.compile(r"\bwait=(\d{1,3})\b")
_DIGITS = re.compile("[0-9]{1,18}")
_VERSION = {"Tus-Resumable": TUS_VERSION}
_ID = "/{upload_id}"


@router.options(UPLOADS, status_code=204)
@router.options(UPLOADS + _ID, status_code=204)
def abilities(request: Request) -> Response:
    """Return the supported parts of tus."""
    most = context_of(request).settings.max_upload_bytes
    headers = {
        "Tus-Version": TUS_VERSION,
        "Tus-Extension": ",".join(TUS_EXTENSIONS),
        "Tus-Max-Size": str(most),
        "Tus-Checksum-Algorithm": CHECKSUM,
    }
    return Response(status_code=204, headers=_VERSION | headers)


@router.post(UPLOADS, status_code=201, responses=declared(400, 412, 413, 415, 422, 429, 503))
async def create(request: Request, sender: Sender) -> Response:
    """Create an upload for one exam after checking its metadata; may include the first bytes."""
    _check_version(request)
    context = context_of(request)
    meta = _meta(request)
    _check_length(request, meta, context)
    if reason := await run_sync(_refusal, context, meta):
        request.state.detail = reason  # into the audit log, since there will be no exam
        raise refuse(422, reason, headers=_VERSION)
    upload = await run_sync(_create, context, sender, meta)
    status, headers = 201, {"Location": f"{UPLOADS}/{upload.id}"}
    if request.headers.get("content-type") == _STREAM:
        response = await _receive(request, _Writer(context, sender, upload), status, headers)
        return await _with_view(request, sender, response)
    return Response(status_code=status, headers=_headers(upload) | headers)


@router.head(UPLOADS + _ID, responses=declared(404, 410, 412))
async def stand(request: Request, upload_id: str, sender: Sender) -> Response:
    """Return an upload's offset and, once complete, its exam."""
    _check_version(request)
    context = context_of(request)
    upload = await run_sync(_find, context, upload_id, sender)
    return await _standing(context, upload, 200, {"Cache-Control": "no-store"})


@router.patch(UPLOADS + _ID, status_code=204, responses=declared(400, 404, 409, 410, 412, 413, 415))
async def append(request: Request, upload_id: str, sender: Sender) -> Response:
    """Append bytes at an offset."""
    _check_version(request)
    context = context_of(request)
    if request.headers.get("content-type") != _STREAM:
        raise refuse(415, f"Content-Type: expected {_STREAM}")
    offset = _number(request, "upload-offset")
    upload = await run_sync(_find, context, upload_id, sender)
    if offset != upload.offset:
        raise refuse(
            409, f"Upload-Offset: the upload stands at {upload.offset}, got {offset}", headers=_VERSION
        )
    return await _receive(request, _Writer(context, sender, upload), 204, {})


@router.delete(UPLOADS + _ID, status_code=204, responses=declared(404, 410, 412))
def end(request: Request, upload_id: str, sender: Sender) -> Response:
    """Delete an upload; its exam stays."""
    _check_version(request)
    context = context_of(request)
    upload = _find(context, upload_id, sender)
    tus.remove(context.engine, context.store, upload.id, sender.id)
    return Response(status_code=204, headers=_VERSION)


async def _receive(request: Request, store: _Writer, status: int, headers: dict[str, str]) -> Response:
    """Store the body piece by piece on arrival; with a checksum, once complete."""
    expected = _checksum(request)
    announced = request.headers.get("content-length", "0")
    if int(announced) > store.upload.length - store.upload.offset:
        detail = f"the upload was announced with {store.upload.length} bytes; more came"
        raise refuse(413, detail, headers=_VERSION)
    try:
        right = await _take(request, store, expected)
    except tus.TusError as error:
        raise refuse(error.status, error.reason, headers=_VERSION) from error
    except ClientDisconnect:
        return Response(status_code=499)
    if not right:
        return _mismatch("the piece does not have the checksum that was sent with it")
    return await _standing(store.context, store.upload, status, headers)


async def _with_view(request: Request, sender: Caller, response: Response) -> Response:
    """Delay the response until the exam is settled, on request (RFC 7240), to save a round trip."""
    wish = _WAIT.search(request.headers.get("prefer", ""))
    made = response.headers.get(EXAM_HEADER)
    if wish is None or made is None:
        return response
    view = await exam(request, made, sender, wait=min(float(wish[1]), MOST_WAIT_S))
    known = {name: value for name, value in response.headers.items() if name != "content-length"}
    known["Preference-Applied"] = f"wait={wish[1]}"
    return Response(view.model_dump_json(), response.status_code, known, "application/json")


class _Writer:
    """Writer that appends pieces to one upload."""

    def __init__(self, context: Context, sender: Caller, upload: tus.Upload) -> None:
        self.context = context
        self._sender = sender
        self.upload = upload

    async def write(self, data: bytes) -> None:
        """Store a piece."""
        if data:
            self.upload = await run_sync(self._append, data)

    def _append(self, data: bytes) -> tus.Upload:
        at = self.upload
        engine, store = self.context.engine, self.context.store
        return tus.append(engine, store, at.id, self._sender.id, offset=at.offset, data=data)


async def _take(request: Request, writer: _Writer, expected: bytes | None) -> bool:
    """Write the body; False, without effect, if its checksum differs."""
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as held:
        since = time.monotonic()
        try:
            async for chunk in request.stream():
                held.write(chunk)
                digest.update(chunk)
                due = held.tell() >= _PIECE_BYTES or time.monotonic() - since >= _PIECE_S
                if expected is None and due:
                    await _flush(held, writer)
                    since = time.monotonic()
        except (ClientDisconnect, HTTPException):  # disconnected, or timed out
            await _flush(held, writer)
            raise
        if expected is not None and digest.digest() != expected:
            return False
        await _flush(held, writer)
    return True


async def _flush(held: IO[bytes], writer: _Writer) -> None:
    held.seek(0)
    while piece := held.read(_PIECE_BYTES):
        await writer.write(piece)
    held.seek(0)
    held.truncate()


async def _standing(context: Context, upload: tus.Upload, status: int, headers: dict[str, str]) -> Response:
    """Return an upload's state; create its exam if it is complete and has none yet."""
    known = _headers(upload) | headers
    if upload.is_complete:
        try:
            made = await run_sync(complete, context.engine, context.store, context.profiles, upload.id)
        except DamagedError as error:
            return _mismatch(str(error))
        except NoProfileError as error:
            raise refuse(503, str(error), headers=_VERSION) from error
        except BitdoseError as error:  # deleted in the meantime
            raise refuse(410, str(error), headers=_VERSION) from error
        known[EXAM_HEADER] = made
    return Response(status_code=status, headers=known)


def _create(context: Context, sender: Caller, meta: ExamMeta) -> tus.Upload:
    try:
        return tus.create(context.engine, sender.id, meta)
    except tus.TusError as error:
        raise refuse(error.status, error.reason, headers=_VERSION) from error


def _find(context: Context, upload_id: str, sender: Caller) -> tus.Upload:
    try:
        return tus.find(context.engine, upload_id, sender.id)
    except tus.TusError as error:
        raise refuse(error.status, error.reason, headers=_VERSION) from error


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != TUS_VERSION:
        headers = {"Tus-Version": TUS_VERSION}
        raise refuse(412, f"Tus-Resumable: expected {TUS_VERSION}", headers=headers)


def _check_length(request: Request, meta: ExamMeta, context: Context) -> None:
    length, most = _number(request, "upload-length"), context.settings.max_upload_bytes
    if length > most:
        raise refuse(413, f"Upload-Length: at most {most} bytes are taken, got {length}", headers=_VERSION)
    if length != meta.payload_bytes:
        detail = f"Upload-Length: the exam's payload_bytes is {meta.payload_bytes}, got {length}"
        raise refuse(400, detail, headers=_VERSION)


def _refusal(context: Context, meta: ExamMeta) -> str:
    """Return why an exam is rejected by its metadata, before a slow link transfers the body."""
    try:
        return meta_refusal(meta, active_profile(context.profiles))
    except NoProfileError as error:
        raise refuse(503, str(error), headers=_VERSION) from error


def _meta(request: Request) -> ExamMeta:
    """Parse the key ``exam`` of ``Upload-Metadata``; errors name fields, never their values."""
    pairs = [part.split(" ") for part in request.headers.get("upload-metadata", "").split(",")]
    found = [pair[1] for pair in pairs if len(pair) == 2 and pair[0] == "exam"]  # noqa: PLR2004
    try:
        (text,) = found
        return ExamMeta.model_validate_json(base64.b64decode(text, validate=True))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise refuse(400, f"Upload-Metadata: exam: {'; '.join(wrong[:5])}", headers=_VERSION) from None
    except (ValueError, binascii.Error):
        raise refuse(400, "Upload-Metadata: expected one key, exam, in base64", headers=_VERSION) from None


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not _DIGITS.fullmatch(text):
        raise refuse(400, f"{name.title()}: expected a number of bytes", headers=_VERSION)
    return int(text)


def _checksum(request: Request) -> bytes | None:
    text = request.headers.get("upload-checksum")
    if text is None:
        return None
    name, _, value = text.partition(" ")
    try:
        expected = base64.b64decode(value, validate=True)
    except binascii.Error:
        expected = b""
    if name != CHECKSUM or len(expected) != hashlib.sha256().digest_size:
        raise refuse(400, f"Upload-Checksum: expected {CHECKSUM} and base64", headers=_VERSION)
    return expected


def _mismatch(detail: str) -> Response:
    """Return a response with a tus-specific status code."""
    body = Problem(title="Checksum Mismatch", status=_MISMATCH, detail=detail).model_dump()
    return JSONResponse(body, _MISMATCH, _VERSION, MEDIA_TYPE)


def _headers(upload: tus.Upload) -> dict[str, str]:
    found: dict[str, Any] = {
        "Upload-Offset": upload.offset,
        "Upload-Length": upload.length,
        "Upload-Expires": format_datetime(upload.expires, usegmt=True),
    }
    return _VERSION | {name: str(value) for name, value in found.items()}

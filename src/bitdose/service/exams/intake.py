"""Conversion of a complete upload to a queued or refused exam; idempotent.

An exam's id is a digest of its sender and metadata, including the payload's SHA-256: the same exam sent
again, after a lost response, is the same exam.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from bitdose.errors import BitdoseError
from bitdose.hashing import digest
from bitdose.profile.document import Profile
from bitdose.profile.timestamps import timestamp
from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, ExamRow, UploadRow
from bitdose.service.exams.admission import MAX_PIXELS, is_intact, meta_refusal, payload_refusal
from bitdose.service.exams.profiles import Profiles
from bitdose.service.exams.storage import BlobStore
from bitdose.wire import ExamMeta, ExamState

_ID_DIGITS = 32


class DamagedError(BitdoseError):
    """The payload does not match its checksum and has to be sent again."""


class NoProfileError(BitdoseError):
    """No profile is active, so nothing can be accepted."""


class _Judged(NamedTuple):
    """Outcome of an exam's admission; an empty reason means accepted."""

    meta: ExamMeta
    profile_id: str
    reason: str


def exam_id(account_id: int, meta: ExamMeta) -> str:
    """Return the id of an exam: the same for the same exam of the same sender."""
    said = meta.model_dump(mode="json")
    del said["client"]  # independent of the uploader's version
    return digest([account_id, said])[:_ID_DIGITS]


def complete(
    engine: Engine, store: BlobStore, profiles: Profiles, upload_id: str, *, max_pixels: int = MAX_PIXELS
) -> str:
    """Create the exam of a complete upload, and return its id.

    Parameters
    ----------
    engine, store, profiles
        The service's.
    upload_id : str
        A complete upload; an existing exam of it is returned.
    max_pixels : int
        Largest number of pixels that is decoded.

    Raises
    ------
    DamagedError
        If the checksum differs; the upload is deleted.
    NoProfileError
        If no profile is active; the upload stays.
    BitdoseError
        If the upload is missing or incomplete.
    """
    with reading(engine) as session:
        upload = session.get(UploadRow, upload_id)
        if upload is None or upload.offset != upload.length:
            raise BitdoseError("upload: it is not complete")
        if upload.exam_id:
            return upload.exam_id
    profile = active_profile(profiles)
    meta = ExamMeta.model_validate(upload.meta)
    store.seal(upload.blob, upload.length)
    payload = store.read(upload.blob)
    if not is_intact(meta, payload):
        drop_upload(engine, store, upload_id)
        raise DamagedError("the payload does not have the SHA-256 that was stated: send it again")
    reason = meta_refusal(meta, profile, max_pixels=max_pixels)
    reason = reason or payload_refusal(meta, payload, profile, max_pixels=max_pixels)
    judged = _Judged(meta, profile.id, reason)
    try:
        return _enter(engine, store, upload, judged)
    except IntegrityError:  # the same exam arrived by a concurrent upload
        return _enter(engine, store, upload, judged)


def active_profile(profiles: Profiles) -> Profile:
    """Return the enforced profile; raises ``NoProfileError`` if there is none or it has expired."""
    profile = profiles.active()
    if profile is None:
        raise NoProfileError("no profile is active: an admin must add and activate one")
    if now() >= timestamp(profile.expires, "expires"):
        raise NoProfileError(
            f"the active profile expired on {profile.expires}: an admin must activate another"
        )
    return profile


def complete_all(engine: Engine, store: BlobStore, profiles: Profiles) -> int:
    """Create the exams of uploads that were completed just before the service ended; return their number."""
    with reading(engine) as session:
        whole = (UploadRow.exam_id.is_(None), UploadRow.offset == UploadRow.length)
        ids = list(session.scalars(select(UploadRow.id).where(*whole)))
    made = 0
    for upload_id in ids:
        try:
            complete(engine, store, profiles, upload_id)
        except BitdoseError:
            continue  # damaged or removed meanwhile: reported when its sender polls
        made += 1
    return made


def drop_upload(engine: Engine, store: BlobStore, upload_id: str) -> None:
    """Remove an upload, and its bytes unless an exam uses them."""
    with sessions(engine).begin() as session:
        upload = session.get(UploadRow, upload_id)
        if upload is None:
            return
        kept = session.scalar(select(ExamRow.id).where(ExamRow.blob == upload.blob))
        session.delete(upload)
    if kept is None:
        store.delete(upload.blob)


def _enter(engine: Engine, store: BlobStore, upload: UploadRow, judged: _Judged) -> str:
    name = exam_id(upload.account_id, judged.meta)
    with sessions(engine).begin() as session:
        row = session.get(UploadRow, upload.id)
        account = session.get(AccountRow, upload.account_id)
        if row is None or account is None:
            raise BitdoseError("upload: it was removed")
        found = session.get(ExamRow, name)
        if found is None:
            found = _exam(name, upload, account.clinic, judged)
            session.add(found)
        row.exam_id = name
    if found.blob != upload.blob:
        store.delete(upload.blob)
    return name


def _exam(name: str, upload: UploadRow, clinic: str, judged: _Judged) -> ExamRow:
    """Create the row; the bytes of a refused exam are not stored."""
    meta, reason, at = judged.meta, judged.reason, now()
    return ExamRow(
        id=name,
        account_id=upload.account_id,
        clinic=clinic,
        meta=meta.model_dump(mode="json"),
        kind=meta.kind,
        pair=meta.pair,
        sha256=meta.sha256,
        blob="" if reason else upload.blob,
        profile=judged.profile_id,
        state=ExamState.REFUSED if reason else ExamState.QUEUED,
        reason=reason,
        received=at,
        answered=at if reason else None,
        attempts=0,
    )

"""Deletion of expired exams, expired uploads and orphaned blobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select

from bitdose.hashing import digest
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import ExamRow, UploadRow
from bitdose.service.exams.intake import drop_upload
from bitdose.service.exams.storage import BlobStore


@dataclass(frozen=True)
class Swept:
    """Numbers of deleted objects."""

    exams: int
    uploads: int


def sweep(engine: Engine, store: BlobStore, *, at: datetime, days: float) -> Swept:
    """Delete expired data.

    Parameters
    ----------
    engine, store
        The service's.
    at : datetime
        Now.
    days : float
        Retention of exams after receipt; 0 keeps them.
    """
    with reading(engine) as session:
        uploads = list(session.scalars(select(UploadRow.id).where(UploadRow.expires <= at)))
        old = ExamRow.received <= at - timedelta(days=days)
        exams = list(session.scalars(select(ExamRow.id).where(old))) if days else []
    for upload_id in uploads:
        drop_upload(engine, store, upload_id)
    for exam_id in exams:
        drop_exam(engine, store, exam_id)
    return Swept(len(exams), len(uploads))


def drop_exam(engine: Engine, store: BlobStore, exam_id: str) -> bool:
    """Delete an exam with its prediction, reviews and bytes; False if unknown."""
    with sessions(engine).begin() as session:
        row = session.get(ExamRow, exam_id)
        if row is None:
            return False
        ours = session.get(ExamRow, coded_id(exam_id))  # the service's coding of a pristine exam
        gone = [row, *([ours] if ours is not None else [])]
        for each in gone:
            session.execute(delete(UploadRow).where(UploadRow.exam_id == each.id))
            session.execute(delete(ExamRow).where(ExamRow.id == each.id))
    for each in gone:
        if each.blob:
            store.delete(each.blob)
    return True


def coded_id(exam_id: str) -> str:
    """Return the id of the service's coding of a pristine exam."""
    return digest(["coded by the service", exam_id])[:32]


def drop_orphans(engine: Engine, store: BlobStore, suspects: frozenset[str]) -> tuple[int, frozenset[str]]:
    """Delete orphaned blobs that were suspects at the previous check, at least an hour ago.

    A blob is created slightly before its row, so none is deleted at the first check.

    Returns
    -------
    tuple
        Number of deleted blobs, and the suspects for the next check.
    """
    present = frozenset(store.names())
    with reading(engine) as session:
        known = {*session.scalars(select(ExamRow.blob)), *session.scalars(select(UploadRow.blob))}
    unknown = present - known
    for name in unknown & suspects:
        store.delete(name)
    return len(unknown & suspects), unknown - suspects

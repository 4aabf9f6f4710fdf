"""Deleting: exams after their days, uploads after their life, bytes that no row knows."""

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
    """How many were deleted."""

    exams: int
    uploads: int


def sweep(engine: Engine, store: BlobStore, *, at: datetime, days: float) -> Swept:
    """Delete what is due.

    Parameters
    ----------
    engine, store
        The service's.
    at : datetime
        Now.
    days : float
        How long exams are kept after they were received; 0 keeps them.
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
    """Delete an exam with its answer, reviews and bytes; False if there is none."""
    with sessions(engine).begin() as session:
        row = session.get(ExamRow, exam_id)
        if row is None:
            return False
        ours = session.get(ExamRow, coded_id(exam_id))  # what the service coded of a pristine exam
        gone = [row, *([ours] if ours is not None else [])]
        for each in gone:
            session.execute(delete(UploadRow).where(UploadRow.exam_id == each.id))
            session.execute(delete(ExamRow).where(ExamRow.id == each.id))
    for each in gone:
        if each.blob:
            store.delete(each.blob)
    return True


def coded_id(exam_id: str) -> str:
    """Return the id of the exam that the service makes of a pristine one by coding it."""
    return digest(["coded by the service", exam_id])[:32]


def drop_orphans(engine: Engine, store: BlobStore, suspects: frozenset[str]) -> tuple[int, frozenset[str]]:
    """Delete blobs that no row knows and that were suspects at the look before, an hour or more ago.

    A blob may be a moment older than its row, so none is deleted at the first look.

    Returns
    -------
    tuple
        How many were deleted, and the suspects for the next look.
    """
    present = frozenset(store.names())
    with reading(engine) as session:
        known = {*session.scalars(select(ExamRow.blob)), *session.scalars(select(UploadRow.blob))}
    unknown = present - known
    for name in unknown & suspects:
        store.delete(name)
    return len(unknown & suspects), unknown - suspects

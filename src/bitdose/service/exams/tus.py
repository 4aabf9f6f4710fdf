"""Uploads as rows and bytes: tus 1.0 without HTTP.

The row's offset is authoritative. A piece is written, then counted, in one transaction under a lock on the
row: of two requests for one offset only one succeeds, and after a crash the sender resumes at the last
counted byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine, func, select

from bitdose.errors import BitdoseError
from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import UploadRow
from bitdose.service.exams.intake import drop_upload
from bitdose.service.exams.storage import BlobStore
from bitdose.wire import ExamMeta

LIFE = timedelta(days=7)
MAX_OPEN = 500

_ID = re.compile("[0-9a-f]{32}")


class TusError(BitdoseError):
    """Error of a tus request.

    Parameters
    ----------
    status : int
        The HTTP status.
    reason : str
        Reason, one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Upload:
    """State of an upload."""

    id: str
    length: int
    offset: int
    expires: datetime
    exam_id: str | None

    @property
    def is_complete(self) -> bool:
        """Whether the upload is complete."""
        return self.offset == self.length


def create(engine: Engine, account_id: int, meta: ExamMeta) -> Upload:
    """Open an upload of ``meta.payload_bytes``; raises ``TusError`` 429 for an account with too many open."""
    at = now()
    with sessions(engine).begin() as session:
        mine = (UploadRow.account_id == account_id, UploadRow.exam_id.is_(None), UploadRow.expires > at)
        n_open = session.scalar(select(func.count()).select_from(UploadRow).where(*mine)) or 0
        if n_open >= MAX_OPEN:
            raise TusError(429, f"{MAX_OPEN} uploads are open: finish or remove some first")
        row = UploadRow(
            id=uuid4().hex,
            account_id=account_id,
            length=meta.payload_bytes,
            offset=0,
            meta=meta.model_dump(mode="json"),
            blob=uuid4().hex,
            created=at,
            expires=at + LIFE,
        )
        session.add(row)
    return _upload(row)


def find(engine: Engine, upload_id: str, account_id: int) -> Upload:
    """Return an upload; raises ``TusError`` 404 for another account's, 410 for an expired one."""
    with reading(engine) as session:
        row = session.get(UploadRow, upload_id) if _ID.fullmatch(upload_id) else None
        return _upload(_checked(row, account_id))


def append(
    engine: Engine, store: BlobStore, upload_id: str, account_id: int, *, offset: int, data: bytes
) -> Upload:
    """Write and count one piece.

    Raises
    ------
    TusError
        409 for a wrong offset, 413 for more bytes than announced, 404 and 410 as :func:`find`.
    """
    with sessions(engine).begin() as session:
        row = _checked(session.get(UploadRow, upload_id, with_for_update=True), account_id)
        if row.offset != offset:
            raise TusError(409, f"Upload-Offset: the upload stands at {row.offset}, got {offset}")
        if offset + len(data) > row.length:
            raise TusError(413, f"the upload was announced with {row.length} bytes; more came")
        if data:
            store.write(row.blob, offset, data)
            row.offset = offset + len(data)
            row.expires = now() + LIFE
    return _upload(row)


def remove(engine: Engine, store: BlobStore, upload_id: str, account_id: int) -> None:
    """Delete an upload; its exam stays. Raises like :func:`find`."""
    find(engine, upload_id, account_id)
    drop_upload(engine, store, upload_id)


def _checked(row: UploadRow | None, account_id: int) -> UploadRow:
    if row is None or row.account_id != account_id:
        raise TusError(404, "no such upload")
    if row.expires <= now():
        raise TusError(410, "the upload has expired: start a new one")
    return row


def _upload(row: UploadRow) -> Upload:
    return Upload(row.id, row.length, row.offset, row.expires, row.exam_id)

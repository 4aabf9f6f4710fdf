"""Queue of exams in the database: temporary claims, one prediction each.

The contract:

- an exam is ``queued``, then ``reading`` under a worker's claim with a lease, then settled: ``answered``,
  ``refused`` or ``failed``. Every step is one transaction;
- a claim with an expired lease is void: the exam can be claimed again. A worker renews its lease while
  it works, and cannot settle an exam after losing the lease;
- an exam that was claimed before is claimed individually, so that an exam that kills its worker affects no
  other exam; after ``MAX_ATTEMPTS`` claims it has failed;
- order: coded exams before pristine ones, which wait for idle time, then by time of receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, and_, case, or_, select, update
from sqlalchemy.orm import Session

from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AnswerRow, ExamRow
from bitdose.wire import Answer, ExamKind, ExamMeta, ExamState

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 5

_EXHAUSTED = f"the classifier's process ended {MAX_ATTEMPTS} times while it read this exam"
_KEEP_ALL: dict[str, Any] = {"synchronize_session": False}


@dataclass(frozen=True)
class Claimed:
    """An exam claimed by a worker until ``lease``."""

    id: str
    account_id: int
    clinic: str
    meta: ExamMeta
    pair: str | None
    blob: str
    profile: str
    received: datetime
    attempts: int


def claim(engine: Engine, worker: str, *, limit: int, lease: timedelta = LEASE) -> list[Claimed]:
    """Claim up to ``limit`` queued exams; safe for concurrent processes.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The service's.
    worker : str
        Unique name of the worker.
    limit : int
        Largest number of exams.
    lease : datetime.timedelta
        Duration of the lease.

    Returns
    -------
    list of Claimed
        Empty if none is queued.
    """
    at = now()
    with sessions(engine).begin() as session:
        _fail_exhausted(session, at)
        order = (case((ExamRow.kind == ExamKind.CODED, 0), else_=1), ExamRow.received, ExamRow.id)
        waiting = select(ExamRow).where(_waits(at)).order_by(*order).limit(limit)
        rows = list(session.scalars(waiting.with_for_update(skip_locked=True)))
        taken = _together(rows)
        for row in taken:
            row.state, row.claimed_by, row.lease = ExamState.READING, worker, at + lease
            row.attempts += 1
        return [_claimed(row) for row in taken]


def renew(engine: Engine, worker: str, *, lease: timedelta = LEASE) -> None:
    """Renew all claims of a worker."""
    with sessions(engine).begin() as session:
        mine = (ExamRow.claimed_by == worker, ExamRow.state == ExamState.READING)
        session.execute(update(ExamRow).where(*mine).values(lease=now() + lease), execution_options=_KEEP_ALL)


def finish(session: Session, exam_id: str, worker: str, answer: Answer) -> bool:
    """Store a prediction in the caller's transaction; False, without effect, if the claim was lost."""
    if not _settle(session, exam_id, worker, ExamState.ANSWERED, ""):
        return False
    session.add(answer_row(exam_id, worker, answer))
    session.flush()
    return True


def fail(session: Session, exam_id: str, worker: str, reason: str) -> bool:
    """Store an exam's failure in the caller's transaction; False if the claim was lost."""
    return _settle(session, exam_id, worker, ExamState.FAILED, reason)


def give_back(engine: Engine, worker: str) -> int:
    """Release the claims of a stopped worker without counting them; return their number."""
    return _release(engine, worker, counted=False)


def release(engine: Engine, worker: str) -> int:
    """Release the claims of a dead worker before their leases expire, counting them; return their number."""
    return _release(engine, worker, counted=True)


def depth(session: Session) -> int:
    """Count the queued and claimed exams."""
    from sqlalchemy import func

    open_states = ExamRow.state.in_((ExamState.QUEUED, ExamState.READING))
    return int(session.scalar(select(func.count()).select_from(ExamRow).where(open_states)) or 0)


def answer_row(exam_id: str, worker: str, answer: Answer) -> AnswerRow:
    """Create the row of a prediction."""
    return AnswerRow(exam_id=exam_id, worker=worker, **answer.model_dump())


def any_waits(engine: Engine) -> bool:
    """Whether an exam is queued, without a write lock, so that idle workers never block uploads."""
    at = now()
    with reading(engine) as session:
        return session.scalar(select(ExamRow.id).where(_waits(at)).limit(1)) is not None


def _waits(at: datetime) -> Any:
    lost = and_(ExamRow.state == ExamState.READING, ExamRow.lease < at)
    return or_(ExamRow.state == ExamState.QUEUED, lost)


def _fail_exhausted(session: Session, at: datetime) -> None:
    exhausted = (_waits(at), ExamRow.attempts >= MAX_ATTEMPTS)
    end = {"state": ExamState.FAILED, "reason": _EXHAUSTED, "answered": at, "lease": None}
    session.execute(update(ExamRow).where(*exhausted).values(**end), execution_options=_KEEP_ALL)


def _together(rows: Sequence[ExamRow]) -> list[ExamRow]:
    """Select the exams of one batch: only the first if it was claimed before."""
    if rows and rows[0].attempts:
        return [rows[0]]
    return [row for row in rows if not row.attempts]


def _claimed(row: ExamRow) -> Claimed:
    return Claimed(
        row.id,
        row.account_id,
        row.clinic,
        ExamMeta.model_validate(row.meta),
        row.pair,
        row.blob,
        row.profile,
        row.received,
        row.attempts,
    )


def _settle(session: Session, exam_id: str, worker: str, state: ExamState, reason: str) -> bool:
    held = (ExamRow.id == exam_id, ExamRow.claimed_by == worker, ExamRow.state == ExamState.READING)
    end = {"state": state, "reason": reason, "answered": now(), "lease": None}
    done: Any = session.execute(update(ExamRow).where(*held).values(**end), execution_options=_KEEP_ALL)
    return bool(done.rowcount == 1)


def _release(engine: Engine, worker: str, *, counted: bool) -> int:
    with sessions(engine).begin() as session:
        held = (ExamRow.claimed_by == worker, ExamRow.state == ExamState.READING)
        values: dict[str, Any] = {"state": ExamState.QUEUED, "claimed_by": None, "lease": None}
        if not counted:
            values["attempts"] = ExamRow.attempts - 1
        done: Any = session.execute(
            update(ExamRow).where(*held).values(**values), execution_options=_KEEP_ALL
        )
        return int(done.rowcount)

"""Reports for admins: audit log, bytes and seconds saved, sentinel."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import BigInteger, Engine, cast, func, select

from bitdose.errors import UsageError
from bitdose.links import Link, seconds
from bitdose.service import clock
from bitdose.service.db.database import reading
from bitdose.service.db.tables import AuditRow, ExamRow
from bitdose.service.exams.pairs import sentinel_of
from bitdose.service.http.access import Caller, require
from bitdose.service.http.context import context_of
from bitdose.service.http.schemas import AuditPage, AuditView, Saved, SentinelPeriod, SentinelView, Share
from bitdose.service.problems import declared, refuse
from bitdose.stats.estimate import Estimate
from bitdose.wire import API, ExamKind, ExamState, Role

router = APIRouter(prefix=f"{API}/admin", tags=["admin"])

Admin = Annotated[Caller, Depends(require(Role.ADMIN, token=False))]
Days = Annotated[int, Query(ge=1, le=3660, description="Number of past days.")]
LinkText = Annotated[
    str, Query(max_length=100, description="Link, by name or parameters: gprs, up=44k,rtt=750ms.")
]
Cursor = Annotated[int, Query(ge=1, le=2**31 - 1, description="Only entries before this one.")]
Many = Annotated[int, Query(ge=1, le=500)]
Name = Annotated[str, Query(max_length=100, description="Only this account's.")]


@router.get("/audit", responses=declared(401, 403))
def audit(
    request: Request,
    admin: Admin,  # noqa: ARG001
    before: Cursor = 2**31 - 1,
    limit: Many = 100,
    account: Name = "",
) -> AuditPage:
    """List accesses, newest first."""
    query = select(AuditRow).where(AuditRow.id < before).order_by(AuditRow.id.desc()).limit(limit + 1)
    if account:
        query = query.where(AuditRow.account == _storable(account))
    with reading(context_of(request).engine) as session:
        rows = session.scalars(query).all()
    names = AuditView.model_fields
    entries = tuple(AuditView(**{name: getattr(row, name) for name in names}) for row in rows[:limit])
    return AuditPage(entries=entries, next=entries[-1].id if len(rows) > limit else None)


@router.get("/stats", responses=declared(401, 403))
def stats(request: Request, admin: Admin, days: Days = 30, link: LinkText = "gprs") -> Saved:  # noqa: ARG001
    """Return the bytes and seconds saved by coding, compared with sending the source files."""
    try:
        parsed = Link.parse(link)
    except UsageError as error:
        raise refuse(422, str(error)) from error
    return saved(context_of(request).engine, parsed, days=days)


@router.get("/sentinel", responses=declared(401, 403, 409))
def sentinel(request: Request, admin: Admin) -> SentinelView:  # noqa: ARG001
    """Compare the live flip rate of the active profile with the certified limit."""
    context = context_of(request)
    profile = context.profile
    if profile is None:
        raise refuse(409, "no profile is active")
    found = sentinel_of(context.engine, profile, alpha=context.settings.sentinel_alpha)
    alarm = found.alarm
    return SentinelView(
        profile=profile.id,
        pairs=found.pairs,
        agreement=_share(found.agreement),
        flips=_share(found.flips),
        periods=tuple(SentinelPeriod(start=each.start, flips=_share(each.flips)) for each in found.periods),
        alarm=alarm.raised,
        since=alarm.since,
        certified=_number(alarm.certified),
        low=_number(alarm.low),
        alpha=alarm.alpha,
        reason=alarm.reason,
    )


def saved(engine: Engine, link: Link, *, days: int) -> Saved:
    """Return cost and savings of the exams of the last days.

    Only accepted coded exams count: a pristine one saves nothing, it is sent for comparison.
    Seconds are those of :func:`bitdose.links.seconds` per exam, each on a connection of its own.
    """
    since = ExamRow.received >= clock.now() - timedelta(days=days)
    names = ("source_bytes", "payload_bytes")
    sizes = [cast(ExamRow.meta[name].as_string(), BigInteger) for name in names]  # as_integer() has 32 bits
    kept = (ExamRow.kind == ExamKind.CODED.value, ExamRow.state != ExamState.REFUSED.value)
    with reading(engine) as session:
        states = session.execute(
            select(ExamRow.state, func.count()).where(since).group_by(ExamRow.state)
        ).all()
        pairs = session.execute(select(*sizes).where(since, *kept)).all()
    source, payload = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    spared = seconds(link, source) - seconds(link, payload) if len(source) else np.zeros(0)
    return Saved(
        days=days,
        link=str(link),
        exams={state: count for state, count in states},  # noqa: C416
        coded=len(source),
        source_bytes=int(source.sum()),
        payload_bytes=int(payload.sum()),
        saved_bytes=int(source.sum() - payload.sum()),
        saved_seconds=round(float(np.sum(spared)), 1),
    )


def _share(found: Estimate) -> Share:
    low, high = _number(found.low), _number(found.high)
    return Share(value=_number(found.value), low=low, high=high, n=found.n, reason=found.reason)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _storable(text: str) -> str:
    """Return a text without zero bytes, which PostgreSQL rejects."""
    return text.replace("\x00", "")

"""Exams: list, details, image, review, deletion, live events."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from bitdose.errors import BitdoseError
from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import ExamRow, ReviewRow
from bitdose.service.exams.inference import read_image
from bitdose.service.exams.render_png import MOST_LEVEL, png_of, window_of
from bitdose.service.exams.retention import drop_exam
from bitdose.service.http.access import Caller, caller, find_caller, require
from bitdose.service.http.context import Context, context_of
from bitdose.service.http.events import feed_of
from bitdose.service.http.views import exam_views, visible_to
from bitdose.service.problems import declared, refuse
from bitdose.wire import EVENTS, EXAMS, ExamKind, ExamMeta, ExamPage, ExamState, ExamView, Review, Role

router = APIRouter(tags=["exams"])

Anyone = Annotated[Caller, Depends(caller)]
Physician = Annotated[Caller, Depends(require(Role.PHYSICIAN))]
Remover = Annotated[Caller, Depends(require(Role.CLINIC, Role.ADMIN))]

MOST_WAIT_S = 30.0

_EXAM = EXAMS + "/{exam_id}"
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]{8,15}\+00:00) ([0-9a-f]{32})")
_ID = re.compile("[0-9a-f]{32}")
_NONE = "there is no such exam"


@router.get(EVENTS, response_class=StreamingResponse)
async def events(request: Request, who: Anyone) -> StreamingResponse:
    """Stream every exam settled from now on, or since ``Last-Event-ID``, as server-sent events."""
    since = request.headers.get("last-event-id", "")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = feed_of(request).stream(lambda: find_caller(request), who, since)
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.get(EXAMS, responses=declared(400))
def exams(
    request: Request,
    who: Anyone,
    *,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
    state: ExamState | None = None,
    kind: ExamKind | None = None,
) -> ExamPage:
    """List exams, newest first."""
    context = context_of(request)
    chosen = select(ExamRow).where(visible_to(who)).order_by(ExamRow.received.desc(), ExamRow.id.desc())
    if cursor:
        at, last = _read_cursor(cursor)
        chosen = chosen.where(or_(ExamRow.received < at, and_(ExamRow.received == at, ExamRow.id < last)))
    if state is not None:
        chosen = chosen.where(ExamRow.state == state)
    if kind is not None:
        chosen = chosen.where(ExamRow.kind == kind)
    with reading(context.engine) as session:
        rows = list(session.scalars(chosen.limit(limit + 1)))
        views = exam_views(session, context.profiles, rows[:limit])
    more = len(rows) > limit
    return ExamPage(exams=tuple(views), next=_write_cursor(rows[limit - 1]) if more else None)


@router.get(_EXAM, responses=declared(404))
async def exam(
    request: Request,
    exam_id: str,
    who: Anyone,
    wait: Annotated[float, Query(ge=0, le=MOST_WAIT_S)] = 0.0,
) -> ExamView:
    """Return one exam; with ``wait`` once it is settled, or after a timeout in seconds."""
    context = context_of(request)
    found = await run_sync(_one, context, who, exam_id)
    if wait and found.state in (ExamState.QUEUED, ExamState.READING):
        await feed_of(request).wait(exam_id, wait)
        found = await run_sync(_one, context, who, exam_id)
    return found


@router.get(_EXAM + "/image", responses=declared(400, 404, 409), response_class=Response)
def image(
    request: Request,
    exam_id: str,
    who: Anyone,
    window: Annotated[str, Query(max_length=40)] = "",
    plane: Annotated[int, Query(ge=0, le=MOST_LEVEL, alias="slice")] = 0,
) -> Response:
    """Return the classifier's image as an 8-bit PNG; ``window=CENTER,WIDTH`` in sample values."""
    context = context_of(request)
    with reading(context.engine) as session:
        row = _visible(session, who, exam_id)
    if not row.blob:
        raise refuse(404, "the exam was refused; its image was not stored")
    try:
        span = window_of(window)
        shown = read_image(ExamMeta.model_validate(row.meta), context.store.read(row.blob))
        png = png_of(shown, plane, span)
    except BitdoseError as error:
        raise refuse(400, str(error)) from error
    headers = {"Cache-Control": "no-store"}  # every view is an authorised and audited access
    return Response(png, media_type="image/png", headers=headers)


@router.post(_EXAM + "/review", responses=declared(404, 409, 422))
def review(request: Request, exam_id: str, who: Physician, body: Review) -> ExamView:
    """Store a physician's verdict on a prediction; the latest is valid, with author and time."""
    context = context_of(request)
    with sessions(context.engine).begin() as session:
        row = _visible(session, who, exam_id)
        if row.state != ExamState.ANSWERED:
            raise refuse(409, f"the exam is {row.state}: there is no prediction to review")
        profile = context.profiles.get(row.profile)
        labels = profile.classifier.input.labels if profile else ()
        if body.label and labels and body.label not in labels:
            raise refuse(422, f"label: expected one of: {', '.join(labels)}")
        session.add(
            ReviewRow(exam_id=row.id, account_id=who.id, verdict=body.verdict, label=body.label, at=now())
        )
    return _one(context, who, exam_id)


@router.delete(_EXAM, status_code=204, responses=declared(404))
def remove(request: Request, exam_id: str, who: Remover) -> Response:
    """Delete an exam with its prediction, reviews and bytes."""
    context = context_of(request)
    with reading(context.engine) as session:
        _visible(session, who, exam_id)
    drop_exam(context.engine, context.store, exam_id)
    return Response(status_code=204)


def _one(context: Context, who: Caller, exam_id: str) -> ExamView:
    with reading(context.engine) as session:
        (found,) = exam_views(session, context.profiles, [_visible(session, who, exam_id)])
    return found


def _visible(session: Session, who: Caller, exam_id: str) -> ExamRow:
    """Return an exam; an invisible one is reported as unknown."""
    row = None
    if _ID.fullmatch(exam_id):
        row = session.scalar(select(ExamRow).where(ExamRow.id == exam_id, visible_to(who)))
    if row is None:
        raise refuse(404, _NONE)
    return row


def _write_cursor(row: ExamRow) -> str:
    return base64.urlsafe_b64encode(f"{row.received.isoformat()} {row.id}".encode()).decode()


def _read_cursor(text: str) -> tuple[datetime, Any]:
    try:
        match = _CURSOR.fullmatch(base64.urlsafe_b64decode(text.encode()).decode())
        if match is not None:
            return datetime.fromisoformat(match[1]), match[2]
    except ValueError:  # invalid base64, text or timestamp
        pass
    raise refuse(400, "cursor: expected the value of next of the previous page")

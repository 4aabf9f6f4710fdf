"""Exams that were settled, told live to who may see them; one look at the table serves all who listen.

Any process may have settled them, so the table is asked, ten times a second while somebody listens. An event
is sent once to a listener; who reconnects with the last cursor gets what came since, and perhaps a few again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from anyio.to_thread import run_sync
from fastapi import Request
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from bitdose.service.clock import now
from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow
from bitdose.service.exams.profiles import Profiles
from bitdose.service.http.access import Caller
from bitdose.service.http.context import context_of
from bitdose.service.http.views import SETTLED, exam_views, may_see
from bitdose.service.problems import where
from bitdose.wire import ExamView

POLL_S = 0.1
KEEP_S = 15.0
LONGEST_S = 900.0
"""A listener then reconnects, and is asked again who it is."""

_LOG = logging.getLogger("bitdose.service.http.events")

_OVERLAP = timedelta(seconds=5)  # clocks of several machines, and commits out of order
_MOST_REPLAYED = 500
_MOST_WAITING = 1000

Told = tuple[int, ExamView]


class Feed:
    """One web process's listeners.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Where the exams are.
    profiles : Profiles
        For what was certified.
    """

    def __init__(self, engine: Engine, profiles: Profiles) -> None:
        self._engine = engine
        self._profiles = profiles
        self._queues: set[asyncio.Queue[Told]] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Told]]:
        """Give a queue that gets every exam settled from now on, with its sender's account."""
        queue: asyncio.Queue[Told] = asyncio.Queue(_MOST_WAITING)
        self._queues.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            if not self._queues and self._task is not None:
                self._task.cancel()
                self._task = None

    async def stream(
        self, still: Callable[[], Caller | None], caller: Caller, since: str
    ) -> AsyncIterator[str]:
        """Yield server-sent events for a caller, first those since a cursor, while they may still see."""
        with self.listening() as queue:
            yield ": welcome\n\n"
            start = _moment(since)
            for account_id, view in await run_sync(self._settled, start) if start else []:
                if may_see(caller, account_id, view.clinic):
                    yield _event(view)
            until = time.monotonic() + LONGEST_S
            while queue in self._queues and time.monotonic() < until:
                try:
                    account_id, view = await asyncio.wait_for(queue.get(), KEEP_S)
                except TimeoutError:
                    if await run_sync(still) != caller:
                        return
                    yield ": still here\n\n"
                    continue
                if may_see(caller, account_id, view.clinic):
                    if await run_sync(still) != caller:
                        return
                    yield _event(view)

    async def wait(self, exam_id: str, seconds: float) -> None:
        """Return when an exam is settled, or after some seconds."""
        with self.listening() as queue:
            if await run_sync(self._is_settled, exam_id):
                return
            try:
                async with asyncio.timeout(seconds):
                    while (await queue.get())[1].id != exam_id:
                        pass
            except TimeoutError:
                return

    async def _poll(self) -> None:
        told: dict[str, datetime] = {}
        begun = latest = now()
        while True:
            try:
                settled = await run_sync(self._settled, latest - _OVERLAP)
            except SQLAlchemyError as error:  # the next look may reach the database
                _LOG.error("no news: %s", where(error))
                settled = []
            for account_id, view in settled:
                at = view.answered or begun
                if view.id not in told and at >= begun - _OVERLAP:
                    self._tell((account_id, view))
                told[view.id] = at
                latest = max(latest, at)
            told = {name: at for name, at in told.items() if at >= latest - 2 * _OVERLAP}
            await asyncio.sleep(POLL_S)

    def _tell(self, told: Told) -> None:
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)  # too slow: it reconnects and asks from its cursor on
            else:
                queue.put_nowait(told)

    def _settled(self, since: datetime) -> list[Told]:
        with reading(self._engine) as session:
            found = select(ExamRow).where(ExamRow.state.in_(SETTLED), ExamRow.answered > since)
            rows = session.scalars(found.order_by(ExamRow.answered).limit(_MOST_REPLAYED)).all()
            views = exam_views(session, self._profiles, rows) if rows else []
            return [(row.account_id, view) for row, view in zip(rows, views, strict=True)]

    def _is_settled(self, exam_id: str) -> bool:
        with reading(self._engine) as session:
            state = session.scalar(select(ExamRow.state).where(ExamRow.id == exam_id))
            return state is None or state in SETTLED


def feed_of(request: Request) -> Feed:
    """Return the feed of the app that serves a request, made at the first listener."""
    state = request.app.state
    if not hasattr(state, "feed"):
        context = context_of(request)
        state.feed = Feed(context.engine, context.profiles)
    found: Feed = state.feed
    return found


def cursor(view: ExamView) -> str:
    """Write where an event stands: microseconds since 1970, when the exam was settled."""
    at = view.answered or view.received
    return str((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


def _moment(text: str) -> datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 17):  # noqa: PLR2004
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text)) - _OVERLAP
    except OverflowError:
        return None


def _event(view: ExamView) -> str:
    return f"id: {cursor(view)}\nevent: exam\ndata: {view.model_dump_json()}\n\n"

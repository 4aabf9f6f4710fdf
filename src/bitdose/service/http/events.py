"""Live events of settled exams; one database query serves all listeners.

Any process may settle exams, so the table is polled ten times a second while there are listeners. An event
is sent once to a listener; a reconnect with the last cursor returns all later events, perhaps with repeats.
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
"""After this time a listener must reconnect and authenticate again."""

_LOG = logging.getLogger("bitdose.service.http.events")

_OVERLAP = timedelta(seconds=5)  # tolerance for clock skew and out-of-order commits
_MOST_REPLAYED = 500
_MOST_WAITING = 1000

Told = tuple[int, ExamView]


class Feed:
    """Event feed of one web process.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the exams.
    profiles : Profiles
        Profiles, for the certified margins.
    """

    def __init__(self, engine: Engine, profiles: Profiles) -> None:
        self._engine = engine
        self._profiles = profiles
        self._queues: set[asyncio.Queue[Told]] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Told]]:
        """Yield a queue of all exams settled from now on, with the sender's account."""
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
        """Yield server-sent events for a caller, starting from a cursor, while authorised."""
        with self.listening() as queue:
            yield ": welcome\n\n"
            start = _time_of(since)
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
        """Wait until an exam is settled, with a timeout in seconds."""
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
            except SQLAlchemyError as error:  # retry at the next poll
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
                self._queues.discard(queue)  # too slow: it must reconnect from its cursor
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
    """Return the app's feed, created for the first listener."""
    state = request.app.state
    if not hasattr(state, "feed"):
        context = context_of(request)
        state.feed = Feed(context.engine, context.profiles)
    found: Feed = state.feed
    return found


def cursor(view: ExamView) -> str:
    """Return an event's cursor: time of settlement in microseconds since 1970."""
    at = view.answered or view.received
    return str((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


def _time_of(text: str) -> datetime | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 17):  # noqa: PLR2004
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text)) - _OVERLAP
    except OverflowError:
        return None


def _event(view: ExamView) -> str:
    return f"id: {cursor(view)}\nevent: exam\ndata: {view.model_dump_json()}\n\n"

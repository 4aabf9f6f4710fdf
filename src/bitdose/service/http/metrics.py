"""Prometheus metrics: routes by template, without ids, names or addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitdose.service import clock
from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow, UploadRow
from bitdose.wire import ExamState

_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counters of one web process, and the queue's state from the database at each scrape."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter("bitdose_requests", "Requests.", (*labels, "status"), registry=self.registry)
        self.seconds = Histogram(
            "bitdose_request_seconds",
            "Until the response begins.",
            labels,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.registry.register(_Queue(engine))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class Measured:
    """Middleware that counts requests and the seconds until their response begins."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                labels = (method, route_of(scope))
                self.metrics.requests.labels(*labels, str(message["status"])).inc()
                self.metrics.seconds.labels(*labels).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, note)


def route_of(scope: Scope) -> str:
    """Return the template of a request's route; ``(none)`` without one, since a path may contain anything."""
    return str(getattr(scope.get("route"), "path", None) or "(none)")


class _Queue(Collector):
    """Exams by state, wait of the oldest, and unfinished uploads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def describe(self) -> Iterator[Metric]:
        """Describe the metrics without querying the database."""
        yield from self._families({}, 0.0, 0)

    def collect(self) -> Iterator[Metric]:
        """Query the database."""
        with reading(self.engine) as session:
            states = session.execute(select(ExamRow.state, func.count()).group_by(ExamRow.state)).all()
            oldest = session.scalar(
                select(func.min(ExamRow.received)).where(ExamRow.state == ExamState.QUEUED.value)
            )
            uploads = session.scalar(select(func.count()).where(UploadRow.exam_id.is_(None))) or 0
        waited = (clock.now() - oldest).total_seconds() if oldest else 0.0
        yield from self._families({state: n for state, n in states}, waited, uploads)  # noqa: C416

    def _families(self, states: dict[str, int], waited_s: float, uploads: int) -> Iterator[Metric]:
        exams = GaugeMetricFamily("bitdose_exams", "Exams by state.", labels=("state",))
        for state in ExamState:
            exams.add_metric((state.value,), states.get(state.value, 0))
        yield exams
        yield GaugeMetricFamily("bitdose_queue_oldest_seconds", "Wait of the oldest exam.", waited_s)
        yield GaugeMetricFamily("bitdose_uploads_open", "Unfinished uploads.", uploads)

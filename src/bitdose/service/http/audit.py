"""Audit log of every access, including rejected ones: account, action, outcome.

It is written before the response is sent: without the entry, nothing is shown. It contains route templates
and internal ids, never a raw path, a query or a body.
"""

from __future__ import annotations

import re
from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitdose.service import clock
from bitdose.service.db.database import sessions
from bitdose.service.db.tables import AuditRow
from bitdose.service.http.headers import STATIC
from bitdose.service.http.metrics import route_of

SILENT = frozenset({"/healthz", "/readyz"})
"""Polled every few seconds by machines, without exam data."""

_GONE = 499
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_METHOD = re.compile(r"[A-Z]{1,10}")


class Audited:
    """Middleware that writes one row per request; ``request.state.caller`` and ``.detail`` go into it.

    Parameters
    ----------
    app : ASGI application
        The wrapped app.
    engine : sqlalchemy.Engine
        Sessions for the audit rows.
    """

    def __init__(self, app: ASGIApp, *, engine: Engine) -> None:
        self.app = app
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in SILENT or path.startswith(STATIC):
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        written = False

        async def write(message: Message) -> None:
            nonlocal written
            if message["type"] == "http.response.start" and not written:
                written = True
                await run_sync(self._write, _row(scope, message["status"]))
            await send(message)

        try:
            await self.app(scope, receive, write)
        finally:
            if not written:  # a crash, or a disconnected client
                await run_sync(self._write, _row(scope, _GONE))

    def _write(self, row: AuditRow) -> None:
        with sessions(self.engine).begin() as session:
            session.add(row)


def _row(scope: Scope, status: int) -> AuditRow:
    state: dict[str, Any] = scope["state"]
    caller = state.get("caller")
    method = scope["method"] if _METHOD.fullmatch(scope["method"]) else "?"
    ids = (str(value) for value in scope.get("path_params", {}).values())
    return AuditRow(
        at=clock.now(),
        account=getattr(caller, "name", ""),
        role=str(getattr(caller, "role", "")),
        address=(scope.get("client") or ("",))[0][:64],
        action=f"{method} {route_of(scope)}"[:100],
        target=str(state.get("target") or " ".join(i if _ID.fullmatch(i) else "?" for i in ids))[:200],
        status=status,
        detail=str(state.get("detail", ""))[:500],
    )

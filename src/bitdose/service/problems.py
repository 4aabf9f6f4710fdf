"""Errors as RFC 9457 documents, without tracebacks, input values or paths."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitdose.wire import Problem

MEDIA_TYPE = "application/problem+json"

_LOG = logging.getLogger("bitdose.service")
_MOST_NAMED = 10
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # Python's phrase depends on its version


def refuse(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> HTTPException:
    """Return the exception of a problem response with a status and a remedy."""
    return HTTPException(status, detail, dict(headers or {}))


def problem_response(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem as a response."""
    body = Problem(title=_title(status), status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route's errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _title(status), "content": content} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Install handlers that turn errors and invalid requests into problem responses."""
    app.add_exception_handler(StarletteHTTPException, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_wrong_request)


class CrashGuard:
    """Middleware: an unexpected error becomes a 500 without its text, and one log line."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:  # boundary: its text may quote the request
            if scope["type"] != "http":
                raise
            _LOG.error("internal error: %s", where(error))
            if not started:
                await problem_response(500, "the service failed; its log says where")(scope, receive, send)


def where(error: BaseException) -> str:
    """Return an error's type and location, without its text.

    Examples
    --------
    >>> where(ValueError("Jane Doe, 1961"))
    'ValueError'
    """
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames if frame.startswith("bitdose.")]
    return " in ".join([type(error).__name__, *(ours or frames)[-1:]])


async def _on_refusal(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, StarletteHTTPException):
        raise error
    plain = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == plain or not isinstance(error.detail, str) else error.detail
    return problem_response(error.status_code, detail, error.headers)


async def _on_wrong_request(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return problem_response(422, "; ".join(found[:_MOST_NAMED]))


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase

"""What is refused before any route sees it: a foreign host name, a foreign origin, a body without bounds."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitdose.service.problems import problem_response, refuse
from bitdose.service.settings import Settings
from bitdose.wire import UPLOADS

MOST_BODY_BYTES = 1_200_000
"""Of every request but an upload's: a profile has at most 1 MB."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz"})

BODY_IDLE_S = 120.0
"""Longest silence inside a body: a bad link drops out for seconds; who sends nothing takes up a place."""

_TOO_LARGE, _TOO_SLOW = 413, 408


class Guards:
    """Middleware that refuses by host (400), origin (403), size (413) and silence (408).

    The origin is the second lock beside the CSRF token; it also keeps another site from logging a browser
    in under an account of its own. A probe asks by address, so the host of one is not looked at.

    Parameters
    ----------
    app : ASGI application
        What it wraps.
    settings : Settings
        Names, and the largest upload.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.hosts = settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self._most_bytes(scope)
        if found := self._refusal(scope, headers, most):
            await problem_response(*found)(scope, receive, send)
            return
        read_bytes, whole = 0, False

        async def count() -> Message:
            nonlocal read_bytes, whole
            message = await (receive() if whole else _soon(receive))
            whole = whole or not message.get("more_body", False)
            read_bytes += len(message.get("body", b""))
            if read_bytes > most:
                raise refuse(_TOO_LARGE, f"the body has more than {most:,} bytes")
            return message

        await self.app(scope, count, send)

    def _most_bytes(self, scope: Scope) -> int:
        upload = scope["path"].startswith(UPLOADS)
        return max(MOST_BODY_BYTES, self.settings.max_upload_bytes) if upload else MOST_BODY_BYTES

    def _refusal(self, scope: Scope, headers: Headers, most: int) -> tuple[int, str] | None:
        if scope["path"] not in PROBES and not _is_one_of(headers.getlist("host"), self.hosts):
            return 400, "the host is not one of this service's names"
        if scope["method"] not in SAFE and not self._is_own_origin(headers):
            return 403, "the request comes from another site"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length: expected digits"
        if int(length[:20]) > most:
            return _TOO_LARGE, f"the body has more than {most:,} bytes"
        return None

    def _is_own_origin(self, headers: Headers) -> bool:
        """Whether a change comes from our own pages, or from no page at all (an uploader)."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or _is_one_of([urlsplit_netloc(origin)], self.hosts)


async def _soon(receive: Receive) -> Message:
    """Wait for the next bytes of a body, but not for ever."""
    try:
        async with asyncio.timeout(BODY_IDLE_S):
            return await receive()
    except TimeoutError:
        detail = f"no byte of the body came for {BODY_IDLE_S:g} s"
        raise refuse(_TOO_SLOW, detail, headers={"Connection": "close"}) from None


def urlsplit_netloc(origin: str) -> str:
    """Return an origin's host and port; empty for ``null`` and what is no origin.

    Examples
    --------
    >>> urlsplit_netloc("https://reads.example.org:8443")
    'reads.example.org:8443'
    """
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_one_of(names: list[str], allowed: frozenset[str]) -> bool:
    """Whether exactly one name is given and is allowed, whatever its port."""
    if len(names) != 1:
        return False
    try:
        return (urlsplit(f"//{names[0]}").hostname or "") in allowed
    except ValueError:
        return False

"""Checks before any route: host name, origin, body size and body timeout."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitdose.service.problems import problem_response, refuse
from bitdose.service.settings import Settings
from bitdose.wire import UPLOADS

MOST_BODY_BYTES = 1_200_000
"""Limit for all requests except uploads: a profile has at most 1 MB."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES = frozenset({"/healthz", "/readyz"})

BODY_IDLE_S = 120.0
"""Longest pause inside a body: a bad link drops out for seconds; a silent client occupies a slot."""

_TOO_LARGE, _TOO_SLOW = 413, 408


class Guards:
    """Middleware that rejects by host (400), origin (403), size (413) and timeout (408).

    The origin check complements the CSRF token; it also prevents login CSRF. Health probes use an address, so
    their host is not checked.

    Parameters
    ----------
    app : ASGI application
        The wrapped app.
    settings : Settings
        Settings with allowed names and the upload limit.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.hosts = settings.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or reject it."""
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
        """Whether a change comes from the service's own pages, or from no page (an uploader)."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or _is_one_of([urlsplit_netloc(origin)], self.hosts)


async def _soon(receive: Receive) -> Message:
    """Wait for the next bytes of a body, with a timeout."""
    try:
        async with asyncio.timeout(BODY_IDLE_S):
            return await receive()
    except TimeoutError:
        detail = f"no byte of the body came for {BODY_IDLE_S:g} s"
        raise refuse(_TOO_SLOW, detail, headers={"Connection": "close"}) from None


def urlsplit_netloc(origin: str) -> str:
    """Return an origin's host and port; empty for ``null`` and invalid origins.

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

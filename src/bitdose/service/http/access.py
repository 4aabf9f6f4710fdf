"""Authentication and authorisation, by a browser's cookie or an uploader's bearer token.

A change by cookie must include the session's CSRF token in ``X-CSRF-Token``; bearer tokens are never sent
automatically and need none. A request with an ``Authorization`` header is authenticated by that header only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from bitdose.service import clock
from bitdose.service.accounts import sessions, tokens
from bitdose.service.accounts.secrets import same
from bitdose.service.db.database import reading
from bitdose.service.db.database import sessions as writers
from bitdose.service.db.tables import AccountRow, TokenRow
from bitdose.service.http.context import Context, context_of
from bitdose.service.http.guards import SAFE
from bitdose.service.problems import refuse
from bitdose.wire import Role

CSRF_HEADER = "X-CSRF-Token"

_COOKIE = APIKeyCookie(name=sessions.SECURE_COOKIE, auto_error=False, scheme_name="login")
_BEARER = HTTPBearer(auto_error=False, scheme_name="token")
_WHO = {"WWW-Authenticate": 'Bearer realm="bitdose"'}


@dataclass(frozen=True)
class Caller:
    """Authenticated caller of a request.

    Parameters
    ----------
    id : int
        The account's.
    name, clinic : str
        The account's; ``clinic`` is empty but for the role ``clinic``.
    role : Role
        What it may do.
    csrf : str
        CSRF token for changes; empty with an API token.
    by_token : bool
        Whether it used an API token.
    """

    id: int
    name: str
    role: Role
    clinic: str = ""
    csrf: str = ""
    by_token: bool = False


def find_caller(request: Request) -> Caller | None:
    """Return the caller of a page request, which redirects to the login if None.

    Checks session or token only: a change needs :func:`caller`, which also checks the CSRF token.
    """
    context = context_of(request)
    header = request.headers.get("authorization")
    found = _by_cookie(request, context) if header is None else _by_token(header, context)
    request.state.caller = found
    return found


def caller(
    request: Request,
    _cookie: Annotated[object, Depends(_COOKIE)],
    _token: Annotated[object, Depends(_BEARER)],
) -> Caller:
    """Return the caller of a request; 401 if unauthenticated, 403 for a missing CSRF token."""
    found = find_caller(request)
    if found is None:
        raise refuse(401, "log in, or send a token that works", headers=_WHO)
    if not found.by_token and request.method not in SAFE:
        given = request.headers.get(CSRF_HEADER, "")
        if not same(given, found.csrf):
            raise refuse(403, f"{CSRF_HEADER}: expected the one that /api/v1/me gives")
    return found


def require(*roles: Role, token: bool = True) -> Callable[[Caller], Caller]:
    """Return a dependency that requires certain roles, and optionally forbids tokens.

    Parameters
    ----------
    roles
        Allowed roles; empty allows all.
    token : bool
        Whether an API token is accepted; changes of rights require a login.
    """

    def allowed(found: Annotated[Caller, Depends(caller)]) -> Caller:
        if roles and found.role not in roles:
            raise refuse(403, f"this is for: {', '.join(roles)}; you are logged in as: {found.role}")
        if found.by_token and not token:
            raise refuse(403, "not allowed with a token; log in with a browser")
        return found

    return allowed


def _by_cookie(request: Request, context: Context) -> Caller | None:
    text = request.cookies.get(sessions.cookie_name(secure=context.settings.secure_cookies), "")
    if not text:
        return None
    with reading(context.engine) as session:
        found = sessions.find(session, text, now=clock.now())
    return _caller(found[0], csrf=found[1].csrf) if found else None


def _by_token(header: str, context: Context) -> Caller | None:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    with reading(context.engine) as session:
        found = tokens.find(session, text.strip())
    if found is None:
        return None
    if tokens.is_due(found[1], clock.now()):
        with writers(context.engine).begin() as session:
            row = session.get(TokenRow, found[1].id)
            if row is not None:
                row.used = clock.now()
    return _caller(found[0], by_token=True)


def _caller(row: AccountRow, *, csrf: str = "", by_token: bool = False) -> Caller:
    return Caller(row.id, row.name, Role(row.role), row.clinic, csrf, by_token)

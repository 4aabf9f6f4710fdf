"""Login, logout, own account, own password, own tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from bitdose.errors import UsageError
from bitdose.service import clock
from bitdose.service.accounts import sessions, throttle, tokens
from bitdose.service.accounts.accounts import change_account, find_account
from bitdose.service.accounts.passwords import hash_password, is_stale, matches
from bitdose.service.db.database import reading
from bitdose.service.db.database import sessions as writers
from bitdose.service.db.tables import AccountRow
from bitdose.service.http.access import Caller, caller, require
from bitdose.service.http.context import Context, context_of
from bitdose.service.http.schemas import PasswordChange, TokenList, TokenView
from bitdose.service.problems import declared, refuse
from bitdose.wire import API, Account, LoginRequest, Role, TokenMade, TokenRequest

router = APIRouter(prefix=API, tags=["login"])

_WRONG = "name or password is wrong"

Asking = Annotated[Caller, Depends(caller)]
LoggedIn = Annotated[Caller, Depends(require(token=False))]
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


@router.post("/login", responses=declared(401, 403, 429))
def login(given: LoginRequest, request: Request, response: Response) -> Account:
    """Log in; the response sets the cookie and contains the CSRF token."""
    context = context_of(request)
    row = check_login(context.engine, request, given.name, given.password)
    name = sessions.cookie_name(secure=context.settings.secure_cookies)
    hours = context.settings.session_hours
    with writers(context.engine).begin() as session:
        old = request.cookies.get(name, "")
        row = _same(session, row)
        made = sessions.begin(session, row, now=clock.now(), hours=hours, old=old)
    _set_cookie(response, context, made.cookie)
    found = Caller(row.id, row.name, Role(row.role), row.clinic, made.csrf)
    request.state.caller = found
    return _account(found)


@router.post("/logout", status_code=204, responses=declared(401, 403))
def logout(request: Request, asking: LoggedIn) -> Response:  # noqa: ARG001  # the dependency is the check
    """Log out this browser."""
    context = context_of(request)
    name = sessions.cookie_name(secure=context.settings.secure_cookies)
    with writers(context.engine).begin() as session:
        sessions.end(session, request.cookies.get(name, ""))
    return _without_cookie(context)


@router.get("/me", responses=declared(401))
def me(asking: Asking) -> Account:
    """Return the own account; for a browser with the CSRF token."""
    return _account(asking)


@router.put("/password", status_code=204, responses=declared(401, 403, 422, 429))
def change_password(given: PasswordChange, request: Request, asking: LoggedIn) -> Response:
    """Change one's own password; ends every login and token of the account, this one too."""
    context = context_of(request)
    row = check_login(context.engine, request, asking.name, given.old)
    try:
        with writers(context.engine).begin() as session:
            change_account(session, _same(session, row), password=given.new)
    except UsageError as error:
        raise refuse(422, str(error)) from error
    return _without_cookie(context)


@router.get("/tokens", responses=declared(401, 403))
def list_tokens(request: Request, asking: LoggedIn) -> TokenList:
    """List the own valid tokens."""
    with reading(context_of(request).engine) as session:
        found = tokens.list_tokens(session, asking.id)
    views = (TokenView(id=row.id, name=row.name, created=row.created, used=row.used) for row in found)
    return TokenList(tokens=tuple(views))


@router.post("/tokens", status_code=201, responses=declared(401, 403, 409))
def make_token(given: TokenRequest, request: Request, asking: LoggedIn) -> TokenMade:
    """Create an API token; its text is in this response only."""
    try:
        with writers(context_of(request).engine).begin() as session:
            row, text = tokens.make_token(session, asking.id, given.name, now=clock.now())
    except UsageError as error:
        raise refuse(409, str(error)) from error
    request.state.target = row.id
    return TokenMade(id=row.id, name=row.name, token=text)


@router.delete("/tokens/{token_id}", status_code=204, responses=declared(401, 403, 404))
def revoke_token(token_id: TokenId, request: Request, asking: LoggedIn) -> Response:
    """Revoke one of one's own tokens."""
    with writers(context_of(request).engine).begin() as session:
        revoked = tokens.revoke(session, asking.id, token_id)
    if not revoked:
        raise refuse(404, "you have no such token")
    return Response(status_code=204)


def check_login(engine: Engine, request: Request, name: str, password: str) -> AccountRow:
    """Return the account of a name and password; all failures have one message and one duration.

    Raises
    ------
    fastapi.HTTPException
        429 with ``Retry-After`` while throttled, 401 otherwise.
    """
    keys = throttle.keys_of(name, request.client.host if request.client else "")
    with writers(engine).begin() as session:
        wait = throttle.reserve(session, keys, now=clock.now())
        row = find_account(session, name)
    request.state.detail = f"as {row.name}" if row else "as nobody known"
    if wait:
        seconds = str(int(wait) + 1)
        raise refuse(429, f"too many wrong logins; wait {seconds} s", headers={"Retry-After": seconds})
    right = matches(row.password if row and not row.disabled else None, password)
    if not right or row is None:
        raise refuse(401, _WRONG, headers={"WWW-Authenticate": "Cookie"})
    with writers(engine).begin() as session:
        throttle.succeed(session, keys)
        if is_stale(row.password):
            row = _same(session, row)
            row.password = hash_password(password)
    return row


def _same(session: Session, checked: AccountRow) -> AccountRow:
    """Return an account, locked; rejected if it changed during the password check."""
    row = session.get(AccountRow, checked.id, with_for_update=True)
    if row is None or row.disabled or row.password != checked.password:
        raise refuse(401, _WRONG, headers={"WWW-Authenticate": "Cookie"})
    return row


def _account(found: Caller) -> Account:
    return Account(name=found.name, role=found.role, clinic=found.clinic, csrf=found.csrf)


def _set_cookie(response: Response, context: Context, text: str) -> None:
    secure = context.settings.secure_cookies
    seconds = int(context.settings.session_hours * 3600)
    response.set_cookie(
        sessions.cookie_name(secure=secure),
        text,
        max_age=seconds,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def _without_cookie(context: Context) -> Response:
    secure = context.settings.secure_cookies
    response = Response(status_code=204)
    name = sessions.cookie_name(secure=secure)
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
    return response

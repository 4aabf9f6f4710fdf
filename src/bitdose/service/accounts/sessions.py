"""A browser's login: a random cookie, stored as its SHA-256 only, with a CSRF token beside it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bitdose.service.accounts.secrets import fingerprint, new_secret
from bitdose.service.db.tables import AccountRow, SessionRow

SECURE_COOKIE, PLAIN_COOKIE = "__Host-bitdose", "bitdose"


class Login(NamedTuple):
    """What a new login gives the browser: the cookie's text, and what each change must carry."""

    cookie: str
    csrf: str


def cookie_name(*, secure: bool) -> str:
    """Return the cookie's name; ``__Host-`` lets no other host or path set it, and needs HTTPS."""
    return SECURE_COOKIE if secure else PLAIN_COOKIE


def begin(session: Session, account: AccountRow, *, now: datetime, hours: float, old: str = "") -> Login:
    """Log an account in under a cookie of its own; the one that the browser came with ends.

    Parameters
    ----------
    session : sqlalchemy.orm.Session
        A writer.
    account : AccountRow
        Whose password was checked.
    now : datetime.datetime
        With a time zone.
    hours : float
        Life of the login.
    old : str
        The browser's cookie so far: a planted one is worth nothing after the login.
    """
    session.execute(delete(SessionRow).where(SessionRow.expires <= now))
    end(session, old)
    made = Login(new_secret(), new_secret())
    row = SessionRow(id=fingerprint(made.cookie), account_id=account.id, csrf=made.csrf, created=now)
    row.expires = now + timedelta(hours=hours)
    session.add(row)
    return made


def find(session: Session, cookie: str, *, now: datetime) -> tuple[AccountRow, SessionRow] | None:
    """Return whose login a cookie is; None where it has ended or its account is disabled."""
    query = (
        select(AccountRow, SessionRow)
        .join(SessionRow, SessionRow.account_id == AccountRow.id)
        .where(SessionRow.id == fingerprint(cookie), SessionRow.expires > now, AccountRow.disabled.is_(False))
    )
    found = session.execute(query).first()
    return (found[0], found[1]) if found else None


def end(session: Session, cookie: str) -> None:
    """Log out; does nothing where the cookie is no login."""
    session.execute(delete(SessionRow).where(SessionRow.id == fingerprint(cookie)))

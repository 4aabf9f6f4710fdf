"""Browser sessions: a random cookie, stored as its SHA-256 only, and a CSRF token."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bitdose.service.accounts.secrets import fingerprint, new_secret
from bitdose.service.db.tables import AccountRow, SessionRow

SECURE_COOKIE, PLAIN_COOKIE = "__Host-bitdose", "bitdose"


class Login(NamedTuple):
    """A new session: text of the cookie, and CSRF token for changes."""

    cookie: str
    csrf: str


def cookie_name(*, secure: bool) -> str:
    """Return the cookie's name; ``__Host-`` lets no other host or path set it, and needs HTTPS."""
    return SECURE_COOKIE if secure else PLAIN_COOKIE


def begin(session: Session, account: AccountRow, *, now: datetime, hours: float, old: str = "") -> Login:
    """Start a session with a new cookie; the browser's previous session ends.

    Parameters
    ----------
    session : sqlalchemy.orm.Session
        A writer.
    account : AccountRow
        Account whose password was verified.
    now : datetime.datetime
        With a time zone.
    hours : float
        Lifetime of the session.
    old : str
        The browser's previous cookie, invalidated against session fixation.
    """
    session.execute(delete(SessionRow).where(SessionRow.expires <= now))
    end(session, old)
    made = Login(new_secret(), new_secret())
    row = SessionRow(id=fingerprint(made.cookie), account_id=account.id, csrf=made.csrf, created=now)
    row.expires = now + timedelta(hours=hours)
    session.add(row)
    return made


def find(session: Session, cookie: str, *, now: datetime) -> tuple[AccountRow, SessionRow] | None:
    """Return the account of a cookie; None if expired or the account is disabled."""
    query = (
        select(AccountRow, SessionRow)
        .join(SessionRow, SessionRow.account_id == AccountRow.id)
        .where(SessionRow.id == fingerprint(cookie), SessionRow.expires > now, AccountRow.disabled.is_(False))
    )
    found = session.execute(query).first()
    return (found[0], found[1]) if found else None


def end(session: Session, cookie: str) -> None:
    """Log out; no-op for an unknown cookie."""
    session.execute(delete(SessionRow).where(SessionRow.id == fingerprint(cookie)))

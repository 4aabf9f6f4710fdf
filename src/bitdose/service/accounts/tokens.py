"""API tokens for uploaders and scripts: shown once, stored as SHA-256, individually revocable.

A token has its account's rights on exams, but cannot manage accounts, tokens or profiles, which requires a
login.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from bitdose.errors import UsageError
from bitdose.service.accounts.secrets import fingerprint, new_id, new_secret, same
from bitdose.service.db.tables import AccountRow, TokenRow

MOST_PER_ACCOUNT = 20

_FORM = re.compile(r"bdt_[0-9A-Za-z_-]{43}")
_SEEN_EVERY = timedelta(minutes=1)


def make_token(session: Session, account_id: int, name: str, *, now: datetime) -> tuple[TokenRow, str]:
    """Create a token; return its row and text; raises ``UsageError`` if there are too many."""
    if len(list_tokens(session, account_id)) >= MOST_PER_ACCOUNT:
        raise UsageError(f"tokens: there are {MOST_PER_ACCOUNT} already; revoke one that is not used")
    text = f"bdt_{new_secret()}"
    row = TokenRow(id=new_id(), account_id=account_id, name=name, hash=fingerprint(text), created=now)
    row.revoked = False
    session.add(row)
    session.flush()
    return row, text


def list_tokens(session: Session, account_id: int) -> list[TokenRow]:
    """Return an account's valid tokens, oldest first."""
    mine = select(TokenRow).where(TokenRow.account_id == account_id, TokenRow.revoked.is_(False))
    return list(session.scalars(mine.order_by(TokenRow.created)))


def revoke(session: Session, account_id: int, token_id: str) -> bool:
    """Revoke a token of an account; False if unknown."""
    row = session.get(TokenRow, token_id)
    if row is None or row.account_id != account_id or row.revoked:
        return False
    row.revoked = True
    return True


def find(session: Session, text: str) -> tuple[AccountRow, TokenRow] | None:
    """Return the account of a token; None if unknown, revoked, or of a disabled account."""
    if not _FORM.fullmatch(text):
        return None
    wanted = fingerprint(text)
    query = (
        select(AccountRow, TokenRow)
        .join(TokenRow, TokenRow.account_id == AccountRow.id)
        .where(TokenRow.hash == wanted, TokenRow.revoked.is_(False), AccountRow.disabled.is_(False))
    )
    found = session.execute(query).first()
    return (found[0], found[1]) if found and same(found[1].hash, wanted) else None


def is_due(row: TokenRow, now: datetime) -> bool:
    """Whether the time of last use needs an update."""
    return row.used is None or now - row.used > _SEEN_EVERY

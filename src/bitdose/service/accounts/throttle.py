"""Throttling of failed logins: by name against guessing one account, by address against many.

The first few failures are free; each further one doubles the wait. An attempt is counted *before* its
password is checked, so a hundred concurrent ones are a hundred failures, and uncounted on success.
Names are stored as digests: people type passwords into the wrong field.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bitdose.service.accounts.secrets import fingerprint
from bitdose.service.db.tables import ThrottleRow

_FORGET = timedelta(hours=1)
_IPV6_SITE = 64
_KEEP_ALL: dict[str, Any] = {"synchronize_session": False}


class Limit(NamedTuple):
    """Number of free failures, and longest wait in seconds."""

    free: int
    longest_s: float


BY_NAME = Limit(5, 60.0)  # short, so that an attacker cannot lock a person out for long
BY_ADDRESS = Limit(20, 900.0)  # users of a clinic share one address


def keys_of(name: str, address: str) -> dict[str, Limit]:
    """Return the keys of an attempt; an IPv6 address counts as its /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        site = "unknown"
    else:
        wide = isinstance(parsed, ipaddress.IPv6Address)
        site = str(ipaddress.ip_network((parsed, _IPV6_SITE), strict=False)) if wide else str(parsed)
    return {f"name:{fingerprint(name.casefold())}": BY_NAME, f"address:{site}": BY_ADDRESS}


def wait_s(failures: int, limit: Limit) -> float:
    """Return the wait after ``failures`` failures, in seconds.

    Examples
    --------
    >>> [wait_s(n, BY_NAME) for n in (4, 5, 6, 7, 20)]
    [0.0, 1.0, 2.0, 4.0, 60.0]
    """
    over = failures - limit.free
    return 0.0 if over < 0 else min(limit.longest_s, 2.0 ** min(over, 30))


def reserve(session: Session, keys: dict[str, Limit], *, now: datetime) -> float:
    """Count an attempt as failed, and return 0; or return the seconds to wait, and count nothing."""
    old = select(ThrottleRow.key).where(ThrottleRow.last < now - _FORGET).with_for_update(skip_locked=True)
    session.execute(delete(ThrottleRow).where(ThrottleRow.key.in_(old)), execution_options=_KEEP_ALL)
    rows = {key: _row(session, key, now) for key in sorted(keys)}  # in a fixed order, to avoid deadlocks
    waits = [(row.until - now).total_seconds() for row in rows.values() if row.until]
    if waits and max(waits) > 0:
        return max(waits)
    for key, row in rows.items():
        row.failures, row.last = row.failures + 1, now
        row.until = now + timedelta(seconds=wait_s(row.failures, keys[key]))
    return 0.0


def succeed(session: Session, keys: dict[str, Limit]) -> None:
    """Uncount a successful attempt: the name is reset, the address loses one failure."""
    for key, limit in keys.items():
        row = session.get(ThrottleRow, key, with_for_update=True)
        if row is None:
            continue
        row.failures = 0 if limit is BY_NAME else row.failures - 1
        row.until = None


def _row(session: Session, key: str, now: datetime) -> ThrottleRow:
    """Return a key's row, locked; created by one of several concurrent requests."""
    values = {"key": key, "failures": 0, "last": now}
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert: Any = sqlite.insert if is_sqlite else postgresql.insert
    session.execute(insert(ThrottleRow).values(values).on_conflict_do_nothing())
    return session.get_one(ThrottleRow, key, with_for_update=True)

"""Failed logins cost time: by name against guessing one account, by address against trying many.

The first few failures are free; each further one doubles the wait. An attempt is counted *before* its
password is checked, so a hundred at once are a hundred failures, and taken back when it was right.
Names are stored as digests: people type passwords into the wrong field.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.orm import Session

from bitdose.service.secrets import fingerprint
from bitdose.service.tables import ThrottleRow

_FORGET = timedelta(hours=1)
_IPV6_SITE = 64


class Limit(NamedTuple):
    """How many failures are free, and the longest wait in seconds."""

    free: int
    longest_s: float


BY_NAME = Limit(5, 60.0)  # short: an attacker must not be able to lock a person out for long
BY_ADDRESS = Limit(20, 900.0)  # a clinic's people share one address


def keys_of(name: str, address: str) -> dict[str, Limit]:
    """Return what an attempt counts against; an IPv6 address counts as its /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        site = "unknown"
    else:
        wide = isinstance(parsed, ipaddress.IPv6Address)
        site = str(ipaddress.ip_network((parsed, _IPV6_SITE), strict=False)) if wide else str(parsed)
    return {f"name:{fingerprint(name.casefold())}": BY_NAME, f"address:{site}": BY_ADDRESS}


def wait_s(failures: int, limit: Limit) -> float:
    """Return the wait after so many failures, seconds.

    Examples
    --------
    >>> [wait_s(n, BY_NAME) for n in (4, 5, 6, 7, 20)]
    [0.0, 1.0, 2.0, 4.0, 60.0]
    """
    over = failures - limit.free
    return 0.0 if over < 0 else min(limit.longest_s, 2.0 ** min(over, 30))


def reserve(session: Session, keys: dict[str, Limit], *, now: datetime) -> float:
    """Count an attempt as failed, and return 0; or return the seconds to wait, and count nothing."""
    session.execute(delete(ThrottleRow).where(ThrottleRow.last < now - _FORGET))
    rows = {key: session.get(ThrottleRow, key, with_for_update=True) for key in sorted(keys)}
    waits = [(row.until - now).total_seconds() for row in rows.values() if row and row.until]
    if waits and max(waits) > 0:
        return max(waits)
    for key, row in rows.items():
        failures = (row.failures if row else 0) + 1
        until = now + timedelta(seconds=wait_s(failures, keys[key]))
        session.merge(ThrottleRow(key=key, failures=failures, until=until, last=now))
    return 0.0


def succeed(session: Session, keys: dict[str, Limit]) -> None:
    """Take an attempt back: the name starts afresh, the address only loses this one."""
    for key, limit in keys.items():
        row = session.get(ThrottleRow, key, with_for_update=True)
        if row is None:
            continue
        row.failures = 0 if limit is BY_NAME else row.failures - 1
        row.until = None

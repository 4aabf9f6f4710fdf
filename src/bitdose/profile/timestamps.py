"""Timestamps in UTC, in one text form, and how long a profile holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from bitdose.errors import UsageError, argument

DEFAULT_LIFE = "365d"

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_MOST_DAYS = 3650


def timestamp(text: str, key: str) -> datetime:
    """Read a UTC timestamp such as ``2026-11-22T10:00:00Z``; raises ``UsageError`` with the key.

    Examples
    --------
    >>> timestamp("2026-11-22T10:00:00Z", "created").year
    2026
    """
    try:
        found = datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        found = None
    if found is None or timestamp_text(found) != text:
        raise UsageError(f"{key}: expected UTC such as 2026-11-22T10:00:00Z, got {text[:40]!a}")
    return found


def timestamp_text(when: datetime) -> str:
    """Write a timestamp in UTC, to the second.

    Examples
    --------
    >>> timestamp_text(datetime(2026, 11, 22, 10, tzinfo=UTC))
    '2026-11-22T10:00:00Z'
    """
    found = when.astimezone(UTC)
    return f"{found.year:04d}-{found:%m-%dT%H:%M:%SZ}"


def day_or_timestamp(text: str, key: str) -> datetime:
    """Read ``2027-11-22`` (its first second, UTC) or a whole timestamp; raises ``UsageError`` with the key.

    Examples
    --------
    >>> timestamp_text(day_or_timestamp("2027-11-22", "now"))
    '2027-11-22T00:00:00Z'
    """
    return timestamp(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else text, key)


def expiry(text: str, now: datetime) -> datetime:
    """Return when a profile ends: ``365d`` after now, or a day or timestamp to come.

    Raises
    ------
    UsageError
        If it is neither, lies behind, or is more than ten years off.

    Examples
    --------
    >>> timestamp_text(expiry("30d", datetime(2026, 11, 22, tzinfo=UTC)))
    '2026-12-22T00:00:00Z'
    """
    days = re.fullmatch(r"(\d{1,6})d", text)
    if not days and not re.match(r"\d{4}-", text):
        raise UsageError(
            f"{argument('expires')}: expected days such as 365d or a date such as 2027-11-22, got {text!a}"
        )
    found = now + timedelta(days=int(days[1])) if days else day_or_timestamp(text, argument("expires"))
    if not timedelta(0) < found - now <= timedelta(days=_MOST_DAYS):
        raise UsageError(f"{argument('expires')}: expected up to {_MOST_DAYS} days from now, got {text}")
    return found

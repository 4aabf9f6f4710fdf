"""Schemas of the account and admin pages; not needed by uploaders."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from bitdose.wire import Role

AccountName = Annotated[str, StringConstraints(min_length=2, max_length=100)]
Clinic = Annotated[str, StringConstraints(max_length=100)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PasswordChange(_Document):
    """Change of the own password, which requires the old one."""

    old: Password
    new: Password


class TokenView(_Document):
    """A token as listed to its owner, without its text."""

    id: str
    name: str
    created: datetime
    used: datetime | None = None


class TokenList(_Document):
    """The valid tokens."""

    tokens: tuple[TokenView, ...]


class AccountView(_Document):
    """An account as shown to an admin."""

    id: int
    name: str
    role: Role
    clinic: str
    disabled: bool
    created: datetime


class AccountList(_Document):
    """All accounts, by name."""

    accounts: tuple[AccountView, ...]


class AccountNew(_Document):
    """A new account; ``clinic`` goes with the role ``clinic`` only."""

    name: AccountName
    role: Role
    clinic: Clinic = ""
    password: Password


class AccountChange(_Document):
    """Changes of an account; omitted fields stay. Every change ends all its sessions."""

    role: Role | None = None
    clinic: Clinic | None = None
    disabled: bool | None = None
    password: Password | None = None


class KnownProfile(_Document):
    """A profile in the list, with its warnings at the time of adding."""

    id: str
    point: str
    classifier: str
    expires: str
    active: bool
    added: datetime | None = None
    warnings: tuple[str, ...] = ()


class KnownProfiles(_Document):
    """All profiles, newest first."""

    profiles: tuple[KnownProfile, ...]


class AuditView(_Document):
    """One access."""

    id: int
    at: datetime
    account: str
    role: str
    address: str
    action: str
    target: str
    status: int
    detail: str


class AuditPage(_Document):
    """A page of accesses, newest first; ``next`` is the cursor of the next page, None at the end."""

    entries: tuple[AuditView, ...]
    next: int | None = None


class Saved(_Document):
    """Cost and savings of recent exams; seconds are for one link, exams in sequence."""

    days: int
    link: str
    exams: dict[str, int]
    coded: int
    source_bytes: int
    payload_bytes: int
    saved_bytes: int
    saved_seconds: float


class Share(_Document):
    """A share with its interval; null with a reason if undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


class SentinelPeriod(_Document):
    """The flips of one period."""

    start: datetime
    flips: Share


class SentinelView(_Document):
    """Flips among coded-pristine pairs, beside the certified limit; null if undefined."""

    profile: str
    pairs: int
    agreement: Share
    flips: Share
    periods: tuple[SentinelPeriod, ...]
    alarm: bool
    since: datetime | None
    certified: float | None
    low: float | None
    alpha: float
    reason: str = ""


class Health(_Document):
    """Response to a health probe."""

    status: str

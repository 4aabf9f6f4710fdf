"""What the account and admin pages say and hear; the uploader needs none of it."""

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
    """One's own password: the old one is asked for again."""

    old: Password
    new: Password


class TokenView(_Document):
    """A token as its owner sees it; its text is never shown again."""

    id: str
    name: str
    created: datetime
    used: datetime | None = None


class TokenList(_Document):
    """The tokens that work."""

    tokens: tuple[TokenView, ...]


class AccountView(_Document):
    """An account as an admin sees it."""

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
    """What to change; what is not given stays. Every change logs the account out everywhere."""

    role: Role | None = None
    clinic: Clinic | None = None
    disabled: bool | None = None
    password: Password | None = None


class KnownProfile(_Document):
    """A profile in the list; ``warnings`` are those found when it was added."""

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
    """Some accesses, newest first; ``next`` continues, None at the end."""

    entries: tuple[AuditView, ...]
    next: int | None = None


class Saved(_Document):
    """What the exams of some days cost and spared; seconds are of one link, one exam after the other."""

    days: int
    link: str
    exams: dict[str, int]
    coded: int
    source_bytes: int
    payload_bytes: int
    saved_bytes: int
    saved_seconds: float


class Share(_Document):
    """A share with its interval; null where it is undefined, with the reason."""

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
    """Flips among pairs of coded and pristine answers, beside what was certified; null is undefined."""

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
    """A probe's answer."""

    status: str

"""Logins by cookie and API tokens: stored as digests, ended when they should be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from bitdose.errors import UsageError
from bitdose.service.accounts import sessions as logins
from bitdose.service.accounts import tokens
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, SessionRow, TokenRow

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def row(account: Callable[..., AccountRow]) -> AccountRow:
    """Give a clinic's account."""
    return account("clinic")


def test_a_login_ends_after_its_hours(engine: Engine, row: AccountRow) -> None:
    """A cookie holds up to its last moment and not beyond; the next login sweeps it away."""
    with sessions(engine).begin() as session:
        made = logins.begin(session, row, now=NOW, hours=2)
    with reading(engine) as session:
        assert logins.find(session, made.cookie, now=NOW + timedelta(minutes=119))
        assert logins.find(session, made.cookie, now=NOW + timedelta(hours=2)) is None
    with sessions(engine).begin() as session:
        logins.begin(session, row, now=NOW + timedelta(hours=3), hours=2)
        assert session.scalar(select(func.count()).select_from(SessionRow)) == 1


def test_a_login_makes_a_new_cookie_and_ends_the_old(engine: Engine, row: AccountRow) -> None:
    """A cookie that somebody planted before the login is not the one that is logged in."""
    with sessions(engine).begin() as session:
        first = logins.begin(session, row, now=NOW, hours=1)
        second = logins.begin(session, row, now=NOW, hours=1, old=first.cookie)
        planted = logins.begin(session, row, now=NOW, hours=1, old="planted")
        assert len({first.cookie, second.cookie, planted.cookie, "planted", first.csrf, second.csrf}) == 6
        assert logins.find(session, first.cookie, now=NOW) is None
        assert logins.find(session, "planted", now=NOW) is None
        assert logins.find(session, second.cookie, now=NOW)


def test_neither_cookie_nor_token_is_in_the_database(engine: Engine, row: AccountRow) -> None:
    """Who reads the database can log in as nobody: it holds SHA-256 digests of both."""
    with sessions(engine).begin() as session:
        made = logins.begin(session, row, now=NOW, hours=1)
        _, text = tokens.make_token(session, row.id, "uploader", now=NOW)
    with reading(engine) as session:
        stored = [session.scalar(select(SessionRow.id)), session.scalar(select(TokenRow.hash))]
    assert [len(each) for each in stored] == [64, 64]
    assert not {made.cookie, text} & set(stored)


def test_a_token_is_its_owners_to_revoke(
    engine: Engine, row: AccountRow, account: Callable[..., AccountRow]
) -> None:
    """Another account's revocation does nothing; the owner's ends it, once."""
    other = account("physician")
    with sessions(engine).begin() as session:
        made, text = tokens.make_token(session, row.id, "uploader", now=NOW)
        assert not tokens.revoke(session, other.id, made.id)
        assert tokens.find(session, text)
        assert tokens.revoke(session, row.id, made.id)
        assert not tokens.revoke(session, row.id, made.id)
        assert tokens.find(session, text) is None


@pytest.mark.parametrize(
    "text", ["", "bdt_", "bdt_" + "A" * 43, "bdt_" + "A" * 42 + "\n", "x" * 10_000, "bdt_\ud800"]
)
def test_a_forged_token_is_nobodys(engine: Engine, row: AccountRow, text: str) -> None:
    """Whatever was not made here is refused, whatever its form."""
    with sessions(engine).begin() as session:
        tokens.make_token(session, row.id, "uploader", now=NOW)
        assert tokens.find(session, text) is None


def test_an_account_has_twenty_tokens_at_most(engine: Engine, row: AccountRow) -> None:
    """The twenty-first is refused until one is revoked."""
    with sessions(engine).begin() as session:
        made = [tokens.make_token(session, row.id, str(n), now=NOW)[0] for n in range(20)]
        with pytest.raises(UsageError, match="20 already"):
            tokens.make_token(session, row.id, "more", now=NOW)
        tokens.revoke(session, row.id, made[3].id)
        tokens.make_token(session, row.id, "more", now=NOW)


def test_the_last_use_is_written_once_a_minute() -> None:
    """An uploader in full swing does not write a row per request."""
    fresh = TokenRow(used=NOW)
    assert tokens.is_due(TokenRow(used=None), NOW)
    assert not tokens.is_due(fresh, NOW + timedelta(seconds=59))
    assert tokens.is_due(fresh, NOW + timedelta(seconds=61))

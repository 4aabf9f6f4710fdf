"""Passwords and accounts: what is accepted, and what a change ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import argon2
import pytest
from sqlalchemy import Engine, select

from bitdose.errors import UsageError
from bitdose.service.accounts import sessions as logins
from bitdose.service.accounts import tokens
from bitdose.service.accounts.accounts import (
    AccountError,
    add_account,
    change_account,
    find_account,
    remove_account,
)
from bitdose.service.accounts.passwords import check_password, hash_password, is_stale, matches
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, ExamRow
from bitdose.wire import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GOOD = "four plain words here"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("eleven char", "12 characters or more, got 11"),
        ("x" * 1001, "at most 1000"),
        ("Password1234", "tried first"),
        ("PASSWORD98765", "tried first"),
        ("correct horse battery staple", "tried first"),
        ("hospital2026!", "tried first"),
        ("456789012345", "tried first"),
        ("zyxwvutsrqponm", "tried first"),
        ("abababababab", "tried first"),
        ("aabbaabbaabbc", "different characters"),
        ("maria.silva42", "account's name"),
    ],
)
def test_a_weak_password_is_refused_and_not_repeated(text: str, why: str) -> None:
    """Short, common, patterned and own-name passwords are refused; the message holds no password."""
    with pytest.raises(UsageError, match=why) as caught:
        check_password(text, name="maria.silva")
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "text", [GOOD, "só letras aqui", "😀🚑🩻🫁🧠🦷🦴👁👂🦶🫀🩸", "qwmz-plok-31-tt", "x" * 6 + "abcdef" * 3]
)
def test_no_rule_of_composition_is_asked_for(text: str) -> None:
    """Any 12 characters will do that are not tried first: no capital, digit or sign is asked for."""
    check_password(text, name="maria")


def test_a_hash_is_argon2id_salted_and_matches_only_its_password() -> None:
    """Two hashes of one password differ, both match it, and the reference library agrees."""
    first, second = hash_password(GOOD), hash_password(GOOD)
    assert first != second
    assert first.startswith("$argon2id$")
    assert matches(first, GOOD)
    assert not matches(first, GOOD + " ")
    assert argon2.PasswordHasher().verify(second, GOOD)


def test_the_same_accents_match_however_they_are_typed() -> None:
    """A composed and a decomposed accent are one password."""
    assert matches(hash_password("cora\u00e7\u00e3o partido"), "corac\u0327a\u0303o partido")


def test_nobody_matches_and_takes_as_long_as_somebody() -> None:
    """An unknown account's check fails after the same work: its time tells nothing."""
    stored = hash_password(GOOD)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(5):
        for known, taken in seconds.items():
            began = time.process_time()
            assert not matches(stored if known else None, "wrong password here")
            taken.append(time.process_time() - began)
    assert not matches(None, "the password of nobody at all")
    assert 0.5 < min(seconds[True]) / min(seconds[False]) < 2


def test_a_hash_of_other_costs_is_stale_and_garbage_matches_nothing() -> None:
    """Costs may rise later: an old hash is known as such; what is no hash is no match."""
    assert is_stale(argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(GOOD))
    assert not is_stale(hash_password(GOOD))
    assert not matches("not a hash", GOOD)


def _add(engine: Engine, name: str, role: str, clinic: str = "") -> AccountRow:
    with sessions(engine).begin() as session:
        return add_account(session, name=name, role=Role(role), clinic=clinic, password=GOOD, now=NOW)


def test_names_are_one_whatever_their_capitals(engine: Engine) -> None:
    """``Ana`` and ``ana`` are one account; a second one is refused."""
    _add(engine, "Ana", "physician")
    with reading(engine) as session:
        assert find_account(session, "aNA").name == "ana"
    with pytest.raises(AccountError, match="already"):
        _add(engine, "ANA", "physician")


@pytest.mark.parametrize(
    ("name", "role", "clinic", "why"),
    [
        ("a", "admin", "", "name"),
        ("a b", "admin", "", "name"),
        ("../etc", "admin", "", "name"),
        ("ana\n", "admin", "", "name"),
        ("ana", "clinic", "", "clinic: expected the clinic's name"),
        ("ana", "clinic", "  ", "clinic: expected the clinic's name"),
        ("ana", "clinic", "a\x00b", "clinic: expected the clinic's name"),
        ("ana", "physician", "north", "clinic: expected none"),
    ],
)
def test_a_wrong_account_is_refused(engine: Engine, name: str, role: str, clinic: str, why: str) -> None:
    """Names are plain, and a clinic goes with the role of one."""
    with pytest.raises(UsageError, match=why):
        _add(engine, name, role, clinic)


@pytest.mark.parametrize(
    "change",
    [{"password": "another four words"}, {"disabled": True}, {"role": Role.PHYSICIAN}, {"clinic": "south"}],
)
def test_a_change_of_rights_ends_every_login_and_token(engine: Engine, change: dict[str, Any]) -> None:
    """After a change of password, role, clinic or disabled, no cookie or token of the account works."""
    row = _add(engine, "ana", "clinic", "north")
    with sessions(engine).begin() as session:
        cookies = [logins.begin(session, row, now=NOW, hours=1).cookie for _ in range(2)]
        _, text = tokens.make_token(session, row.id, "uploader", now=NOW)
        assert tokens.find(session, text)
    with sessions(engine).begin() as session:
        change_account(session, session.merge(row), **change)
    with reading(engine) as session:
        assert [logins.find(session, cookie, now=NOW) for cookie in cookies] == [None, None]
        assert tokens.find(session, text) is None


def test_what_changes_nothing_ends_nothing(engine: Engine) -> None:
    """Saving an account as it is logs nobody out."""
    row = _add(engine, "ana", "clinic", "north")
    with sessions(engine).begin() as session:
        cookie = logins.begin(session, row, now=NOW, hours=1).cookie
    with sessions(engine).begin() as session:
        change_account(session, session.get_one(AccountRow, row.id), clinic="north", disabled=False)
    with reading(engine) as session:
        assert logins.find(session, cookie, now=NOW)


def test_the_last_admin_stays(engine: Engine) -> None:
    """An admin who is the only one that can log in is neither disabled, nor demoted, nor removed."""
    first, second = _add(engine, "one", "admin"), _add(engine, "two", "admin")
    with sessions(engine).begin() as session:
        change_account(session, session.merge(second), disabled=True)
    for change in ({"disabled": True}, {"role": Role.PHYSICIAN}):
        with pytest.raises(AccountError, match="last admin"), sessions(engine).begin() as session:
            change_account(session, session.merge(first), **change)
    with pytest.raises(AccountError, match="last admin"), sessions(engine).begin() as session:
        remove_account(session, session.merge(first))


def test_an_account_that_sent_exams_is_not_removed(engine: Engine) -> None:
    """An exam names who sent it: such an account can only be disabled; one without exams goes."""
    sender, idle = _add(engine, "sender", "clinic", "north"), _add(engine, "idle", "clinic", "north")
    with sessions(engine).begin() as session:
        values = {"meta": {}, "kind": "coded", "sha256": "", "blob": "", "state": "queued", "received": NOW}
        session.add(ExamRow(id="e", account_id=sender.id, **values))
    with pytest.raises(AccountError, match="disable it instead"), sessions(engine).begin() as session:
        remove_account(session, session.merge(sender))
    with sessions(engine).begin() as session:
        remove_account(session, session.merge(idle))
    with reading(engine) as session:
        assert session.scalars(select(AccountRow.name)).all() == ["sender"]


def test_a_role_without_a_clinic_loses_it(engine: Engine, account: Callable[..., AccountRow]) -> None:
    """A clinic's account that becomes a physician's belongs to no clinic any more."""
    row = account("clinic")
    with sessions(engine).begin() as session:
        row = session.merge(row)
        change_account(session, row, role=Role.PHYSICIAN)
        assert (row.role, row.clinic) == ("physician", "")

"""Guessing passwords becomes slow, by name and by address, and honest people get in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine, select

from bitdose.service import clock
from bitdose.service.accounts.throttle import BY_ADDRESS, BY_NAME, keys_of, reserve, succeed, wait_s
from bitdose.service.db.database import make_engine, reading, sessions
from bitdose.service.db.migrate import upgrade
from bitdose.service.db.tables import AccountRow, ThrottleRow

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LOGIN = "/api/v1/login"


def _try(engine: Engine, name: str, address: str, at: float) -> float:
    with sessions(engine).begin() as session:
        return reserve(session, keys_of(name, address), now=NOW + timedelta(seconds=at))


def test_the_wait_doubles_up_to_its_limit() -> None:
    """By hand: nothing up to the free failures, then 1, 2, 4 ... seconds, 60 by name and 900 by address."""
    assert [wait_s(n, BY_NAME) for n in (1, 4, 5, 8, 10, 11, 999)] == [0, 0, 1, 8, 32, 60, 60]
    assert [wait_s(n, BY_ADDRESS) for n in (19, 20, 29, 30, 999)] == [0, 1, 512, 900, 900]


def test_a_name_is_slow_from_any_address(engine: Engine) -> None:
    """Five failures are free; the sixth attempt waits, even from elsewhere, and waiting is enough."""
    assert [_try(engine, "ana", f"10.0.0.{n}", 0) for n in range(5)] == [0] * 5
    assert _try(engine, "ANA", "10.9.9.9", 0.5) == 0.5
    assert _try(engine, "ana", "10.9.9.9", 1.0) == 0
    assert _try(engine, "ana", "10.9.9.9", 1.0) == 2.0
    assert _try(engine, "bob", "10.9.9.9", 1.0) == 0


def test_an_address_is_slow_for_any_name(engine: Engine) -> None:
    """Trying many names from one address, or one IPv6 network, waits after twenty."""
    for address in ("10.0.0.1", "2001:db8::{}"):
        assert [_try(engine, f"n{address}{n}", address.format(n), 0) for n in range(20)] == [0] * 20
        assert _try(engine, "fresh", address.format(99), 0) == 1.0
    assert _try(engine, "fresh", "2001:db8:0:1::1", 0) == 0


def test_success_frees_the_name_but_not_the_address(engine: Engine) -> None:
    """An attacker cannot clear an address's failures by logging in to an account of his own."""
    for n in range(20):
        _try(engine, f"victim{n}", "10.0.0.1", 0)
    keys = keys_of("own", "10.0.0.1")
    assert _try(engine, "own", "10.0.0.1", 2) == 0
    with sessions(engine).begin() as session:
        succeed(session, keys)
    assert _try(engine, "victim", "10.0.0.1", 2) == 0
    assert _try(engine, "victim", "10.0.0.1", 2) == 2.0


def test_failures_are_forgotten_after_an_hour(engine: Engine) -> None:
    """An hour without a failure starts afresh, and the rows are gone."""
    for _ in range(5):
        _try(engine, "ana", "10.0.0.1", 0)
    assert _try(engine, "bob", "10.0.0.2", 3601) == 0
    with reading(engine) as session:
        assert len(session.scalars(select(ThrottleRow)).all()) == 2


def test_no_name_is_stored_as_typed(engine: Engine) -> None:
    """A password typed into the name's field is in no table."""
    _try(engine, "my secret password", "10.0.0.1", 0)
    with reading(engine) as session:
        assert not [row.key for row in session.scalars(select(ThrottleRow)) if "secret" in row.key]


def test_attempts_at_once_are_counted_before_they_are_checked(
    server: str, account: Callable[..., AccountRow]
) -> None:
    """Forty parallel guesses get five answers about a password; all others are told to wait."""
    name = account("clinic").name

    def guess(n: int) -> httpx.Response:
        return httpx.post(server + LOGIN, json={"name": name, "password": f"guess number {n}"}, timeout=30)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guess, range(40)))
    # Each second of waiting lets one more through; the whole burst takes less than a few.
    assert 5 <= [answer.status_code for answer in answers].count(401) <= 8
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


@pytest.mark.parametrize("known", [True, False])
def test_known_and_unknown_names_are_throttled_alike(
    *, client: httpx.Client, account: Callable[..., AccountRow], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The sixth attempt is a 429 with the same text, whether or not there is such an account."""
    monkeypatch.setattr(clock, "now", lambda: NOW)  # however long a busy machine takes
    name = account("clinic").name if known else "nobody"
    codes = []
    for _ in range(6):
        answer = client.post(LOGIN, json={"name": name, "password": "not the right one"})
        codes.append(answer.status_code)
    assert codes == [401] * 5 + [429]
    assert answer.json()["detail"] == "too many wrong logins; wait 2 s"


def test_many_first_logins_at_once_are_all_counted(database_url: str) -> None:
    """A name and an address that nobody used before: attempts at one moment are counted, and none fails."""
    engine = make_engine(database_url)
    upgrade(engine)
    for turn in range(5):
        with ThreadPoolExecutor(12) as pool:
            waits = list(pool.map(lambda _, n=turn: _try(engine, f"new{n}", f"10.1.1.{n}", 0), range(12)))
        assert len([wait for wait in waits if not wait]) == BY_NAME.free
        with reading(engine) as session:
            counted = session.scalars(
                select(ThrottleRow.failures).where(ThrottleRow.key == f"address:10.1.1.{turn}")
            )
            assert counted.all() == [BY_NAME.free]
    engine.dispose()

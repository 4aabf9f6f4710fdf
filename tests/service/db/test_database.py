"""The database: migrations make the tables, writers queue, readers do not wait, moments keep their zone."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from bitdose.errors import UsageError
from bitdose.service import clock
from bitdose.service.accounts.accounts import add_account
from bitdose.service.db.database import make_engine, reading, sessions
from bitdose.service.db.migrate import is_current, upgrade
from bitdose.service.db.tables import AccountRow, SessionRow, Table, ThrottleRow
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings
from bitdose.wire import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Give an empty database at today's version."""
    made = make_engine(database_url)
    upgrade(made)
    yield made
    made.dispose()


def test_the_migrations_make_exactly_the_tables(engine: Engine) -> None:
    """After all migrations nothing differs from ``tables.py``: column, type, index or key."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
        assert is_current(connection)


def test_an_upgrade_twice_or_by_many_at_once_is_one(database_url: str) -> None:
    """Processes that start together bring the database up once, and none fails."""
    failed: list[Exception] = []

    def run() -> None:
        engine = make_engine(database_url)
        try:
            upgrade(engine)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            failed.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    engine = make_engine(database_url)
    with engine.connect() as connection:
        assert is_current(connection)
    engine.dispose()


def test_a_connection_waits_while_another_switches_a_new_file_to_wal(tmp_path: Path) -> None:
    """SQLite calls a second switch busy at once, whatever its timeout; the connection waits by itself."""
    file = tmp_path / "x.sqlite"
    held = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN IMMEDIATE")  # the lock that a switch takes, held for longer than a switch does
    with sqlite3.connect(file) as plain, pytest.raises(sqlite3.OperationalError, match="locked"):
        plain.execute("PRAGMA busy_timeout = 30000").close()
        plain.execute("PRAGMA journal_mode = WAL")
    plain.close()
    letting_go = threading.Timer(0.3, held.rollback)
    letting_go.start()
    engine = make_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()
    letting_go.join()
    held.close()


def test_a_file_that_stays_locked_is_an_error_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the switch has the same end as waiting for any other lock."""
    monkeypatch.setattr("bitdose.service.db.database._BUSY_MS", 100)
    held = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    engine = make_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with pytest.raises(OperationalError, match="locked"):
        engine.connect()
    held.close()
    engine.dispose()


def test_a_database_without_tables_is_not_current(tmp_path: Path) -> None:
    """Readiness can tell a database that nobody has upgraded."""
    with make_engine(f"sqlite:///{tmp_path / 'x.sqlite'}").connect() as connection:
        assert not is_current(connection)


def test_sqlite_is_set_up_to_survive(tmp_path: Path) -> None:
    """The journal is a write-ahead log, commits are on disk, foreign keys hold, waiting lasts 30 s."""
    with reading(make_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")) as session:
        for pragma, value in {
            "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000
        }.items():  # fmt: skip
            assert session.scalar(text(f"PRAGMA {pragma}")) == value


def test_writers_wait_for_one_another_and_lose_nothing(engine: Engine) -> None:
    """Eight writers that read before they write count to 200 together: none collides at its commit."""
    with sessions(engine).begin() as session:
        session.add(ThrottleRow(key="k", failures=0, last=NOW))

    def count() -> None:
        for _ in range(25):
            with sessions(engine).begin() as session:
                session.get_one(ThrottleRow, "k", with_for_update=True).failures += 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as session:
        assert session.get_one(ThrottleRow, "k").failures == 200


def test_a_reader_does_not_wait_for_a_writer(engine: Engine) -> None:
    """While a transaction writes, a reader sees the state before it, at once."""
    with sessions(engine).begin() as writer:
        writer.add(ThrottleRow(key="k", failures=1, last=NOW))
        writer.flush()
        with reading(engine) as reader:
            assert reader.scalars(select(ThrottleRow)).all() == []
    with reading(engine) as reader:
        assert len(reader.scalars(select(ThrottleRow)).all()) == 1


def test_an_error_takes_the_whole_transaction_back(engine: Engine) -> None:
    """What was written before the error is not there after it."""
    with pytest.raises(IntegrityError), sessions(engine).begin() as session:
        session.add(ThrottleRow(key="k", failures=1, last=NOW))
        session.flush()
        session.add(SessionRow(id="x", account_id=77, csrf="", created=NOW, expires=NOW))
    with reading(engine) as session:
        assert session.get(ThrottleRow, "k") is None


def test_moments_come_back_in_utc_and_naive_ones_are_refused(engine: Engine) -> None:
    """A moment of another zone is the same moment in UTC; one without a zone is nobody's."""
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    with sessions(engine).begin() as session:
        session.add(AccountRow(name="a", role="admin", password="", created=east, clinic="", disabled=False))
    with reading(engine) as session:
        found = session.scalar(select(AccountRow.created))
    assert found == NOW
    assert found.tzinfo is UTC
    with pytest.raises(StatementError), sessions(engine).begin() as session:
        session.add(ThrottleRow(key="n", last=NOW.replace(tzinfo=None)))


@pytest.mark.parametrize("url", ["mysql://u:secret@h/x", "no url", "sqlite://", "sqlite:///:memory:"])
def test_another_kind_of_database_is_refused_without_its_password(url: str) -> None:
    """Only a SQLite file or PostgreSQL will do, and the error does not repeat the URL."""
    with pytest.raises(UsageError, match=r"^database: expected") as caught:
        make_engine(url)
    assert "secret" not in str(caught.value)


def test_a_service_works_on_either(
    change: Callable[..., Settings], serve: Callable[..., str], database_url: str
) -> None:
    """Login, token, throttle, audit, figures and profiles do the same on SQLite and on PostgreSQL."""
    app = create_app(change(database=database_url))
    with sessions(app.state.context.engine).begin() as session:
        add_account(session, name="boss", role=Role.ADMIN, password="four plain words here", now=clock.now())
    with httpx.Client(base_url=serve(app)) as client:
        body = {"name": "boss", "password": "four plain words here"}
        assert client.get("/readyz").status_code == 200
        assert client.post("/api/v1/login", json=body | {"password": "wrong"}).status_code == 401
        client.headers["X-CSRF-Token"] = client.post("/api/v1/login", json=body).json()["csrf"]
        bearer = client.post("/api/v1/tokens", json={"name": "t"}).json()["token"]
        for what in ("accounts", "profiles", "stats", "sentinel", "audit?account=a%00b"):
            assert client.get(f"/api/v1/admin/{what}").status_code == 200, what
        assert len(client.get("/api/v1/admin/audit").json()["entries"]) == 8
        assert b"bitdose_exams" in client.get("/metrics").content
        found = client.get("/api/v1/me", headers={"Authorization": f"Bearer {bearer}"}).json()
        assert (found["name"], found["csrf"]) == ("boss", "")
    app.state.context.engine.dispose()

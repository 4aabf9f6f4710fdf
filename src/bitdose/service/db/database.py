"""Database connections: SQLite shared by many processes, or PostgreSQL.

A *writer* takes SQLite's write lock when it begins (``BEGIN IMMEDIATE``) and waits for it up to 30 s, so two
writers never collide at commit. A *reader* sees one snapshot and blocks nobody (WAL).
The switch of a new file to WAL is the one step without SQLite's busy timeout: it reads before it writes, and
of two concurrent connections one gets "busy" immediately. It is therefore retried here.
On PostgreSQL both are plain transactions.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker

from bitdose.errors import UsageError

_BUSY_MS = 30_000
_PRIMARY = 0xFF  # SQLite's extended result codes have the plain one in their low byte
_READS = "bitdose_reads"
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def make_engine(url: str) -> Engine:
    """Create the engine of a database URL; a missing folder for SQLite is created.

    Raises
    ------
    UsageError
        If the URL is neither SQLite's nor PostgreSQL's.
    """
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=_DRIVERS[parsed.drivername.partition("+")[0]])
    except (ArgumentError, KeyError, NoSuchModuleError) as error:
        expected = "sqlite:///FILE or postgresql://USER@HOST/NAME"
        raise UsageError(f"database: expected {expected}, got something else") from error
    if parsed.drivername != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=30)
    if not parsed.database or parsed.database == ":memory:":
        raise UsageError("database: expected a file: processes share no SQLite in memory")
    file = Path(parsed.database)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite's journals inherit the file mode, which protects hashes, audit and predictions.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    engine = create_engine(parsed, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of writers: ``with sessions(engine).begin() as session`` commits at its end."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Yield a read-only session, rolled back at its end."""
    with Session(engine.execution_options(**{_READS: True}), expire_on_commit=False) as session:
        yield session


def _set_up(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.isolation_level = None  # the driver's own BEGIN would come too late
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").close()
        _to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL").close()  # acknowledged writes survive a power cut
        connection.execute("PRAGMA foreign_keys = ON").close()


def _to_wal(connection: sqlite3.Connection) -> None:
    until = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  so that two do not go in step
        else:
            return


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

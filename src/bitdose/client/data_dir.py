"""Data folder of the client, with queue and pseudonyms, readable by its user only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitdose.errors import BitdoseError, UsageError, argument

FOLDER_VARIABLE = "BITDOSE_OUTBOX"
_WAIT_S = 30.0


def default_folder() -> Path:
    """Return the folder of the queue: ``$BITDOSE_OUTBOX``, else in the user's data folder.

    Raises
    ------
    UsageError
        If the user has no home folder.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME", "")
    try:
        home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise UsageError(f"no home folder for the queue; set {FOLDER_VARIABLE} to a folder") from error
    return home / "bitdose" / "outbox"


def open_folder(folder: Path) -> Path:
    """Create the folder, readable by its user only; raises ``BitdoseError`` on failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise BitdoseError(f"{argument('outbox', folder)}: cannot be used ({error.strerror})") from error
    return folder


@contextmanager
def database(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """Open a database file, create missing tables, and commit at the end.

    Every commit reaches the disk before it returns, and deleted data are overwritten with zeros. Safe for
    several threads and processes; writers wait for each other.

    Raises
    ------
    BitdoseError
        If the file cannot be opened or written (a full disk, no permission), or is damaged.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
            )
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                connection.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version=1; COMMIT;")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # an open transaction is rolled back
    except (sqlite3.Error, OSError) as error:
        words = str(error) if isinstance(error, sqlite3.Error) else error.strerror
        raise BitdoseError(f"{path}: the database cannot be used ({words})") from error

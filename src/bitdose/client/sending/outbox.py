"""Queue on the clinic's disk, which survives power and network failures.

An item is a prepared exam with its payload, in one SQLite file; adding it is one transaction that has
reached the disk when it returns. The same file for the same server at the same profile is one item,
however often it is added, unless it was refused or failed. States only advance::

    waiting -> sent -> answered | refused | failed
    waiting ---------------------> refused | failed

A payload is deleted and overwritten once its exam is at the service or abandoned.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bitdose.client.data_dir import database
from bitdose.client.sending.prepare import Exam
from bitdose.errors import BitdoseError
from bitdose.hashing import digest
from bitdose.wire import ExamKind, ExamMeta

NAME = "outbox.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, server TEXT NOT NULL, source TEXT NOT NULL,
    kind TEXT NOT NULL, meta TEXT NOT NULL, state TEXT NOT NULL, urgent INTEGER NOT NULL,
    upload TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0, exam TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '', answer TEXT NOT NULL DEFAULT '', due REAL NOT NULL DEFAULT 0,
    made REAL NOT NULL, done REAL
);
CREATE INDEX IF NOT EXISTS next_item ON items (server, state, urgent, made);
CREATE TABLE IF NOT EXISTS payloads (
    item TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (item, part)
);
CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, mark TEXT NOT NULL)
"""
PART_BYTES = 1 << 16
"""Payload bytes per row: SQLite reads a long value sequentially to reach its end."""


class ItemState(StrEnum):
    """State of an item."""

    WAITING = "waiting"
    SENT = "sent"
    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Item:
    """One exam in the queue.

    Parameters
    ----------
    id, server, source : str
        Id of the item, address of the server, name of the file at the clinic.
    meta : ExamMeta
        Metadata to send.
    state : ItemState
        State of the item.
    upload : str
        Path of its upload at the service; empty before.
    tries : int
        Number of tries.
    exam : str
        Id at the service; empty before the upload is complete.
    reason : str
        Reason of a refusal or failure.
    answer : dict
        The service's description with the prediction; empty before.
    made, done : float
        Seconds since 1970; ``done`` is 0 until finished.
    """

    id: str
    server: str
    source: str
    meta: ExamMeta
    state: ItemState
    upload: str
    tries: int
    exam: str
    reason: str
    answer: dict[str, Any]
    made: float
    done: float


class Outbox:
    """Queue in a folder; safe for several threads and processes.

    Parameters
    ----------
    folder : pathlib.Path
        Output of :func:`bitdose.client.data_dir.open_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        with database(self._path, _SCHEMA) as db:
            yield db

    def add_all(self, exams: Sequence[Exam], *, server: str, source: str, source_digest: str) -> bool:
        """Add the exams of one file atomically; return False if the first exists already.

        Parameters
        ----------
        exams : sequence of Exam
            The urgent exam, then those to send later.
        server : str
            Address of the service.
        source : str
            Name of the file, for display at the clinic; not sent.
        source_digest : str
            SHA-256 of the file.

        Raises
        ------
        BitdoseError
            If they cannot be stored.
        """
        with self._db() as db:
            for exam in exams:
                key = digest([server, source_digest, exam.meta.kind, exam.meta.profile])
                db.execute("DELETE FROM items WHERE key = ? AND state IN ('refused', 'failed')", [key])
                if db.execute("SELECT 1 FROM items WHERE key = ?", [key]).fetchone():
                    return False
                _insert(db, exam, key=key, server=server, source=source)
        return True

    def next_waiting(self, server: str) -> Item | None:
        """Return the next item to send: the oldest, the sentinel's last, after repeated failures later."""
        return self._one("state = 'waiting' AND server = ? ORDER BY urgent DESC, tries / 5, made", [server])

    def has_urgent(self, server: str, *, besides: Item | None = None) -> bool:
        """Whether an urgent exam other than the given one is waiting."""
        where = "state = 'waiting' AND urgent AND server = ? AND id != ?"
        return self._one(where, [server, besides.id if besides else ""]) is not None

    def next_sent(self, server: str, now: float, *, urgent: bool) -> Item | None:
        """Return an exam to poll now; ``urgent`` excludes the sentinel's."""
        where = "state = 'sent' AND server = ? AND due <= ? AND urgent >= ? ORDER BY due"
        return self._one(where, [server, now, urgent])

    def next_due(self, server: str, *, urgent: bool) -> float | None:
        """Return the time of the next poll; None without pending exams."""
        where = "state = 'sent' AND server = ? AND urgent >= ?"
        with self._db() as db:
            found = db.execute(f"SELECT min(due) FROM items WHERE {where}", [server, urgent]).fetchone()  # noqa: S608
        return None if found[0] is None else float(found[0])

    def items(self, server: str | None = None) -> list[Item]:
        """Return all items, oldest first."""
        where = ("server = ?", [server]) if server else ("1", [])
        with self._db() as db:
            rows = db.execute(f"SELECT * FROM items WHERE {where[0]} ORDER BY made, id", where[1])  # noqa: S608
            return [_item(row) for row in rows]

    def check_payload(self, item: Item) -> None:
        """Raise ``BitdoseError`` if an item's payload differs from the one added."""
        state = hashlib.sha256()
        with self.reading(item) as read:
            for at in range(0, item.meta.payload_bytes, PART_BYTES):
                state.update(read(at, PART_BYTES))
        if state.hexdigest() != item.meta.sha256:
            raise BitdoseError(f"{item.source}: its payload in the queue is damaged; add the file again")

    @contextmanager
    def reading(self, item: Item) -> Iterator[Callable[[int, int], bytes]]:
        """Return a reader of a payload, which never blocks writers."""
        connection = sqlite3.connect(self._path, isolation_level=None)
        held: dict[int, bytes] = {}

        def part(number: int) -> bytes:
            if number not in held:
                select = "SELECT data FROM payloads WHERE item = ? AND part = ?"
                row = connection.execute(select, [item.id, number]).fetchone()
                if row is None:
                    raise BitdoseError(f"{item.source}: its payload is not in the queue; add the file again")
                held.clear()
                held[number] = row[0]
            return held[number]

        def read(offset: int, n_bytes: int) -> bytes:
            """Read within one part; fewer bytes at its end."""
            number, start = divmod(offset, PART_BYTES)
            return part(number)[start : start + n_bytes]

        try:
            yield read
        except sqlite3.Error as error:
            raise BitdoseError(f"{item.source}: its payload cannot be read ({error})") from error
        finally:
            connection.close()

    def begun(self, item: Item, upload: str) -> None:
        """Record the path of an item's upload; an empty one restarts it."""
        self._set(item, upload=upload)

    def tried(self, item: Item) -> None:
        """Count a try."""
        self._set(item, tries=item.tries + 1)

    def arrived(self, item: Item, exam: str, *, due: float) -> None:
        """Record that an item is complete at the service, and delete its payload."""
        self._set(item, state=ItemState.SENT, exam=exam, due=due)

    def ask_later(self, item: Item, due: float) -> None:
        """Record the time of the next poll."""
        self._set(item, due=due)

    def finish(
        self, item: Item, state: ItemState, *, reason: str = "", answer: dict[str, Any] | None = None
    ) -> None:
        """Record the final state of an item, and delete its payload."""
        text = json.dumps(answer) if answer else ""
        self._set(item, state=state, reason=reason, answer=text, done=time.time())

    def is_seen(self, path: str, mark: str) -> bool:
        """Whether a file with this mark (size and time) was processed before."""
        with self._db() as db:
            found = db.execute("SELECT mark FROM seen WHERE path = ?", [path]).fetchone()
        return found is not None and found["mark"] == mark

    def note_seen(self, path: str, mark: str) -> None:
        """Record a file with this mark as processed."""
        with self._db() as db:
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", [path, mark])

    def _one(self, where: str, values: list[Any]) -> Item | None:
        with self._db() as db:
            row = db.execute(f"SELECT * FROM items WHERE {where} LIMIT 1", values).fetchone()  # noqa: S608
        return _item(row) if row else None

    def _set(self, item: Item, **columns: Any) -> None:
        changes = ", ".join(f"{name} = ?" for name in columns)
        with self._db() as db:
            db.execute(f"UPDATE items SET {changes} WHERE id = ?", [*columns.values(), item.id])  # noqa: S608
            if columns.get("state", ItemState.WAITING) is not ItemState.WAITING:
                db.execute("DELETE FROM payloads WHERE item = ?", [item.id])


def _insert(db: sqlite3.Connection, exam: Exam, *, key: str, server: str, source: str) -> None:
    meta, item = exam.meta, secrets.token_hex(8)
    values = [item, key, server, source, meta.kind, meta.model_dump_json(), not can_wait(meta), time.time()]
    columns = "id, key, server, source, kind, meta, urgent, made"
    db.execute(f"INSERT INTO items ({columns}, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting')", values)  # noqa: S608
    parts = range(0, len(exam.payload), PART_BYTES)
    rows = ((item, number, exam.payload[at : at + PART_BYTES]) for number, at in enumerate(parts))
    db.executemany("INSERT INTO payloads VALUES (?, ?, ?)", rows)


def can_wait(meta: ExamMeta) -> bool:
    """Whether an exam is the pristine half of a pair, which is not urgent."""
    return meta.kind is ExamKind.PRISTINE and meta.pair is not None


def _item(row: Any) -> Item:
    return Item(
        id=row["id"],
        server=row["server"],
        source=row["source"],
        meta=ExamMeta.model_validate_json(row["meta"]),
        state=ItemState(row["state"]),
        upload=row["upload"],
        tries=row["tries"],
        exam=row["exam"],
        reason=row["reason"],
        answer=json.loads(row["answer"] or "{}"),
        made=row["made"],
        done=row["done"] or 0.0,
    )

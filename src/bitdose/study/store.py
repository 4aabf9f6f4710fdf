"""Storage of rows: a journal that survives a kill at any time, compacted into Parquet parts.

Every finished case is one line of ``results/journal.jsonl``, written before it counts as done and
synced to the disk at most 20 times a second: a kill loses none of it, a power cut the cases since the
last sync, which run again. Every few hundred cases, and at the end, the journal becomes a Parquet part
(written aside, synced, renamed) and is emptied. A torn last line is dropped and its case
runs again; a case both in a part and in the journal counts once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from bitdose.errors import BitdoseError, UsageError, argument
from bitdose.lock import lock_folder
from bitdose.results.schema import OK
from bitdose.results.table import PARTS, merge_tables, read_table, rows_to_table, write_part

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]

JOURNAL = "journal.jsonl"
MANIFEST = "manifest.json"
STUDY_FILE = "study.toml"

_COMPACT_CASES = 200
_SYNC_S = 0.05  # many machines finish hundreds of cases a second; a sync takes milliseconds
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DoneCase(NamedTuple):
    """Record of a finished case: whether a row failed, and the digest of its file."""

    failed: bool
    digest: str | None


class Store:
    """The results of one run folder, open for writing by one process.

    Parameters
    ----------
    folder : pathlib.Path
        Run folder; created if missing.

    Raises
    ------
    UsageError
        If another process is writing to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / PARTS
        with disk_errors(folder):
            self.results.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(folder, writer="another study")
            self._drop_leftovers()
            self.set_aside: list[str] = []
            self._finished: dict[str, DoneCase] | None = self._read_parts()
            self._next_part = self._first_free_part()
            # A kill before the journal is emptied leaves cases in both: the part takes precedence.
            journal = _mended_journal(self.results / JOURNAL)
            self._waiting = {name: rows for name, rows in journal.items() if name not in self._finished}
            self._synced_at = 0.0
            self._journal: IO[str] = (self.results / JOURNAL).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Compact the journal and release the lock; the first error takes precedence."""
        try:
            self.compact()
        except BitdoseError:
            if error is None:
                raise
        finally:
            with contextlib.suppress(OSError):  # a full disk was reported when the write failed
                self._journal.close()
            self._lock.close()

    def done(self) -> dict[str, DoneCase]:
        """Return the finished cases by id."""
        known = self._read_parts() if self._finished is None else self._finished
        return known | {case_id: _finished(rows) for case_id, rows in self._waiting.items()}

    def forget(self, case_ids: set[str]) -> None:
        """Remove cases, to be run again; each part is replaced atomically."""
        import polars as pl

        self.compact()
        self._finished = None
        for part in self._parts():
            table = pl.read_parquet(part)
            kept = table.filter(~pl.col("case_id").is_in(list(case_ids)))
            if len(kept) == len(table):
                continue
            with disk_errors(self.folder):
                write_part(kept, part) if len(kept) else part.unlink()

    def append(self, case_id: str, rows: list[Row]) -> None:
        """Write one case's rows; a kill of this process does not lose them.

        Raises
        ------
        BitdoseError
            If the disk is full or not writable; nothing written before is lost.
        """
        line = _journal_line(case_id, rows)
        with disk_errors(self.folder):
            self._journal.write(line)
            self._journal.flush()
            if time.monotonic() - self._synced_at > _SYNC_S:
                os.fsync(self._journal.fileno())
                self._synced_at = time.monotonic()
        self._waiting.setdefault(case_id, rows)
        if len(self._waiting) >= _COMPACT_CASES:
            self.compact()

    def compact(self) -> None:
        """Compact the journal into a new Parquet part; the cost does not depend on earlier parts."""
        if not self._waiting:
            return
        with disk_errors(self.folder):
            rows = [row for rows in self._waiting.values() for row in rows]
            write_part(rows_to_table(rows), self.results / f"part-{self._next_part:05d}.parquet")
            self._next_part += 1
            self._journal.truncate(0)
            os.fsync(self._journal.fileno())
        self._waiting, self._finished = {}, None

    def _parts(self) -> list[Path]:
        return sorted(self.results.glob("*.parquet"))

    def _first_free_part(self) -> int:
        numbers = [int(part.stem[5:]) for part in self._parts() if re.fullmatch(r"part-\d+", part.stem)]
        return max(numbers, default=-1) + 1

    def _read_parts(self) -> dict[str, DoneCase]:
        """Read the finished cases of the parts.

        Unreadable parts are renamed, not deleted; their cases run again.
        """
        import polars as pl

        found: dict[str, DoneCase] = {}
        for part in self._parts():
            try:
                found |= _finished_in(part)
            except (OSError, pl.exceptions.PolarsError):
                part.rename(part.with_name(part.name + ".damaged"))
                self.set_aside.append(part.name)
        return found

    def _drop_leftovers(self) -> None:
        for leftover in self.results.glob("*.tmp"):
            leftover.unlink()


def read_run(folder: Path) -> pl.DataFrame:
    """Read a run folder's rows, including those of its journal, without changing the folder.

    Raises
    ------
    UsageError
        If there are no results.
    """
    waiting, _ = _read_journal(folder / PARTS / JOURNAL)
    if not waiting:
        return read_table(folder)
    fresh = rows_to_table([row for rows in waiting.values() for row in rows])
    if not list((folder / PARTS).glob("*.parquet")):
        return merge_tables([fresh])
    return merge_tables([read_table(folder), fresh])


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Translate disk errors into a one-line message with the remedy.

    Raises
    ------
    BitdoseError
        In place of any ``OSError``, with the remedy.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            reason = (
                "the disk is full; finished cases are safe: make room, then run again (a "
                f"study with {argument('resume', value=True)})"
            )
        raise BitdoseError(f"cannot write to {folder}: {reason}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run folder's manifest; raises ``UsageError`` where there is none."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{folder}: no run folder ({MANIFEST}: {error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{folder}: {MANIFEST} is damaged: {error}") from error
    return dict(document)


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(path.parent), temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_manifest(folder: Path, manifest: Mapping[str, Any], study: str) -> None:
    """Write the manifest and the resolved study file of a new run."""
    write_text(folder / STUDY_FILE, study)
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _journal_line(case_id: str, rows: list[Row]) -> str:
    columns = {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)
    }
    body = json.dumps([case_id, columns], ensure_ascii=False)
    return f"{zlib.crc32(body.encode()):08x} {body}\n"


def _read_journal(path: Path) -> tuple[dict[str, list[Row]], int]:
    """Read the complete lines of a journal; also return the offset of their end."""
    cases: dict[str, list[Row]] = {}
    end = 0
    if not path.exists():
        return cases, end
    for line in path.read_bytes().splitlines(keepends=True):
        parsed = _parse_line(line)
        if parsed is None:
            break
        cases.setdefault(*parsed)
        end += len(line)
    return cases, end


def _mended_journal(path: Path) -> dict[str, list[Row]]:
    """Read a journal and truncate an incomplete last line."""
    cases, end = _read_journal(path)
    if path.exists() and end < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(end)
    return cases


def _parse_line(line: bytes) -> tuple[str, list[Row]] | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != f"{zlib.crc32(body):08x}".encode():
        return None
    case_id, columns = json.loads(body)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return case_id, rows


def _finished(rows: list[Row]) -> DoneCase:
    digests = [row.get("case_digest") for row in rows]
    return DoneCase(any(row["status"] != OK for row in rows), digests[0] if digests else None)


def _finished_in(part: Path) -> dict[str, DoneCase]:
    import polars as pl

    failed = (pl.col("status") != OK).any().alias("failed")
    columns = ["case_id", "status", "case_digest"]
    table = pl.read_parquet(part, columns=columns)
    grouped = table.group_by("case_id").agg(failed, pl.col("case_digest").first())
    return {case_id: DoneCase(bad, digest) for case_id, bad, digest in grouped.iter_rows()}

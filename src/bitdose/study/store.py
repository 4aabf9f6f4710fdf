"""Where rows go: a journal that survives a kill at any moment, compacted into Parquet parts.

Every finished case is one line of ``results/journal.jsonl``, written and synced before it
counts as done. Every few hundred cases, and at the end, the journal becomes a Parquet part
(written aside, synced, renamed) and is emptied. A torn last line is dropped and its case
runs again; a case that stands in a part and in the journal counts once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from bitdose.errors import BitdoseError, UsageError
from bitdose.results.table import PARTS, read_table, rows_to_table, write_part

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]

JOURNAL = "journal.jsonl"
MANIFEST = "manifest.json"
STUDY_FILE = "study.toml"

_COMPACT_CASES = 200
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Store:
    """The results of one run folder, open for writing by one process.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder; made if it is not there.

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
            self._lock = _locked(folder)
            self._drop_leftovers()
            self._waiting = _read_journal(self.results / JOURNAL)
            self._journal: IO[str] = (self.results / JOURNAL).open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Compact what waits and let the lock go; the first error is the one that counts."""
        try:
            self.compact()
        except BitdoseError:
            if error is None:
                raise
        finally:
            with contextlib.suppress(OSError):  # a full disk was reported when the write failed
                self._journal.close()
            self._lock.close()

    def done(self) -> set[str]:
        """Return the ids of the cases that are finished."""
        ids = {case_id for case_id, _ in self._waiting}
        for part in self.results.glob("*.parquet"):
            ids |= _ids_of(part)
        return ids

    def append(self, case_id: str, rows: list[Row]) -> None:
        """Write one case's rows; they are on the disk when this returns.

        Raises
        ------
        BitdoseError
            If the disk is full or not writable; nothing written before is lost.
        """
        line = _journal_line(case_id, rows)
        with disk_errors(self.folder):
            self._journal.write(line)
            self._journal.flush()
            os.fsync(self._journal.fileno())
        self._waiting.append((case_id, rows))
        if len(self._waiting) >= _COMPACT_CASES:
            self.compact()

    def compact(self) -> None:
        """Turn the journal into a Parquet part."""
        if not self._waiting:
            return
        with disk_errors(self.folder):
            numbers = [int(part.stem.removeprefix("part-")) for part in self.results.glob("part-*.parquet")]
            name = f"part-{max(numbers, default=-1) + 1:05d}.parquet"
            known = {i for part in self.results.glob("*.parquet") for i in _ids_of(part)}
            rows = [row for case_id, rows in self._waiting if case_id not in known for row in rows]
            if rows:
                write_part(rows_to_table(rows), self.results / name)
            self._journal.truncate(0)
            os.fsync(self._journal.fileno())
        self._waiting = []

    def _drop_leftovers(self) -> None:
        for leftover in self.results.glob("*.tmp"):
            leftover.unlink()


def read_run(folder: Path) -> pl.DataFrame:
    """Read a run folder's rows, those of its journal too unless a study is writing there now.

    Raises
    ------
    UsageError
        If there are no results.
    """
    journal = folder / PARTS / JOURNAL
    if journal.exists() and journal.stat().st_size:
        with contextlib.suppress(UsageError), Store(folder):
            pass
    return read_table(folder)


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line that says what to do."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        raise BitdoseError(
            f"cannot write to {folder}: {reason}; finished cases are safe: "
            "make room, then run again with --resume"
        ) from error


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
    """Write a small file so that it is there whole or not at all."""
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


def _locked(folder: Path) -> IO[str]:
    lock = (folder / ".lock").open("w")
    try:
        _lock_file(lock)
    except OSError as error:
        lock.close()
        raise UsageError(
            f"--out {folder}: another study is writing there; wait for it or choose another folder"
        ) from error
    return lock


def _lock_file(lock: IO[str]) -> None:
    """Take an exclusive lock that the system lets go of when the process ends, however it ends."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _journal_line(case_id: str, rows: list[Row]) -> str:
    columns = {
        name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)
    }
    body = json.dumps([case_id, columns], ensure_ascii=False)
    return f"{zlib.crc32(body.encode()):08x} {body}\n"


def _read_journal(path: Path) -> list[tuple[str, list[Row]]]:
    """Read the whole lines of a journal and cut off whatever a kill left torn."""
    if not path.exists():
        return []
    cases, end = [], 0
    data = path.read_bytes()
    for line in data.splitlines(keepends=True):
        parsed = _parse_line(line)
        if parsed is None:
            break
        cases.append(parsed)
        end += len(line)
    if end < len(data):
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


def _ids_of(part: Path) -> set[str]:
    import polars as pl

    return set(pl.read_parquet(part, columns=["case_id"])["case_id"].unique().to_list())

"""An arranged set on disk: ``cases.csv`` and ``provenance.json``; no image is copied.

- Both files are written atomically. Equal inputs produce equal bytes.
- A different existing table is replaced only on request.
- ``provenance.json`` has options, counts, exclusions by reason, and the SHA-256
  of the metadata files and of the table; it names no patient and no folder.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, UsageError, argument
from bitdose.hashing import bytes_digest
from bitdose.html_card import DISCLAIMER

TABLE = "cases.csv"
PROVENANCE = "provenance.json"
SCHEMA = 1
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OWN = ("path", "label", "id", "patient", "split")


@dataclass(frozen=True)
class Arranged:
    """Arranged set of a builder.

    Parameters
    ----------
    name : str
        ``covidx``, ``brain``, or a fetched set's name.
    cases : tuple of Case
        Cases in the order of the table, with the table's columns. An empty patient stays empty in
        the table, and counts as a patient of its own.
    dropped : mapping of str to int
        Number of excluded rows, images or volumes by reason.
    warnings : tuple of str
        Caveats for a reader of the results.
    options : mapping
        Options of the builder.
    inputs : mapping
        Inputs: digests and row counts of the metadata files.
    """

    name: str
    cases: tuple[Case, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return cases and patients by split and label."""
        return count_cases(self.cases)


def count_cases(cases: Sequence[Case]) -> dict[str, dict[str, dict[str, int]]]:
    """Count cases and patients by split, then label.

    Examples
    --------
    >>> count_cases([Case("a", "sick", Path("a"), "p", "test")])
    {'test': {'sick': {'cases': 1, 'patients': 1}}}
    """
    numbers = Counter((case.split, case.label) for case in cases)
    people = {(case.split, case.label, case.patient or case.id) for case in cases}
    patients = Counter((split, label) for split, label, _ in people)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for split, label in sorted(numbers):
        counts = {"cases": numbers[split, label], "patients": patients[split, label]}
        found.setdefault(split, {})[label] = counts
    return found


def write_arranged(arranged: Arranged, out: Path, *, force: bool = False) -> Path:
    """Write table and provenance into a folder; return the table's path.

    Parameters
    ----------
    arranged : Arranged
        Set with at least one case.
    out : pathlib.Path
        Output folder, created if missing.
    force : bool
        Whether to replace a different existing table.

    Raises
    ------
    BitdoseError
        If there is no case, or the folder cannot be written.
    UsageError
        If a different table exists and ``force`` is false.
    """
    if not arranged.cases:
        why = "; ".join(f"{number} {reason}" for reason, number in arranged.dropped.items())
        raise BitdoseError(f"{arranged.name}: no case is left to write ({why or 'the folders hold none'})")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        data = table_bytes(arranged.cases, out)
        table = out / TABLE
        if table.exists() and not force and table.read_bytes() != data:
            raise UsageError(
                f"{argument('out', out)}: it holds another {TABLE}; name another folder, or replace "
                f"it with {argument('force', value=True)}"
            )
        write_whole(table, data)
        write_whole(out / PROVENANCE, _provenance(arranged, data))
    return table


def table_bytes(cases: Sequence[Case], out: Path) -> bytes:
    """Return the CSV table of cases, with paths relative to the folder where possible."""
    further = list(dict.fromkeys(name for case in cases for name in case.columns))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_OWN, *further])
    base = out.resolve()
    for case in cases:
        own = [relative_path(case.path, base), case.label, case.id, case.patient, case.split]
        writer.writerow(own + [_cell(case.columns.get(name)) for name in further])
    return text.getvalue().encode()


def relative_path(path: Path, base: Path) -> str:
    """Return a path relative to a folder, with ``/``; absolute on another drive."""
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:
        return path.as_posix()


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance of a folder; empty if missing or invalid."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Translate disk errors into a one-line message with the remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in FULL:
            reason = "the disk is full; what is finished is kept: make room, then run again"
        raise BitdoseError(f"{argument('out', folder)}: cannot write there: {reason}") from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _provenance(arranged: Arranged, table: bytes) -> bytes:
    from bitdose import __version__

    document = {
        "set": arranged.name,
        "schema": SCHEMA,
        "bitdose": __version__,
        "note": DISCLAIMER,
        "options": dict(arranged.options),
        "inputs": dict(arranged.inputs),
        "counts": arranged.counts(),
        "dropped": dict(arranged.dropped),
        "warnings": list(arranged.warnings),
        "table": {"name": TABLE, "rows": len(arranged.cases), "sha256": bytes_digest(table)},
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

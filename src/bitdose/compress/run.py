"""Compression of many files, each independently: a failure is reported and counted, the rest continues."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitdose.codecs.point import Point
from bitdose.compress.apply import Check, compress_bytes
from bitdose.compress.dicom import Uids
from bitdose.compress.places import Task
from bitdose.compress.record import Compressed
from bitdose.data.sniff import sniff
from bitdose.errors import BitdoseError, CaseError, argument


@dataclass
class CompressOutcome:
    """Counts and bytes of one call; ``ratio_*`` are ratios of totals, NaN if nothing was written.

    Parameters
    ----------
    point : Point
        What was applied.
    written, kept : int
        Number of new files, and of files that existed already.
    failures : list of tuple of str
        Name, status and reason of each failure.
    bytes_file, bytes_pixels, bytes_coded, bytes_written : int
        Total bytes of sources, raw pixels, streams and new files, over the written files.
    """

    point: Point
    written: int = 0
    kept: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_file: int = 0
    bytes_pixels: int = 0
    bytes_coded: int = 0
    bytes_written: int = 0

    @property
    def n_files(self) -> int:
        """Files asked for and dealt with."""
        return self.written + self.kept + len(self.failures)

    @property
    def ratio_file(self) -> float:
        """Source file bytes over stream bytes."""
        return self.bytes_file / self.bytes_coded if self.bytes_coded else float("nan")

    @property
    def ratio_pixels(self) -> float:
        """Raw pixel bytes of the originals over stream bytes."""
        return self.bytes_pixels / self.bytes_coded if self.bytes_coded else float("nan")

    def add(self, source_bytes: int, made: Compressed) -> None:
        """Count one file."""
        self.written += 1
        self.bytes_file += source_bytes
        self.bytes_pixels += made.bytes_pixels
        self.bytes_coded += made.bytes_coded
        self.bytes_written += len(made.data)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; an undefined ratio is null."""
        ratios = {"ratio_file": self.ratio_file, "ratio_pixels": self.ratio_pixels}
        return {
            "written": self.written,
            "kept": self.kept,
            "failed": len(self.failures),
            "failures": [{"file": n, "status": s, "reason": r} for n, s, r in self.failures],
            "bytes_file": self.bytes_file,
            "bytes_pixels": self.bytes_pixels,
            "bytes_coded": self.bytes_coded,
            "bytes_written": self.bytes_written,
            **{name: value if self.written else None for name, value in ratios.items()},
        }


def compress_files(
    tasks: list[Task],
    point: Point,
    *,
    resume: bool = False,
    check: Check | None = None,
    on_failure: Callable[[str, CaseError], None] | None = None,
    on_done: Callable[[int], None] | None = None,
) -> CompressOutcome:
    """Compress every file of a list.

    Parameters
    ----------
    tasks : list of Task
        Output of :func:`bitdose.compress.places.tasks_of`.
    point : Point
        The operating point.
    resume : bool
        Whether to keep existing targets instead of writing them again.
    check : callable, optional
        Called with each file's :class:`SourceFacts`; raises ``CaseError`` to reject it.
    on_failure : callable, optional
        Called with name and error of each file that fails.
    on_done : callable, optional
        Called with the number of processed files.

    Raises
    ------
    BitdoseError
        If a target cannot be written (full disk, no permission): all further ones would fail as well.
    """
    outcome, uids = CompressOutcome(point), Uids()
    for count, task in enumerate(tasks, start=1):
        if resume and task.target.exists():
            outcome.kept += 1
            _learn(uids, task)
        else:
            try:
                data = _read(task.source)
                made = compress_bytes(data, point, uids=uids, now=datetime.now(UTC), check=check)
            except CaseError as error:
                outcome.failures.append((task.name, error.status, error.reason))
                if on_failure is not None:
                    on_failure(task.name, error)
            else:
                write_whole(task.target, made.data)
                outcome.add(len(data), made)
        if on_done is not None:
            on_done(count)
    return outcome


def write_whole(target: Path, data: bytes) -> None:
    """Write a file atomically: under a temporary name first, then renamed.

    Raises
    ------
    BitdoseError
        If the file cannot be written.
    """
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise BitdoseError(
            f"{argument('out', target)}: cannot be written ({error.strerror or type(error).__name__})"
        ) from error


def _learn(uids: Uids, task: Task) -> None:
    source, made = _read(task.source), _read(task.target)
    if sniff(source) == sniff(made) == "DICOM":
        uids.learn(source, made)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CaseError("missing-file", "not a regular file: a broken link, a pipe or a device")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaseError("unreadable", f"the file cannot be opened ({type(error).__name__})") from None

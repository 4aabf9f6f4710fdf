"""Download of a set: every file of a manifest into one folder, then its table.

Four files are downloaded at a time. A failed file is reported by its number and the
others continue; a full disk or Ctrl-C stops all, and the next call resumes. A folder
allows one ``get`` at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from bitdose.data.base import Case
from bitdose.datasets.arrange import (
    TABLE,
    Arranged,
    disk_errors,
    read_provenance,
    write_arranged,
)
from bitdose.datasets.fetch import DiskError, fetch_file
from bitdose.datasets.manifest import Manifest, RemoteFile
from bitdose.datasets.web import PATIENT, FetchError, How, Session
from bitdose.errors import UsageError, argument
from bitdose.hashing import file_digest
from bitdose.lock import lock_folder

THREADS = 4


@dataclass(frozen=True)
class Fetched:
    """Outcome of a ``get``.

    Parameters
    ----------
    fetched, present : int
        Number of downloaded files, and of files already present and valid.
    failures : tuple of tuple of int and str
        Number of the file in the manifest, and the reason of its failure.
    table : pathlib.Path or None
        The set's ``cases.csv``, where the manifest describes cases.
    table_reason : str
        Why the table is missing although the manifest describes cases; else empty.
    """

    fetched: int
    present: int
    failures: tuple[tuple[int, str], ...]
    table: Path | None = None
    table_reason: str = ""


def get_set(
    manifest: Manifest,
    out: Path,
    *,
    how: How = PATIENT,
    threads: int = THREADS,
    watch: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Fetch a manifest's files and write their table.

    Parameters
    ----------
    manifest : Manifest
        Files to download.
    out : pathlib.Path
        Output folder, created if missing.
    how : How
        Retries and timeouts.
    threads : int
        Number of parallel downloads.
    watch : callable
        Called with the number of new bytes (negative after a restart), never concurrently.

    Raises
    ------
    BitdoseError
        If the folder cannot be written, is too small, or is in use by another ``get``.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with closing(lock_folder(out, writer="another 'data get'")):
            _check_room(manifest, out)
            states, failures = _fetch_all(manifest, out, how, threads, watch)
            table, reason = _write_table(manifest, out, states)
    return Fetched(
        sum(state == "fetched" for state in states.values()),
        sum(state == "present" for state in states.values()),
        tuple(sorted(failures)),
        table,
        reason,
    )


def _fetch_all(
    manifest: Manifest, out: Path, how: How, threads: int, watch: Callable[[int], None]
) -> tuple[dict[int, str], list[tuple[int, str]]]:
    session, lock = Session(how), Lock()

    def gained(n_bytes: int) -> None:
        with lock:
            watch(n_bytes)

    def one(file: RemoteFile) -> str:
        target = _place(file, out)
        return fetch_file(file, target, session=session, gained=gained)

    states: dict[int, str] = {}
    failures: list[tuple[int, str]] = []
    with ThreadPoolExecutor(threads) as pool:
        futures = {pool.submit(one, file): file.number for file in manifest.files}
        try:
            for future in _as_they_end(set(futures)):
                try:
                    states[futures[future]] = future.result()
                except FetchError as error:
                    failures.append((futures[future], str(error)))
        except BaseException:
            session.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return states, failures


def _as_they_end(futures: set[Future[str]]) -> Iterator[Future[str]]:
    """Yield futures as they finish; short waits let Ctrl-C through on every system."""
    while futures:
        done, futures = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from done


def _place(file: RemoteFile, out: Path) -> Path:
    """Return a file's target and create its folder; a link out of the output folder is rejected."""
    target = out / file.path
    try:
        if not target.parent.resolve().is_relative_to(out.resolve()):
            raise FetchError("a link in the folder points outside it; remove the link")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise FetchError("a folder has the file's name; move it")
    except OSError as error:
        raise FetchError(f"its folder cannot be created: {error.strerror}") from error
    return target


def _check_room(manifest: Manifest, out: Path) -> None:
    needed = sum(file.n_bytes for file in manifest.files if not (out / file.path).exists())
    needed -= sum(_size(out / f"{file.path}.part") for file in manifest.files)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DiskError(
            f"{argument('out', out)}: {needed} bytes are still to come, {free} are free: make room there"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write_table(manifest: Manifest, out: Path, states: dict[int, str]) -> tuple[Path | None, str]:
    """Write the table of the downloaded files; a table of the user stays unchanged."""
    cases = [_case(file, out) for file in manifest.files if file.case is not None and file.number in states]
    if not cases:
        return None, ""
    n_cases = sum(file.case is not None for file in manifest.files)
    absent = {"file could not be fetched": n_cases - len(cases)} if n_cases > len(cases) else {}
    texts = {"licence": list(manifest.licence), "source": list(manifest.source)}
    texts |= {"citation": list(manifest.citation)}
    arranged = Arranged(manifest.name, tuple(cases), absent, (), {}, texts)
    made = read_provenance(out).get("table", {})
    ours = (out / TABLE).exists() and made.get("sha256") == file_digest(out / TABLE)
    try:
        return write_arranged(arranged, out, force=ours), ""
    except UsageError:
        return (
            None,
            f"another {TABLE} exists and stays; move it and run again for this set's",
        )


def _case(file: RemoteFile, out: Path) -> Case:
    values = dict(file.case or {})
    label, patient, split = (str(values.pop(key, "") or "") for key in ("label", "patient", "split"))
    return Case(file.path, label, out.resolve() / file.path, patient, split, values)

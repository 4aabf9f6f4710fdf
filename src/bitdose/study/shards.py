"""A run's Parquet shards in an object store or on any file system of fsspec.

Rows are still journalled case by case in the run folder. Its finished parts are copied to the URL as they
come, and any machine can resume or report the run from the URL:

- ``URL/manifest.json`` and ``URL/study.toml`` are copies of the run folder's files;
- ``URL/results/shard-<digest>.parquet`` are its parts. A name is the digest of the contents, so
  nothing is ever overwritten: two runs that write to one URL by mistake waste work and lose none;
- a lost machine costs at most ``PUSH_S`` seconds of rows that were not yet copied.

A truncated shard is set aside and its cases run again.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from bitdose.errors import BitdoseError, MissingBackendError, UsageError
from bitdose.hashing import file_digest
from bitdose.results.table import PARTS
from bitdose.study.plan import difference
from bitdose.study.store import MANIFEST, STUDY_FILE, Store, disk_errors, read_manifest

PUSH_S = 30.0

_AT_ONCE = 8
_DIGITS = 16
_USER = re.compile(r"(?<=://)[^/@]*@")


def place_of(out: str, default: Path) -> tuple[Path, str]:
    """Tell the run folder and the shards' URL (empty for none) from what a user gives as ``out``.

    A ``file://`` URL is a plain folder. For any other URL the run folder has the URL's last
    name and is a sibling of ``default``.

    Raises
    ------
    UsageError
        If a URL has no name after the last ``/``.

    Examples
    --------
    >>> place_of("s3://bucket/lungs", Path("runs/xrays-net"))
    (PosixPath('runs/lungs'), 's3://bucket/lungs')
    >>> place_of("", Path("runs/xrays-net"))
    (PosixPath('runs/xrays-net'), '')
    """
    if not out:
        return default, ""
    if out.startswith("file://"):
        return Path(out.removeprefix("file://")), ""
    if "://" not in out:
        return Path(out), ""
    name = out.rstrip("/").rpartition("/")[2]
    if not name or "://" not in out.rstrip("/"):
        raise UsageError(f"{out}: expected a name behind the last '/', as in s3://bucket/run")
    return default.parent / name, out.rstrip("/")


class Shards:
    """Shards of one run at a URL.

    Parameters
    ----------
    url : str
        Folder on any file system of fsspec: ``s3://bucket/run``, ``gs://…``, ``memory://…``.

    Raises
    ------
    MissingBackendError
        If fsspec, or its backend for the URL, is not installed.
    BitdoseError
        If the URL cannot be opened; in every method, if it cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = _USER.sub("", url)
        try:
            import fsspec  # type: ignore[import-untyped]

            with self._errors("opened"):
                self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingBackendError(
                f"{self.url}: {error}; fsspec comes with pip install 'bitdose[ray]', its backends "
                "by name: s3fs, gcsfs, adlfs"
            ) from error
        self._remote: set[str] = set()
        self._digests: dict[tuple[str, int, int], str] = {}
        self._pushed_at = time.monotonic()

    def exists(self) -> bool:
        """Whether the URL holds a run."""
        with self._errors("read"):
            self._files.invalidate_cache()  # include what another machine has written since
            return bool(self._files.exists(self._at(MANIFEST)))

    def pull(self, folder: Path) -> None:
        """Copy missing parts of the URL's run into the run folder; existing files stay unchanged.

        Raises
        ------
        UsageError
            If the folder and the URL hold different studies.
        """
        if not self.exists():
            return
        with self._errors("read"):
            manifest = self._files.cat_file(self._at(MANIFEST))
            study = self._files.cat_file(self._at(STUDY_FILE))
            began = self._began()
            self._remote = self._listed()
        self._check_same(folder, manifest)
        missing = sorted(self._remote - self._local(folder).keys())
        with disk_errors(folder):
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
        self._each(missing, lambda name: self._fetch(folder, name), "read")
        if not (folder / MANIFEST).exists():
            _write(folder / STUDY_FILE, study)
            _write(folder / MANIFEST, manifest)
            os.utime(folder / MANIFEST, (began, began))

    def keep_up(self, store: Store) -> None:
        """Push new rows if the last push is older than ``PUSH_S`` seconds."""
        if time.monotonic() - self._pushed_at > PUSH_S:
            store.compact()
            self.push(store.folder)

    def push(self, folder: Path) -> None:
        """Copy missing parts to the URL, and delete those that the run folder has replaced."""
        if not self.exists():
            with self._errors("written"):
                self._files.makedirs(self._at(PARTS), exist_ok=True)
                for name in (STUDY_FILE, MANIFEST):
                    self._files.pipe_file(self._at(name), (folder / name).read_bytes())
        local = self._local(folder)
        fresh = sorted(local.keys() - self._remote)
        self._each(fresh, lambda name: self._upload(local[name], name), "written")
        replaced = sorted(self._remote - local.keys())
        self._each(replaced, lambda name: self._files.rm_file(self._at(PARTS, name)), "written")
        self._remote = set(local)
        self._pushed_at = time.monotonic()

    def _fetch(self, folder: Path, name: str) -> None:
        _write(folder / PARTS / name, self._files.cat_file(self._at(PARTS, name)))

    def _upload(self, part: Path, name: str) -> None:
        self._files.pipe_file(self._at(PARTS, name), part.read_bytes())

    def _check_same(self, folder: Path, manifest: bytes) -> None:
        if not (folder / MANIFEST).exists():
            return
        try:
            theirs = json.loads(manifest).get("identity", {})
        except (ValueError, AttributeError) as error:
            raise UsageError(f"{self.url}: {MANIFEST} is damaged: {error}") from error
        differs = difference(theirs, read_manifest(folder).get("identity", {}))
        if differs:
            differs = differs.replace("this study", "the URL")
            raise UsageError(f"{self.url}: {folder} holds another study ({differs}); move it away")

    def _local(self, folder: Path) -> dict[str, Path]:
        """Return the run folder's parts by their names at the URL."""
        return {self._name(part): part for part in sorted((folder / PARTS).glob("*.parquet"))}

    def _name(self, part: Path) -> str:
        stat = part.stat()
        key = (part.name, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = file_digest(part)[:_DIGITS]
        return f"shard-{self._digests[key]}.parquet"

    def _listed(self) -> set[str]:
        try:
            found = self._files.ls(self._at(PARTS), detail=False)
        except FileNotFoundError:
            return set()
        return {name for path in found if (name := path.rpartition("/")[2]).endswith(".parquet")}

    def _began(self) -> float:
        """Return the manifest's modification time; 0 where the file system has none."""
        with suppress(NotImplementedError, AttributeError):
            return float(self._files.modified(self._at(MANIFEST)).timestamp())
        return 0.0

    def _each(self, names: list[str], do: Callable[[str], None], what: str) -> None:
        with self._errors(what), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(do, names))

    def _at(self, *names: str) -> str:
        return "/".join((self._root.rstrip("/"), *names))

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Translate any error of a backend into a one-line message."""
        try:
            yield
        except (BitdoseError, ImportError):
            raise
        except Exception as error:
            said = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise BitdoseError(f"{self.url}: cannot be {what}: {said}") from error


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(path.parent):
        temporary.write_bytes(data)
        temporary.replace(path)

"""Where the exams' bytes are: a folder, or an object store by URL.

The contract:

- a blob has a name of 32 hexadecimal digits and nothing else: no path can be made of it;
- ``write`` puts bytes at an offset and returns when they would survive a power cut. Whoever calls it keeps
  the offset; what was written behind that and never counted is written over;
- ``seal`` makes the first ``n_bytes`` of what was written the blob, whole or not at all, and may be repeated;
- ``read`` gives a sealed blob, ``delete`` forgets a blob and its pieces, there or not;
- several processes may use a store; one blob is written by one at a time, for which the caller sees.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from bitdose.errors import BitdoseError, MissingBackendError, UsageError

_NAME = re.compile("[0-9a-f]{32}")
_DIGITS = 20


class BlobStore(Protocol):
    """What every store offers; see the contract at the top of this file."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes of a blob under way at an offset, durably."""
        ...

    def seal(self, name: str, n_bytes: int) -> None:
        """Make the first ``n_bytes`` the blob; raises ``BitdoseError`` if they are not all there."""
        ...

    def read(self, name: str) -> bytes:
        """Return a sealed blob; raises ``BitdoseError`` if there is none."""
        ...

    def delete(self, name: str) -> None:
        """Forget a blob."""
        ...

    def names(self) -> Iterator[str]:
        """Yield the name of every blob, sealed or under way, at least once."""
        ...


def open_store(url: str) -> BlobStore:
    """Open a store by its URL.

    Parameters
    ----------
    url : str
        A folder's path, or a URL that fsspec knows: ``s3://bucket/prefix``.

    Raises
    ------
    MissingBackendError
        If fsspec, or its backend for the URL, is not installed.
    UsageError
        If the store cannot be opened.
    """
    if "://" not in url:
        return LocalStore(Path(url))
    return FsspecStore(url)


def checked_name(name: str) -> str:
    """Return a blob's name; raises ``UsageError`` for anything else, so that no path gets in."""
    if not _NAME.fullmatch(name):
        raise UsageError("blob: expected a name of 32 hexadecimal digits")
    return name


class LocalStore:
    """Blobs in a folder: those under way in ``parts``, the sealed ones by the first two digits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / "parts"
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"storage {str(folder)!r}: cannot be written ({error.strerror})") from error

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write and fsync."""
        path = self._part(name)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.seek(offset)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self._parts)

    def seal(self, name: str, n_bytes: int) -> None:
        """Cut to length, fsync and move into place."""
        part, blob = self._part(name), self._blob(name)
        if not part.exists() and blob.exists():
            return
        if not part.exists() or part.stat().st_size < n_bytes:
            raise BitdoseError("storage: the blob is not all there")
        blob.parent.mkdir(exist_ok=True)
        try:
            with part.open("r+b") as file:
                file.truncate(n_bytes)
                os.fsync(file.fileno())
            part.replace(blob)
        except FileNotFoundError:  # another process sealed it in the meantime
            if not blob.exists():
                raise BitdoseError("storage: the blob is not all there") from None
        _sync_folder(blob.parent)
        _sync_folder(self._folder)

    def read(self, name: str) -> bytes:
        """Read the file."""
        try:
            return self._blob(name).read_bytes()
        except FileNotFoundError:
            raise BitdoseError("storage: the blob is gone") from None

    def delete(self, name: str) -> None:
        """Remove the files."""
        for path in (self._part(name), self._blob(name)):
            with suppress(FileNotFoundError):
                path.unlink()

    def names(self) -> Iterator[str]:
        """List both folders."""
        for path in (*self._parts.iterdir(), *self._folder.glob("[0-9a-f][0-9a-f]/*")):
            if _NAME.fullmatch(path.name):
                yield path.name

    def _part(self, name: str) -> Path:
        return self._parts / checked_name(name)

    def _blob(self, name: str) -> Path:
        return self._folder / checked_name(name)[:2] / name


class FsspecStore:
    """Blobs in anything that fsspec reaches; the pieces under way are objects too, so no machine is bound.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/prefix``; credentials as the backend finds them.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingBackendError(
                f"storage {url.partition('://')[0]}://: fsspec is missing: pip install 'bitdose[serve]'"
            ) from error
        try:
            # what another process wrote or deleted must be seen: no listing is kept
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UsageError(f"storage {url.partition('://')[0]}://: {error}") from error

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Put an object named by its offset."""
        self._put(f"{self._parts(name)}/{offset:0{_DIGITS}d}", data)

    def seal(self, name: str, n_bytes: int) -> None:
        """Put the pieces together by following their offsets; pieces off the chain were never counted."""
        if self._files.exists(self._blob(name)):
            self._drop_parts(name)
            return
        pieces, at = [], 0
        while at < n_bytes:
            piece = self._get(f"{self._parts(name)}/{at:0{_DIGITS}d}")
            if not piece:
                raise BitdoseError("storage: the blob is not all there")
            pieces.append(piece)
            at += len(piece)
        self._put(self._blob(name), b"".join(pieces)[:n_bytes])
        self._drop_parts(name)

    def read(self, name: str) -> bytes:
        """Get the object."""
        data = self._get(self._blob(name))
        if data is None:
            raise BitdoseError("storage: the blob is gone")
        return data

    def delete(self, name: str) -> None:
        """Remove the object and the pieces."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._blob(name))
        self._drop_parts(name)

    def names(self) -> Iterator[str]:
        """List both prefixes."""
        for place in ("blobs", "parts"):
            with suppress(FileNotFoundError):
                self._files.invalidate_cache()
                for path in self._files.ls(f"{self._root}/{place}", detail=False):
                    name = str(path).rstrip("/").rpartition("/")[2]
                    if _NAME.fullmatch(name):
                        yield name

    def _parts(self, name: str) -> str:
        return f"{self._root}/parts/{checked_name(name)}"

    def _blob(self, name: str) -> str:
        return f"{self._root}/blobs/{checked_name(name)}"

    def _put(self, path: str, data: bytes) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, data)

    def _get(self, path: str) -> bytes | None:
        try:
            found: Any = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return bytes(found)

    def _drop_parts(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm(self._parts(name), recursive=True)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

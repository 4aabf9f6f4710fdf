"""Blob storage of the exams: a folder, or an object store by URL.

The contract:

- a blob's name is 32 hexadecimal digits, so it cannot contain a path;
- ``write`` stores bytes at an offset durably, so that they survive a power cut. The caller tracks the offset;
  uncounted bytes beyond it are overwritten;
- ``seal`` atomically turns the first ``n_bytes`` written bytes into the blob, and is idempotent;
- ``read`` returns a sealed blob, ``delete`` removes a blob and its pieces, existing or not;
- several processes may use a store; the caller ensures one writer per blob.
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
    """Interface of a store; see the contract at the top of this module."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes of an unsealed blob at an offset, durably."""
        ...

    def seal(self, name: str, n_bytes: int) -> None:
        """Seal the first ``n_bytes`` bytes as the blob; raises ``BitdoseError`` if some are missing."""
        ...

    def read(self, name: str) -> bytes:
        """Return a sealed blob; raises ``BitdoseError`` if there is none."""
        ...

    def delete(self, name: str) -> None:
        """Delete a blob."""
        ...

    def names(self) -> Iterator[str]:
        """Yield the name of every blob, sealed or not, at least once."""
        ...


def open_store(url: str) -> BlobStore:
    """Open a store by its URL.

    Parameters
    ----------
    url : str
        Path of a folder, or URL for fsspec: ``s3://bucket/prefix``.

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
    """Validate a blob's name; raises ``UsageError`` for anything else, such as a path."""
    if not _NAME.fullmatch(name):
        raise UsageError("blob: expected a name of 32 hexadecimal digits")
    return name


class LocalStore:
    """Blobs in a folder: unsealed ones in ``parts``, sealed ones by their first two digits."""

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
        """Truncate, fsync and rename."""
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
    """Blobs on any file system of fsspec; unsealed pieces are objects too, so any machine can continue.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/prefix``; credentials by the backend's defaults.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingBackendError(
                f"storage {url.partition('://')[0]}://: fsspec is missing: pip install 'bitdose[serve]'"
            ) from error
        try:
            # changes by other processes must be visible: no cached listings
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UsageError(f"storage {url.partition('://')[0]}://: {error}") from error

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write an object named by its offset."""
        self._put(f"{self._parts(name)}/{offset:0{_DIGITS}d}", data)

    def seal(self, name: str, n_bytes: int) -> None:
        """Concatenate the pieces by their offsets; other pieces were never counted."""
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
    """Make a new name in a folder durable, where the system supports it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

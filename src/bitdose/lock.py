"""One writer to a folder: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from bitdose.errors import UsageError, argument

NAME = ".lock"


def lock_folder(folder: Path, *, writer: str) -> IO[str]:
    """Take a folder for this process; closing the returned file lets it go.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder; gets a file ``.lock``, which stays.
    writer : str
        Who writes there, for the message: ``another study``.

    Raises
    ------
    UsageError
        If another process holds it.
    OSError
        If the folder cannot be written.
    """
    lock = (folder / NAME).open("w")
    try:
        _lock_file(lock)
    except OSError as error:
        lock.close()
        raise UsageError(
            f"{argument('out', folder)}: {writer} is writing there; wait for it or choose another folder"
        ) from error
    return lock


def _lock_file(lock: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

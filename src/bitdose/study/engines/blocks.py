"""Shared memory in which arrays go from one process to another without a copy in between.

The process that makes the blocks owns them, and hands out their names: others map them and never
remove one, so that none is left behind by a process that dies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from bitdose.errors import BitdoseError
from bitdose.models.base import Batch

_DEVICE = Path("/dev/shm")  # noqa: S108 -- where Linux shows shared memory
_MAPPED = 64


class Blocks:
    """So many blocks, each as large as was asked of it.

    Parameters
    ----------
    count : int
        At most so many are out at a time: who wants one more waits.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: list[SharedMemory] = []
        self._out: dict[str, SharedMemory] = {}

    def take(self, n_bytes: int) -> str | None:
        """Return the name of a block of at least so many bytes; None while none is to be had.

        Raises
        ------
        BitdoseError
            If the system has no shared memory for a single one.
        """
        if len(self._out) >= self._count:
            return None
        fitting = [block for block in self._free if block.size >= n_bytes]
        if fitting:
            block = min(fitting, key=lambda block: block.size)
            self._free.remove(block)
        else:
            if self._free and len(self._free) + len(self._out) >= self._count:
                _remove(self._free.pop(0))
            made = self._make(n_bytes)
            if made is None:
                return None
            block = made
        self._out[block.name] = block
        return block.name

    def copy(self, name: str, shape: Sequence[int]) -> Batch:
        """Return a copy of the float32 values at the start of a block that is out."""
        return np.ndarray(tuple(shape), np.float32, self._out[name].buf).copy()

    def give_back(self, name: str) -> None:
        """Put a block back."""
        self._free.append(self._out.pop(name))

    def close(self) -> None:
        """Remove them all."""
        for block in (*self._free, *self._out.values()):
            _remove(block)
        self._free, self._out = [], {}

    def _make(self, n_bytes: int) -> SharedMemory | None:
        """Make a block whose memory is there: a full device would end a process that writes to it."""
        block = None
        try:
            block = SharedMemory(create=True, size=n_bytes)
            _reserve(block)
        except OSError as error:
            if block:
                _remove(block)
            for idle in self._free:
                _remove(idle)
            self._free = []
            if self._out:
                return None
            raise BitdoseError(
                f"no shared memory for {n_bytes} bytes ({error.strerror}): enlarge /dev/shm "
                "(in a container with --shm-size)"
            ) from error
        return block


class Mapped:
    """The blocks of another process as arrays of this one."""

    def __init__(self) -> None:
        self._blocks: dict[str, SharedMemory] = {}

    def array(self, name: str, shape: Sequence[int]) -> Batch:
        """Return a block's first values as float32; the last few blocks stay mapped."""
        if name not in self._blocks:
            if len(self._blocks) >= _MAPPED:
                self._blocks.pop(next(iter(self._blocks))).close()
            self._blocks[name] = SharedMemory(name)
        return np.ndarray(tuple(shape), np.float32, self._blocks[name].buf)


def _reserve(block: SharedMemory) -> None:
    path = _DEVICE / block.name
    if path.exists() and hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, block.size)


def _remove(block: SharedMemory) -> None:
    block.close()
    block.unlink()

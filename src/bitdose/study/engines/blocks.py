"""Shared-memory blocks that pass arrays between processes without an extra copy.

The process that creates the blocks owns them and hands out their names: others map them and never
remove one, so that a process that dies leaves none behind.
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
    """Pool of a fixed number of blocks, each as large as requested.

    Parameters
    ----------
    count : int
        Limit of blocks in use; a further request waits.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free: list[SharedMemory] = []
        self._out: dict[str, SharedMemory] = {}

    def take(self, n_bytes: int) -> str | None:
        """Return the name of a block of at least ``n_bytes`` bytes; None while none is free.

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
        """Return a block to the pool."""
        self._free.append(self._out.pop(name))

    def close(self) -> None:
        """Remove all blocks."""
        for block in (*self._free, *self._out.values()):
            _remove(block)
        self._free, self._out = [], {}

    def _make(self, n_bytes: int) -> SharedMemory | None:
        """Create a block with allocated memory: a write to a full device would kill the process."""
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
    """Blocks of another process, mapped as arrays of this one."""

    def __init__(self) -> None:
        self._blocks: dict[str, SharedMemory] = {}

    def array(self, name: str, shape: Sequence[int]) -> Batch:
        """Return a block's first values as float32; recently used blocks stay mapped."""
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

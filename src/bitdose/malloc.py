"""What a process asks of its C library: to keep freed memory, which is faster, or to give it back."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8  # malloc.h
_MOST_BYTES = 2**31 - 1
_PAD_BYTES = 2**28
_BLOCK_BYTES = 2**25
_SMALL_BLOCK_BYTES = 2**18


def keep_freed_memory(*, up_to: int | None = None) -> bool:
    """Ask the C library to keep large freed blocks rather than to give them back at once.

    What frees and asks again for the same megabytes pays a page fault for each 4 kB of them: up to a third
    of a training step (``benchmarks/training.py``), and of a study's resizing half (``benchmarks/parts.py``).
    Only glibc takes the request.

    Parameters
    ----------
    up_to : int, optional
        Free bytes that are kept; blocks of more than 32 MB are then given back all the same. All is kept
        if not given.

    Returns
    -------
    bool
        Whether it was taken.
    """
    if up_to is None:
        options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _MOST_BYTES), (_M_TOP_PAD, _PAD_BYTES))
    else:
        options = ((_M_MMAP_THRESHOLD, _BLOCK_BYTES), (_M_TRIM_THRESHOLD, up_to), (_M_TOP_PAD, _BLOCK_BYTES))
    return _set_options(options)


def give_back_freed_memory() -> bool:
    """Ask the C library to give every freed block of 256 kB and more back at once.

    By default glibc raises that size with each large block freed, up to 32 MB, and keeps the smaller ones in
    a pool per thread, so that a process which once held an image keeps the image's memory. For a process
    whose peak matters and whose speed does not, as a sender of single exams. Only glibc takes the request.

    Returns
    -------
    bool
        Whether it was taken.
    """
    return _set_options(
        ((_M_MMAP_THRESHOLD, _SMALL_BLOCK_BYTES), (_M_TRIM_THRESHOLD, _SMALL_BLOCK_BYTES), (_M_ARENA_MAX, 1))
    )


def _set_options(options: tuple[tuple[int, int], ...]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(option, value) for option, value in options)

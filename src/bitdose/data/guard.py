"""The edge to other people's decoders: their exceptions, warnings and log lines stop here.

A decoder may raise anything at all, and its words may hold what a file says about a
patient. :func:`decoding` turns what it raises into a
:class:`~bitdose.errors.CaseError` that names the format and the kind of exception only,
and silences warnings and logging **of the calling thread**, so that other threads keep
theirs.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from bitdose.errors import BitdoseError, CaseError

_LOGGERS = (
    "pydicom",
    "pydicom.pixels.decoders.base",
    "pydicom.pixels.utils",
    "PIL.Image",
    "PIL.ImageFile",
    "PIL.PngImagePlugin",
    "PIL.TiffImagePlugin",
    "nibabel.global",
)
_TRUNCATED_WORDS = (
    "truncated",
    "too small",
    "too short",
    "end-of-stream",
    "end of file",
    "broken data stream",
)


class _Hush(threading.local):
    """Matches every warning and drops every record of a thread that is decoding."""

    depth = 0

    def match(self, _text: str) -> bool:
        """Answer as a warnings filter's pattern does."""
        return self.depth > 0

    def filter(self, _record: logging.LogRecord) -> bool:
        """Answer as a logging filter does."""
        return self.depth == 0


_hush = _Hush()
_ignore = ("ignore", _hush, Warning, None, 0)
_lock = threading.Lock()
_decoding_threads = 0


@contextmanager
def decoding(format_name: str) -> Iterator[None]:
    """Run a third-party decoder: quiet in this thread, failing only by ``CaseError``.

    Parameters
    ----------
    format_name : str
        What is being decoded, for the reason: ``PNG``, ``DICOM``, …

    Raises
    ------
    CaseError
        ``truncated`` where the decoder says that data end too early, ``unsupported``
        where it says it cannot do this, ``too-large`` where memory ran out, else
        ``unreadable``. The decoder's own words are left out.

    Examples
    --------
    >>> with decoding("PNG"):
    ...     raise ValueError("Doe^Jane")
    Traceback (most recent call last):
        ...
    bitdose.errors.CaseError: unreadable: PNG data cannot be decoded (ValueError)
    """
    _enter()
    try:
        yield
    except BitdoseError:
        raise
    except Exception as error:  # noqa: BLE001  the edge: decoders raise anything
        raise _translated(format_name, error) from None
    finally:
        _leave()


def _translated(format_name: str, error: Exception) -> CaseError:
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        return CaseError("too-large", f"{format_name} data do not fit into memory")
    if isinstance(error, NotImplementedError):
        return CaseError("unsupported", f"{format_name} data of a kind that no decoder here reads")
    if isinstance(error, EOFError) or any(word in str(error).lower() for word in _TRUNCATED_WORDS):
        return CaseError("truncated", f"{format_name} data end before the image does ({kind})")
    return CaseError("unreadable", f"{format_name} data cannot be decoded ({kind})")


def _enter() -> None:
    global _decoding_threads  # noqa: PLW0603  counts the threads that share one filter
    with _lock:
        _decoding_threads += 1
        filters = cast("list[Any]", warnings.filters)
        # First in the list, or a filter such as "error" would be asked before ours.
        if not filters or filters[0] is not _ignore:
            filters.insert(0, _ignore)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_hush)
    _hush.depth += 1


def _leave() -> None:
    global _decoding_threads  # noqa: PLW0603
    _hush.depth -= 1
    with _lock:
        _decoding_threads -= 1
        if _decoding_threads == 0:
            filters = cast("list[Any]", warnings.filters)
            filters[:] = [entry for entry in filters if entry is not _ignore]
            for name in _LOGGERS:
                logging.getLogger(name).removeFilter(_hush)

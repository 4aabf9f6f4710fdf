"""Boundary to third-party decoders, which contains their exceptions, warnings and log lines.

A decoder may raise any exception, whose text may quote a patient's data from the file.
:func:`decoding` translates it into a :class:`~bitdose.errors.CaseError` that names only the
format and the type of the exception, and silences warnings and logging **of the calling
thread** only.
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
    """Filter that matches every warning and drops every log record of a decoding thread."""

    depth = 0

    def match(self, _text: str) -> bool:
        """Match like the pattern of a warnings filter."""
        return self.depth > 0

    def filter(self, _record: logging.LogRecord) -> bool:
        """Filter like a logging filter."""
        return self.depth == 0


_hush = _Hush()
_ignore = ("ignore", _hush, Warning, None, 0)
_lock = threading.Lock()
_decoding_threads = 0


@contextmanager
def decoding(format_name: str) -> Iterator[None]:
    """Run a third-party decoder silently; translate its errors into ``CaseError``.

    Parameters
    ----------
    format_name : str
        Format for the error message: ``PNG``, ``DICOM``, …

    Raises
    ------
    CaseError
        ``truncated`` where the decoder reports an early end of data, ``unsupported``
        where it reports a missing feature, ``too-large`` where memory ran out, else
        ``unreadable``. The decoder's own text is omitted.

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
        return CaseError("unsupported", f"{format_name} data of an unsupported kind")
    if isinstance(error, EOFError) or any(word in str(error).lower() for word in _TRUNCATED_WORDS):
        return CaseError("truncated", f"{format_name} data are truncated ({kind})")
    return CaseError("unreadable", f"{format_name} data cannot be decoded ({kind})")


def _enter() -> None:
    global _decoding_threads  # noqa: PLW0603  counts the threads that share one filter
    with _lock:
        _decoding_threads += 1
        filters = cast("list[Any]", warnings.filters)
        # First in the list, so that a filter such as "error" does not take precedence.
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

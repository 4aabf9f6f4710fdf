"""Readers of downloaded third-party folders and metadata tables.

Messages name the option, the file and row numbers; they never quote a cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

from bitdose.data.base import Scalar
from bitdose.errors import UsageError

Watch = Callable[[int, int], None]

_PLAIN_NAME = re.compile(r"(?!\.)[^/\\\0:]{1,200}")
_AGE = re.compile(r"0*(\d{1,3})(?:\.0+)?Y?")
_OLDEST = 120
_MAX_CELL_CHARS = 1 << 20


def existing_folder(option: str, path: Path, form: str) -> Path:
    """Return the folder with links resolved; raises ``UsageError`` if it is not a folder."""
    if not path.is_dir():
        came = "a file" if path.exists() else "nothing there"
        raise UsageError(f"{option} {str(path)!r}: expected {form}, got {came}")
    return path.resolve()


def csv_rows(option: str, path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a CSV file with a header; names are lower-cased, cells stripped, short rows filled.

    Parameters
    ----------
    option : str
        Option name for messages.
    path : pathlib.Path
        UTF-8 file, with or without a byte order mark.
    columns : tuple of str
        Required columns, in lower case.

    Returns
    -------
    list of dict of str to str
        One per row of data.

    Raises
    ------
    UsageError
        If the file is missing or unreadable, or lacks a column.
    """
    csv.field_size_limit(_MAX_CELL_CHARS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise UsageError(f"{option}: expected {path.name} in it, found none; check the folder") from None
    except OSError as error:
        raise UsageError(f"{option}: {path.name} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        kind = type(error).__name__
        raise UsageError(f"{option}: {path.name} is no CSV table in UTF-8 ({kind}); fetch it again") from None
    header = [name.strip().lower() for name in lines[0]] if lines else []
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise UsageError(
            f"{option}: {path.name} lacks the column {', '.join(lacking)}; is it the right file?"
        )
    rows = (line + [""] * (len(header) - len(line)) for line in lines[1:] if line)
    return [dict(zip(header, (cell.strip() for cell in row), strict=False)) for row in rows]


def is_plain_name(name: str) -> bool:
    """Whether a cell is a plain file name, without a path.

    Examples
    --------
    >>> is_plain_name("a b.png"), is_plain_name("../a.png"), is_plain_name("")
    (True, False, False)
    """
    return _PLAIN_NAME.fullmatch(name) is not None


def file_state(path: Path) -> str:
    """Return ``""`` for a non-empty file, else the reason of the exclusion."""
    try:
        if not path.is_file():
            return "image file is missing"
        return "" if path.stat().st_size else "image file is empty"
    except (OSError, ValueError):
        return "image file cannot be opened"


def age_years(text: str) -> Scalar:
    """Parse an age such as ``65``, ``65.0`` or DICOM's ``065Y``; None for anything else.

    Examples
    --------
    >>> age_years("065Y"), age_years("65.0"), age_years("412"), age_years("6M")
    (65, 65, None, None)
    """
    found = _AGE.fullmatch(text.strip())
    years = int(found[1]) if found else None
    return years if years is not None and years <= _OLDEST else None


def sex_letter(text: str) -> str:
    """Return ``M``, ``F`` or an empty text."""
    letter = text.strip()[:1].upper()
    return letter if letter in ("M", "F") else ""

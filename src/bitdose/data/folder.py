"""Cases from a folder of class folders, with or without split folders above.

``DATA/<class>/…/<file>`` or ``DATA/<split>/<class>/…/<file>``; files may lie deeper. The
top folders are splits if each contains folders and no files, and either all of them have
a usual split name or all (two or more) contain the same two or more folder names. Folders,
then files, in alphabetical order. Hidden files and files with the extension of a data
description (``.txt``, ``.csv``, ``.json``, …) are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

from bitdose.data.base import Case
from bitdose.errors import UsageError
from bitdose.hashing import bytes_digest

# fmt: off
SPLIT_NAMES = frozenset(
    {
        "train", "training", "val", "valid", "validation", "test", "testing", "calibration",
        "tuning", "dev", "holdout", "hold-out"
    }
)
_NOT_IMAGES = frozenset(
    {
        ".cfg", ".csv", ".db", ".doc", ".docx", ".htm", ".html", ".ini", ".json", ".log", ".md",
        ".parquet", ".pdf", ".py", ".rst", ".tmp", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml",
        ".yaml", ".yml"
    }
)
# fmt: on
_FORM = "expected <class>/<image> or <split>/<class>/<image>, or a cases.csv"


def folder_cases(folder: Path) -> list[Case]:
    r"""List the cases of a folder of class folders, by the rules at the top of this module.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.

    Returns
    -------
    list of Case
        Each with its path relative to ``folder`` as id and as patient. Names that are not UTF-8
        are written with ``\xNN``, so that tables and JSON can store them.

    Raises
    ------
    UsageError
        If there is no class folder, or none with an image.
    """
    tops = _folders(folder)
    if not tops:
        raise UsageError(f"data {folder.name!r}: the folder has no sub-folders; {_FORM}")
    if _are_splits(tops):
        classes = [(top.name, below) for top in tops for below in _folders(top)]
    else:
        classes = [("", top) for top in tops]
    files = [(split, below, path) for split, below in classes for path in image_files(below)]
    cases = [_case(folder, path, below.name, split) for split, below, path in files]
    if not cases:
        raise UsageError(f"data {folder.name!r}: no images in its {len(classes)} class folders; {_FORM}")
    return cases


def _case(folder: Path, path: Path, label: str, split: str) -> Case:
    name = unique_text(path.relative_to(folder).as_posix())
    return Case(id=name, label=plain_text(label), path=path, patient=name, split=plain_text(split))


def plain_text(name: str) -> str:
    r"""Escape the non-UTF-8 bytes of a file name as ``\xNN``; any other name stays unchanged.

    Examples
    --------
    >>> print(plain_text("caf\udce9"), plain_text("café"))
    caf\xe9 café
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def unique_text(name: str) -> str:
    """Return a file name as plain text; an escaped name gets a digest of its bytes as suffix.

    The suffix keeps it distinct from a file whose name is the escaped text.
    """
    text = plain_text(name)
    return text if text == name else f"{text}~{bytes_digest(os.fsencode(name))[:8]}"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """List the possible image files below a folder, sorted, without hidden ones."""
    found: list[Path] = []
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        found.extend(Path(place, name) for name in sorted(names) if _may_be_image(name))
    return found


def _may_be_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() not in _NOT_IMAGES and name != "DICOMDIR"


def _are_splits(tops: list[Path]) -> bool:
    below = [[path.name for path in _folders(top)] for top in tops]
    files_beside = any(_may_be_image(path.name) for top in tops for path in top.iterdir() if path.is_file())
    if files_beside or not all(below):
        return False
    named = all(top.name.lower() in SPLIT_NAMES for top in tops)
    alike = len(tops) > 1 and len(below[0]) > 1 and all(names == below[0] for names in below)
    return named or alike

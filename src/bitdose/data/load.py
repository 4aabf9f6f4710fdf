"""Loading of a data folder or table as a :class:`~bitdose.data.base.CaseSet`.

A folder holds one sub-folder per class, or splits (``train``, ``test``) with the class
folders beneath (``folder.py``), or a ``cases.csv`` / ``cases.parquet``; a table is CSV or
Parquet (``table.py``). Both yield the same rows, which are then processed alike:

- unique ids, and each patient in one split only: checked over the whole data;
- ``classes`` renames labels, merges them, or drops one (renamed to the empty string);
- labels in alphabetical order, independent of split and limit;
- ``limit`` selects equally many cases of each label by a hash of seed and case id, so
  that the choice depends on neither the order nor the number of the other cases.

No pixel is read: a missing or damaged file fails later, when its case is read. Of DICOM files without a
column of patients the header is read, up to the patient's id (``patients.py``).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bitdose.data.base import Case, CaseSet
from bitdose.data.folder import folder_cases, plain_text
from bitdose.data.patients import with_header_patients
from bitdose.data.table import TABLE_NAMES, Columns, is_table, table_rows
from bitdose.errors import UsageError
from bitdose.hashing import digest

ALL_SPLITS = "all"


def load_cases(
    data: Path | str,
    *,
    split: str | None = None,
    limit: int | None = None,
    classes: Mapping[str, str] | None = None,
    path_column: str = "path",
    label_column: str = "label",
    patient_column: str = "",
    seed: int = 0,
) -> CaseSet:
    """List the labelled cases of a folder or a table, in a fixed order.

    Parameters
    ----------
    data : pathlib.Path or str
        Folder, or CSV or Parquet table, in the layout described at the top of this module.
    split : str, optional
        Split to load; ``all`` for every split. Required if there are several.
    limit : int, optional
        Largest number of cases, selected evenly across labels in stable order.
    classes : mapping of str to str, optional
        Data label to model label; an empty model label drops the class. Labels that are not
        named stay as they are.
    path_column, label_column : str
        Columns of the table; ignored for a folder.
    patient_column : str
        Column of the patients; empty for any of the usual names, else the headers of DICOM files.
    seed : int
        Seed of the selection by ``limit``.

    Returns
    -------
    CaseSet
        The cases, with all labels of the data after ``classes``, sorted.

    Raises
    ------
    UsageError
        If the data do not have this layout, are empty or contradictory, or an
        option names a missing split or label.
    """
    data = Path(data)
    try:
        found, patients_from = _found(data, Columns(path_column, label_column, patient_column))
    except OSError as error:  # an unreadable folder, or a path that is too long
        raise UsageError(f"data {data.name!r}: cannot be read: {error.strerror}") from error
    name = plain_text(data.resolve().name if data.is_dir() else data.stem)
    every = CaseSet(name, tuple(found), (), ALL_SPLITS, patients_from)
    return select_cases(every, split=split, limit=limit, classes=classes, seed=seed)


def select_cases(
    cases: CaseSet,
    *,
    split: str | None = None,
    limit: int | None = None,
    classes: Mapping[str, str] | None = None,
    seed: int = 0,
) -> CaseSet:
    """Choose among cases that are listed already, by the same rules as :func:`load_cases`.

    Raises
    ------
    UsageError
        As :func:`load_cases`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: expected at least 1, or none for all cases")
    _check_ids(cases.cases)
    _check_patients(cases.cases)  # a case that names none is its own patient
    renamed = _renamed(cases.cases, classes or {})
    labels = tuple(sorted({case.label for case in renamed}))
    chosen = _split_name(renamed, split)
    kept = [case for case in renamed if chosen in (ALL_SPLITS, case.split)]
    return CaseSet(cases.name, tuple(_limited(kept, limit, seed)), labels, chosen, cases.patients_from)


def _found(data: Path, columns: Columns) -> tuple[list[Case], str]:
    """List the cases, and how the data identify patients; empty where they do not."""
    table = _table_of(data)
    if table is None:
        return with_header_patients(folder_cases(data), plain_text(data.name))
    return table_rows(table, columns).identified(table.name)


def _table_of(data: Path) -> Path | None:
    """Return the table that describes the data, or None for a plain folder."""
    if data.is_dir():
        return next((data / name for name in TABLE_NAMES if (data / name).is_file()), None)
    if not data.exists():
        raise UsageError(f"data {str(data)!r}: no such folder or table; check the path")
    if is_table(data):
        return data
    raise UsageError(f"data {data.name!r}: expected a folder or a .csv or .parquet table")


def _rows(indices: Iterable[int]) -> str:
    return " and ".join(str(index + 1) for index in indices)


def _check_ids(cases: Sequence[Case]) -> None:
    seen: dict[str, int] = {}
    repeats = [(seen.setdefault(case.id, row), row) for row, case in enumerate(cases)]
    doubled = [pair for pair in repeats if pair[0] != pair[1]]
    if doubled:
        raise UsageError(
            f"id: expected one row per case, got {len(doubled)} repeated; first in data rows "
            f"{_rows(doubled[0])}; remove the copies or give an 'id' column"
        )


def _check_patients(cases: Sequence[Case]) -> None:
    """Reject a patient in two splits; the message has counts and rows, but no names."""
    first: dict[str, int] = {}
    clashes: dict[str, tuple[int, int]] = {}
    for row, case in enumerate(cases):
        other = first.setdefault(case.patient, row)
        if cases[other].split != case.split:
            clashes.setdefault(case.patient, (other, row))
    if clashes:
        pair = next(iter(clashes.values()))
        raise UsageError(
            f"patient: expected each in one split, got {len(clashes)} in several; first in data rows "
            f"{_rows(pair)}; move all cases of a patient into one split"
        )


def _renamed(cases: Sequence[Case], classes: Mapping[str, str]) -> list[Case]:
    known = sorted({case.label for case in cases})
    for label in classes:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            listed = ", ".join(map(repr, known))
            raise UsageError(f"classes: the data have no label {label!r}: {hint}labels: {listed}")
    renamed = [replace(case, label=classes.get(case.label, case.label)) for case in cases]
    kept = [case for case in renamed if case.label]
    if not kept:
        raise UsageError("classes: every label is dropped; keep at least one")
    return kept


def _split_name(cases: list[Case], split: str | None) -> str:
    counts = Counter(case.split for case in cases)
    if split == ALL_SPLITS:
        return ALL_SPLITS
    if split is None and len(counts) == 1:
        return next(iter(counts))
    if split and split in counts:
        return split
    if set(counts) == {""}:
        raise UsageError(f"split {split!r}: the data have no splits; leave the option out")
    listed = ", ".join(f"{name or '(none)'} ({n} cases)" for name, n in sorted(counts.items()))
    came = "the data have several and none was named" if split is None else f"the data have no {split!r}"
    raise UsageError(f"split: {came}; choose one of {listed}, or 'all'")


def _limited(cases: list[Case], limit: int | None, seed: int) -> list[Case]:
    if limit is None or len(cases) <= limit:
        return cases
    by_label: dict[str, list[Case]] = {}
    for case in cases:
        by_label.setdefault(case.label, []).append(case)
    for same in by_label.values():
        same.sort(key=lambda case: digest([seed, "limit", case.id]))
    turns = sorted((rank, label) for label, same in by_label.items() for rank in range(len(same)))
    kept = {by_label[label][rank].id for rank, label in turns[:limit]}
    return [case for case in cases if case.id in kept]

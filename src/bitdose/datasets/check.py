"""Checks of an image set against the paper's counts and the needs of a study.

Problems make a set unusable: a study would reject it, or its results would be silently wrong.
Warnings are caveats for a reader of the results.
Both state counts and row numbers (the first data row being 1), never a patient.

| problem | because |
| --- | --- |
| a patient in two splits | leakage from training to test |
| the same bytes in two splits, or with two labels | leakage under different names, or contradictory labels |
| a duplicate id | ambiguous rows |
| missing or unreadable files | the study would lose these cases |
| images and volumes | no model takes both: the study would lose one kind |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bitdose.data.base import Case
from bitdose.data.folder import folder_cases
from bitdose.data.table import TABLE_NAMES, is_table, table_rows
from bitdose.datasets.arrange import TABLE, count_cases, read_provenance
from bitdose.datasets.brain import stripping_warning
from bitdose.datasets.inputs import Watch
from bitdose.datasets.inspect import UNKNOWN, FileLook, look_at_all
from bitdose.datasets.paper import PAPER, absent_labels, paper_set
from bitdose.errors import UsageError
from bitdose.hashing import file_digest

_FEW = 8
_TELLING_SHARE = 0.05


@dataclass(frozen=True)
class Findings:
    """Findings of ``data check``.

    Parameters
    ----------
    name : str
        Name of the set from its provenance or the caller; empty if unknown.
    counts : mapping
        Cases and patients by split and label.
    paper : mapping
        ``stated`` per split and ``inferred`` per label; empty for a set outside the paper.
    problems, warnings : tuple of str
        One line each, as defined at the top of this module.
    statuses : mapping of str to int
        Files by status.
    traits : mapping
        For ``format``, ``lossy``, ``shape``, ``orientation`` and ``skull_stripped``: number of files
        by label and value, where known.
    dropped : mapping of str to int
        Number of cases excluded by the builder, by reason.
    """

    name: str
    counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    paper: Mapping[str, Mapping[str, int]]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    statuses: Mapping[str, int]
    traits: Mapping[str, Mapping[str, Mapping[str, int]]]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return asdict(self)


def check_set(
    data: Path, *, name: str | None = None, quick: bool = False, watch: Watch | None = None
) -> Findings:
    """Check a folder or table of cases.

    Parameters
    ----------
    data : pathlib.Path
        As a study takes it.
    name : {"covidx", "brain"}, optional
        The paper's set to compare with; by default the name in ``provenance.json``.
    quick : bool
        Only check that the files exist; contents are not read.
    watch : callable, optional
        Called after each file with the numbers of processed and of all files.

    Raises
    ------
    UsageError
        If the folder or table is missing or unreadable.
    """
    cases, n_named, table = _cases(data)
    known = read_provenance(table.parent) if table is not None else {}
    found_name = name or str(known.get("set", ""))
    paper = _paper(name, found_name)
    looks = look_at_all(cases, quick=quick, watch=watch)
    problems = [*_identity_problems(cases), *_content_problems(cases, looks), *_kind_problems(looks)]
    statuses = Counter(look.status for look in looks)
    problems += [
        f"files that are {status}: {number} ({_rows(look.status == status for look in looks)})"
        for status, number in sorted(statuses.items())
        if status != "ok"
    ]
    traits = _traits(cases, looks)
    warnings = [*_same_bytes_warnings(cases, looks), *_table_warnings(table, known)]
    warnings += [*_patient_warnings(n_named, len(cases)), *_confounds(traits)]
    absent = absent_labels(found_name, (case.label for case in cases))
    problems += [f"no case of class {', '.join(absent)}"] if absent else []
    dropped = known.get("dropped", {})
    return Findings(
        found_name,
        count_cases(cases),
        paper,
        tuple(problems),
        tuple(warnings),
        dict(statuses),
        traits,
        dropped if isinstance(dropped, dict) else {},
    )


def _cases(data: Path) -> tuple[list[Case], int, Path | None]:
    """List the cases, count those with a patient, and return their table."""
    try:
        if data.is_dir():
            table = next((data / name for name in TABLE_NAMES if (data / name).is_file()), None)
            if table is None:
                return folder_cases(data), 0, None
        elif data.exists() and is_table(data):
            table = data
        else:
            came = f"the file {data.name!r}" if data.exists() else "nothing there"
            raise UsageError(f"data {str(data)!r}: expected a folder or a .csv or .parquet table, got {came}")
        cases, n_named, _ = table_rows(table)
    except OSError as error:
        raise UsageError(f"data {data.name!r}: cannot be read: {error.strerror}") from error
    return cases, n_named, table


def _paper(asked: str | None, name: str) -> dict[str, dict[str, int]]:
    if asked is not None:
        paper_set(asked)
    if name not in PAPER:
        return {}
    return {"stated": dict(PAPER[name].splits), "inferred": dict(PAPER[name].inferred)}


def _identity_problems(cases: list[Case]) -> list[str]:
    problems = []
    twice = {name: rows for name, rows in _groups(case.id for case in cases).items() if len(rows) > 1}
    if twice:
        problems.append(f"ids in several rows: {len(twice)} ({_listed(twice.values())})")
    # If all rows of a patient have its name as id, there is no patient column: a duplicate id.
    patients = _groups(case.patient for case in cases).items()
    named = [rows for patient, rows in patients if any(cases[row].id != patient for row in rows)]
    split = [rows for rows in named if len({cases[row].split for row in rows}) > 1]
    if split:
        problems.append(f"patients in several splits: {len(split)} ({_listed(split)})")
    return problems


def _same_bytes(looks: list[FileLook]) -> list[list[int]]:
    groups = _groups(look.digest for look in looks)
    return [rows for digest, rows in groups.items() if digest and len(rows) > 1]


def _content_problems(cases: list[Case], looks: list[FileLook]) -> list[str]:
    problems = []
    same = _same_bytes(looks)
    leaks = [rows for rows in same if len({cases[row].split for row in rows}) > 1]
    if leaks:
        problems.append(f"files in several splits under different ids: {len(leaks)} ({_listed(leaks)})")
    torn = [rows for rows in same if len({cases[row].label for row in rows}) > 1]
    if torn:
        problems.append(f"files with several labels under different ids: {len(torn)} ({_listed(torn)})")
    return problems


def _kind_problems(looks: list[FileLook]) -> list[str]:
    """Report a set with both images and volumes; a volume's shape has three axes."""
    # The reader drops a trailing NIfTI axis of length one: a single slice is an image.
    shapes = [look.shape.removesuffix("x1") if look.format == "NIFTI" else look.shape for look in looks]
    images, volumes = ([shape.count("x") == n for shape in shapes] for n in (1, 2))
    if not any(images) or not any(volumes):
        return []
    fewer = "images" if sum(images) < sum(volumes) else "volumes"
    rows = _rows(images if fewer == "images" else volumes)
    counts = f"{sum(images)} and {sum(volumes)} files ({fewer}: {rows})"
    return [f"images and volumes in one set: {counts}; a model takes one kind: make a set of each"]


def _patient_warnings(n_named: int, n_cases: int) -> list[str]:
    if n_named in (0, n_cases):
        return []
    return [f"{n_named} of {n_cases} rows name a patient: each of the others counts as a patient of its own"]


def _same_bytes_warnings(cases: list[Case], looks: list[FileLook]) -> list[str]:
    inside = [
        rows
        for rows in _same_bytes(looks)
        if len({cases[row].split for row in rows}) == 1 and len({cases[row].label for row in rows}) == 1
    ]
    if not inside:
        return []
    return [f"files counted twice, under several ids inside a split: {len(inside)} ({_listed(inside)})"]


def _table_warnings(table: Path | None, known: Mapping[str, Any]) -> list[str]:
    made = known.get("table")
    if table is None or table.name != TABLE or not isinstance(made, dict):
        return []
    if made.get("sha256") == file_digest(table):
        return []
    return [f"{TABLE} was changed since provenance.json was written"]


def _traits(cases: list[Case], looks: list[FileLook]) -> dict[str, dict[str, dict[str, int]]]:
    words = {True: "yes", False: "no", None: UNKNOWN}
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for case, look in zip(cases, looks, strict=True):
        if not look.format:
            continue
        values = {"format": look.format, "lossy": words[look.lossy], "shape": look.shape}
        values |= {"orientation": look.orientation, "skull_stripped": look.skull_stripped}
        for trait, value in values.items():
            if value:
                found[trait][case.label][value] += 1
    return {
        trait: {label: dict(counts.most_common()) for label, counts in sorted(labels.items())}
        for trait, labels in found.items()
    }


def _confounds(traits: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """Warn where skull stripping, format or lossy coding identifies the class."""
    states = {label: Counter(counts) for label, counts in traits.get("skull_stripped", {}).items()}
    warnings = [text for text in (stripping_warning(states),) if text is not None]
    for trait, word in (("format", "file format"), ("lossy", "lossy coding before the study")):
        text = _telling(traits.get(trait, {}), word)
        warnings += [] if text is None else [text]
    return warnings


def _telling(by_label: Mapping[str, Mapping[str, int]], word: str) -> str | None:
    """Return the most frequent value that occurs in one class only, if it is frequent enough."""
    found = []
    for label, counts in by_label.items():
        others = {value for other, values in by_label.items() if other != label for value in values}
        n_files = sum(counts.values())
        own = ((n / n_files, value, n) for value, n in counts.items() if value not in {*others, UNKNOWN})
        found += [(share, label, value, n, n_files) for share, value, n in own if share >= _TELLING_SHARE]
    if len(by_label) < 2 or not found:  # noqa: PLR2004
        return None
    _, label, value, n, n_files = max(found)
    return (
        f"{word} tells the class: {value} only in {label} ({n} of its {n_files} files); a network can learn "
        "it instead of the disease"
    )


def _groups(keys: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    return groups


def _listed(groups: Iterable[list[int]]) -> str:
    first = next(iter(groups))
    return f"first: data rows {' and '.join(str(row + 1) for row in first[:_FEW])}"


def _rows(marks: Iterable[bool]) -> str:
    rows = [row + 1 for row, marked in enumerate(marks) if marked]
    more = ", …" if len(rows) > _FEW else ""
    return f"data rows {', '.join(map(str, rows[:_FEW]))}{more}"

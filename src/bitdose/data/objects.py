"""Cases from Python objects, beside those of folders and tables (``load.py``).

| source | ids | labels | pixels |
| --- | --- | --- | --- |
| polars or pandas DataFrame | ``id`` column, else path or row | a column | files, or a column of arrays |
| ``(arrays, labels)``, or an array ``(n, ...)`` with ``labels=`` | position | given | as they are |
| data set of ``(image, label)``, as torch's | position | ``classes`` names numbers | fetched when needed |
| iterable of ``(id, label, pixels[, patient])`` | given | given | kept in memory |

What counts as pixels is in ``pixels.py``. A data set is gone through once for its labels and the digests
of its pixels, and holds one case at a time in memory; it must give the same pixels each time.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitdose.data.base import Case, CaseSet, HeldPixels, pixels_digest
from bitdose.data.load import ALL_SPLITS, load_cases, select_cases
from bitdose.data.patients import patient_text
from bitdose.data.pixels import image_of
from bitdose.data.table import Columns, frame_rows
from bitdose.errors import UsageError
from bitdose.image import Image

if TYPE_CHECKING:
    import polars as pl

Names = Sequence[str] | None

_FORMS = (
    "a path, a DataFrame, (arrays, labels), a data set of (image, label), or an iterable of "
    "(id, label, pixels[, patient])"
)
_FRAMES = ("DataFrame", "LazyFrame")
_PAIR, _RECORD, _RECORD_OF_PATIENT = 2, 3, 4


def cases_from(
    source: Any,
    *,
    labels: Sequence[Any] | None = None,
    patients: Sequence[Any] | None = None,
    names: Names = None,
    split: str | None = None,
    limit: int | None = None,
    classes: Mapping[str, str] | None = None,
    path_column: str = "path",
    label_column: str = "label",
    patient_column: str = "",
    seed: int = 0,
) -> CaseSet:
    """List the cases of a path or of a Python object, in a fixed order.

    Parameters
    ----------
    source : object
        A path as for :func:`~bitdose.data.load.load_cases`, one of the forms in the table at the top of
        this module, or a ``CaseSet`` to choose from.
    labels : sequence, optional
        For an array alone: the label of each image.
    patients : sequence, optional
        For arrays and data sets: the patient of each image; else each image is its own patient's.
    names : sequence of str, optional
        Class names for labels that are whole numbers from 0, in order; else a data set's ``classes``, else
        the number is the label.
    split, limit, classes, path_column, label_column, patient_column, seed
        As for :func:`~bitdose.data.load.load_cases`. A DataFrame's paths are relative to the current
        folder; its ``path_column`` may hold arrays.

    Returns
    -------
    CaseSet
        As of ``load_cases``; cases of arrays hold their pixels.

    Raises
    ------
    UsageError
        If the source is none of these, or its labels or pixels are not what they should be.

    Examples
    --------
    >>> pixels = np.zeros((2, 8, 8), np.uint8)
    >>> [(case.id, case.label) for case in cases_from((pixels, [0, 1]), names=("no", "yes")).cases]
    [('0', 'no'), ('1', 'yes')]
    """
    listed = isinstance(source, str | Path | CaseSet) or _is_frame(source)
    if labels is not None and (listed or not hasattr(source, "shape")):
        raise UsageError("labels: they go with an array; a path, a table or a data set has its own")
    if patients is not None and listed:
        raise UsageError("patients: they go with arrays and data sets; a table's are in its column 'patient'")
    chosen: dict[str, Any] = {"split": split, "limit": limit, "classes": classes, "seed": seed}
    if isinstance(source, str | Path):
        chosen |= {"label_column": label_column, "patient_column": patient_column}
        return load_cases(source, path_column=path_column, **chosen)
    if isinstance(source, CaseSet):
        return select_cases(source, **chosen)
    if _is_frame(source):
        found = _of_frame(
            _in_polars(source, path_column), Columns(path_column, label_column, patient_column), names
        )
    elif labels is not None:
        found = _of_arrays(source, labels, patients, names)
    elif isinstance(source, tuple) and len(source) == _PAIR and not isinstance(source[0], tuple | str):
        found = _of_arrays(source[0], source[1], patients, names)
    elif _is_map_style(source):
        found = _of_data_set(source, patients, names)
    else:
        found = _of_records(source, patients, names)
    return select_cases(found, **chosen)


def _is_frame(source: object) -> bool:
    kind = type(source)
    return kind.__module__.split(".")[0] in {"polars", "pandas"} and kind.__name__ in _FRAMES


def _is_map_style(source: object) -> bool:
    has = hasattr(source, "__getitem__") and isinstance(source, Sized)
    return has and not isinstance(source, list | tuple | Mapping) and not hasattr(source, "shape")


def _in_polars(frame: Any, path_column: str) -> pl.DataFrame:
    """Bring a pandas frame to polars; its column of paths or arrays becomes one of Python objects."""
    import polars as pl

    if type(frame).__module__.startswith("polars"):
        whole: pl.DataFrame = frame.lazy().collect()
        return whole
    columns = [
        pl.Series(name, list(cells), dtype=pl.Object)
        if name == path_column
        else pl.Series(str(name), pl.from_pandas(cells.reset_index(drop=True)))
        for name, cells in frame.items()
    ]
    return pl.DataFrame(columns)


def _of_frame(frame: pl.DataFrame, columns: Columns, names: Names) -> CaseSet:
    import polars as pl

    path_column, label_column, _ = columns
    if label_column in frame.columns and names and frame[label_column].dtype.is_integer():
        labels = [_label(value, names, f"row {row}") for row, value in enumerate(frame[label_column], 1)]
        frame = frame.with_columns(pl.Series(label_column, labels))
    held = _objects_in(frame[path_column]) if path_column in frame.columns else None
    are_paths = held is None or all(value is None or isinstance(value, str | Path) for value in held)
    if held is not None:
        texts = held if are_paths else range(len(held))
        frame = frame.with_columns(pl.Series(path_column, [_text(value) for value in texts]))
    rows = frame_rows(frame, "table", Path(), columns)
    if held is not None and not are_paths:
        rows = rows._replace(cases=_with_pixels(rows.cases, held))
    found, patients_from = rows.identified("table")
    return CaseSet("table", tuple(found), (), ALL_SPLITS, patients_from)


def _objects_in(column: pl.Series) -> Sequence[Any] | None:
    """Return a column's objects, arrays in the type that its cells have; None for a column of text."""
    import polars as pl

    if column.dtype in (pl.String, pl.Null):
        return None
    if isinstance(column.dtype, pl.Array):
        return list(column.to_numpy())
    if not isinstance(column.dtype, pl.List):
        return column.to_list()
    kind: Any = column.dtype
    while isinstance(kind, pl.List | pl.Array):
        kind = kind.inner
    return [np.array(cells, pl.Series([], dtype=kind).to_numpy().dtype) for cells in column.to_list()]


def _of_arrays(arrays: Any, labels: Any, patients: Sequence[Any] | None, names: Names) -> CaseSet:
    _check_length("labels", labels, len(arrays))
    cases = _with_pixels(_numbered(labels, patients, names), arrays)
    return CaseSet("arrays", tuple(cases), (), ALL_SPLITS, _known_from(patients))


def _of_data_set(data_set: Any, patients: Sequence[Any] | None, names: Names) -> CaseSet:
    """List a map-style data set: each item is fetched now for its label, and again when it is run."""
    labels, held = [], []
    for index in range(len(data_set)):
        pixels, label = _item(data_set, index)
        image, mapping = image_of(pixels, f"cases: item {index}")
        fetch = partial(_image_at, data_set, index)
        held.append(HeldPixels(fetch, mapping=mapping, digest=pixels_digest(image)))
        labels.append(label)
    cases = _numbered(labels, patients, names or _classes_of(data_set))
    whole = tuple(replace(case, pixels=one) for case, one in zip(cases, held, strict=True))
    return CaseSet(type(data_set).__name__, whole, (), ALL_SPLITS, _known_from(patients))


def _item(data_set: Any, index: int) -> tuple[Any, Any]:
    try:
        item = data_set[index]
    except Exception as error:  # the user's code: what it raises is not ours to know
        kind = type(error).__name__
        raise UsageError(
            f"cases: item {index} of {type(data_set).__name__} cannot be read: {kind}"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != _PAIR:
        raise UsageError(f"cases: item {index}: expected (image, label), got {type(item).__name__}")
    return item[0], item[1]


def _image_at(data_set: Any, index: int) -> Image:
    return image_of(data_set[index][0]).image


def _classes_of(data_set: Any) -> Names:
    """Return a data set's class names; a ``Subset`` has those of the whole."""
    while data_set is not None:
        found = getattr(data_set, "classes", None)
        if found is not None:
            return [str(name) for name in found]
        data_set = getattr(data_set, "dataset", None)
    return None


def _of_records(records: Any, patients: Sequence[Any] | None, names: Names) -> CaseSet:
    """Take an iterable's entries in; those of an iterable torch data set are ``(image, label)``."""
    if not isinstance(records, Iterable) or isinstance(records, Mapping) or hasattr(records, "shape"):
        hint = "; an array needs labels=" if hasattr(records, "shape") else ""
        raise UsageError(f"cases: expected {_FORMS}, got {type(records).__name__}{hint}")
    if patients is not None:
        raise UsageError("patients: give them as the fourth part of each (id, label, pixels, patient)")
    cases, pixels, n_named = [], [], 0
    for number, record in enumerate(records):
        if not isinstance(record, tuple | list) or not _PAIR <= len(record) <= _RECORD_OF_PATIENT:
            came = f"{len(record)} parts" if isinstance(record, tuple | list) else type(record).__name__
            raise UsageError(f"cases: entry {number}: expected (id, label, pixels[, patient]), got {came}")
        whole = record if len(record) > _PAIR else (number, record[1], record[0])
        patient = patient_text(_text(whole[_RECORD])) if len(whole) > _RECORD else ""
        n_named += bool(patient)
        case_id, label = str(whole[0]), _label(whole[1], names, f"entry {number}")
        cases.append(Case(case_id, label, Path(), patient or case_id))
        pixels.append(whole[2])
    if not cases:
        raise UsageError("cases: the iterable gave none; a generator can be gone through only once")
    patients_from = "records" if n_named == len(cases) else ""
    return CaseSet("cases", tuple(_with_pixels(cases, pixels)), (), ALL_SPLITS, patients_from)


def _known_from(patients: Sequence[Any] | None) -> str:
    """Say how patients are known; empty where one is not."""
    every = patients is not None and all(patient_text(_text(patient)) for patient in patients)
    return "argument patients" if every else ""


def _numbered(labels: Iterable[Any], patients: Sequence[Any] | None, names: Names) -> list[Case]:
    """Return cases named by their position."""
    texts = [_label(label, names, f"item {number}") for number, label in enumerate(labels)]
    if not texts:
        raise UsageError("cases: got none; expected at least one")
    who = [""] * len(texts)
    if patients is not None:
        _check_length("patients", patients, len(texts))
        who = [patient_text(_text(patient)) for patient in patients]
    return [Case(str(n), text, Path(), who[n] or str(n)) for n, text in enumerate(texts)]


def _with_pixels(cases: Sequence[Case], values: Iterable[Any]) -> list[Case]:
    """Give cases their pixels."""
    made = []
    for number, (case, value) in enumerate(zip(cases, values, strict=True)):
        image, mapping = image_of(value, f"cases: item {number}")
        made.append(replace(case, path=Path(), pixels=HeldPixels(image, mapping=mapping)))
    return made


def _label(label: Any, names: Names, where: str) -> str:
    """Return a label as text: a whole number by the class names, where there are any."""
    try:
        plain = label.item() if hasattr(label, "item") else label
        if isinstance(plain, str) and plain.strip():
            return plain.strip()
        number = operator.index(plain)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = "an empty text" if isinstance(label, str) else type(label).__name__
        message = f"cases: {where}: expected one label, a text or a whole number, got {kind}"
        raise UsageError(message) from error
    if not names:
        return str(number)
    if not 0 <= number < len(names):
        raise UsageError(f"cases: {where}: label {number}: expected a number from 0 to {len(names) - 1}")
    return str(names[number])


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _check_length(argument: str, values: Any, expected: int) -> None:
    if len(values) != expected:
        raise UsageError(f"{argument}: expected one for each of {expected} images, got {len(values)}")

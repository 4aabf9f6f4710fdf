"""Rows as CSV files, and a summary as JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

from bitdose.report.atomic import write_atomic
from bitdose.results.subgroups import Subgroup
from bitdose.results.summary import Summary

Row = dict[str, Any]


def subgroup_rows(groups: Sequence[Subgroup]) -> list[Row]:
    """Flatten the subgroups: one row per column, group and point; estimates as in ``Summary.rows``."""
    return [_subgroup(one) for one in groups]


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows to a CSV file, atomically: NaN and None as empty cells, infinity as ``inf``.

    Numbers keep every digit; a column that only some rows have is empty in the others.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return write_atomic(path, text.getvalue().encode())


def write_json(path: Path, summary: Summary) -> Path:
    """Write :meth:`Summary.to_dict` to a JSON file, atomically."""
    text = json.dumps(summary.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)
    return write_atomic(path, f"{text}\n".encode())


def _subgroup(one: Subgroup) -> Row:
    estimates = ("accuracy", "accuracy_difference")
    row: Row = {f.name: getattr(one, f.name) for f in fields(one) if f.name not in estimates}
    for name in estimates:
        row |= getattr(one, name).columns(name)
    return row


def _cell(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else value

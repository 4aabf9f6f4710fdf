"""Every number of a summary as flat rows for a spreadsheet, and as JSON."""

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
from bitdose.results.schema import PRISTINE
from bitdose.results.subgroups import Subgroup
from bitdose.results.summary import ClassSummary, InFp32, PointSummary, Summary
from bitdose.stats.estimate import Estimate

Row = dict[str, Any]

_NAMES = ("point", "chain", "codec", "quality", "strength", "size", "n_ok", "n_failed")
_MEASURED = (
    "ratio_file",
    "ratio_pixels",
    "ratio_file_mean",
    "ratio_pixels_mean",
    "coded_bytes_per_case",
    "rate_bpp",
    "psnr_db",
    "ssim",
    "encode_ms",
    "decode_ms",
)
_FLIP_COUNTS = ("n", "changed", "right_to_wrong", "wrong_to_right", "wrong_to_wrong", "mcnemar_midp")
_P_VALUE = ("p_value", "p_method", "p_reason")


def summary_rows(summary: Summary) -> list[Row]:
    """Flatten a summary: one row per point, one column per number.

    An estimate ``e`` becomes ``e``, ``e_low``, ``e_high``, ``e_n``, ``e_unit`` and ``e_method``,
    and ``e_reason`` where it is undefined; a class's are ``sensitivity[covid-19]``; a cell of
    the confusion matrix is ``confusion[true→predicted]``. A comparison of downsizing first with
    not is ``accuracy_minus[full]`` in the row of the downsized point. Columns of the study as a
    whole are repeated in each row. ``fp32_`` columns, in the row of pristine, are there where the study
    ran in another precision. NaN stays NaN.
    """
    study = _study(summary)
    rows = {point.point: study | _point(point, summary.labels) for point in summary.points}
    if summary.in_fp32 and PRISTINE in rows:
        rows[PRISTINE] |= _in_fp32(summary.in_fp32)
    for one in (c for c in summary.comparisons if c.small in rows):
        rows[one.small] |= _estimate("accuracy_minus", one.difference, f"[{one.full}]")
    return list(rows.values())


def subgroup_rows(groups: Sequence[Subgroup]) -> list[Row]:
    """Flatten the subgroups: one row per column, group and point; estimates as in :func:`summary_rows`."""
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


def _study(summary: Summary) -> Row:
    row: Row = {
        "model": summary.model,
        "level": summary.level,
        "resampling_unit": summary.resampling_unit,
        "n_cases": summary.n_cases,
        "n_planned": summary.n_planned,
        "n_patients": summary.n_patients,
        "n_failed_cases": summary.n_failed_cases,
        "n_lossy_sources": summary.n_lossy_sources,
    }
    row |= {f"case_format[{name}]": count for name, count in summary.case_formats.items()}
    return row | {f"failures[{reason}]": count for reason, count in summary.failures.items()}


def _in_fp32(found: InFp32) -> Row:
    row = {"fp32_n": found.n, "fp32_largest_gap": found.largest_gap}
    row |= _estimate("fp32_accuracy", found.accuracy)
    row |= _estimate("fp32_accuracy_difference", found.accuracy_difference)
    return row | {f"fp32_flips_{name}": getattr(found.flips, name) for name in _FLIP_COUNTS}


def _point(point: PointSummary, labels: Sequence[str]) -> Row:
    row: Row = {name: getattr(point, name) for name in _NAMES}
    for name, found in point.estimates.items():
        row |= _estimate(name, found)
    row |= {f"flips_{name}": getattr(point.flips, name) for name in _FLIP_COUNTS}
    row |= {name: getattr(point.flips, name) for name in _P_VALUE}
    row |= _estimate("flips_share", point.flips.share)
    row |= _estimate("flips_harmful_share", point.flips.harmful_share)
    row |= {name: getattr(point, name) for name in _MEASURED}
    for one in point.classes:
        row |= _class(one)
    for true, counts in zip(labels, point.confusion, strict=True):
        row |= {f"confusion[{true}→{name}]": count for name, count in zip(labels, counts, strict=True)}
    return row


def _subgroup(one: Subgroup) -> Row:
    estimates = ("accuracy", "accuracy_difference")
    row: Row = {f.name: getattr(one, f.name) for f in fields(one) if f.name not in estimates}
    for name in estimates:
        row |= _estimate(name, getattr(one, name))
    return row


def _class(one: ClassSummary) -> Row:
    row: Row = {f"n[{one.label}]": one.n}
    for name, found in one.estimates.items():
        row |= _estimate(name, found, f"[{one.label}]")
    return row


def _estimate(name: str, estimate: Estimate, of: str = "") -> Row:
    row = {
        f"{name}{of}": estimate.value,
        f"{name}_low{of}": estimate.low,
        f"{name}_high{of}": estimate.high,
        f"{name}_n{of}": estimate.n,
        f"{name}_unit{of}": estimate.unit,
        f"{name}_method{of}": estimate.method,
    }
    return row | ({f"{name}_reason{of}": estimate.reason} if estimate.reason else {})


def _cell(value: Any) -> Any:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else value

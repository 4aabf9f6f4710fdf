"""The summary as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.report.atomic import write_atomic
from bitdose.report.findings.subgroups import subgroups
from bitdose.report.tables import subgroup_rows, write_csv, write_json
from bitdose.results.summary import Summary
from bitdose.stats.estimate import undefined


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for part in value.values() for n in _numbers(part)]
    if isinstance(value, list):
        return [n for part in value for n in _numbers(part)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [math.inf] if value == "inf" else []
    return [float(value)]


def _row_numbers(row: dict[str, str]) -> list[float]:
    found = []
    for text in row.values():
        try:
            found.append(float(text))
        except ValueError:
            continue
    return found


def test_csv_holds_every_number_of_the_json(summary: Summary, tmp_path: Path) -> None:
    """Each number that summary.json has of a point or of the study stands in that point's CSV row.

    Those of a comparison stand in the row of the downsized point.
    """
    whole = json.loads(write_json(tmp_path / "summary.json", summary).read_text())
    text = write_csv(tmp_path / "summary.csv", summary.rows()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    study = _numbers({k: v for k, v in whole.items() if k not in {"points", "comparisons"}})
    for point, row in zip(whole["points"], rows, strict=True):
        assert set(_numbers(point) + study) <= set(_row_numbers(row))
    by_point = {row["point"]: row for row in rows}
    assert whole["comparisons"]
    for one in whole["comparisons"]:
        row, difference = by_point[one["small"]], one["difference"]
        assert float(row[f"accuracy_minus[{one['full']}]"]) == difference["value"]
        assert set(_numbers(difference)) <= {difference["level"], *_row_numbers(row)}


def test_columns_have_the_promised_names(summary: Summary) -> None:
    """Estimates, classes and confusion cells are found under their documented names."""
    row = summary.rows()[3]
    point = summary.points[3]
    assert row["accuracy_low"] == point.accuracy.low
    assert row["sensitivity[covid-19]"] == point.classes[2].estimates["sensitivity"].value
    assert row["auroc_high[normal]"] == point.classes[0].estimates["auroc"].high
    assert row["confusion[normal→covid-19]"] == point.confusion[0][2]
    assert row["flips_right_to_wrong"] == point.flips.right_to_wrong


def test_calibration_differences_and_p_values_have_columns(summary: Summary) -> None:
    """Brier, calibration error, every difference of a class and the p value stand under their names."""
    row, point = summary.rows()[-1], summary.points[-1]
    assert (row["brier"], row["ece_high"]) == (point.estimates["brier"].value, point.estimates["ece"].high)
    assert row["ece_difference_low"] == point.estimates["ece_difference"].low
    assert row["brier_difference_method"] == "patient-bootstrap-bca"
    for name in ("sensitivity", "specificity", "f1", "auroc"):
        difference = point.classes[1].estimates[f"{name}_difference"]
        assert row[f"{name}_difference[pneumonia]"] == difference.value
        assert row[f"{name}_difference_low[pneumonia]"] == difference.low
    assert (row["p_value"], row["p_method"]) == (point.flips.p_value, "obuchowski")


def test_subgroups_have_a_row_each(summary: Summary, table: pl.DataFrame, tmp_path: Path) -> None:
    """Column, group, point and counts lead, estimates follow; what is not shown says why."""
    ward = pl.col("case_id").str.slice(-2).cast(pl.Int64) % 20
    more = table.with_columns(case_ward="ward " + ward.cast(pl.String), case_sex=pl.lit("f"))
    groups = subgroups(more, summary, ["pristine", "jpeg:q30"])
    path = write_csv(tmp_path / "subgroups.csv", subgroup_rows(groups))
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    names = ["column", "group", "point", "n_cases", "n_patients", "n_ok", "n_right", "note", "accuracy"]
    assert list(rows[0])[:9] == names
    found = {(row["column"], row["group"], row["point"]): row for row in rows}
    assert set(found) == {
        *(("format", g, p) for g in ("jpeg", "png") for p in ("pristine", "jpeg:q30")),
        *(("lossy", g, p) for g in ("no", "yes") for p in ("pristine", "jpeg:q30")),
        ("ward", "", ""),
    }
    one = next(g for g in groups if (g.column, g.group, g.point) == ("format", "png", "jpeg:q30"))
    row = found["format", "png", "jpeg:q30"]
    assert float(row["accuracy_difference_low"]) == one.accuracy_difference.low
    assert found["format", "png", "pristine"]["accuracy_difference"] == ""
    assert found["ward", "", ""]["note"] == "not shown: 20 different texts"


def test_undefined_is_empty_with_its_reason(summary: Summary, tmp_path: Path) -> None:
    """NaN is an empty cell, its reason has a column, and a column of reasons is there only if needed."""
    point = summary.points[0].with_estimates(macro_f1=undefined("no case of class 'covid-19'"))
    rows = replace(summary, points=(point,)).rows()
    (row,) = csv.DictReader(write_csv(tmp_path / "s.csv", rows).read_text(encoding="utf-8").splitlines())
    assert row["macro_f1"] == ""
    assert row["macro_f1_reason"] == "no case of class 'covid-19'"
    assert "accuracy_reason" not in row
    assert row["psnr_db"] == "inf"


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A write that cannot finish leaves the old file whole and nothing half-done beside it."""
    target = tmp_path / "taken"
    target.mkdir()
    (target / "kept").write_text("old")
    with pytest.raises(OSError):  # noqa: PT011 -- which error depends on the file system
        write_atomic(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (target / "kept").read_text() == "old"

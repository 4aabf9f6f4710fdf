"""What the subgroup tables promise: every further column as groups, and no name of a case or person."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from bitdose.results.schema import PRISTINE
from bitdose.results.subgroups import Subgroup, grouped, subgroups
from bitdose.results.table import rows_to_table
from bitdose.stats.clusters import clustered_wilson
from bitdose.stats.proportions import tango, wilson

Q10 = "jpeg:q10"
N = 40


def rows(*, cases_each: int = 1, **columns: Any) -> list[dict]:
    """Write 40 cases at two points; every fourth is wrong at pristine, every third at q10."""
    found = []
    for i in range(N):
        for point, wrong in ((PRISTINE, i % 4 == 0), (Q10, i % 3 == 0)):
            found.append(
                {
                    "case_id": f"{i:02d}", "case_label": "sick" if i % 2 else "well",
                    "case_patient": f"p{i // cases_each}", "case_format": "png", "point": point,
                    "codec_chain": point.partition(":")[0], "codec_strength": 0.0, "bytes_file": 9,
                    "bytes_pixels": 9, "bytes_coded": 9, "model": "m", "status": "ok",
                    "predicted": "sick" if (i % 2 == 1) != wrong else "well",
                }
                | {f"case_{name}": values[i] for name, values in columns.items()}
            )  # fmt: skip
    return found


def groups_of(found: list[Subgroup], column: str, point: str = Q10) -> dict[str, Subgroup]:
    """Return a column's groups at one point by name."""
    return {one.group: one for one in found if one.column == column and one.point in (point, "")}


def read(table_rows: list[dict], points: tuple[str, ...] = (PRISTINE, Q10)) -> list[Subgroup]:
    """Make the subgroups of a table of two classes."""
    return subgroups(rows_to_table(table_rows), points, labels=("sick", "well"))


def test_a_column_by_hand() -> None:
    """Cases 0 to 9 are of site A: 3 wrong before, 4 after, of which case 0 is wrong at both."""
    sites = ["A"] * 10 + ["B"] * 30
    found = read(rows(site=sites))
    before, after = (groups_of(found, "site", point)["A"] for point in (PRISTINE, Q10))
    assert (after.n_cases, after.n_patients, after.n_ok, after.n_right) == (10, 10, 10, 6)
    assert before.accuracy == wilson(7, 10)
    assert after.accuracy == wilson(6, 10)
    assert after.accuracy_difference == tango(2, 3, 10)  # 4 and 8 gained; 3, 6 and 9 lost
    assert before.accuracy_difference.reason == "pristine itself"
    assert {one.group for one in found if one.column == "site"} == {"A", "B"}


def test_the_groups_make_the_whole() -> None:
    """Every case is in one group of a column, those without a value in ``unknown``, which comes last."""
    sex = ["f", "m", None, "f"] * 10
    found = groups_of(read(rows(sex=sex)), "sex")
    assert list(found) == ["f", "m", "unknown"]
    assert sum(one.n_cases for one in found.values()) == N
    assert found["unknown"].n_cases == 10


def test_patients_with_several_cases_widen_the_interval() -> None:
    """Where patients have several cases the interval is that of clustered proportions."""
    one = groups_of(read(rows(cases_each=2, site=["A"] * 20 + ["B"] * 20)), "site")["A"]
    hits = np.array([i % 3 != 0 for i in range(20)])
    assert (one.n_patients, one.n_cases) == (10, 20)
    assert one.accuracy == clustered_wilson(hits, np.arange(20) // 2)


def test_small_groups_are_marked() -> None:
    """A group of nine cases is shown with a note, one of ten without."""
    found = groups_of(read(rows(site=["A"] * 9 + ["B"] * 10 + ["C"] * 21)), "site")
    assert [found[name].note for name in "ABC"] == ["fewer than 10 cases", "", ""]
    assert not math.isnan(found["A"].accuracy.value)


def test_source_format_and_history_are_always_shown() -> None:
    """Format and history are read even where all cases agree; another column that agrees says nothing."""
    found = read(rows(device=["x"] * N))
    assert {one.column for one in found} == {"format", "lossy"}
    assert list(groups_of(found, "lossy")) == ["unknown"]


def test_names_of_cases_and_people_never_show() -> None:
    """Ids, patients, digests and columns named like them make no groups, and no value of theirs appears."""
    secret = [f"secret{i % 5}" for i in range(N)]
    columns = dict.fromkeys(["accession_number", "digest", "patient_id", "patient_name", "study_uid"], secret)
    found = read(rows(**columns))
    text = repr([(one.column, one.group, one.note) for one in found])
    assert "secret" not in text
    assert "p1" not in text
    assert groups_of(found, "patient_name")[""].note.startswith("not shown: by its name")
    assert not {one.column for one in found} & {"id", "patient", "digest", "label"}


def test_nearly_one_value_per_case_is_skipped_and_said() -> None:
    """Free text, and whole numbers of which most cases have their own, are not shown, nor any value."""
    found = read(rows(remark=[f"remark {i}" for i in range(N)], number=[70001 + i for i in range(N)]))
    for column in ("remark", "number"):
        (one,) = groups_of(found, column).values()
        assert (one.group, one.point, one.n_cases) == ("", "", N)
        assert one.note == "not shown: 40 different values in 40 cases could name a case"
    assert "70001" not in repr(found)


def test_too_many_texts_are_skipped_and_said() -> None:
    """Thirteen texts are one too many to read; twelve are shown."""
    found = read(rows(ward=[f"w{i % 13}" for i in range(N)], room=[f"r{i % 12:02d}" for i in range(N)]))
    assert groups_of(found, "ward")[""].note == "not shown: 13 different texts"
    assert len(groups_of(found, "room")) == 12


@pytest.mark.parametrize("as_text", [False, True])
def test_ages_are_cut_at_tens(as_text: bool) -> None:
    """Age becomes decades named by their limits, 90 and over together; numbers written as text too."""
    ages = [19 + 2 * i for i in range(N)]  # 19, 21, …, 97
    values = [str(age) for age in ages] if as_text else ages
    found = groups_of(read(rows(patient_age=values)), "patient_age")
    assert list(found)[:2] == ["10 to 19", "20 to 29"]
    assert list(found)[-1] == "90 or more"
    assert found["20 to 29"].n_cases == 5
    assert found["90 or more"].n_cases == 4
    assert sum(one.n_cases for one in found.values()) == N


def test_other_numbers_are_cut_at_quartiles() -> None:
    """Many different measures become four bands of equal size, named by their limits."""
    dose = [0.5 + i for i in range(N)]
    found = groups_of(read(rows(dose=dose)), "dose")
    assert list(found) == ["0.5 to 10.25", "over 10.25 to 20", "over 20 to 29.75", "over 29.75 to 39.5"]
    assert [one.n_cases for one in found.values()] == [10] * 4


def test_few_numbers_stay_as_they_are() -> None:
    """Up to twelve different numbers are groups of their own, in the order of the numbers."""
    found, why = grouped(pl.Series([10.0, 2.0, 10.0, math.nan, 2.5] * 3))
    assert (list(found), why) == (["2", "2.5", "10", "unknown"], "")
    assert found["10"].sum() == 6


def test_truth_reads_yes_and_no() -> None:
    """A column of true and false reads yes and no."""
    assert list(grouped(pl.Series([True, False, None]))[0]) == ["no", "yes", "unknown"]


def test_failed_cases_are_in_the_group_but_not_in_its_accuracy() -> None:
    """A case that failed at a point counts as the group's, not as classified there, and has no pair."""
    table = rows(site=["A"] * 10 + ["B"] * 30)
    broken = {"status": "unreadable", "predicted": None}
    table = [one | broken if (one["case_id"], one["point"]) == ("01", Q10) else one for one in table]
    one = groups_of(read(table), "site")["A"]
    assert (one.n_cases, one.n_ok, one.accuracy_difference.n) == (10, 9, 9)


def test_without_pristine_there_is_no_difference() -> None:
    """Accuracy stands; the difference says that no pair was found; points without rows are passed over."""
    table = [one for one in rows() if one["point"] != PRISTINE]
    (one,) = groups_of(read(table), "format").values()
    assert one.accuracy == wilson(26, 40)
    assert one.accuracy_difference.reason == "no paired case"

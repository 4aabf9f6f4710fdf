"""Two runs side by side: paired where the cases are the same, and by references of other hands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from bitdose.errors import UsageError
from bitdose.results.comparison import compare_tables, difference_of
from bitdose.results.table import rows_to_table
from bitdose.stats.proportions import tango, wilson

NAMES = ("old", "new")


def _table(
    right: dict[str, Sequence[bool]],
    *,
    prefix: str = "c",
    patients: Sequence[str] | None = None,
    **columns: Any,
) -> pl.DataFrame:
    """Make a table of two classes in which each point's cases are right or wrong as told."""
    rows = []
    for point, hits in right.items():
        for index, hit in enumerate(hits):
            true = index % 2
            rows.append(
                {
                    "case_id": f"{prefix}{index}",
                    "case_label": "ab"[true],
                    "case_patient": patients[index] if patients else f"{prefix}{index}",
                    "point": point,
                    "codec_chain": point.partition(":")[0],
                    "codec_strength": float(len(point)),
                    "bytes_file": 1000,
                    "bytes_coded": 1000 if point == "pristine" else 100,
                    "bytes_pixels": 4000,
                    "model": "net@0123456789ab",
                    "predicted": "ab"[true if hit else 1 - true],
                    "status": "ok",
                }
                | columns
            )  # fmt: skip
    return rows_to_table(rows)


def _hits(n: int, wrong: Sequence[int]) -> list[bool]:
    return [index not in wrong for index in range(n)]


def test_the_same_cases_are_compared_pair_by_pair() -> None:
    """Gains and losses are counted case by case, and the limits are Tango's."""
    first = _table({"pristine": _hits(50, []), "jpeg:q30": _hits(50, range(12))})
    second = _table({"pristine": _hits(50, []), "jpeg:q30": _hits(50, (20, 21))})
    found = compare_tables(first, second, names=NAMES)
    assert (found.paired, found.n_common) == (True, 50)
    point = found.points[1]
    assert (point.only_second, point.only_first) == (12, 2)
    reference = tango(12, 2, 50)
    assert (point.difference.value, point.difference.low, point.difference.high) == (
        reference.value, reference.low, reference.high
    )  # fmt: skip
    assert f"{point.difference:.5f}" == "0.20000 (0.06111 to 0.34471)"  # FACTS: Tango for (12, 2, 50)
    assert point.ratio_file == 10


def test_cost_is_the_difference_of_the_two_losses() -> None:
    """A run that starts lower and loses as much costs no more; its interval holds zero."""
    first = _table({"pristine": _hits(60, []), "jpeg:q30": _hits(60, range(6))})
    second = _table({"pristine": _hits(60, range(30, 36)), "jpeg:q30": _hits(60, range(30, 42))})
    point = compare_tables(first, second, names=NAMES).points[1]
    assert point.cost.value == pytest.approx(0)
    assert point.cost.low < 0 < point.cost.high
    assert compare_tables(first, second, names=NAMES).points[0].difference.value == pytest.approx(-0.1)


def test_several_cases_of_a_patient_widen_the_limits() -> None:
    """With patients of five cases the unit is the patient, and a wrong patient weighs as one."""
    patients = [f"p{index // 5}" for index in range(100)]
    right = {"pristine": _hits(100, []), "jpeg:q30": _hits(100, range(10))}
    whole = {"pristine": _hits(100, []), "jpeg:q30": _hits(100, [])}
    alone = compare_tables(_table(whole), _table(right), names=NAMES).points[1].difference
    together = (
        compare_tables(_table(whole, patients=patients), _table(right, patients=patients), names=NAMES)
        .points[1]
        .difference
    )
    assert (together.unit, together.n, alone.unit) == ("patient", 20, "case")
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_other_cases_are_two_samples() -> None:
    """Without a common case the limits are Newcombe's, as statsmodels gives them."""
    first = _table({"pristine": _hits(80, []), "jpeg:q30": _hits(80, range(32))}, prefix="a")
    second = _table({"pristine": _hits(70, []), "jpeg:q30": _hits(70, range(14))}, prefix="b")
    found = compare_tables(first, second, names=NAMES)
    assert (found.paired, found.n_common, found.points[1].only_first) == (False, 0, -1)
    low, high = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    point = found.points[1]
    assert (point.difference.low, point.difference.high) == pytest.approx((low, high), abs=1e-9)


def test_the_same_name_for_another_file_is_another_case() -> None:
    """Ids such as ``normal/0.png`` occur in every set: the file's digest decides."""
    right = {"pristine": _hits(10, []), "jpeg:q30": _hits(10, [])}
    same = [_table(right, case_digest="aa"), _table(right, case_digest="aa")]
    other = [_table(right, case_digest="aa"), _table(right, case_digest="bb")]
    assert compare_tables(same[0], same[1], names=NAMES).paired
    assert not compare_tables(other[0], other[1], names=NAMES).paired


def test_a_case_that_failed_in_one_run_is_left_out_there() -> None:
    """Only cases that both runs classified, at the point and pristine, are compared."""
    first = _table({"pristine": _hits(10, []), "jpeg:q30": _hits(10, [])})
    broken = pl.when((pl.col("case_id") == "c0") & (pl.col("point") == "jpeg:q30"))
    second = first.with_columns(broken.then(pl.lit("codec-limit")).otherwise("status").alias("status"))
    point = compare_tables(first, second, names=NAMES).points[1]
    assert (point.first.n, point.difference.n) == (9, 9)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.filter(pl.col("point") != "pristine"),
        lambda table: table.with_columns(point=pl.col("point").replace("jpeg:q30", "jpeg:q31")),
    ],
    ids=["no pristine", "no common point"],
)
def test_runs_without_a_common_ground_are_refused(spoil: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Pristine and a coded point must be in both."""
    table = _table({"pristine": _hits(4, []), "jpeg:q30": _hits(4, [])})
    with pytest.raises(UsageError, match="expected pristine and a coded point in both runs"):
        compare_tables(table, spoil(table), names=NAMES)


def test_limits_of_a_paired_difference_cover_it() -> None:
    """Of 400 simulated pairs of runs at least 93 % have the true difference within 95 % limits."""
    rng, inside = np.random.default_rng(7), 0
    for _ in range(400):
        first = rng.random(200) < 0.8
        second = np.where(rng.random(200) < 0.12, ~first, first)
        found = (
            compare_tables(
                _table({"pristine": [True] * 200, "jpeg:q30": first.tolist()}),
                _table({"pristine": [True] * 200, "jpeg:q30": second.tolist()}),
                names=NAMES,
            )
            .points[1]
            .difference
        )
        inside += found.low <= 0.12 * (0.2 - 0.8) <= found.high
    assert inside >= 0.93 * 400


def test_the_difference_of_an_undefined_estimate_is_undefined_with_its_reason() -> None:
    """NaN goes through with its reason."""
    found = difference_of(wilson(1, 2), wilson(0, 0, what="case of the second run"))
    assert math.isnan(found.value)
    assert "second run" in found.reason

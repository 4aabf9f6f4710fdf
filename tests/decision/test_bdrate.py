"""BD-rate on a task curve: right where the curve is good, and doubtful aloud where it is not."""

from __future__ import annotations

import math

import bjontegaard
import numpy as np
import pytest

from bitdose.decision.bdrate import bd_rate

BYTES = [100, 200, 400, 800, 1600]
SCORE = [0.60, 0.70, 0.78, 0.84, 0.88]


def test_on_good_curves_it_is_the_packages_number() -> None:
    """No doubt, no fit: the package's piecewise cubic figure as it is."""
    better = [80, 150, 290, 560, 1100]
    found = bd_rate(BYTES, SCORE, better, SCORE)
    assert found.warnings == ()
    assert found.overlap == 1
    assert found.percent == pytest.approx(bjontegaard.bd_rate(BYTES, SCORE, better, SCORE, "pchip"))


def test_a_curve_against_itself_is_zero() -> None:
    """In any order of its points."""
    assert bd_rate(BYTES, SCORE, BYTES[::-1], SCORE[::-1]).percent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("bytes_", "score", "says"),
    [
        (BYTES, [0.60, 0.75, 0.70, 0.84, 0.88], "test is not monotone: fitted, changed by up to 0.025"),
        (BYTES, [0.60, 0.88, 0.88, 0.88, 0.88], "test saturates or is short: 2 of 5 points"),
        (BYTES, [0.85, 0.86, 0.88, 0.90, 0.92], "the curves share 9 % of their range"),
        ([50, 150, 400, 1100, 3000], SCORE, "the curves cross"),
    ],
)
def test_what_makes_the_number_doubtful_is_said(bytes_: list[int], score: list[float], says: str) -> None:
    """Not monotone, saturated, hardly overlapping, crossing."""
    found = bd_rate(BYTES, SCORE, bytes_, score)
    assert any(says in doubt for doubt in found.warnings), found.warnings
    assert math.isfinite(found.percent)


def test_a_plateau_counts_from_its_cheapest_point() -> None:
    """Bytes beyond saturation are no cost of the score: more of the plateau changes nothing."""
    short = bd_rate(BYTES, SCORE, [90, 180, 350, 700, 1400], SCORE)
    long = bd_rate(BYTES, SCORE, [90, 180, 350, 700, 1400, 9000], [*SCORE, SCORE[-1]])
    assert long.percent == pytest.approx(short.percent)


@pytest.mark.parametrize(
    ("bytes_", "score"),
    [
        ([], []),
        ([100], [0.7]),
        (BYTES, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (BYTES, [0.8] * 5),
        (BYTES, [math.nan] * 5),
    ],
)
def test_without_a_common_range_there_is_no_number(bytes_: list[int], score: list[float]) -> None:
    """Empty, one point, apart, flat, undefined: NaN with the reason."""
    found = bd_rate(BYTES, SCORE, bytes_, score)
    assert math.isnan(found.percent)
    assert found.warnings[-1] == "the curves share no range of scores: no BD-rate"


def test_points_without_a_number_are_left_out() -> None:
    """A NaN among the points does not spoil the rest."""
    found = bd_rate([*BYTES, np.nan, 50], [*SCORE, 0.9, np.nan], BYTES, SCORE)
    assert found.percent == pytest.approx(0, abs=1e-9)

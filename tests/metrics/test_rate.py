"""What the rates promise: which ratio is which, and how a set's is averaged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitdose.metrics.rate import mean_ratio, rate_bpp, total_ratio


def test_total_and_mean_ratio_differ_by_hand() -> None:
    """100 to 10 bytes and 100 to 50: 200/60 in total, but (10 + 2)/2 as the mean of the ratios."""
    assert total_ratio([100, 100], [10, 50]) == 200 / 60
    assert mean_ratio([100, 100], [10, 50]) == 6.0


def test_on_same_size_sets_the_total_is_the_reciprocal_of_the_mean_fraction() -> None:
    """The paper's average, 1 / mean(coded / original), equals total over total where sizes agree."""
    coded = np.random.default_rng(0).integers(2_000, 90_000, 500)
    original = np.full(500, 1_048_576)
    assert total_ratio(original, coded) == pytest.approx(1 / np.mean(coded / original), rel=1e-12)
    assert mean_ratio(original, coded) > total_ratio(original, coded)


def test_a_printed_ratio_is_such_a_reciprocal() -> None:
    """A mean fraction of 0.0351 prints as 28.490:1."""
    assert round(total_ratio([10_000] * 2, [301, 401]), 3) == 28.49


def test_bits_per_pixel_counts_pixels_not_samples() -> None:
    """1,024 and 3,072 bytes for two images of 64x64 pixels are 4 bits per pixel, colour or not."""
    assert rate_bpp([1024, 3072], [64 * 64, 64 * 64]) == 4.0


@pytest.mark.parametrize("function", [total_ratio, mean_ratio, rate_bpp])
def test_an_empty_set_has_no_rate(function: object) -> None:
    """Without a case every rate is NaN, and no warning is raised."""
    assert math.isnan(function([], []))


def test_no_coded_byte_has_no_ratio() -> None:
    """A coded size of zero is a fault of the table: NaN, not infinity."""
    assert math.isnan(total_ratio([10], [0]))
    assert math.isnan(mean_ratio([10, 10], [0, 5]))

"""Testing points in an order that is fixed beforehand, and stopping at the first that fails.

A sequence tested in a fixed order, each test at the full level and none after the first failure,
passes a point that truly loses too much with a chance of at most that level (Maurer, Hothorn &
Lehmacher 1995): to pass any, it must pass the first such point of the sequence. Several sequences
share the level (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitdose.decision.base import ChainTest, MarginTest, PointTest
from bitdose.decision.dirichlet import DirichletWeights
from bitdose.decision.margin_tests import check_margin, is_share
from bitdose.hashing import rng_for
from bitdose.metrics.rate import total_ratio
from bitdose.results.predictions import Cohort, ConditionPredictions, PointRows
from bitdose.rule.margins import Margin

Seconds = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Tester:
    """Tests points of one cohort, all against the same weightings.

    Parameters
    ----------
    cohort : Cohort
        The cases.
    margins : tuple of Margin
        All are tested at every point.
    weights : DirichletWeights
        Weightings of the cohort's patients.
    alpha : float
        Level of every test.
    seconds : callable or None
        From coded bytes per exam ``(n,)`` to seconds per exam ``(n,)``.
    """

    cohort: Cohort
    margins: tuple[Margin, ...]
    weights: DirichletWeights
    alpha: float
    seconds: Seconds | None = None

    @classmethod
    def of(
        cls, cohort: Cohort, margins: tuple[Margin, ...], *, alpha: float, seed: int, seconds: Seconds | None
    ) -> Tester:
        """Make a tester whose weightings depend on the names of the cases and the seed alone."""
        n_patients = len(cohort.patients)
        if not cohort.clustered and all(is_share(margin) for margin in margins):
            return cls(cohort, margins, DirichletWeights.none(n_patients), alpha, seconds)
        weights = DirichletWeights.of(
            n_patients, alpha=alpha, rng=rng_for(seed, "decision", *cohort.case_ids)
        )
        return cls(cohort, margins, weights, alpha, seconds)

    def test(self, rows: PointRows) -> PointTest:
        """Test every margin at one point."""
        return self.with_costs(rows, self.margins_of(rows.predictions))

    def margins_of(self, predictions: ConditionPredictions) -> tuple[MarginTest, ...]:
        """Test every margin on some predictions of the cohort's cases."""
        return tuple(
            check_margin(margin, self.cohort, predictions, self.weights, alpha=self.alpha)
            for margin in self.margins
        )

    def with_costs(self, rows: PointRows, tests: tuple[MarginTest, ...]) -> PointTest:
        """Put a point's tests and costs together."""
        exams = rows.bytes_coded.astype(float)
        known = exams.size > 0
        return PointTest(
            point=rows.point,
            chain=rows.chain,
            tests=tests,
            alpha=self.alpha,
            n=exams.size,
            ratio_file=total_ratio(rows.bytes_file, rows.bytes_coded),
            ratio_pixels=total_ratio(rows.bytes_pixels, rows.bytes_coded),
            mean_bytes=float(exams.mean()) if known else math.nan,
            seconds=float(self.seconds(rows.bytes_coded).mean()) if self.seconds and known else math.nan,
        )

    def test_in_order(self, name: str, points: Sequence[str]) -> ChainTest:
        """Test points in their order until one fails."""
        tested: list[PointTest] = []
        for point in points:
            tested.append(self.test(self.cohort.points[point]))
            if not tested[-1].passed:
                break
        return ChainTest(name, self.alpha, tuple(tested), tuple(points[len(tested) :]))


def chains_of(cohort: Cohort) -> dict[str, list[str]]:
    """Group a cohort's points by chain, each from weak to strong compression."""
    found: dict[str, list[str]] = {}
    for point, rows in cohort.points.items():
        found.setdefault(rows.chain, []).append(point)
    return found

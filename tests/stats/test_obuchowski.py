"""What the clustered test promises: McNemar's where patients have one case, its level elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from bitdose.errors import UsageError
from bitdose.stats.obuchowski import MIN_CLUSTERS, obuchowski
from bitdose.stats.proportions import mcnemar_midp


def flips(gained: int, lost: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mark the first cases as gained and the next as lost."""
    index = np.arange(n)
    return index < gained, (index >= gained) & (index < gained + lost)


@pytest.mark.parametrize(("gained", "lost"), [(1, 7), (3, 12), (10, 30)])
def test_one_case_each_is_mcnemars(gained: int, lost: int) -> None:
    """Of 80 patients with one case each the statistic is 79/80 of statsmodels' McNemar chi-square."""
    found = obuchowski(*flips(gained, lost, 80), np.arange(80))
    table = [[80 - gained - lost, gained], [lost, 0]]
    reference = mcnemar(table, exact=False, correction=False)
    assert found.chi_square * 80 / 79 == pytest.approx(reference.statistic)
    many = obuchowski(*flips(gained, lost, 10**6), np.arange(10**6))
    assert many.p_value == pytest.approx(reference.pvalue, rel=1e-4)


def test_by_hand() -> None:
    """Net changes -2, -2, +1 of 50 patients: X² = 49/50 x 9/9, p = 2 (1 - Φ(sqrt(0.98)))."""
    patients = np.arange(50).repeat(2)
    lost, gained = np.arange(100) < 4, np.arange(100) == 5
    found = obuchowski(gained, lost, patients)
    assert found.chi_square == pytest.approx(0.98)
    assert found.p_value == pytest.approx(0.32220, abs=1e-5)
    assert found.n_clusters == 50


def test_pooled_variance_of_the_two_proportions() -> None:
    """It is the difference over its between-cluster variance with pooled proportions, as first defined."""
    rng = np.random.default_rng(4)
    patients = np.sort(rng.integers(0, 70, 200))
    before, after = rng.random(200) < 0.8, rng.random(200) < 0.7
    _, cluster = np.unique(patients, return_inverse=True)
    k, n = cluster.max() + 1, np.bincount(cluster)
    sums = [np.bincount(cluster, weights=x) for x in (after, before)]
    pooled = (after.mean() + before.mean()) / 2
    residuals = [x - n * pooled for x in sums]
    scale = k / (k - 1) / 200**2
    variance = scale * sum(r @ r for r in residuals) - 2 * scale * residuals[0] @ residuals[1]
    found = obuchowski(after & ~before, before & ~after, patients)
    assert found.chi_square == pytest.approx((after.mean() - before.mean()) ** 2 / variance)


def test_it_keeps_its_level_where_mcnemar_does_not() -> None:
    """With four alike cases per patient and no true change, 5 % reject; McNemar, by cases, far more."""
    rng = np.random.default_rng(11)
    patients = np.arange(100).repeat(4)
    rejected = {"clustered": 0, "by cases": 0}
    runs = 400
    for _ in range(runs):
        mood = rng.random(100)  # each patient gains, loses or stays, and its cases mostly follow
        chance_up = np.where(mood < 0.15, 0.8, 0.02).repeat(4)
        chance_down = np.where(mood > 0.85, 0.8, 0.02).repeat(4)
        draw = rng.random(400)
        gained, lost = draw < chance_up, draw > 1 - chance_down
        lost &= ~gained
        rejected["clustered"] += obuchowski(gained, lost, patients).p_value < 0.05
        rejected["by cases"] += mcnemar_midp(int(gained.sum()), int(lost.sum())) < 0.05
    assert rejected["clustered"] / runs == pytest.approx(0.05, abs=0.03)
    assert rejected["by cases"] / runs > 0.15


def test_nothing_changed_is_no_evidence() -> None:
    """Without a change, or with as many gained as lost in every patient, p is 1."""
    none = np.zeros(120, bool)
    assert obuchowski(none, none, np.arange(120)).p_value == 1
    even = np.arange(120) % 2 == 0
    assert obuchowski(even, ~even, np.arange(60).repeat(2)).p_value == 1


@pytest.mark.parametrize(
    ("n", "reason"),
    [(49, "49 patients are too few for the clustered test, which needs 50"), (0, "no paired case")],
)
def test_few_patients_give_no_p(n: int, reason: str) -> None:
    """Below 50 patients chi-square is not to be trusted: NaN, with the reason."""
    found = obuchowski(*flips(1, 2, n), np.arange(n))
    assert math.isnan(found.p_value)
    assert (found.n_clusters, found.reason) == (n, reason)
    assert MIN_CLUSTERS == 50


def test_lengths_must_agree() -> None:
    """Arrays of different lengths are a mistake of the call."""
    with pytest.raises(UsageError, match="expected one length, got 3, 3, 2"):
        obuchowski(np.zeros(3, bool), np.zeros(3, bool), np.arange(2))

"""What the effective sample size promises where a patient has several cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitdose.hashing import rng_for
from bitdose.metrics.influence import f1_changes, f1_influence
from bitdose.stats.clusters import (
    _intraclass_correlation,
    clustered_tango,
    clustered_wilson,
    effective_size,
    paired_difference,
)
from bitdose.stats.proportions import tango, wilson


def test_effective_size_by_hand() -> None:
    """Four pairs that agree within: correlation 1, n_icc = 8 / (1 + 1), and each patient counts once."""
    assert effective_size([1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 2, 2, 3, 3, 4, 4]) == 4


def test_intraclass_correlation_agrees_with_a_mixed_model() -> None:
    """On balanced clusters the ANOVA estimate is that of statsmodels' random-intercept model (REML)."""
    import statsmodels.api as sm

    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(60), 4)
    x = (2 * rng.random(60)[cluster] + rng.random(240) < 1.5).astype(float)
    fit = sm.MixedLM(x, np.ones((240, 1)), cluster).fit(reml=True)
    between, within = float(fit.cov_re[0, 0]), float(fit.scale)
    sizes = np.full(60, 4)
    ours = _intraclass_correlation(x, cluster, sizes, 4.0)
    assert 0.05 < ours < 0.95
    assert ours == pytest.approx(between / (between + within), abs=1e-4)


def test_independent_cases_keep_their_number() -> None:
    """Cases that do not know of their patient are worth about n, and never more."""
    rng = np.random.default_rng(1)
    sizes = [effective_size(rng.random(600) < 0.8, np.repeat(np.arange(300), 2)) for _ in range(50)]
    assert max(sizes) <= 600
    assert np.mean(sizes) > 540


def test_copies_count_once() -> None:
    """Pairs that always agree are worth n/2."""
    hits = np.random.default_rng(2).random(200) < 0.7
    assert effective_size(np.repeat(hits, 2), np.repeat(np.arange(200), 2)) == 200


def test_equal_values_count_each_patient_once() -> None:
    """Where no case differs, nothing shows how alike a patient's cases are: patients count."""
    assert effective_size([1] * 6, list("aabbcc")) == 3.0
    assert effective_size([0, 1], ["a", "a"]) == 1.0
    assert effective_size([], []) == 0.0


def test_one_case_per_patient_is_about_the_plain_interval() -> None:
    """With as many patients as cases the clustered intervals are Wilson's and Tango's, but for P/(P - 1)."""
    rng = np.random.default_rng(3)
    hits, patients = rng.random(300) < 0.9, np.arange(300)
    plain, found = wilson(int(hits.sum()), 300), clustered_wilson(hits, patients)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-4)
    gained, lost = hits[:150].repeat(2) & (patients % 9 == 0), patients % 10 == 1
    plain, found = tango(gained.sum(), lost.sum(), 300), clustered_tango(gained, lost, patients)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-4)
    assert (found.method, found.unit, found.n) == ("tango-rao-scott", "patient", 300)


def test_clusters_widen_the_interval() -> None:
    """Two identical cases per patient give the interval of the patients, not of the cases."""
    hits = np.arange(100) % 5 > 0
    twice = clustered_wilson(hits.repeat(2), np.arange(100).repeat(2))
    once = wilson(80, 100)
    assert twice.n == 100
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-3)


def test_all_right_still_has_a_lower_limit() -> None:
    """No error among 20 cases of 10 patients: Wilson's limit for 10, not a zero-width interval."""
    found = clustered_wilson(np.ones(20, bool), np.arange(10).repeat(2))
    assert found.low == pytest.approx(wilson(10, 10).low, abs=1e-12)


def test_nothing_is_undefined() -> None:
    """No case: NaN and the reason."""
    none = np.zeros(0, bool)
    assert clustered_wilson(none, none, what="answer 'a'").reason == "no answer 'a'"
    assert math.isnan(clustered_tango(none, none, none).value)


def test_nominal_coverage_is_kept() -> None:
    """Of 1,500 sets (60 patients, 1 to 4 correlated cases each) at least 92 % of the 95 % intervals hold."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(1500):
        patients = np.repeat(np.arange(60), rng.integers(1, 5, 60))
        chance = rng.beta(4, 1, 60)[patients]  # mean 0.8; cases of a patient correlate by 1/6
        found = clustered_wilson(rng.random(patients.size) < chance, patients)
        held += found.low <= 0.8 <= found.high
    assert held / 1500 >= 0.92


_DESIGNS = {
    "pairs": [2] * 100,
    "mixed": [1] * 60 + [5] * 20 + [10] * 4,
    "one patient with a tenth of the cases": [1] * 92 + [2] * 26 + [4] * 13 + [22],
}


@pytest.mark.parametrize("design", _DESIGNS)
@pytest.mark.parametrize("shared", [0.0, 1.0])
@pytest.mark.parametrize("loss", [0.04, 0.08])
def test_a_loss_is_rarely_understated(design: str, shared: float, loss: float) -> None:
    """Whether a patient's cases fail together or apart, the lower limit misses in at most 4.5 %."""
    rng = rng_for("tango-coverage", design, str(shared), str(loss))
    patients = np.repeat(np.arange(len(_DESIGNS[design])), _DESIGNS[design])
    missed = covered = 0
    for _ in range(400):
        together = rng.random(patients.max() + 1)[patients] < loss
        lost = together if shared else rng.random(patients.size) < loss
        found = clustered_tango(np.zeros(lost.size, bool), lost, patients)
        missed += found.low > -loss
        covered += found.low <= -loss <= found.high
    assert missed / 400 <= 0.045
    assert covered / 400 >= 0.90


def test_losing_a_case_never_makes_the_lower_limit_more_hopeful_than_none_lost() -> None:
    """From no lost case to one, wherever it falls, the lower limit goes down."""
    patients = np.repeat(np.arange(132), [22] + [1] * 100 + [2] * 31)[:184]
    none = np.zeros(patients.size, bool)
    start = clustered_tango(none, none, patients).low
    for case in (0, 30, 150):
        lost = none.copy()
        lost[case] = True
        assert clustered_tango(none, lost, patients).low < start


def test_a_difference_of_accuracies_is_tangos_own() -> None:
    """Equal parts of independent cases: worth (n - 1) of them, the limits are Tango's at that number."""
    changes = np.repeat([-1 / 60, 1 / 60, 0.0], [9, 3, 48])
    found = paired_difference(changes, changes - changes.mean(), np.arange(60), least=60)
    expected = tango(3 * 59 / 60, 9 * 59 / 60, 59)
    assert (found.value, found.low, found.high) == pytest.approx(
        (-0.1, expected.low, expected.high), abs=1e-9
    )
    assert (found.method, found.n) == ("tango-effective", 60)


def test_without_a_change_the_least_number_counts() -> None:
    """No answer changed: zero, with the limits of as many unchanged cases as the rarest class has."""
    found, same = paired_difference(np.zeros(60), np.zeros(60), np.arange(60), least=12), tango(0, 0, 12)
    assert (found.value, found.low, found.high) == pytest.approx((0, same.low, same.high), abs=1e-12)


def test_one_patient_tells_no_spread() -> None:
    """All cases of one patient: the value stands, the limits are NaN with the reason."""
    found = paired_difference(np.array([-0.1, 0.0]), np.array([-0.1, 0.1]), np.array([3, 3]), least=1)
    assert found.value == -0.1
    assert math.isnan(found.low)
    assert found.reason == "limits undefined: one patient only"


@pytest.mark.parametrize("cases_each", [1, 3])
def test_a_difference_of_macro_f1_holds_the_truth(cases_each: int) -> None:
    """Of 400 studies whose rare class is harmed, 92 to 99 % of 95 % intervals hold the true loss."""
    rng, held = np.random.default_rng(11), 0
    rare, lost, patients = 0.25, 0.12, np.repeat(np.arange(160), cases_each)
    # Pristine is always right; a lost case of the rare class is taken for the common one.
    sensitivity = 1 - lost
    common, scarce = 2 * (1 - rare) / (2 * (1 - rare) + rare * lost), 2 * sensitivity / (2 - lost)
    truth = (common + scarce) / 2 - 1
    for _ in range(400):
        true = (rng.random(160) < rare).astype(np.int64)[patients]
        after = np.where((rng.random(160) < lost)[patients] & (true == 1), 0, true)
        pull = (f1_influence(true, after, 2) - f1_influence(true, true, 2)).mean(1)
        changes = f1_changes(true, true, after, 2).mean(1)
        found = paired_difference(changes, pull, patients, least=np.unique(patients[true == 1]).size)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.99

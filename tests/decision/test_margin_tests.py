"""Each metric's loss against the same thing done slowly: one weighting at a time, by the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from bitdose.decision.dirichlet import DirichletWeights, usual_size
from bitdose.decision.margin_tests import among, changed_share, check_margin
from bitdose.decision.resampled_tests import check_composite
from bitdose.results.predictions import Cohort, ConditionPredictions
from bitdose.rule.margins import Margin
from bitdose.stats.noninferiority import paired_loss_test, rate_test

LABELS = ("a", "b", "c")
N = 90


def cohort_of(rng: np.random.Generator, *, patients: int) -> tuple[Cohort, ConditionPredictions]:
    """Make three uneven classes, answers mostly right, a few changed by coding."""
    patient = np.sort(rng.integers(0, patients, N)) if patients < N else np.arange(N)
    _, patient = np.unique(patient, return_inverse=True)
    class_of_patient = rng.choice(3, patient.max() + 1, p=[0.6, 0.3, 0.1])
    class_of_patient[:3] = [0, 1, 2]
    true = class_of_patient[patient]
    arms = []
    for blur in (0.6, 0.9):
        scores = np.eye(3)[true] + rng.normal(0, blur, (N, 3))
        chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        arms.append(ConditionPredictions(chances.argmax(1), chances))
    ids = tuple(f"case-{n:03d}" for n in range(N))
    names = tuple(f"p{n}" for n in range(patient.max() + 1))
    return Cohort(LABELS, ids, true, patient, names, arms[0], {}), arms[1]


def slow_loss(margin: Margin, cohort: Cohort, arms: list[ConditionPredictions], weights: np.ndarray) -> float:
    """Work a loss out with scikit-learn, cases weighted."""

    def value(arm: ConditionPredictions) -> float:
        true, said, place = cohort.true, arm.predicted, LABELS.index(margin.label) if margin.label else 0
        match margin.metric:
            case "macro_f1":
                return reference.f1_score(true, said, average="macro", sample_weight=weights)
            case "f1":
                return reference.f1_score(true, said, labels=[place], average="macro", sample_weight=weights)
            case "precision":
                return reference.precision_score(
                    true, said, labels=[place], average="macro", sample_weight=weights
                )
            case "sensitivity":
                return reference.recall_score(true, said, average="macro", sample_weight=weights)
            case "auroc":
                places = [place] if margin.label else range(3)
                return float(
                    np.mean(
                        [
                            reference.roc_auc_score(true == c, arm.probabilities[:, c], sample_weight=weights)
                            for c in places
                        ]
                    )
                )
        errors = ((arm.probabilities - np.eye(3)[true]) ** 2).sum(1)
        return -float(np.average(errors, weights=weights))

    return value(arms[0]) - value(arms[1])


@pytest.mark.parametrize("patients", [N, 40])
@pytest.mark.parametrize(
    "name", ["macro_f1", "f1[b]", "precision[a]", "sensitivity", "auroc", "auroc[b]", "brier"]
)
def test_losses_under_weights_are_scikit_learns(name: str, patients: int) -> None:
    """Without a worst-case patient, each draw's loss is the metric's on cases so weighted."""
    rng = np.random.default_rng(7)
    cohort, coded = cohort_of(rng, patients=patients)
    draws = DirichletWeights.of(len(cohort.patients), alpha=0.05, rng=rng)
    few = DirichletWeights(draws.patients[:, :20], np.zeros(20, np.float32))
    margin = Margin.of(name, 0.1)
    found = check_composite(margin, cohort, coded, few, alpha=0.05)
    assert found.test.loss == pytest.approx(slow_loss(margin, cohort, [cohort.pristine, coded], np.ones(N)))
    per_patient = few.as_rows()[:, :-1][:, cohort.patient_of_case].astype(float)
    slow = [slow_loss(margin, cohort, [cohort.pristine, coded], w) for w in per_patient]
    assert found.test.upper == pytest.approx(np.sort(slow)[-1], abs=2e-5)
    assert found.test.p == (1 + sum(loss >= 0.1 for loss in slow)) / 21


def test_the_worst_case_patient_raises_every_limit() -> None:
    """With it each metric's limit lies higher than without."""
    rng = np.random.default_rng(8)
    cohort, coded = cohort_of(rng, patients=N)
    draws = DirichletWeights.of(len(cohort.patients), alpha=0.05, rng=rng)
    without = DirichletWeights(draws.patients, np.zeros_like(draws.worst))
    for name in ("macro_f1", "precision[c]", "f1[c]", "sensitivity", "auroc", "auroc[a]", "brier", "ece"):
        margin = Margin.of(name, 0.1)
        limits = [check_composite(margin, cohort, coded, d, alpha=0.05).test.upper for d in (draws, without)]
        assert limits[0] > limits[1], name


def test_the_mix_of_classes_varies_from_draw_to_draw() -> None:
    """Where only one class loses, all its cases alike, the loss is as unsure as the share of the class."""
    n, rng = 4000, np.random.default_rng(2)
    true = (np.arange(n) < 0.3 * n).astype(np.int64)
    sure, unsure = np.eye(2)[true], np.where(true[:, None] == 1, 0.5, np.eye(2)[true])
    names = tuple(f"{i:04d}" for i in range(n))
    cohort = Cohort(("a", "b"), names, true, np.arange(n), names, ConditionPredictions(true, sure), {})
    draws = DirichletWeights.of(n, alpha=0.05, rng=rng)
    found = check_composite(
        Margin.of("brier", 0.5), cohort, ConditionPredictions(true, unsure), draws, alpha=0.05
    ).test
    assert found.loss == pytest.approx(0.15)
    spread = 0.5 * math.sqrt(0.3 * 0.7 / n)
    assert found.upper == pytest.approx(0.15 + 1.645 * spread + 2 / n, abs=0.15 * spread)


def test_a_lost_calibration_is_not_hidden_by_chance() -> None:
    """Coded answers drawn together by a known calibration error never seem to lose less than it."""
    n, rng = 300, np.random.default_rng(3)
    names = tuple(f"{i:04d}" for i in range(n))
    below = 0
    for _ in range(60):
        p = rng.uniform(0.5, 0.9, n)
        true = (rng.random(n) > p).astype(np.int64)
        arms = [
            ConditionPredictions(np.zeros(n, np.int64), np.column_stack([q, 1 - q])) for q in (p, p + 0.08)
        ]
        cohort = Cohort(("a", "b"), names, true, np.arange(n), names, arms[0], {})
        draws = DirichletWeights.of(n, alpha=0.05, rng=rng)
        below += check_composite(Margin.of("ece", 0.08), cohort, arms[1], draws, alpha=0.05).test.passed
    assert below <= 3


def test_shares_and_rates_of_independent_cases_are_counted() -> None:
    """Accuracy, a class's sensitivity and specificity, and flips, against counts by hand."""
    rng = np.random.default_rng(9)
    cohort, coded = cohort_of(rng, patients=N)
    draws = DirichletWeights.of(len(cohort.patients), alpha=0.05, rng=rng)
    true, then, now = cohort.true, cohort.pristine.predicted, coded.predicted
    rights = {
        "accuracy": (np.ones(N, bool), then == true, now == true),
        "sensitivity[b]": (true == 1, then == 1, now == 1),
        "specificity[b]": (true != 1, then != 1, now != 1),
    }
    for name, (mask, before, after) in rights.items():
        gained, lost = int((mask & after & ~before).sum()), int((mask & before & ~after).sum())
        expected = paired_loss_test(gained, lost, int(mask.sum()), margin=0.1, alpha=0.05)
        found = check_margin(Margin.of(name, 0.1), cohort, coded, draws, alpha=0.05)
        assert found.test == expected
        assert (found.pristine, found.coded) == (before[mask].mean(), after[mask].mean())
        assert changed_share(Margin.of(name, 0.1), cohort, coded) == (gained + lost) / mask.sum()
    events = {
        "flips": (np.ones(N, bool), then != now),
        "harmful_flips": (np.ones(N, bool), (then == true) & (now != true)),
        "harmful_flips[a]": (true == 0, (then == true) & (now != true)),
    }
    for name, (mask, event) in events.items():
        expected = rate_test(int(event[mask].sum()), int(mask.sum()), margin=0.1, alpha=0.05)
        found = check_margin(Margin.of(name, 0.1), cohort, coded, draws, alpha=0.05)
        assert found.test == expected
        assert math.isnan(found.pristine)


def test_with_one_case_per_patient_draws_and_counts_agree() -> None:
    """The draws of weights that clustered cases take give the exact binomial's p-value."""
    rng = np.random.default_rng(10)
    cohort, coded = cohort_of(rng, patients=N)
    pairs = Cohort(**{**vars(cohort), "patients": cohort.patients[:-1]})  # one fewer name: clustered
    margin = Margin.of("harmful_flips", 0.2)
    draws = DirichletWeights.of(len(cohort.patients), alpha=0.0025, rng=rng)
    exact = check_margin(margin, cohort, coded, draws, alpha=0.0025).test
    drawn = check_margin(margin, pairs, coded, draws, alpha=0.0025).test
    assert (exact.method, drawn.method) == ("clopper-pearson", "worst-case-dirichlet")
    assert drawn.p == pytest.approx(exact.p, abs=0.01)
    assert drawn.upper == pytest.approx(exact.upper, abs=0.01)


def test_the_patient_of_a_random_case_has_more_cases_than_the_mean_patient() -> None:
    """One patient of nine cases and one of one: a random case is of the former nine times in ten."""
    assert usual_size(np.array([9.0, 1.0])) == pytest.approx(8.2)


def test_a_metric_is_of_the_cases_it_names() -> None:
    """Sensitivity and flips of a class are of its cases, specificity of the others, the rest of all."""
    cohort, _ = cohort_of(np.random.default_rng(11), patients=N)
    of_b = cohort.true == 1
    assert (among(Margin.of("sensitivity[b]", 0.1), cohort) == of_b).all()
    assert (among(Margin.of("harmful_flips[b]", 0.1), cohort) == of_b).all()
    assert (among(Margin.of("specificity[b]", 0.1), cohort) == ~of_b).all()
    assert among(Margin.of("precision[b]", 0.1), cohort).all()


@pytest.mark.parametrize("shape", ["every patient", "few patients", "one feature", "none"])
def test_sums_are_the_plain_product(shape: str) -> None:
    """Skipping patients and features that are all zero changes no sum under any weighting."""
    rng = np.random.default_rng(3)
    draws, features = DirichletWeights.of(60, alpha=0.05, rng=rng), rng.normal(size=(60, 4))
    features[{"every patient": 60, "few patients": 5, "one feature": 60, "none": 0}[shape] :] = 0
    if shape == "one feature":
        features[:, [0, 2, 3]] = 0
    plain = features.T @ draws.patients.astype(float)
    np.testing.assert_allclose(draws.sums(features), plain.T, rtol=1e-4, atol=1e-4)
    worst = np.array([1.0, 0, 2, 0])
    with_worst = plain.T + np.outer(draws.worst, worst)
    np.testing.assert_allclose(
        draws.with_worst(draws.sums(features), worst), with_worst, rtol=1e-4, atol=1e-4
    )

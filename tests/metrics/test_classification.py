"""What the classification metrics promise: by hand, against scikit-learn, and where they are undefined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from bitdose.metrics import classification as metric

# Three classes, twelve cases: true classes in rows, answers in columns.
TABLE = np.array([[3, 1, 0], [1, 2, 1], [0, 0, 4]])


def cases_of(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write a confusion matrix out as one true and one predicted class per case."""
    true, predicted = np.indices(confusion.shape).reshape(2, -1)
    return np.repeat(true, confusion.ravel()), np.repeat(predicted, confusion.ravel())


def test_confusion_puts_true_classes_in_rows() -> None:
    """Three cases of class 0, one answered 2: row 0 holds 2, 0, 1, and every case counts once."""
    found = metric.confusion_matrix([0, 0, 0, 2], [0, 2, 0, 2], 3)
    assert found.tolist() == [[2, 0, 1], [0, 0, 0], [0, 0, 1]]


def test_hand_worked_table() -> None:
    """Nine of twelve right; each class's numbers are the fractions one writes down from the table."""
    assert float(metric.accuracy(TABLE)) == 9 / 12
    assert metric.sensitivity(TABLE).tolist() == [3 / 4, 2 / 4, 4 / 4]
    assert metric.specificity(TABLE).tolist() == [7 / 8, 7 / 8, 7 / 8]
    assert metric.precision(TABLE).tolist() == [3 / 4, 2 / 3, 4 / 5]
    assert metric.f1_score(TABLE).tolist() == [6 / 8, 4 / 7, 8 / 9]
    assert float(metric.macro_f1(TABLE)) == pytest.approx((6 / 8 + 4 / 7 + 8 / 9) / 3, abs=1e-15)


@pytest.mark.parametrize("n_classes", [2, 3, 4, 5])
def test_metrics_agree_with_scikit_learn(n_classes: int) -> None:
    """On random tables with every class present and answered, all metrics are scikit-learn's."""
    rng = np.random.default_rng(n_classes)
    for _ in range(20):
        true, predicted = cases_of(rng.integers(1, 12, (n_classes, n_classes)))
        ours = metric.confusion_matrix(true, predicted, n_classes)
        assert ours.tolist() == reference.confusion_matrix(true, predicted).tolist()
        precision, recall, f1, _ = reference.precision_recall_fscore_support(true, predicted)
        np.testing.assert_allclose(metric.sensitivity(ours), recall, atol=1e-12)
        np.testing.assert_allclose(metric.precision(ours), precision, atol=1e-12)
        np.testing.assert_allclose(metric.f1_score(ours), f1, atol=1e-12)
        assert float(metric.accuracy(ours)) == pytest.approx(reference.accuracy_score(true, predicted))
        macro = reference.f1_score(true, predicted, average="macro")
        assert float(metric.macro_f1(ours)) == pytest.approx(macro)
        for c in range(n_classes):
            rest = reference.recall_score(true != c, predicted != c)
            assert metric.specificity(ours)[c] == pytest.approx(rest)


def test_a_stack_gives_what_its_tables_give() -> None:
    """A stack of tables ``(draws, K, K)`` gives the same numbers as one table at a time."""
    stack = np.random.default_rng(1).integers(0, 5, (6, 3, 3))
    for function in (metric.accuracy, metric.sensitivity, metric.specificity, metric.macro_f1):
        np.testing.assert_array_equal(function(stack), [function(table) for table in stack])


def test_an_absent_class_has_no_sensitivity_and_no_f1() -> None:
    """A class without a case gives NaN for itself and for the macro mean, not 0; the others stand."""
    table = np.array([[2, 0, 1], [0, 2, 0], [0, 0, 0]])
    assert np.isnan(metric.sensitivity(table)).tolist() == [False, False, True]
    assert np.isnan(metric.f1_score(table)).tolist() == [False, False, True]
    assert np.isnan(metric.macro_f1(table))
    assert metric.specificity(table)[2] == 4 / 5


def test_a_class_never_answered_has_no_precision() -> None:
    """Without an answer of a class its precision is NaN; its F1 is 0, for its cases were missed."""
    table = np.array([[3, 0], [2, 0]])
    assert metric.precision(table)[0] == 3 / 5
    assert np.isnan(metric.precision(table)[1])
    assert metric.f1_score(table)[1] == 0.0


def test_one_class_alone_has_no_specificity() -> None:
    """Where every case is of the class there is nothing to be specific about: NaN."""
    assert np.isnan(metric.specificity(np.array([[3, 1], [0, 0]]))[0])


def test_an_empty_set_is_undefined_throughout() -> None:
    """Without a case every metric is NaN, and no warning is raised."""
    empty = metric.confusion_matrix([], [], 3)
    assert empty.shape == (3, 3)
    for function in (metric.accuracy, metric.sensitivity, metric.precision, metric.macro_f1):
        assert np.isnan(function(empty)).all()


def test_auroc_by_hand() -> None:
    """Positives 0.9 and 0.4, negatives 0.4 and 0.1: three wins and one tie of four pairs."""
    assert metric.auroc([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1]) == 3.5 / 4


def test_auroc_agrees_with_scikit_learn_with_ties() -> None:
    """On scores rounded to one digit, so full of ties, the area is scikit-learn's."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        positive = np.r_[True, False, rng.random(40) < 0.4]
        score = np.round(rng.random(42) * 0.7 + 0.3 * positive, 1)
        assert metric.auroc(positive, score) == pytest.approx(reference.roc_auc_score(positive, score))


@pytest.mark.parametrize("positive", [[1, 1], [0, 0], []])
def test_auroc_of_one_kind_is_undefined(positive: list[int]) -> None:
    """Without positives, or without negatives, there is no pair to rank: NaN."""
    assert np.isnan(metric.auroc(positive, [0.5] * len(positive)))

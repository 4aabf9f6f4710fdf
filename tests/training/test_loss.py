"""What the loss promises: weights per class, the published ones where they belong, a teacher's answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bitdose.errors import UsageError
from bitdose.models.brain_tumor import CLASS_WEIGHTS
from bitdose.training.evaluate import Predictions, validation_scores
from bitdose.training.loss import batch_loss, class_weights

BRAIN = ["HGG", "LGG", "healthy"]


@pytest.mark.parametrize(
    ("rule", "labels", "wanted"),
    [
        ("paper", BRAIN, [1.0, 3.54, 1.0]),
        ("paper", ["x", "y"], [2 / 3, 2.0]),
        ("none", BRAIN, [1.0, 1.0, 1.0]),
        ("balanced", ["x", "y"], [2 / 3, 2.0]),
        ("y=5, x=0.5", ["x", "y"], [0.5, 5.0]),
    ],
)
def test_the_rules_for_class_weights(rule: str, labels: list[str], wanted: list[float]) -> None:
    """Published weights go by name; for other labels frequency decides; a list is taken as it is."""
    found = class_weights(rule, labels, ["x", "x", "x", "y"], CLASS_WEIGHTS)
    assert found == pytest.approx(wanted)


def test_a_list_that_names_other_labels_is_refused() -> None:
    """Every label needs its weight, and no other may be named."""
    for text in ("x=1", "x=1,y=1,z=1", "x=1,z=1"):
        with pytest.raises(UsageError, match=r"class_weights: expected a weight for each of \['x', 'y'\]"):
            class_weights(text, ["x", "y"], ["x"], {})


@pytest.mark.parametrize("text", ["x=1,y", "x=0", "x=-1", "x=nan", "x=inf", "", "=3", "heavy"])
def test_a_list_that_is_no_list_is_refused(text: str) -> None:
    """A weight is a number above nought, for a name."""
    with pytest.raises(UsageError, match="class_weights: expected paper, balanced, none or label=weight"):
        class_weights(text, ["x", "y"], ["x"], {})


def test_the_summed_loss_over_the_weights_is_the_weighted_mean() -> None:
    """Divided by the sum of its weights, the loss is PyTorch's weighted cross-entropy."""
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1])
    weights = torch.tensor([0.05, 0.05, 1.0])
    ours = batch_loss(logits, labels, weights) / weights[labels].sum()
    torch.testing.assert_close(ours, functional.cross_entropy(logits, labels, weight=weights))


def test_a_teacher_of_weight_nought_changes_nothing_and_one_that_agrees_costs_nothing() -> None:
    """``distill`` 0 is the plain loss; 1 is nought where student and teacher agree, and more elsewhere."""
    logits, labels, weights = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 1]), torch.tensor([1.0, 2.0, 0.5])
    told = torch.randn(5, 3).log_softmax(dim=1)
    plain = batch_loss(logits, labels, weights)
    torch.testing.assert_close(batch_loss(logits, labels, weights, teacher=told, distill=0.0), plain)
    agrees = batch_loss(logits, labels, weights, teacher=logits.log_softmax(1), distill=1.0, temperature=2.0)
    assert float(agrees) == pytest.approx(0, abs=1e-5)
    assert float(batch_loss(logits, labels, weights, teacher=told, distill=1.0, temperature=2.0)) > 0.01


def test_a_class_whose_validation_cases_all_failed_does_not_hide_the_others() -> None:
    """F1 is the mean over the classes that have a case: never nought, nor NaN, for want of one."""
    sure = np.log(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]))
    scores = validation_scores(Predictions(np.array([0, 1]), sure), 3)
    assert scores["validation_f1"] == 1.0
    assert scores["validation_accuracy"] == 1.0
    assert scores["validation_loss"] == pytest.approx(-np.log(0.9))

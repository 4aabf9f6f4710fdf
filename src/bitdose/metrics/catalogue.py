"""The one table of what a metric is; margins, decisions, summaries, reports and pages read it.

To add a metric, write its kernel and its row in ``METRICS``. One that is a share of cases or a function of
the confusion matrix needs no more: its interval, its difference, its test and its words follow from the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitdose.metrics import classification as kernel
from bitdose.metrics.influence import Changes, Influence, f1_changes, f1_influence

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Family = Literal["share", "confusion", "auroc", "brier", "ece", "flips"]
Share = Callable[[Ints, Ints, int], tuple[Bools, Bools]]
Event = Callable[[Ints, Ints, Ints], Bools]


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    Parameters
    ----------
    family : {"share", "confusion", "auroc", "brier", "ece", "flips"}
        How its interval and its test are made: as a share of cases, as a function of the confusion matrix,
        or in a way of its own.
    of_class : {"never", "may", "must"}
        Whether a margin names a class. Without one, a metric that ``may`` is the mean over classes, or, of
        the flips, of all cases.
    meaning : str
        Its definition in half a line.
    words : str
        Its name within a sentence.
    title : str
        Its name at the head of a column or beside an axis.
    page_names : mapping
        Language to its name on the service's pages.
    low, high : float
        Range of its values. A margin is below ``high - low``.
    lower_is_better : bool
        Whether a rise is a loss.
    percent : bool
        Whether it is told in percent, and its difference in percentage points.
    needs : frozenset of str
        What must be there for it to have a value: ``positives`` (a case of the class), ``negatives`` (a case
        of another class), ``probabilities``.
    every_class : bool
        Whether, without a class, it needs all of this of every class.
    among : str
        What a share is of, ``{}`` for the class: said where there is none.
    share : callable, optional
        From true and predicted class indices ``(n_cases,)`` and a class index (-1: no class) to the hits and
        the cases that they are among, both ``(n_cases,)`` bool.
    paired : bool
        Whether a share is among the same cases whatever is predicted, so that two of them make pairs.
    confusion : callable, optional
        From confusion matrices ``(..., K, K)``, counts or weights, to values: ``(..., K)`` if of a class,
        else ``(...)``.
    influence, changes : callable, optional
        By class, ``(n_cases, K)``, in closed form; as ``f1_influence`` and ``f1_changes`` of
        ``metrics/influence.py``. Where none is given, the slope of ``confusion`` is taken.
    event : callable, optional
        From true classes, predictions before and predictions after to the cases that flip, ``(n_cases,)``
        bool.
    undefined : str
        Why it has no value although all that it needs is there.
    charted : bool
        Whether the report draws it against the compression ratio.
    """

    family: Family
    of_class: Literal["never", "may", "must"]
    meaning: str
    words: str
    title: str
    page_names: Mapping[str, str]
    low: float = 0.0
    high: float = 1.0
    lower_is_better: bool = False
    percent: bool = False
    needs: frozenset[str] = field(default_factory=frozenset)
    every_class: bool = False
    among: str = "classified case"
    share: Share | None = None
    paired: bool = True
    confusion: Callable[[NDArray[Any]], Floats] | None = None
    influence: Influence | None = None
    changes: Changes | None = None
    event: Event | None = None
    undefined: str = "the metric is undefined on these cases"
    charted: bool = False

    @property
    def estimated(self) -> bool:
        """Whether the summary holds it as a value with an interval; flips have counts of their own."""
        return self.family != "flips"

    @property
    def compared(self) -> bool:
        """Whether the summary holds its difference against pristine."""
        return self.estimated and self.paired

    def tested_as(self, label: str) -> Family:
        """Return the family of a margin's test: a share without pairs is tested by its confusion matrix."""
        whole = bool(label) or self.of_class == "never"
        return "confusion" if self.family == "share" and not (self.paired and whole) else self.family

    def of_confusion(self, matrices: NDArray[Any], place: int = -1) -> Floats:
        """Return its values from confusion matrices ``(..., K, K)``, of one class or over all, ``(...)``.

        Raises
        ------
        TypeError
            If it is no function of the confusion matrix.
        """
        if self.confusion is None:
            raise TypeError(f"{self.words} is no function of the confusion matrix")
        values = self.confusion(matrices)
        if self.of_class == "never":
            return values
        return np.asarray(values[..., place] if place >= 0 else values.mean(-1))


def _right(true: Ints, predicted: Ints, _place: int) -> tuple[Bools, Bools]:
    return np.asarray(predicted == true), np.ones(true.size, bool)


def _found(true: Ints, predicted: Ints, place: int) -> tuple[Bools, Bools]:
    return np.asarray(predicted == place), np.asarray(true == place)


def _spared(true: Ints, predicted: Ints, place: int) -> tuple[Bools, Bools]:
    return np.asarray(predicted != place), np.asarray(true != place)


def _confirmed(true: Ints, predicted: Ints, place: int) -> tuple[Bools, Bools]:
    return np.asarray(true == place), np.asarray(predicted == place)


def _turned_wrong(true: Ints, before: Ints, after: Ints) -> Bools:
    return np.asarray((after != before) & (before == true))


def _changed(_true: Ints, before: Ints, after: Ints) -> Bools:
    return np.asarray(after != before)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "share", "never", "share of cases predicted right", "accuracy", "Accuracy",
        {"en": "accuracy", "pt": "acurácia"},
        percent=True, share=_right, charted=True,
    ),
    "sensitivity": Metric(
        "share", "may", "share of a class's cases predicted as it; without a class, the mean",
        "sensitivity", "Sensitivity", {"en": "sensitivity", "pt": "sensibilidade"},
        percent=True, needs=frozenset({"positives"}), every_class=True, among="case of class {}",
        share=_found, confusion=kernel.sensitivity,
    ),
    "specificity": Metric(
        "share", "must", "share of the other cases not predicted as the class", "specificity", "Specificity",
        {"en": "specificity", "pt": "especificidade"},
        percent=True, needs=frozenset({"negatives"}), among="case outside class {}",
        share=_spared, confusion=kernel.specificity,
    ),
    "precision": Metric(
        "share", "must", "share of the predictions of a class that are right", "precision", "Precision",
        {"en": "precision", "pt": "precisão"},
        percent=True, needs=frozenset({"positives", "negatives"}), among="prediction of class {}",
        share=_confirmed, paired=False,
        confusion=kernel.precision,
    ),
    "f1": Metric(
        "confusion", "must", "2 TP / (2 TP + FP + FN) of a class", "F1", "F1", {"en": "F1", "pt": "F1"},
        needs=frozenset({"positives"}), confusion=kernel.f1_score,
        influence=f1_influence, changes=f1_changes,
    ),
    "macro_f1": Metric(
        "confusion", "never", "mean of the classes' F1", "macro F1", "Macro F1",
        {"en": "macro F1", "pt": "F1 macro"},
        needs=frozenset({"positives"}), every_class=True, confusion=kernel.macro_f1,
        influence=f1_influence, changes=f1_changes, charted=True,
    ),
    "mcc": Metric(
        "confusion", "never", "Matthews' correlation of predicted and true classes, -1 to 1",
        "Matthews' correlation", "MCC",
        {"en": "Matthews' correlation", "pt": "correlação de Matthews"},
        low=-1.0, confusion=kernel.matthews_correlation,
        undefined="all cases are of one class, or all predictions are",
    ),
    "auroc": Metric(
        "auroc", "may", "area under the ROC curve, class against the rest; without a class, the mean",
        "AUROC", "AUROC", {"en": "area under the ROC curve", "pt": "área sob a curva ROC"},
        needs=frozenset({"positives", "negatives", "probabilities"}), every_class=True,
    ),
    "brier": Metric(
        "brier", "never", "mean over cases of the sum over classes of squared error, 0 to 2", "Brier score",
        "Brier score", {"en": "Brier score", "pt": "escore de Brier"},
        high=2.0, lower_is_better=True, needs=frozenset({"probabilities"}),
    ),
    "ece": Metric(
        "ece", "never", "expected calibration error, 15 bins of top-class confidence", "calibration error",
        "Calibration error", {"en": "calibration error", "pt": "erro de calibração"},
        lower_is_better=True, needs=frozenset({"probabilities"}),
    ),
    "harmful_flips": Metric(
        "flips", "may", "rate of predictions that turn from right to wrong",
        "answers turned from right to wrong", "Turned wrong",
        {"en": "answers that turn wrong", "pt": "respostas que se tornam erradas"},
        lower_is_better=True, percent=True, needs=frozenset({"positives"}), event=_turned_wrong,
    ),
    "flips": Metric(
        "flips", "may", "rate of predictions that change", "changed answers", "Changed",
        {"en": "answers that change", "pt": "respostas que mudam"},
        lower_is_better=True, percent=True, needs=frozenset({"positives"}), event=_changed,
    ),
}  # fmt: skip
"""Every metric by its name in margins and columns."""

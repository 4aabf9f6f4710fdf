"""Margins: the loss accepted in advance, per metric, in one text form.

``METRIC[CLASS]=LIMIT``: ``accuracy=0.02``, ``sensitivity[covid-19]=0.03``. The limit is a fraction;
for flips it limits the rate itself. A metric that can be asked for a class and for all classes
means, without a class, the mean over classes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bitdose.errors import UsageError, argument


class Metric(NamedTuple):
    """What a margin can be set for: whether it takes a class, and what it says."""

    of_class: str  # "never", "may" or "must"
    meaning: str


METRICS: dict[str, Metric] = {
    "accuracy": Metric("never", "share of cases answered right"),
    "sensitivity": Metric("may", "share of a class's cases answered as it; without a class, the mean"),
    "specificity": Metric("must", "share of the other cases not answered as the class"),
    "precision": Metric("must", "share of the answers of a class that are right"),
    "f1": Metric("must", "2 TP / (2 TP + FP + FN) of a class"),
    "macro_f1": Metric("never", "mean of the classes' F1"),
    "auroc": Metric("may", "area under the ROC curve, class against the rest; without a class, the mean"),
    "brier": Metric("never", "mean over cases of the sum over classes of squared error, 0 to 2"),
    "ece": Metric("never", "expected calibration error, 15 bins of top-class confidence"),
    "harmful_flips": Metric("may", "rate of answers that turn from right to wrong"),
    "flips": Metric("may", "rate of answers that change"),
}

_SYNTAX = re.compile(r"(?P<metric>[a-z0-9_]+)(?:\[(?P<label>.+)\])?")


@dataclass(frozen=True, order=True)
class Margin:
    """The largest loss of one metric that is accepted.

    Parameters
    ----------
    metric : str
        A name of ``METRICS``.
    label : str
        The class; empty where the metric is of all.
    limit : float
        In (0, 1).

    Examples
    --------
    >>> str(Margin.parse("sensitivity[covid-19]=0.03"))
    'sensitivity[covid-19]=0.03'
    """

    metric: str
    label: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Margin:
        """Read ``METRIC=LIMIT`` or ``METRIC[CLASS]=LIMIT``; raises ``UsageError`` if it is neither."""
        name, sign, number = text.rpartition("=")
        if not sign:
            raise UsageError(f"{argument('margins')} {text!r}: expected METRIC=LIMIT such as accuracy=0.02")
        try:
            limit = float(number)
        except ValueError:
            raise UsageError(
                f"{argument('margins')} {text!r}: expected a number after '=', got {number!r}"
            ) from None
        return cls.of(name.strip(), limit)

    @classmethod
    def of(cls, name: str, limit: float) -> Margin:
        """Make a margin of ``METRIC`` or ``METRIC[CLASS]``; raises ``UsageError`` as :meth:`parse` does."""
        match = _SYNTAX.fullmatch(name)
        metric = match["metric"] if match else name
        if match is None or metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"margin: unknown metric {name!r}: {hint}known: {', '.join(METRICS)}")
        label, use = match["label"] or "", METRICS[metric].of_class
        if (label and use == "never") or (not label and use == "must"):
            wants = f"{metric}[CLASS]=LIMIT" if use == "must" else f"{metric}=LIMIT, without a class"
            raise UsageError(f"margin: {name!r}: expected {wants}")
        if not 0 < limit < 1:
            raise UsageError(f"margin: {name}: expected a fraction above 0 and below 1, got {limit:g}")
        return cls(metric, label, limit)

    @property
    def name(self) -> str:
        """The metric with its class: ``sensitivity[covid-19]``."""
        return f"{self.metric}[{self.label}]" if self.label else self.metric

    @property
    def is_rate(self) -> bool:
        """Whether the limit is on a rate itself, not on a difference to pristine."""
        return self.metric in {"harmful_flips", "flips"}

    def __str__(self) -> str:
        """Write the text form."""
        return f"{self.name}={self.limit:g}"


def read_margins(texts: Iterable[str]) -> tuple[Margin, ...]:
    """Read margins, each alone or several with commas, in alphabetical order.

    Raises
    ------
    UsageError
        If there is none, one cannot be read, or a metric is given twice.
    """
    margins = [Margin.parse(word.strip()) for text in texts for word in _split(text) if word.strip()]
    return checked(margins)


def checked(margins: Sequence[Margin]) -> tuple[Margin, ...]:
    """Sort margins; raises ``UsageError`` if there is none or a metric has two."""
    if not margins:
        raise UsageError(f"{argument('margins')}: expected at least one, such as accuracy=0.02, got none")
    names = [margin.name for margin in margins]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"margin: {twice} is given twice; keep one")
    return tuple(sorted(margins))


def check_labels(margins: Iterable[Margin], labels: Sequence[str]) -> None:
    """Raise ``UsageError`` for a margin of a class that the classifier does not answer."""
    for margin in margins:
        if margin.label and margin.label not in labels:
            near = difflib.get_close_matches(margin.label, labels, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"margin: {margin.name}: no such class: {hint}classes: {', '.join(labels)}")


def _split(text: str) -> list[str]:
    """Split at commas outside brackets: a class may have one in its name."""
    return re.split(r",(?![^\[]*\])", text)

"""Margins: the loss accepted in advance, per metric, in one text form.

``METRIC[CLASS]=LIMIT``: ``accuracy=0.02``, ``sensitivity[covid-19]=0.03``. The limit is in the metric's own
unit, a fraction for most; for flips it limits the rate itself. ``metrics/catalogue.py`` lists the metrics.
One that can be asked for a class and for all classes means, without a class, the mean over classes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitdose.errors import UsageError, argument
from bitdose.metrics.catalogue import METRICS, Metric

GivenMargins = Mapping[str, float] | Iterable["Margin | str"]
_SYNTAX = re.compile(r"(?P<metric>[a-z0-9_]+)(?:\[(?P<label>.+)\])?")


@dataclass(frozen=True, order=True)
class Margin:
    """The largest loss of one metric that is accepted.

    Parameters
    ----------
    metric : str
        A name of ``metrics/catalogue.py``.
    label : str
        The class; empty where the metric is of all.
    limit : float
        Above 0 and below the width of the metric's range: 1 for most, 2 for Matthews' correlation and the
        Brier score.

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
        widest = METRICS[metric].high - METRICS[metric].low
        if not 0 < limit < widest:
            raise UsageError(f"margin: {name}: expected a number above 0 and below {widest:g}, got {limit:g}")
        return cls(metric, label, limit)

    @property
    def name(self) -> str:
        """The metric with its class: ``sensitivity[covid-19]``."""
        return f"{self.metric}[{self.label}]" if self.label else self.metric

    @property
    def kind(self) -> Metric:
        """What the metric is."""
        return METRICS[self.metric]

    @property
    def is_rate(self) -> bool:
        """Whether the limit is on a rate itself, not on a difference to pristine."""
        return self.kind.family == "flips"

    def __str__(self) -> str:
        """Write the text form."""
        return f"{self.name}={self.limit:g}"


def read_margins(given: GivenMargins) -> tuple[Margin, ...]:
    """Read margins in any of their forms; returns them in alphabetical order.

    Parameters
    ----------
    given : mapping or iterable
        ``{"accuracy": 0.02}``, texts such as ``"sensitivity[covid-19]=0.03"`` (each one margin, or several
        with commas), margins, or one text.

    Raises
    ------
    UsageError
        If there is none, one cannot be read, or a metric is given twice.

    Examples
    --------
    >>> read_margins({"accuracy": 0.02}) == read_margins(["accuracy=0.02"]) == (Margin("accuracy", "", 0.02),)
    True
    """
    if isinstance(given, Mapping):
        return checked([Margin.of(str(name), _number(name, limit)) for name, limit in given.items()])
    if isinstance(given, str | Margin):
        given = [given]
    margins: list[Margin] = []
    for item in given:
        margins += [item] if isinstance(item, Margin) else _parsed(item)
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


def _parsed(text: object) -> list[Margin]:
    if not isinstance(text, str):
        raise UsageError(f"margin: expected text such as 'accuracy=0.02', got {text!r}")
    return [Margin.parse(word.strip()) for word in _split(text) if word.strip()]


def _number(name: object, limit: object) -> float:
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise UsageError(f"margin: {name}: expected a number such as 0.02, got {limit!r}")
    return float(limit)


def _split(text: str) -> list[str]:
    """Split at commas outside brackets: a class may have one in its name."""
    return re.split(r",(?![^\[]*\])", text)

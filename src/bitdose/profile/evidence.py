"""What stands behind a certified point, as records that keep to ``records.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitdose.profile.strict_json import check
from bitdose.profile.timestamps import timestamp
from bitdose.rule.rule import Rule

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Proof:
    """One margin that was shown to hold; the fields are those of a margin and its test."""

    metric: str
    limit: float
    pristine: float | None
    coded: float | None
    loss: float
    upper: float
    p: float
    alpha: float
    method: str
    n: int
    unit: str

    def __post_init__(self) -> None:
        """Refuse a margin that the figures do not show."""
        check(0 <= self.p <= self.alpha, "p", f"0 to alpha {self.alpha:g}", self.p)
        check(self.loss < self.limit, "loss", f"below the limit {self.limit:g}", self.loss)


@dataclass(frozen=True)
class Reading:
    """One metric at the point with its interval: an estimate with its name, null where undefined."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    n: int
    unit: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What stands behind the point.

    Parameters
    ----------
    n, patients : int
        Cases and patients of the proof.
    clustered : bool
        Whether patients have several cases.
    splits : tuple of str
        Where the proof was made.
    alpha : float
        Largest chance that the point loses more than a margin.
    margins : tuple of Proof
        All margins of the rule.
    estimates : tuple of Reading
        Metrics at the point.
    rule : Rule
        What was asked.
    rule_digest, data_digest, results_digest : str
        SHA-256 of the rule, of the list of cases, and of the rows of the results.
    preregistered : bool
        Whether the rule stood in the study file before the run.
    date : str
        When it was decided, UTC.
    """

    n: int
    patients: int
    clustered: bool
    splits: tuple[str, ...]
    alpha: float
    margins: tuple[Proof, ...]
    estimates: tuple[Reading, ...]
    rule: Rule
    rule_digest: str
    data_digest: str
    results_digest: str
    preregistered: bool
    date: str

    def __post_init__(self) -> None:
        """Check that rule, margins and numbers of cases hold together."""
        check(self.n >= 1, "n", "at least 1", self.n)
        check(1 <= self.patients <= self.n, "patients", f"1 to {self.n}", self.patients)
        asked = {margin.name: margin.limit for margin in self.rule.margins}
        shown = {proof.metric: proof.limit for proof in self.margins}
        same = asked == shown and len(self.margins) == len(shown)
        check(same, "margins", f"one for each of the rule's: {', '.join(asked)}", ", ".join(shown))
        check(self.alpha == self.rule.alpha, "alpha", f"the rule's {self.rule.alpha:g}", self.alpha)
        largest = max(proof.alpha for proof in self.margins)
        check(largest <= self.alpha, "margins", f"alpha up to {self.alpha:g}", largest)
        check(self.rule_digest == self.rule.digest(), "rule_digest", "that of the rule", self.rule_digest)
        for name in ("data_digest", "results_digest"):
            check(_SHA256.fullmatch(getattr(self, name)), name, "SHA-256", getattr(self, name))
        timestamp(self.date, "date")

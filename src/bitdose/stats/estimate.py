"""Estimates: values with their intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and method.

    Parameters
    ----------
    value, low, high : float
        The estimate and the limits of its interval; NaN where undefined.
    level : float
        Confidence level in (0, 1).
    method : str
        Name of the interval, such as ``wilson`` or ``patient-bootstrap-percentile``.
    n : int
        Number of resampling units.
    unit : str
        The resampling unit: ``case`` or ``patient``.
    reason : str
        Why the value or its limits are NaN; empty where they are not.

    Examples
    --------
    >>> undefined("no case of class 'covid-19'").reason
    "no case of class 'covid-19'"
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n: int
    unit: str = "case"
    reason: str = ""

    def __format__(self, spec: str) -> str:
        """Format value and limits: ``f"{e:.3f}"`` gives ``0.818 (0.762 to 0.864)``."""
        if math.isnan(self.value):
            return f"undefined ({self.reason})"
        if math.isnan(self.low):
            return f"{self.value:{spec}} ({self.reason})"
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"

    def columns(self, name: str, *, of: str = "") -> dict[str, Any]:
        """Return the estimate as columns of a flat row: ``name``, ``name_low`` and so on.

        Parameters
        ----------
        name : str
            What is estimated.
        of : str
            Put behind each name, such as ``[covid-19]``; the reason is there where it is undefined.

        Examples
        --------
        >>> list(undefined("no case").columns("f1", of="[a]"))[:3]
        ['f1[a]', 'f1_low[a]', 'f1_high[a]']
        """
        row = {
            f"{name}{of}": self.value,
            f"{name}_low{of}": self.low,
            f"{name}_high{of}": self.high,
            f"{name}_n{of}": self.n,
            f"{name}_unit{of}": self.unit,
            f"{name}_method{of}": self.method,
        }
        return row | ({f"{name}_reason{of}": self.reason} if self.reason else {})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, NaN as None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def undefined(reason: str, *, level: float = 0.95, unit: str = "case") -> Estimate:
    """Return a NaN estimate with its reason."""
    return Estimate(math.nan, math.nan, math.nan, level, "undefined", 0, unit, reason)

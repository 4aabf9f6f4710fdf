"""The Pareto front over codec, size and quality: points that no other beats in both bytes and score."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bitdose.results.schema import PRISTINE
from bitdose.results.summary import PointSummary


def front(points: Iterable[PointSummary], *, score: str = "accuracy") -> list[PointSummary]:
    """Return the points of the front, from the fewest bytes up.

    As observed: a point stands on it by luck as well as by merit, and its intervals say how much.

    Parameters
    ----------
    points : iterable of PointSummary
        Of one study; pristine and points without a score or bytes are left out.
    score : str
        The metric of all classes that should be high.
    """
    known = [p for p in points if p.point != PRISTINE and math.isfinite(p.estimates[score].value)]
    sized = [p for p in known if math.isfinite(p.coded_bytes_per_case)]
    found: list[PointSummary] = []
    for point in sorted(sized, key=lambda p: (p.coded_bytes_per_case, -p.estimates[score].value)):
        if not found or point.estimates[score].value > found[-1].estimates[score].value:
            found.append(point)
    return found

"""Which points a report looks at where nobody named any."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitdose.results.summary import PointSummary, Summary


def nearest(points: Sequence[PointSummary], ratio_file: float) -> PointSummary | None:
    """Return the point whose ratio is nearest on a log scale; None where no ratio is defined."""
    usable = [p for p in points if p.ratio > 0 and math.isfinite(p.ratio)]
    if not usable:
        return None
    return min(usable, key=lambda p: abs(math.log(p.ratio / ratio_file)))


def default_points(summary: Summary, *, ratio_file: float = 40.0) -> tuple[str, ...]:
    """Choose points to look at: pristine, per chain the one nearest to a ratio, and the strongest.

    Parameters
    ----------
    summary : Summary
        The study.
    ratio_file : float
        Ratio of the source files to look near; of the raw pixels where there are none.
    """
    chains = summary.chains().values()
    near = [nearest(points, ratio_file) for points in chains]
    strongest = [points[-1] for points in chains]
    chosen = [summary.pristine(), *(p for p in near if p is not None), *strongest]
    return tuple(dict.fromkeys(p.point for p in chosen))

"""What a study found, in plain sentences with numbers and intervals: the report's first lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitdose.results.summary import PointSummary, Summary
from bitdose.stats.estimate import Estimate
from bitdose.stats.proportions import smallest_provable_loss

MARGIN = 0.02
_LIKE_RATIO = math.log(1.15)
# Default Huffman tables spend at least 4 + 2 bits on an 8x8 block of a grey image.
_JPEG_FLOOR_BPP = 6 / 64
_NEAR_FLOOR = 1.35
_MAX_REASONS = 3


def findings(summary: Summary, *, margin: float = MARGIN) -> list[str]:
    """Say what was found.

    Parameters
    ----------
    summary : Summary
        The study.
    margin : float
        Loss of accuracy, as a fraction, against which each chain is read. What stays within
        it here was chosen and seen on the same cases: observed, not certified.

    Returns
    -------
    list of str
        Sentences, the pristine result first. A chain is walked from its mildest point and
        stops at the first that can lose more than the margin, so that a lucky point further
        on does not count.
    """
    chains = summary.chains()
    too_few = _power(summary, margin)
    sentences = [_pristine(summary), *too_few]
    for name, points in chains.items():
        sentences.append(_first_loss(name, points) if too_few else _chain(name, points, margin))
    sentences += [text for points in chains.values() for text in _jpeg_end(points)]
    sentences += _downsizing(summary)
    sentences.append(_failures(summary))
    sentences += _lossy(summary)
    return sentences


def strongest_within(points: Sequence[PointSummary], margin: float) -> PointSummary | None:
    """Walk a chain from its mildest point; return the last before one that can lose the margin."""
    held = None
    for point in points:
        if not point.accuracy_difference.low > -margin:
            return held
        held = point
    return held


def first_loss(points: Sequence[PointSummary]) -> PointSummary | None:
    """Return the mildest point whose whole interval of the difference lies below zero."""
    return next((p for p in points if p.accuracy_difference.high < 0), None)


def like_ratio_pair(
    full: Sequence[PointSummary], small: Sequence[PointSummary]
) -> tuple[PointSummary, PointSummary] | None:
    """Return the strongest pair of points of two chains whose file ratios differ by less than 15 %."""
    pairs = [
        (a, b)
        for a in full
        for b in small
        if _known(a.ratio_file, b.ratio_file, a.accuracy.value, b.accuracy.value)
        and abs(math.log(a.ratio_file / b.ratio_file)) < _LIKE_RATIO
    ]
    if not pairs:
        return None
    # The strongest of the first chain decides; among its partners, the one nearest in ratio.
    return max(pairs, key=lambda p: (p[0].ratio_file, -abs(math.log(p[0].ratio_file / p[1].ratio_file))))


def percent(estimate: Estimate) -> str:
    """Write a fraction as percent with its interval: ``81.8 % (95 % interval 76.2 to 86.4)``."""
    if math.isnan(estimate.value):
        return f"undefined ({estimate.reason})"
    if math.isnan(estimate.low):
        return f"{100 * estimate.value:.1f} % (no interval)"
    limits = f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.level:g} % interval {limits})"


def points_of(estimate: Estimate) -> str:
    """Write a difference in percentage points with its interval: ``−0.5 points, −1.8 to +0.8``."""
    if math.isnan(estimate.value):
        return f"undefined ({estimate.reason})"
    if math.isnan(estimate.low):
        return f"{signed(100 * estimate.value)} points, no interval"
    value, low, high = (signed(100 * v) for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} points, {low} to {high}"


def signed(value: float, digits: int = 1) -> str:
    """Write a number with its sign, a true minus, and no sign on what rounds to zero.

    Examples
    --------
    >>> signed(0.84), signed(-1.26), signed(-0.01)
    ('+0.8', '−1.3', '0.0')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _pristine(summary: Summary) -> str:
    point = summary.pristine()
    if math.isnan(point.accuracy.value):
        return f"No accuracy is defined at pristine: {point.accuracy.reason or 'no case was classified'}."
    who = f"{point.n_ok:,} cases"
    if summary.n_patients and summary.n_patients != summary.n_cases:
        who += f" of {summary.n_patients:,} patients"
    score = point.macro_f1
    if math.isnan(score.value):
        second = f"macro F1 is undefined ({score.reason})"
    else:
        limits = "no interval" if math.isnan(score.low) else f"{score.low:.3f} to {score.high:.3f}"
        second = f"macro F1 is {score.value:.3f} ({limits})"
    return f"Pristine, the classifier is right on {percent(point.accuracy)} of {who}; {second}."


def _chain(name: str, points: Sequence[PointSummary], margin: float) -> str:
    held, lost = strongest_within(points, margin), first_loss(points)
    room = f"{100 * margin:g} points"
    if held is None:
        start = f"already at its mildest point, {_at(points[0])}, a loss of {room} cannot be ruled out"
        start += f" ({points_of(points[0].accuracy_difference)})"
    else:
        start = f"within {room} of pristine up to {_at(held)}"
        start += f" ({points_of(held.accuracy_difference)}; observed, not certified)"
    end = "no point shows a clear loss" if lost is None else f"the first clear loss is at {_lost(lost)}"
    return f"{name}: {start}; {end}."


def _first_loss(name: str, points: Sequence[PointSummary]) -> str:
    lost = first_loss(points)
    if lost is None:
        return f"{name}: no point up to {_at(points[-1])} shows a clear loss, which is no proof of none."
    return f"{name}: the first clear loss is at {_lost(lost)}."


def _lost(point: PointSummary) -> str:
    return f"{_at(point)} ({points_of(point.accuracy_difference)})"


def _power(summary: Summary, margin: float) -> list[str]:
    """Say so where the number of cases cannot show the margin whatever the codec does."""
    unit = summary.resampling_unit
    n = summary.n_patients if unit == "patient" else summary.pristine().n_ok
    least = smallest_provable_loss(n, level=summary.level)
    if not summary.chains() or not n or least < margin:
        return []
    return [
        (
            f"With {n:,} {unit}s a loss below {100 * least:.1f} points cannot be ruled out even if no answer "
            f"changes, so a margin of {100 * margin:g} points is out of reach here: more {unit}s are needed."
        )
    ]


def _jpeg_end(points: Sequence[PointSummary]) -> list[str]:
    """Say where full-size JPEG ends, and whether default Huffman tables are what stops it."""
    coded = [p for p in points if _known(p.ratio_file, p.ratio_pixels)]
    if not coded or coded[0].codec != "jpeg" or coded[0].size:
        return []
    last = max(coded, key=lambda p: p.ratio_file)
    text = (
        f"{last.chain} goes no further than {_at(last)}, which is {last.ratio_pixels:.1f}:1 of the raw pixels"
    )
    if _JPEG_FLOOR_BPP <= last.rate_bpp <= _JPEG_FLOOR_BPP * _NEAR_FLOOR:
        text += (
            f", {last.rate_bpp:.3f} bits per pixel: close to the floor of {_JPEG_FLOOR_BPP:.3f} that default"
            " Huffman tables set for grey images"
        )
    return [text + "."]


def _downsizing(summary: Summary) -> list[str]:
    """Compare each chain with the downsized chains of the same codec at a like ratio."""
    chains = [points for points in summary.chains().values() if points]
    full = [points for points in chains if not points[0].size]
    small = [points for points in chains if points[0].size]
    pairs = [(a, b) for a in full for b in small if a[0].codec == b[0].codec]
    return [_compare(a, b) for a, b in pairs]


def _compare(full: Sequence[PointSummary], small: Sequence[PointSummary]) -> str:
    names = f"{small[0].chain} against {full[0].chain}"
    pair = like_ratio_pair(full, small)
    if pair is None:
        return f"Downsizing first, {names}: the two reach no like ratio, so they cannot be compared."
    a, b = pair
    verdict = "the intervals overlap, so neither is shown to be better"
    if b.accuracy.low > a.accuracy.high:
        verdict = "downsizing first helps there"
    elif b.accuracy.high < a.accuracy.low:
        verdict = "downsizing first harms there"
    return (
        f"Downsizing first, {names} at a like ratio ({b.ratio_file:.1f}:1 and {a.ratio_file:.1f}:1 "
        f"of the source files): {percent(b.accuracy)} against {percent(a.accuracy)}; {verdict}."
    )


def _failures(summary: Summary) -> str:
    if not summary.n_failed_cases:
        return f"None of the {summary.n_cases:,} cases failed."
    listed = [f"{count:,} {reason}" for reason, count in summary.failures.items()]
    if len(listed) > _MAX_REASONS:
        listed[_MAX_REASONS:] = [f"{len(listed) - _MAX_REASONS:,} more reasons"]
    share = f"{summary.n_failed_cases:,} of {summary.n_cases:,} cases failed and are left out where they did"
    return f"{share} ({'; '.join(listed)})." if listed else f"{share}."


def _lossy(summary: Summary) -> list[str]:
    if not summary.n_lossy_sources:
        return []
    share = 100 * summary.n_lossy_sources / max(1, summary.n_cases)
    return [
        (
            f"Caution: {summary.n_lossy_sources:,} of {summary.n_cases:,} source files ({share:.0f} %) were "
            "already lossily coded, so pristine is not free of compression, and its traces may hint at "
            "the class."
        )
    ]


def _at(point: PointSummary) -> str:
    if not _known(point.ratio_file):
        return point.point
    return f"{point.point}, {point.ratio_file:.1f}:1 of the source files"


def _known(*values: float) -> bool:
    return all(math.isfinite(value) and value > 0 for value in values)

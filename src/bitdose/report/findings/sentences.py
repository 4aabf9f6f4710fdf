"""What a study found, in plain sentences with numbers and intervals: the report's first lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bitdose.codecs.base import Codec, FlooredCodec
from bitdose.codecs.point import Point
from bitdose.decision.base import Decision
from bitdose.errors import BitdoseError
from bitdose.results.summary import PointSummary, Summary
from bitdose.stats.estimate import Estimate
from bitdose.stats.proportions import smallest_provable_loss

MARGIN = 0.02
_NEAR_FLOOR = 1.35
_MAX_REASONS = 3


def headline_margin(decision: Decision | None) -> float:
    """Return the loss of accuracy that a decision accepts; the usual one where it accepts none."""
    margins = decision.rule.margins if decision else ()
    return next((margin.limit for margin in margins if margin.name == "accuracy"), MARGIN)


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
        Sentences: that the study is unfinished, if it is, then the pristine result, then the rest.
        A chain is followed from its weakest compression and stops at the first that can lose more than the
        margin, so that a lucky point further on does not count.
    """
    chains = summary.chains()
    too_few = _power(summary, margin)
    sentences = [*_unfinished(summary), _pristine(summary), *_in_fp32(summary), *too_few]
    for name, points in chains.items():
        sentences.append(_first_loss(name, points) if too_few else _chain(name, points, margin))
    sentences += _looked_at(chains)
    sentences += [text for points in chains.values() for text in _rate_floor(points)]
    sentences += _downsizing(summary)
    sentences.append(_failures(summary))
    sentences += _lossy(summary)
    sentences += _without_files(summary)
    return sentences


def strongest_within(points: Sequence[PointSummary], margin: float) -> PointSummary | None:
    """Follow a chain from its weakest compression; return the last before one that can lose the margin."""
    held = None
    for point in points:
        if not point.accuracy_difference.low > -margin:
            return held
        held = point
    return held


def first_loss(points: Sequence[PointSummary]) -> PointSummary | None:
    """Return the weakest compression from which on every interval of the difference lies below zero.

    A single interval below zero among many weaker and stronger ones can be chance; points without
    a difference say nothing and are passed over.
    """
    lost = None
    for point in reversed(points):
        if point.accuracy_difference.high < 0:
            lost = point
        elif not math.isnan(point.accuracy_difference.value):
            break
    return lost


def counted(n: int, noun: str) -> str:
    """Write a number and its noun.

    Examples
    --------
    >>> counted(1, "case"), counted(1200, "case"), counted(2, "class")
    ('1 case', '1,200 cases', '2 classes')
    """
    plural = noun if n == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n:,} {plural}"


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


def _in_fp32(summary: Summary) -> list[str]:
    """Say what the classifier's precision does by itself, where it is not fp32."""
    found = summary.in_fp32
    if found is None:
        return []
    flips, cases = found.flips, counted(found.n, "case")
    gap = f"by more than {found.largest_gap:.2g}" if found.largest_gap else "at all"
    return [
        (
            f"In fp32 the same network is right on {percent(found.accuracy)} of {cases} at pristine: "
            f"{summary.model} changes {flips.changed} of these answers without any coding, "
            f"{flips.right_to_wrong} from right to wrong and {flips.wrong_to_right} from wrong to right "
            f"({points_of(found.accuracy_difference)}); no probability differs {gap}."
        )
    ]


def _pristine(summary: Summary) -> str:
    point = summary.pristine()
    if math.isnan(point.accuracy.value):
        return f"No accuracy is defined at pristine: {point.accuracy.reason or 'no case was classified'}."
    who = counted(point.n_ok, "case")
    if summary.n_patients and summary.n_patients != summary.n_cases:
        who += f" of {counted(summary.n_patients, 'patient')}"
    score = point.macro_f1
    if math.isnan(score.value):
        second = f"macro F1 is undefined ({score.reason})"
    else:
        limits = "no interval" if math.isnan(score.low) else f"{score.low:.3f} to {score.high:.3f}"
        second = f"macro F1 is {score.value:.3f} ({limits})"
    return f"Pristine, the classifier is right on {percent(point.accuracy)} of {who}; {second}."


def _chain(name: str, points: Sequence[PointSummary], margin: float) -> str:
    held = strongest_within(points, margin)
    room = f"{100 * margin:g} points"
    if held is None:
        start = f"already at its weakest compression, {_at(points[0])}, a loss of {room} cannot be ruled out"
        start += f" ({points_of(points[0].accuracy_difference)})"
    else:
        start = f"within {room} of pristine up to {_at(held)}"
        start += f" ({points_of(held.accuracy_difference)}; observed, not certified)"
    return f"{name}: {start}; {_loss(points)}."


def _first_loss(name: str, points: Sequence[PointSummary]) -> str:
    if any(p.accuracy_difference.high < 0 for p in points):
        return f"{name}: {_loss(points)}."
    return f"{name}: no point up to {_at(points[-1])} shows a clear loss, which is no proof of none."


def _loss(points: Sequence[PointSummary]) -> str:
    lost = first_loss(points)
    if lost is not None:
        return f"the first clear loss is at {_lost(lost)}"
    if any(p.accuracy_difference.high < 0 for p in points):
        return "some points show a loss, but not every stronger one does, so none counts as clear"
    return "no point shows a clear loss"


def _looked_at(chains: Mapping[str, Sequence[PointSummary]]) -> list[str]:
    """Say that intervals hold point by point, and how many points there were to choose from."""
    n = sum(map(len, chains.values()))
    return [f"Each interval is of one point; {counted(n, 'point')} {_were(n)} looked at."] if n else []


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
            f"With {counted(n, unit)} a loss below {100 * least:.1f} points cannot be ruled out even if no "
            f"answer changes, so a margin of {100 * margin:g} points is out of reach here: more {unit}s are "
            "needed."
        )
    ]


def _rate_floor(points: Sequence[PointSummary]) -> list[str]:
    """Say where a chain at full size ends if its codec has a lowest rate, and whether this stops it."""
    coded = [p for p in points if _known(p.ratio_file, p.ratio_pixels)]
    if not coded or coded[0].size:
        return []
    last = coded[-1]
    codec = _codec_of(last)
    floor = codec.rate_floor() if isinstance(codec, FlooredCodec) else None
    if codec is None or floor is None:
        return []
    parameter = codec.quality_parameters[0]
    at_end = last.quality == max((parameter.low, parameter.high), key=parameter.strength)
    start = " goes no further than" if at_end else ": the strongest point studied is"
    text = f"{last.chain}{start} {_at(last)}, which is {last.ratio_pixels:.1f}:1 of the raw pixels"
    if floor.rate_bpp <= last.rate_bpp <= floor.rate_bpp * _NEAR_FLOOR:
        text += (
            f", {last.rate_bpp:.3f} bits per pixel: close to the floor of {floor.rate_bpp:.3f} that"
            f" {floor.set_by} set for grey images"
        )
    return [text + "."]


def _codec_of(point: PointSummary) -> Codec | None:
    """Make the codec of a point; None for a point of another lab that means nothing here."""
    try:
        return Point.parse(point.point).build_codec()
    except BitdoseError:
        return None


def _downsizing(summary: Summary) -> list[str]:
    """Compare each chain with the downsized chains of the same codec at like ratios."""
    named = {point.point: point for point in summary.points}
    sentences = []
    for full, small in summary.downsizings():
        here = {p.point for p in (*full, *small)}
        verdicts = [
            _verdict(named[c.full], named[c.small], c.difference)
            for c in summary.comparisons
            if {c.full, c.small} <= here and _known(named[c.full].ratio, named[c.small].ratio)
        ]
        text = "; ".join(verdicts) or "the two reach no like ratio, so they cannot be compared"
        sentences.append(f"Downsizing first, {small[0].chain} against {full[0].chain}: {text}.")
    return sentences


def _verdict(full: PointSummary, small: PointSummary, gain: Estimate) -> str:
    where = f"at {full.ratio:.1f}:1 and {small.ratio_words}"
    where += f" ({full.point}, {small.point})"
    if math.isnan(gain.value):
        return f"{where} they cannot be compared ({gain.reason})"
    if math.isnan(gain.low) or gain.low <= 0 <= gain.high:
        return f"{where} no difference is shown ({points_of(gain)}, paired on the same cases)"
    word = "better" if gain.value > 0 else "worse"
    low, high = sorted((100 * abs(gain.low), 100 * abs(gain.high)))
    by = f"{100 * abs(gain.value):.1f} points {word} ({low:.1f} to {high:.1f}, paired on the same cases)"
    return f"{where} downsizing first is {by}"


def _failures(summary: Summary) -> str:
    n, total = summary.n_failed_cases, summary.n_cases
    if not n:
        return "The one case did not fail." if total == 1 else f"None of the {total:,} cases failed."
    listed = [f"{count:,} {reason}" for reason, count in summary.failures.items()]
    if len(listed) > _MAX_REASONS:
        listed[_MAX_REASONS:] = [f"{counted(len(listed) - _MAX_REASONS, 'further reason')}"]
    left_out = "is left out where it did" if n == 1 else "are left out where they did"
    share = f"{n:,} of {counted(total, 'case')} failed and {left_out}"
    return f"{share} ({'; '.join(listed)})." if listed else f"{share}."


def _lossy(summary: Summary) -> list[str]:
    n = summary.n_lossy_sources
    if not n:
        return []
    share = 100 * n / max(1, summary.n_cases)
    return [
        (
            f"Caution: {n:,} of {counted(summary.n_cases, 'source file')} ({share:.0f} %) {_were(n)} "
            "already lossily coded, so pristine is not free of compression, and the traces of it may "
            "hint at the class."
        )
    ]


def _unfinished(summary: Summary) -> list[str]:
    if not summary.unfinished:
        return []
    n, planned = summary.n_cases, counted(summary.n_planned, "case")
    has, these, they = ("has", "this one", "it") if n == 1 else ("have", "these", "they")
    return [
        (
            f"UNFINISHED: {n:,} of {planned} {has} run; what follows is of {these} alone, "
            f"and {they} need not be typical of the rest."
        )
    ]


def _without_files(summary: Summary) -> list[str]:
    """Say why ratios of source files are undefined."""
    n = summary.case_formats.get("array", 0)
    if not n:
        return []
    return [f"{n:,} of {counted(summary.n_cases, 'case')} came as arrays: ratios are of the raw pixels."]


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _at(point: PointSummary) -> str:
    if not _known(point.ratio):
        return point.point
    return f"{point.point}, {point.ratio_words}"


def _known(*values: float) -> bool:
    return all(math.isfinite(value) and value > 0 for value in values)

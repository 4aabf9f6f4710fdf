"""Points, metrics and losses in the words of a sentence."""

from __future__ import annotations

import math

from bitdose.codecs.base import title_of
from bitdose.codecs.point import Point
from bitdose.errors import UsageError
from bitdose.rule.margins import Margin

_WHOLE_RATIO = 10
_FINEST = 4


def point_words(text: str) -> str:
    """Say a point in words.

    Examples
    --------
    >>> point_words("jpeg2000:40x@256")
    'JPEG 2000 at 40:1 after downsizing to 256 x 256 pixels'
    >>> point_words("jpeg:q30")
    'JPEG of quality 30'
    """
    try:
        point = Point.parse(text)
    except UsageError:
        return text  # a table from another lab may name its points otherwise
    if point.quality is None:
        return "the source as it is"
    words = f"{title_of(point.codec)} {point.quality_words()}"
    words += f" with {', '.join(point.options)}" if point.options else ""
    if point.resize:
        words += f" after downsizing to {point.resize.width} x {point.resize.height} pixels"
    return words


def metric_words(margin: Margin) -> str:
    """Say what a margin limits.

    Examples
    --------
    >>> metric_words(Margin.parse("sensitivity[covid-19]=0.03"))
    'sensitivity for covid-19'
    """
    metric = margin.kind
    words = metric.words
    if metric.of_class == "may" and metric.every_class and not margin.label:
        words = f"mean {words}"
    return f"{words} for {margin.label}" if margin.label else words


def shown_amount(value: float, margin: Margin, *, unit: bool = True) -> str:
    """Write a loss or a rate, with digits enough to tell it from the margin.

    Examples
    --------
    >>> half = Margin.parse("accuracy=0.02")
    >>> shown_amount(0.014, half), shown_amount(0.0199, half), shown_amount(0.02, half)
    ('1.4 points', '1.99 points', '2 points')
    """
    if math.isnan(value):
        return "undefined"
    scale, least = (100, 1) if margin.kind.percent else (1, 3)
    limit, shown = scale * margin.limit, scale * value
    if shown == limit:
        text = f"{limit:g}"
    else:
        digits = next((d for d in range(least, _FINEST) if float(f"{shown:.{d}f}") != limit), _FINEST)
        text = f"{shown:.{digits}f}"
    text = text.replace("-", "−")
    if not unit or not margin.kind.percent:
        return text
    return f"{text} %" if margin.is_rate else f"{text} {'point' if text == '1' else 'points'}"


def times(ratio: float) -> str:
    """Write a ratio: whole from 10 on, with one digit below."""
    return f"{ratio:,.0f}" if ratio >= _WHOLE_RATIO else f"{ratio:.1f}"


def bytes_text(count: float) -> str:
    """Write a number of bytes for a person, by thousands.

    Examples
    --------
    >>> bytes_text(812), bytes_text(12_345), bytes_text(3_200_000)
    ('812 B', '12.3 kB', '3.2 MB')
    """
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"

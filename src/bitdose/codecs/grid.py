"""Lists of points: presets, commas and ranges, in the order in which a study runs them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from bitdose.codecs.base import CODECS
from bitdose.codecs.point import Point, parameter_of
from bitdose.errors import UsageError, argument

_QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1)
_RATIOS = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 300, 600)
_SMALL_RATIOS = (2, 3, 4, 5, 8, 10, 15, 20, 30, 40, 60, 100)


def _four_chains(every: int) -> tuple[str, ...]:
    """Return the paper's four chains, with every so many of their levels from the second on."""
    first = 0 if every == 1 else 1
    return (
        *(f"jpeg:q{q}" for q in _QUALITIES[first::every]),
        *(f"jpeg2000:{r}x" for r in _RATIOS[first::every]),
        *(f"jpeg:q{q}@256" for q in _QUALITIES[first::every]),
        *(f"jpeg2000:{r}x@256" for r in _SMALL_RATIOS[first::every]),
    )


PRESETS: dict[str, tuple[str, ...]] = {"paper": _four_chains(1), "quick": _four_chains(3)}

_RANGE = re.compile(r"(?P<codec>[a-z][a-z0-9_-]*):(?P<quality>[^+@:]*\.\.[^+@:]*)(?P<tail>[+@].*)?")
_MAX_POINTS = 10_000


def expand_points(texts: str | Iterable[str]) -> tuple[Point, ...]:
    """Read presets, comma-separated points and ranges into the points of a study.

    ``pristine`` comes first, asked for or not: every comparison needs it. The rest follow
    chain by chain in the order in which the chains were named, each from weak to strong,
    without repeats.

    Parameters
    ----------
    texts : str or iterable of str
        Each a preset (``paper``, ``quick``), a point, a range ``jpeg:q10..90/10@256``
        (ends included, step 1 if none), or several of these with commas.

    Raises
    ------
    UsageError
        If one of them is none of these.

    Examples
    --------
    >>> [str(p) for p in expand_points("jpeg:q30..50/10@256, jpeg2000:8x")]
    ['pristine', 'jpeg:q50@256', 'jpeg:q40@256', 'jpeg:q30@256', 'jpeg2000:8x']
    """
    items = [texts] if isinstance(texts, str) else list(texts)
    points: dict[Point, None] = {}
    for word in (word.strip() for item in items for word in item.split(",")):
        if word:
            points.update(dict.fromkeys(_expand_word(word)))
    if not points:
        raise UsageError(
            f"{argument('points')}: expected at least one point, got none; try 'paper' or 'jpeg:q10..90/10'"
        )
    return (Point(), *run_order(point for point in points if not point.is_pristine))


def run_order(points: Iterable[Point]) -> list[Point]:
    """Order points chain by chain (as first named), each chain from weak to strong."""
    chains: dict[str, list[Point]] = {}
    for point in points:
        chains.setdefault(point.chain, []).append(point)
    return [point for chain in chains.values() for point in sorted(chain, key=lambda p: p.strength)]


def chains_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by chain, pristine left out, in the order given."""
    chains: dict[str, list[Point]] = {}
    for point in points:
        if not point.is_pristine:
            chains.setdefault(point.chain, []).append(point)
    return chains


def _expand_word(word: str) -> list[Point]:
    if word in PRESETS:
        return [Point.parse(text) for text in PRESETS[word]]
    match = _RANGE.fullmatch(word)
    if match is None:
        return [Point.parse(word)]
    parameter, numbers = parameter_of(match["codec"], CODECS.get(match["codec"]), match["quality"])
    first, _, rest = numbers.partition("..")
    last, _, step = rest.partition("/")
    values = _steps(word, float(first), float(last), float(step or 1))
    tail = match["tail"] or ""
    return [Point.parse(f"{match['codec']}:{parameter.text(value)}{tail}") for value in values]


def _steps(word: str, first: float, last: float, step: float) -> list[float]:
    low, high = sorted((first, last))
    if not 0 < step < math.inf or not (high - low) / step < _MAX_POINTS:  # an endless end gives NaN
        raise UsageError(f"range {word!r}: expected a step above 0 and at most {_MAX_POINTS} points")
    count = int((high - low) / step + 1e-9) + 1
    return [round(low + index * step, 6) for index in range(count)]

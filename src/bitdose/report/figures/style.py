"""Colour, marker and dash of a chain: a pure function of its name.

The colours are Okabe and Ito's, made for colour-blind eyes; marker and dash tell the chains
apart in grey. The chains of the paper have fixed looks, any other name is hashed onto what
those leave free, so the same chain looks the same in every figure of every study.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from bitdose.hashing import digest

INK = "#1a1a1a"
MUTED = "#5f6368"
GRID = "#e3e5e8"
PRISTINE = "#4d4d4d"
RIGHT = "#00704f"
WRONG = "#b23c00"

SOLID: tuple[float, ...] = ()
DASHED = (4.0, 1.8)
DOTTED = (1.2, 1.5)
DASH_DOT = (5.0, 1.6, 1.2, 1.6)


@dataclass(frozen=True)
class Style:
    """The look of one chain.

    Parameters
    ----------
    colour : str
        Hexadecimal RGB.
    marker : str
        A marker in matplotlib's letters.
    dash : tuple of float
        Lengths on and off in line widths; empty is a solid line.
    """

    colour: str
    marker: str
    dash: tuple[float, ...]


_FIXED = {
    "jpeg": Style("#D55E00", "o", SOLID),
    "jpeg2000": Style("#0072B2", "s", SOLID),
    "jpeg@256": Style("#E69F00", "^", DASHED),
    "jpeg2000@256": Style("#56B4E9", "D", DASHED),
}
_FREE = tuple(
    Style(colour, marker, dash)
    for colour, marker, dash in product(
        ("#009E73", "#CC79A7", "#7A6A00", "#000000"),
        ("v", "P", "X", "<", ">", "h", "p", "*"),
        (SOLID, DASHED, DOTTED, DASH_DOT),
    )
)


def style_of(chain: str) -> Style:
    """Return the look of a chain.

    Parameters
    ----------
    chain : str
        Name of the chain, such as ``jpeg@256``.

    References
    ----------
    Okabe & Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/.

    Examples
    --------
    >>> style_of("jpeg").colour
    '#D55E00'
    >>> style_of("jpegxl@128") == style_of("jpegxl@128")
    True
    """
    if chain in _FIXED:
        return _FIXED[chain]
    return _FREE[int(digest(["chain", chain])[:8], 16) % len(_FREE)]

"""What every drawing starts from: an empty canvas, and text that matplotlib reads as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def new_canvas(width: float, height: float) -> Canvas:
    """Make a canvas of a size in inches, outside matplotlib's global state."""
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained")


def plain(text: str, longest: int = 60) -> str:
    """Make text safe for matplotlib: no formula, no control signs, cut at ``longest`` signs.

    Examples
    --------
    >>> print(plain("a long name", 7))
    a long…
    """
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    cut = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    return cut.replace("$", r"\$")

"""What a notebook shows of an object: a title, names with values, and what BitDose is not."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

DISCLAIMER = "Research use only, not a medical device."


def html_card(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a fragment of HTML with everything escaped.

    Parameters
    ----------
    title : str
        Its heading.
    rows : iterable of (str, object)
        Names and values.

    Examples
    --------
    >>> "<b>" in html_card("a <b>", [("cases", 3)])
    False
    """
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return (
        f"<div><strong>{escape(title)}</strong><table><tbody>{body}</tbody></table>"
        f"<p><small>{DISCLAIMER}</small></p></div>"
    )

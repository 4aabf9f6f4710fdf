"""Command-line options of a rule, shared by ``study``, ``decide`` and ``search``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.errors import UsageError

if TYPE_CHECKING:
    from bitdose.decision.fixed_sequence import Seconds
    from bitdose.rule.rule import Rule

Margins = Annotated[
    list[str] | None,
    typer.Option(
        "--margin", help="METRIC=LIMIT or METRIC[CLASS]=LIMIT; may be repeated. [default: the study file's]"
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        help="Largest probability of certifying a point whose loss exceeds a margin. [default: 0.05]"
    ),
]
Select = Annotated[str | None, typer.Option(help="Split for the selection of candidates.")]
Confirm = Annotated[str | None, typer.Option(help="Split for the confirmation.")]
Objective = Annotated[str | None, typer.Option(help="Objective: ratio, bytes or seconds. [default: ratio]")]
LinkText = Annotated[str | None, typer.Option(help="For seconds: gprs, 3g, up=44k,rtt=750ms ...")]
Modality = Annotated[str | None, typer.Option(help="DICOM modality of the profile, such as DX, CR, MG, MR.")]
Expires = Annotated[str | None, typer.Option(help="Days (365d) or a date. [default: 365d]")]
Key = Annotated[Path | None, typer.Option(help="Signing key. [default: made on first use]")]


def make_rule(
    registered: Mapping[str, Any], *, margins: list[str] | None, **options: str | float | None
) -> Rule:
    """Merge the registered rule with the options of the command line, which take precedence.

    Parameters
    ----------
    registered : mapping
        The study file's ``[decision]``; empty where there is none.
    margins : list of str or None
        As after ``--margin``; they replace the registered ones altogether.
    options
        ``alpha``, ``order`` (with commas), ``select``, ``confirm``, ``objective``, ``link``; None keeps
        what is registered.

    Raises
    ------
    UsageError
        If there is no margin, or the rule does not hold together.
    """
    from bitdose.rule.margins import read_margins
    from bitdose.rule.rule import Rule

    values: dict[str, Any] = dict(registered)
    if margins:
        values["margins"] = {margin.name: margin.limit for margin in read_margins(margins)}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if isinstance(given.get("order"), str):
        words = [word.strip() for word in given["order"].split(",") if word.strip()]
        if not words:
            raise UsageError(f"--order: expected points or chains with commas, got {given['order']!r}")
        given["order"] = words
    values |= given
    if not values.get("margins"):
        raise UsageError(
            "--margin: expected at least one, such as --margin accuracy=0.02; the study file fixed none"
        )
    rule = Rule.from_dict(values)
    seconds_on(rule)
    return rule


def seconds_on(rule: Rule) -> Seconds | None:
    """Return the function from bytes per exam to seconds on the rule's link; None without a link."""
    from functools import partial

    from bitdose.links import Link, seconds

    return partial(seconds, Link.parse(rule.link)) if rule.link else None

"""Command-line options of a rule, shared by ``study``, ``decide`` and ``search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.errors import UsageError

if TYPE_CHECKING:
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
PatientColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of the patients. [default: patient, PatientID, subject, ...; else DICOM's headers]"
    ),
]
Modality = Annotated[str | None, typer.Option(help="DICOM modality of the profile, such as DX, CR, MG, MR.")]
Expires = Annotated[str | None, typer.Option(help="Days (365d) or a date. [default: 365d]")]
Key = Annotated[Path | None, typer.Option(help="Signing key. [default: made on first use]")]


def make_rule(
    registered: Rule | None, *, margins: list[str] | None, order: str | None = None, **options: Any
) -> Rule:
    """Merge the registered rule with the options of the command line, which take precedence.

    Parameters
    ----------
    registered : Rule or None
        The study file's ``[decision]``.
    margins : list of str or None
        As after ``--margin``; they replace the registered ones altogether.
    order : str or None
        Points and chains with commas.
    options
        ``alpha``, ``select``, ``confirm``, ``objective``, ``link``; None keeps what is registered.

    Raises
    ------
    UsageError
        If there is no margin, or the rule does not hold together.
    """
    from bitdose.links import Link
    from bitdose.rule.rule import combined_rule

    words = None if order is None else [word.strip() for word in order.split(",") if word.strip()]
    if words == []:
        raise UsageError(f"--order: expected points or chains with commas, got {order!r}")
    if not margins and registered is None:
        raise UsageError(
            "--margin: expected at least one, such as --margin accuracy=0.02; the study file fixed none"
        )
    rule = combined_rule(registered, margins=margins or None, order=words, **options)
    if rule is None:  # not reached: there is a margin or a registered rule
        raise UsageError("--margin: expected at least one")
    if rule.link:
        Link.parse(rule.link)
    return rule

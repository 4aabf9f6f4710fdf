"""``bitdose decide``: the strongest compression that provably keeps the loss within the margins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.cli.rule_options import (
    Alpha,
    Confirm,
    Expires,
    Key,
    LinkText,
    Margins,
    Modality,
    Objective,
    Select,
    make_rule,
)

if TYPE_CHECKING:
    from bitdose.decision.base import Decision
    from bitdose.report.figures.render_pool import Renderer

Text = str | None


def decide(
    run: Annotated[Path, typer.Argument(help="Run folder, or results table (Parquet or CSV).")],
    margin: Margins = None,
    alpha: Alpha = None,
    select: Select = None,
    confirm: Confirm = None,
    order: Annotated[
        Text, typer.Option(help="Comma-separated order of points and chains, tested at the whole alpha.")
    ] = None,
    objective: Objective = None,
    link: LinkText = None,
    out: Annotated[Path | None, typer.Option(help="Profile to write. [default: RUN/profile.json]")] = None,
    modality: Modality = None,
    expires: Expires = None,
    key: Key = None,
    write_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report again, with the decision.")
    ] = True,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Show cases in the report.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Certify the best point whose loss is within every margin, and write its profile.

    Exit code 1 means that no point could be certified.

    Example: bitdose decide runs/xrays-net --margin accuracy=0.02 --margin 'sensitivity[covid-19]=0.03'
    """
    from bitdose.api import open_run

    opened = open_run(run)
    _check_profile_options(out, modality, expires)
    rule = make_rule(
        opened.registered, margins=margin, alpha=alpha, select=select, confirm=confirm, order=order,
        objective=objective, link=link,
    )  # fmt: skip
    with _renderer(wanted=write_report) as renderer:
        decision = opened.decide(rule)
        if write_report:
            opened.summary()  # the profile's point is one of it
        written = opened.certify(rule, out=out, modality=modality, expires=expires, key=key)
        files = dict(written.files)
        if write_report:
            files["report"] = opened.report(images=images, renderer=renderer).html
    show(decision, written.sentences, files, as_json=as_json)
    if decision.certified is None:
        raise typer.Exit(1)


def _renderer(*, wanted: bool) -> AbstractContextManager[Renderer | None]:
    """Start a report's renderer before there is anything to draw: it takes a second to be ready."""
    from bitdose.report.figures.render_pool import aside

    return aside() if wanted else nullcontext()


def show(
    decision: Decision,
    sentences: Sequence[str],
    files: Mapping[str, Path],
    *,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
    last: str = "",
) -> None:
    """Print a decision and the files written, as text or JSON."""
    written = {name: str(path) for name, path in files.items()}
    if as_json:
        typer.echo(json.dumps({**decision.to_dict(), **written, **(more or {})}, indent=2))
        return
    for line in (*sentences, *([last] if last else []), "", *(f"{k}: {v}" for k, v in written.items())):
        typer.echo(line)


def _check_profile_options(out: Path | None, modality: Text, expires: Text) -> None:
    """Refuse what no profile could be made with, whether or not one will be."""
    from bitdose.errors import UsageError
    from bitdose.profile.guidelines import check_modality
    from bitdose.profile.timestamps import DEFAULT_LIFE, expiry

    if out is not None and out.is_dir():
        raise UsageError(f"--out {out}: expected a file for the profile, it is a folder")
    for word in (modality or "").split(","):
        if word.strip():
            check_modality(word)
    expiry(expires or DEFAULT_LIFE, datetime.now(UTC))

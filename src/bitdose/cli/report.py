"""``bitdose report``: figures, report.html, summary.csv and summary.json of a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, or results table (Parquet or CSV).")],
    out: Annotated[Path | None, typer.Option(help="Output folder. [default: the run folder]")] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Show cases; reads the sources again.")
    ] = True,
    confusion: Annotated[
        str | None,
        typer.Option(help="Points whose confusion matrices to show, with commas. [default: a choice]"),
    ] = None,
    gallery: Annotated[int, typer.Option(min=0, help="Cases in the gallery, flipped ones first.")] = 6,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the intervals.")
    ] = 0.95,
    compare: Annotated[
        list[Path] | None, typer.Option(help="A run beside which this one is shown; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a finished or interrupted run, with its figures.

    Example: bitdose report runs/xrays-net
    """
    from bitdose.api import open_run

    points = [word.strip() for word in confusion.split(",")] if confusion else None
    opened = open_run(run)
    beside = [open_run(other) for other in compare or ()]
    paths = opened.report(out=out, images=images, points=points, gallery=gallery, level=level, compare=beside)
    findings = opened.findings(level=level)
    if as_json:
        typer.echo(json.dumps({"report": str(paths.html), "findings": findings}, indent=2))
        return
    for line in (*findings, "", f"report: {paths.html}"):
        typer.echo(line)

"""``bitdose compare``: runs side by side, paired where the cases are the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer


def compare(
    run: Annotated[Path, typer.Argument(help="The run that the others are compared with.")],
    others: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders or results tables.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the page. [default: RUN/compare]")] = None,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of the intervals.")
    ] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Compare runs point by point: two classifiers, two versions, two sets.

    Example: bitdose compare runs/xrays-net runs/xrays-newer
    """
    from bitdose.api import open_run
    from bitdose.report.compare import write_comparison
    from bitdose.report.findings.comparing import all_rows, comparison_sentences
    from bitdose.study.store import disk_errors

    opened = open_run(run)
    found = [opened.compare(open_run(other), level=level) for other in others]
    target = out or (run / "compare" if run.is_dir() else run.with_name(f"{run.stem}-compare"))
    with disk_errors(target):
        paths = write_comparison(target, found)
    if as_json:
        rows = [{name: _plain(value) for name, value in row.items()} for row in all_rows(found)]
        typer.echo(json.dumps({"compare": str(paths.html), "points": rows}, indent=2))
        return
    sentences = [line for one in found for line in comparison_sentences(one)]
    for line in (*sentences, "", f"compare: {paths.html}"):
        typer.echo(line)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value

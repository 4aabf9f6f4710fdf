"""``bitdose report``: figures, report.html, summary.csv and summary.json of a run folder."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.cli.decide import PROFILE, Facts, Known, known_decision, read_facts

if TYPE_CHECKING:
    from bitdose.decision.base import Decision
    from bitdose.report.build import ReportPaths
    from bitdose.report.figures.render_pool import Renderer


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a finished or interrupted run, with its figures.

    Example: bitdose report runs/xrays-net
    """
    points = [word.strip() for word in confusion.split(",")] if confusion else None
    paths, findings = make_report(run, out=out, images=images, points=points, gallery=gallery, level=level)
    if as_json:
        typer.echo(json.dumps({"report": str(paths.html), "findings": findings}, indent=2))
        return
    for line in (*findings, "", f"report: {paths.html}"):
        typer.echo(line)


def make_report(
    run: Path,
    *,
    out: Path | None = None,
    images: bool = True,
    points: list[str] | None = None,
    gallery: int = 6,
    level: float = 0.95,
    known: Known | None = None,
    pen: Renderer | None = None,
) -> tuple[ReportPaths, list[str]]:
    """Write a run's report and return its paths and findings; nothing that is known is found again.

    A pen that its caller has taken up already draws the figures; else one is taken up here.
    """
    from bitdose.links import LINKS
    from bitdose.report.build import write_report
    from bitdose.report.figures.render_pool import aside
    from bitdose.report.findings.decision import sentences
    from bitdose.report.findings.sentences import findings
    from bitdose.study.store import disk_errors

    facts = known.facts if known else read_facts(run)
    with nullcontext(pen) if pen else aside() as drawing:
        summary = (known.summary if known else None) or facts.summary(level=level)
        decision = known.decision if known else known_decision(facts)
        target = out or (run if run.is_dir() else run.with_name(f"{run.stem}-report"))
        with disk_errors(target):
            paths = write_report(
                target,
                summary,
                facts.shown,
                manifest=facts.manifest,
                load_variants=_variants(facts) if images else None,
                max_gallery=gallery,
                points=points,
                decision=decision,
                links=tuple(LINKS.values()),
                profile=_profile_id(facts),
                pen=drawing,
            )
    said = sentences(decision, facts.table) if decision else []
    return paths, [*said, *findings(summary, margin=_accuracy_margin(decision))]


def _accuracy_margin(decision: Decision | None) -> float:
    from bitdose.report.findings.sentences import MARGIN

    margins = decision.rule.margins if decision else ()
    return next((margin.limit for margin in margins if margin.name == "accuracy"), MARGIN)


def _profile_id(facts: Facts) -> str:
    """Return the id of the run's profile; empty where it has none that can be read."""
    from bitdose.errors import BitdoseError
    from bitdose.profile.document import load_profile

    place = facts.file(PROFILE)
    try:
        return load_profile(place).id if place.exists() else ""
    except BitdoseError as error:
        typer.echo(f"bitdose: the report names no profile: {error}", err=True)
        return ""


def _variants(facts: Facts) -> Any:
    from bitdose.errors import BitdoseError
    from bitdose.study.recode import variants_of
    from bitdose.study.store import STUDY_FILE

    if not (facts.run / STUDY_FILE).exists():
        return None
    try:
        return variants_of(facts.run, facts.table)
    except BitdoseError as error:
        typer.echo(f"bitdose: the report has no images: {error}", err=True)
        return None

"""From a summary and its table to the report's files in a run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bitdose.decision.base import Decision
from bitdose.decision.bdrate import bd_rates
from bitdose.decision.registration import is_registered
from bitdose.errors import BitdoseError
from bitdose.links import Link
from bitdose.report.atomic import write_atomic
from bitdose.report.compare import comparison_sections
from bitdose.report.exports import write_compressai_json
from bitdose.report.figures.base import Figure, FlipFigure, ForestFigure, MatrixFigure
from bitdose.report.figures.drawing import Drawing
from bitdose.report.figures.figure_data import BASES, Basis, all_figures, charted
from bitdose.report.figures.forest import forest_figures
from bitdose.report.figures.gallery import LoadVariants, crop_box, gallery_cases, load_panels, points_for
from bitdose.report.figures.gallery_image import gallery_png
from bitdose.report.figures.render_pool import Renderer, here
from bitdose.report.findings.audit import audit_rows
from bitdose.report.findings.chosen_points import default_points
from bitdose.report.findings.decision import chain_test_rows, evidence_rows, neighbours, rule_rows, sentences
from bitdose.report.findings.flips import FlippedCase, flipped_cases, of_model
from bitdose.report.findings.limitations import not_shown
from bitdose.report.findings.links import link_rows, link_sentences, link_table
from bitdose.report.findings.sentences import findings, headline_margin
from bitdose.report.findings.subgroups import failures, subgroups
from bitdose.report.page.html import DecisionSection, Page, Picture, render, render_audit
from bitdose.report.pareto import front
from bitdose.report.tables import subgroup_rows, write_csv, write_json
from bitdose.results.comparison import RunComparison
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summary import Summary

if TYPE_CHECKING:
    from polars import DataFrame

FIGURES = "figures"
AUDIT = "audit.html"
AUDIT_TITLE = "Audit of compressed input to this classifier"
INDEX = "figures.json"  # in the run folder: which files the report has put into FIGURES
# What version 0.1 called its figures, which kept no such list.
_FORMER = re.compile(
    r"(?:(?:accuracy|macro_f1)_(?:file|pixels)|confusion|flips|(?:forest|ratio_knob)_[\w.-]+)\.(?:svg|png)"
    r"|case_\d{2,}\.png"
)


class _Drawn(NamedTuple):
    """A figure, its drawing for the page, and its files."""

    figure: Figure
    picture: Picture
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are; ``figures`` holds the SVG and PNG of each figure, and the plates.

    ``audit`` and ``exports`` are there with a decision, ``links`` with links.
    """

    html: Path
    csv: Path
    json: Path
    subgroups: Path
    figures: tuple[Path, ...]
    audit: Path | None = None
    links: Path | None = None
    exports: tuple[Path, ...] = ()


def write_report(
    out: Path,
    summary: Summary,
    table: DataFrame,
    *,
    manifest: Mapping[str, Any],
    load_variants: LoadVariants | None = None,
    title: str = "What compression does to this classifier",
    max_gallery: int = 6,
    bases: Sequence[Basis] = BASES,
    points: Sequence[str] | None = None,
    decision: Decision | None = None,
    links: Sequence[Link] = (),
    comparisons: Sequence[RunComparison] = (),
    profile: str = "",
    pen: Renderer = here,
) -> ReportPaths:
    """Write a run folder's ``figures/``, ``report.html``, ``summary.{csv,json}`` and ``subgroups.csv``.

    With a decision, ``audit.html`` and ``exports/`` too; with links, ``links.csv``.

    Parameters
    ----------
    out : Path
        The run folder; made if it is not there. Files of an earlier report are replaced one by
        one, and those of its figures that this one does not make are removed.
    summary : Summary
        Of ``table``.
    table : polars.DataFrame
        Results in the schema of :mod:`bitdose.results.schema`.
    manifest : mapping
        JSON values: versions, machine, digests.
    load_variants : callable, optional
        ``(case_id, points)`` to one :class:`bitdose.image.Image` per point. Without it the
        report has no gallery.
    title : str
        Heading of the page.
    max_gallery : int
        Cases in the gallery; 0 leaves the images out.
    bases : sequence of {"file", "pixels"}
        Which ratios to draw against; the first gives the headline figure.
    points : sequence of str, optional
        Points whose confusion matrices are shown; chosen by ``default_points`` if not given.
    decision : Decision, optional
        Of the same table; it then opens the page.
    links : sequence of Link
        Lines for which seconds per exam are told.
    comparisons : sequence of RunComparison
        This run beside others.
    profile : str
        What the audit page says of who signed what; empty where nothing is signed.
    pen : callable
        Draws the figures: here, or in a process of its own (``render_pool.aside``).

    Returns
    -------
    ReportPaths

    Raises
    ------
    UsageError
        If one of ``points`` is not in the summary.
    OSError
        If the folder cannot be written; each file is whole, old or new.
    """
    decision = _registered(decision, manifest)
    pending = [(figure, pen(figure)) for figure in _figures(summary, decision, bases, points)]
    flipped = flipped_cases(table, summary)
    shown = _near_first(flipped, table, summary, decision)
    plates, note = _plates(shown, table, summary, load_variants, max_gallery)
    groups = subgroups(table, summary, _looked_at(summary, decision))
    drawn = _drawn(out, pending)
    page = Page(
        title=title,
        summary=summary,
        findings=findings(summary, margin=headline_margin(decision)),
        curves=[p for f, p, _ in drawn if f.name.startswith(charted())],
        matrices=[p for f, p, _ in drawn if isinstance(f, MatrixFigure)],
        flip_bars=[p for f, p, _ in drawn if isinstance(f, FlipFigure)],
        qualities=[p for f, p, _ in drawn if f.name.startswith("ratio_quality")],
        plates=plates,
        plate_note=note,
        flipped=flipped,
        failures=failures(table, summary),
        subgroups=groups,
        manifest=manifest,
        front=front(summary.points),
        bd_rates=[b for score in charted() for b in bd_rates(summary, score=score)],
    )
    marked = [p for f, p, _ in drawn if isinstance(f, ForestFigure)]
    page = _with_decision(page, table, decision, marked, links)
    sections, compared = comparison_sections(out, comparisons, renderer=pen)
    page = replace(_with_links(page, table, links), comparisons=sections)
    written = ReportPaths(
        html=write_atomic(out / "report.html", render(page).encode()),
        csv=write_csv(out / "summary.csv", summary.rows()),
        json=write_json(out / "summary.json", summary),
        subgroups=write_csv(out / "subgroups.csv", subgroup_rows(groups)),
        figures=(*(path for one in drawn for path in one.files), *compared, *_numbered(out, plates)),
        audit=_audit(out, page, table, decision, profile),
        links=write_csv(out / "links.csv", link_rows(page.links)) if page.links else None,
        exports=write_compressai_json(out, summary) if decision else (),
    )
    _remove_stale(out, written.figures)
    return written


def _looked_at(summary: Summary, decision: Decision | None) -> tuple[str, ...]:
    """Return the usual points to look at, and the certified one."""
    best = [decision.certified.point] if decision and decision.certified else []
    return tuple(dict.fromkeys((*default_points(summary), *best)))


def _figures(
    summary: Summary, decision: Decision | None, bases: Sequence[Basis], points: Sequence[str] | None
) -> tuple[Figure, ...]:
    figures = all_figures(summary, bases=bases, points=points)
    return (*figures, *(forest_figures(decision, summary) if decision else ()))


def _registered(decision: Decision | None, manifest: Mapping[str, Any]) -> Decision | None:
    """Read off the manifest whether the rule was registered, whatever the decision says of it."""
    return decision and replace(decision, preregistered=is_registered(manifest, decision.rule))


def _with_decision(
    page: Page,
    table: DataFrame,
    decision: Decision | None,
    forests: Sequence[Picture],
    links: Sequence[Link],
) -> Page:
    """Add the decision and its figures to a page."""
    if decision is None:
        return page
    decided = DecisionSection(
        certified=decision.certified.point if decision.certified else "",
        sentences=sentences(decision, table),
        rule=rule_rows(decision),
        evidence=evidence_rows(decision),
        chain_tests=chain_test_rows(decision),
        notes=decision.notes,
        forests=forests,
        not_shown=not_shown(decision, table, page.summary, groups=page.subgroups, links=links),
    )
    return replace(page, decided=decided)


def _with_links(page: Page, table: DataFrame, links: Sequence[Link]) -> Page:
    """Add the seconds per exam to a page."""
    if not links:
        return page
    seconds = link_table(table, page.summary, links)
    best = page.decided.certified if page.decided else ""
    shown = (*default_points(page.summary), best)
    said = link_sentences(seconds, best)
    return replace(page, links=seconds, link_sentences=said, link_points=shown)


def _audit(out: Path, page: Page, table: DataFrame, decision: Decision | None, profile: str) -> Path | None:
    """Write the audit page; without a decision, remove the one of an earlier report."""
    path = out / AUDIT
    if decision is None or page.decided is None:
        if path.is_file() and AUDIT_TITLE.encode() in path.read_bytes():
            path.unlink()
        return None
    questions = audit_rows(
        page.summary,
        table,
        manifest=page.manifest,
        decision=decision,
        open_points=page.decided.not_shown,
        groups=page.subgroups,
        profile=profile,
    )
    return write_atomic(path, render_audit(AUDIT_TITLE, questions).encode())


def _near_first(
    flipped: Sequence[FlippedCase], table: DataFrame, summary: Summary, decision: Decision | None
) -> Sequence[FlippedCase]:
    """Put the cases whose answer changed at the certified point or beside it before the others."""
    import polars as pl

    if decision is None:
        return flipped
    chains = {name: [p.point for p in points] for name, points in summary.chains().items()}
    ranked: dict[str, FlippedCase] = {}
    for point in neighbours(decision, chains):
        rows = table.filter(pl.col("point").is_in([PRISTINE, point]))
        ranked |= {one.case_id: one for one in flipped_cases(rows, summary) if one.case_id not in ranked}
    return [*ranked.values(), *(one for one in flipped if one.case_id not in ranked)]


def _remove_stale(out: Path, current: Iterable[Path]) -> None:
    """Remove the figures of an earlier report that this one did not make; leave other files alone."""
    folder, names = out / FIGURES, sorted(path.name for path in current)
    try:
        earlier = json.loads((out / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = [path.name for path in folder.glob("*") if _FORMER.fullmatch(path.name)]
    for name in earlier if isinstance(earlier, list) else []:
        path = folder / str(name)
        if path.name not in names and path.parent == folder and path.is_file():
            path.unlink()
    write_atomic(out / INDEX, json.dumps(names, indent=2).encode())


def _drawn(out: Path, pending: Sequence[tuple[Figure, Callable[[], Drawing]]]) -> list[_Drawn]:
    """Take the drawings of figures, for the page and as files; the last first, as the pens ask for."""
    found = []
    for figure, give in reversed(pending):
        drawing, stem = give(), out / FIGURES / figure.name
        files = ((".svg", drawing.svg), (".png", drawing.png))
        written = tuple(write_atomic(stem.with_name(stem.name + end), data) for end, data in files)
        found.append(_Drawn(figure, Picture(figure.title, figure.alt, drawing.svg, "svg+xml"), written))
    return found[::-1]


def _numbered(out: Path, plates: Sequence[Picture]) -> list[Path]:
    """Write the plates as files."""
    names = (f"case_{number:02d}.png" for number in range(1, len(plates) + 1))
    return [write_atomic(out / FIGURES / name, plate.data) for name, plate in zip(names, plates, strict=True)]


def _plates(
    flipped: Sequence[FlippedCase],
    table: DataFrame,
    summary: Summary,
    load_variants: LoadVariants | None,
    limit: int,
) -> tuple[list[Picture], str]:
    """Draw the gallery; a case whose pixels are unavailable is left out and counted in the note."""
    if load_variants is None or limit <= 0:
        return [], "The images were left out of this report."
    plates, missing = [], []
    for case_id, flip in gallery_cases(flipped, table, summary, limit=limit):
        try:
            plate = _plate(case_id, flip, table, summary, load_variants)
        except (BitdoseError, OSError) as error:
            missing.append(f"{case_id} ({error})")
            continue
        if plate is not None:
            plates.append(plate)
    note = f"Not shown, because the pixels could not be had: {'; '.join(missing)}." if missing else ""
    return plates, note


def _plate(
    case_id: str,
    flip: FlippedCase | None,
    table: DataFrame,
    summary: Summary,
    load_variants: LoadVariants,
) -> Picture | None:
    import polars as pl

    own = of_model(table, summary).filter((pl.col("case_id") == case_id) & (pl.col("status") == OK))
    rows = {row["point"]: row for row in own.iter_rows(named=True)}
    points = points_for(flip, summary, list(rows))
    if not points:
        return None
    panels = load_panels(rows, case_id, points, load_variants)
    data = gallery_png(panels, crop_box(panels))
    history = f"{flip.kind}, first at {flip.point}" if flip else "the answer never changed"
    answers = "; ".join(f"{p.point} answers {p.predicted}" for p in panels)
    alt = f"Case {case_id}, true class {panels[0].true}, at several points: {answers}."
    return Picture(f"Case {case_id}", alt, data, "png", f"True class {panels[0].true}; {history}.")

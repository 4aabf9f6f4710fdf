"""From a summary and its table to the report's files in a run folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitdose.errors import BitdoseError
from bitdose.report.draw import Drawing, draw
from bitdose.report.figures import FlipFigure, MatrixFigure
from bitdose.report.files import write_atomic
from bitdose.report.findings import findings
from bitdose.report.flips import FlippedCase, flipped_cases, of_model
from bitdose.report.gallery import LoadVariants, crop_box, gallery_cases, load_panels, points_for
from bitdose.report.html import Page, Picture, render
from bitdose.report.plate import gallery_png
from bitdose.report.series import BASES, Basis, all_figures
from bitdose.report.sources import failures, subgroups
from bitdose.report.tables import subgroup_rows, summary_rows, write_csv, write_json
from bitdose.results.schema import OK
from bitdose.results.summary import Summary

if TYPE_CHECKING:
    from polars import DataFrame

FIGURES = "figures"
# The names of all files that a report ever puts there.
_OURS = re.compile(
    r"(?:(?:accuracy|macro_f1)_(?:file|pixels)|confusion|flips|ratio_knob_[\w.-]+)\.(?:svg|png)|case_\d{2,}\.png"
)


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are; ``figures`` holds the SVG and PNG of each figure, and the plates."""

    html: Path
    csv: Path
    json: Path
    subgroups: Path
    figures: tuple[Path, ...]


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
) -> ReportPaths:
    """Write a run folder's ``figures/``, ``report.html``, ``summary.{csv,json}`` and ``subgroups.csv``.

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
    figures = all_figures(summary, bases=bases, points=points)
    paths, pictures = [], []
    for figure in figures:
        drawing = draw(figure)
        paths += _write_figure(out / FIGURES, figure.name, drawing)
        pictures.append(Picture(figure.title, figure.alt, drawing.svg, "svg+xml"))
    flipped = flipped_cases(table, summary)
    plates, note = _plates(flipped, table, summary, load_variants, max_gallery)
    for number, plate in enumerate(plates, 1):
        paths.append(write_atomic(out / FIGURES / f"case_{number:02d}.png", plate.data))
    groups = subgroups(table, summary)
    drawn = list(zip(figures, pictures, strict=True))
    page = Page(
        title=title,
        summary=summary,
        findings=findings(summary),
        curves=[p for f, p in drawn if f.name.startswith(("accuracy", "macro_f1"))],
        matrices=[p for f, p in drawn if isinstance(f, MatrixFigure)],
        flip_bars=[p for f, p in drawn if isinstance(f, FlipFigure)],
        knobs=[p for f, p in drawn if f.name.startswith("ratio_knob")],
        plates=plates,
        plate_note=note,
        flipped=flipped,
        failures=failures(table, summary),
        subgroups=groups,
        manifest=manifest,
    )
    written = ReportPaths(
        html=write_atomic(out / "report.html", render(page).encode()),
        csv=write_csv(out / "summary.csv", summary_rows(summary)),
        json=write_json(out / "summary.json", summary),
        subgroups=write_csv(out / "subgroups.csv", subgroup_rows(groups)),
        figures=tuple(paths),
    )
    _remove_stale(out / FIGURES, written.figures)
    return written


def _remove_stale(folder: Path, current: Iterable[Path]) -> None:
    """Remove the figures of an earlier report that this one did not make; leave other files alone."""
    keep = {path.name for path in current}
    for path in sorted(folder.glob("*")):
        if path.name not in keep and _OURS.fullmatch(path.name) and path.is_file():
            path.unlink()


def _write_figure(folder: Path, name: str, drawing: Drawing) -> list[Path]:
    return [
        write_atomic(folder / f"{name}.svg", drawing.svg),
        write_atomic(folder / f"{name}.png", drawing.png),
    ]


def _plates(
    flipped: Sequence[FlippedCase],
    table: DataFrame,
    summary: Summary,
    load_variants: LoadVariants | None,
    limit: int,
) -> tuple[list[Picture], str]:
    """Draw the gallery; a case whose pixels cannot be had is left out and counted in the note."""
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

"""Write what a comparison of runs found: a page, a table and a figure per pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitdose.report.atomic import write_atomic
from bitdose.report.figures.comparing import comparison_figure
from bitdose.report.figures.render_pool import Renderer, here
from bitdose.report.findings.comparing import all_rows, comparison_sentences
from bitdose.report.page.html import ComparisonSection, Picture, render_comparison
from bitdose.report.tables import write_csv
from bitdose.results.comparison import RunComparison

TITLE = "What compression does, run beside run"


@dataclass(frozen=True)
class ComparisonPaths:
    """Where a comparison's files are."""

    html: Path
    csv: Path
    figures: tuple[Path, ...]


def comparison_sections(
    out: Path, comparisons: Sequence[RunComparison], *, renderer: Renderer = here
) -> tuple[list[ComparisonSection], list[Path]]:
    """Draw a figure per comparison into ``out/figures``; return what the page shows, and the files."""
    sections, files = [], []
    for number, found in enumerate(comparisons, start=1):
        figure = comparison_figure(found, number)
        drawing, stem = renderer(figure)(), out / "figures" / figure.name
        picture = Picture(figure.title, figure.alt, drawing.svg, "svg+xml")
        sections.append(ComparisonSection(found, comparison_sentences(found), picture))
        for end, data in ((".svg", drawing.svg), (".png", drawing.png)):
            files.append(write_atomic(stem.with_name(stem.name + end), data))
    return sections, files


def write_comparison(
    out: Path, comparisons: Sequence[RunComparison], *, renderer: Renderer = here
) -> ComparisonPaths:
    """Write ``compare.html``, ``compare.csv`` and the figures into a folder, which is made if needed.

    Parameters
    ----------
    out : pathlib.Path
        The folder.
    comparisons : sequence of RunComparison
        Two runs each.
    renderer : callable
        Draws the figures.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    sections, figures = comparison_sections(out, comparisons, renderer=renderer)
    return ComparisonPaths(
        html=write_atomic(out / "compare.html", render_comparison(TITLE, sections).encode()),
        csv=write_csv(out / "compare.csv", all_rows(comparisons)),
        figures=tuple(figures),
    )

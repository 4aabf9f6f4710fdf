"""Figures on paper: formats, determinism, text, style."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import matplotlib as mpl
import pytest
from PIL import Image as Pillow

from bitdose.report.figures.drawing import draw
from bitdose.report.figures.figure_data import all_figures, confusions, curve
from bitdose.report.figures.style import style_of
from bitdose.results.summary import Summary
from bitdose.stats.estimate import undefined


def test_every_figure_is_svg_and_png(summary: Summary) -> None:
    """Each figure comes as well-formed SVG and as a PNG of print size."""
    for figure in all_figures(summary, bases=["file"]):
        drawing = draw(figure)
        assert ET.fromstring(drawing.svg).tag.endswith("svg")
        assert Pillow.open(BytesIO(drawing.png)).width >= 1000


def test_same_data_give_the_same_bytes(summary: Summary) -> None:
    """Drawing twice gives the same SVG and PNG, without a date."""
    first, second = (draw(curve(summary, "accuracy", "file")) for _ in range(2))
    assert first == second
    assert b"date" not in first.svg.lower()


def test_drawing_leaves_global_settings_alone(summary: Summary) -> None:
    """Drawing changes no setting of matplotlib for the program around it."""
    before = dict(mpl.rcParams)
    draw(confusions(summary))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    "label", ["$x_1$", "$\\frac{", "<script>", "新型肺炎", "x" * 400, "a\nb\x00", "", "\\$"]
)
def test_any_label_can_be_drawn(summary: Summary, label: str) -> None:
    """No label, however odd, is read as a formula or breaks a figure."""
    odd = replace(summary, labels=(label, *summary.labels[1:]))
    points = tuple(replace(p, chain=p.chain and f"{label}{p.chain}") for p in summary.points[1:3])
    assert draw(confusions(odd)).png
    assert draw(curve(replace(odd, points=(summary.points[0], *points)), "accuracy", "file")).png


def test_dollars_are_drawn_as_dollars(summary: Summary) -> None:
    """A label between dollars is drawn sign by sign: formula fonts never enter a figure."""
    odd = replace(summary, labels=("$x_1$", *summary.labels[1:]))
    svg = draw(confusions(odd, ["pristine"])).svg
    assert b"DejaVuSans" in svg
    assert b"Oblique" not in svg  # the face in which a formula sets its letters


def test_all_undefined_curve_can_be_drawn(summary: Summary) -> None:
    """A curve without a single defined point is an empty frame, not an error."""
    nan, nothing = float("nan"), undefined("no classified case")
    points = tuple(
        replace(p.with_estimates(accuracy=nothing), ratio_file=nan, ratio_pixels=nan) for p in summary.points
    )
    assert draw(curve(replace(summary, points=points), "accuracy", "file")).svg


def test_gap_splits_the_line(summary: Summary) -> None:
    """A line with an undefined point in it is drawn in two pieces."""
    chain = summary.chains()["jpeg"]
    holed = chain[5].with_estimates(accuracy=undefined("no classified case"))
    base = replace(summary, points=(summary.points[0], *chain))
    gap = replace(summary, points=(summary.points[0], *(holed if p is chain[5] else p for p in chain)))

    def moves(whole: Summary) -> int:
        svg = draw(curve(whole, "accuracy", "file")).svg.decode()
        lines = re.findall(r'<path d="([^"]+)"[^>]*stroke: #d55e00; stroke-width: 1.5', svg)
        return sum(line.count("M ") for line in lines)

    assert moves(gap) == moves(base) + 1


def test_style_depends_on_the_name_alone() -> None:
    """The paper's chains have four different colours and markers; an unknown chain never takes one."""
    known = [style_of(name) for name in ("jpeg", "jpeg2000", "jpeg@256", "jpeg2000@256")]
    assert len({s.colour for s in known}) == len({s.marker for s in known}) == 4
    others = [style_of(f"codec{n}@{n}") for n in range(40)]
    assert others == [style_of(f"codec{n}@{n}") for n in range(40)]
    assert not {s.colour for s in others} & {s.colour for s in known}
    assert len(set(others)) > 25

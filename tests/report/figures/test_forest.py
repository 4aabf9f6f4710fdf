"""Forest plots: the right numbers against the right line, and drawings that read in grey."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.report.figures.base import ForestFigure, ForestGroup, ForestRow
from bitdose.report.figures.drawing import draw
from bitdose.report.figures.forest import forest_figures, reach
from bitdose.report.figures.style import style_of
from bitdose.results.summary import Summary
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.stats.estimate import undefined

MADE = ForestFigure(
    name="forest_all",
    title="made up",
    alt="made up",
    x_title="loss",
    groups=(ForestGroup("jpeg", (ForestRow("jpeg:q9", "jpeg", 0.0, -0.005, 0.005, passed=True),)),),
    margin=0.02,
    reach=(-0.02, 0.1),
    percent=True,
    filled="passed",
    hollow="failed",
)


@pytest.fixture(scope="module")
def decision(table: pl.DataFrame) -> Decision:
    """Decide on the made-up study, with margins wide enough that something passes."""
    return decide(table, Rule(read_margins(["accuracy=0.2,harmful_flips=0.25"])))


def test_all_points_show_their_loss(decision: Decision, summary: Summary) -> None:
    """The first figure holds every coded point: the difference of accuracy turned into a loss."""
    first = forest_figures(decision, summary)[0]
    rows = [row for group in first.groups for row in group.rows]
    coded = [point for points in summary.chains().values() for point in points]
    assert [row.label for row in rows] == [point.point for point in coded]
    for row, point in zip(rows, coded, strict=True):
        assert row.loss == -point.accuracy_difference.value
        assert (row.low, row.high) == (-point.accuracy_difference.high, -point.accuracy_difference.low)
    assert first.margin == 0.2
    passed = {test.point for walk in decision.chain_tests for test in walk.passed}
    assert {row.label for row in rows if row.passed} == passed
    assert passed


def test_each_margin_shows_the_points_walked(decision: Decision, summary: Summary) -> None:
    """A margin's figure has the tested points with the one-sided limits that decided."""
    _, accuracy, flips = forest_figures(decision, summary)
    tested = [point for walk in decision.chain_tests for point in walk.tested]
    for place, figure in enumerate((accuracy, flips)):
        rows = [row for group in figure.groups for row in group.rows]
        assert [row.label for row in rows] == [point.point for point in tested]
        assert [row.high for row in rows] == [point.tests[place].test.upper for point in tested]
        assert all(math.isnan(row.low) for row in rows)
        assert all(row.passed == (row.high < figure.margin) for row in rows)
    assert flips.reach[0] > -0.02  # a rate has nothing below zero


def test_the_certified_point_is_marked_once(decision: Decision, summary: Summary) -> None:
    """In every figure one row is set off, and it is the certified point."""
    assert decision.certified is not None
    for figure in forest_figures(decision, summary):
        marked = [row.label for group in figure.groups for row in group.rows if row.marked]
        assert marked == [decision.certified.point]


def test_without_a_margin_on_accuracy_there_is_no_line(table: pl.DataFrame, summary: Summary) -> None:
    """A rule on another metric draws no margin into the accuracy of all points."""
    first = forest_figures(decide(table, Rule(read_margins(["macro_f1=0.2"]))), summary)[0]
    assert math.isnan(first.margin)
    assert draw(first).svg


def test_the_axis_shows_at_most_five_margins() -> None:
    """A collapsed point does not squeeze the others; limits within reach are all shown."""
    far = ForestRow("jpeg:q1", "jpeg", 0.6, 0.5, 0.7, passed=False)
    near = ForestRow("jpeg:q9", "jpeg", 0.01, -0.03, 0.05, passed=False)
    assert reach([far], 0.02) == pytest.approx((-0.02, 0.1))
    low, high = reach([near], 0.02)
    assert low < -0.03
    assert 0.05 < high < 0.1


def test_drawing_is_svg_and_png_and_repeats(decision: Decision, summary: Summary) -> None:
    """The same figure gives the same bytes in both formats."""
    figure = forest_figures(decision, summary)[0]
    first, second = draw(figure), draw(figure)
    assert first == second
    assert ET.fromstring(first.svg).tag.endswith("svg")
    assert Pillow.open(BytesIO(first.png)).width >= 1000


def test_passed_and_failed_differ_without_colour() -> None:
    """In grey, a filled and a hollow marker are still two different pictures."""
    (group,) = MADE.groups
    failed = replace(MADE, groups=(ForestGroup("jpeg", (replace(group.rows[0], passed=False),)),))
    grey = [np.asarray(Pillow.open(BytesIO(draw(f).png)).convert("L"), float) for f in (MADE, failed)]
    assert np.abs(grey[0] - grey[1]).max() > 100


def test_a_point_beyond_the_axis_is_an_arrow() -> None:
    """A loss outside the axis is drawn as an arrow at its edge: another shape than the chain's own."""
    row = ForestRow("jpeg:q1", "jpeg", 0.6, 0.5, 0.7, passed=False)
    inside = replace(row, loss=0.05, low=0.04, high=0.06)
    pictures = [draw(replace(MADE, groups=(ForestGroup("jpeg", (one,)),))).svg for one in (row, inside)]
    colour = style_of("jpeg").colour.lower().encode()
    assert all(colour in svg for svg in pictures)
    curves = [svg.count(b" C ") + svg.count(b"\nC ") for svg in pictures]
    assert curves[0] < curves[1]  # the round marker is made of curves, the arrow of lines


def test_odd_rows_can_be_drawn(decision: Decision, summary: Summary) -> None:
    """Undefined losses, formulas, tags and endless names break no drawing, and the note has the reason."""
    points = tuple(
        replace(
            p.with_estimates(accuracy_difference=undefined("no <b> case")),
            chain=f"$x_1${p.chain}" * 9,
            point="新" * 90,
        )
        if p.chain == "jpeg"
        else p
        for p in summary.points
    )
    first = forest_figures(decision, replace(summary, points=points))[0]
    assert "no <b> case" in first.groups[0].rows[0].note
    assert draw(first).png


def test_figures_have_file_names_of_their_own(table: pl.DataFrame, summary: Summary) -> None:
    """Margins whose names differ only in signs that no file takes still get two files."""
    odd = table.with_columns(case_label=pl.col("case_label").replace({"normal": "a/b", "pneumonia": "a:b"}))
    odd = odd.with_columns(predicted=pl.col("predicted").replace({"normal": "a/b", "pneumonia": "a:b"}))
    odd = odd.rename({"p_normal": "p_a/b", "p_pneumonia": "p_a:b"})
    rule = Rule(read_margins(["sensitivity[a/b]=0.5", "sensitivity[a:b]=0.5"]))
    names = [figure.name for figure in forest_figures(decide(odd, rule), summary)]
    assert len(set(names)) == 3
    assert not any(sign in name for name in names for sign in "/:[]")

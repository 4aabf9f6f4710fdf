"""What the figures hold before they are drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bitdose.errors import UsageError
from bitdose.report.figures import figure_data as series
from bitdose.results.summary import Summary
from bitdose.stats.estimate import undefined


def test_curve_holds_the_summary_numbers(summary: Summary) -> None:
    """A curve's coordinates and limits are the summary's own, on the basis asked for."""
    for basis in series.BASES:
        figure = series.curve(summary, "macro_f1", basis)
        for line in figure.series:
            points = summary.chains()[line.name]
            assert line.x == tuple(getattr(p, f"ratio_{basis}") for p in points)
            assert line.y == tuple(p.macro_f1.value for p in points)
            assert line.low == tuple(p.macro_f1.low for p in points)
            assert line.labels == tuple(p.point for p in points)


def test_curve_has_a_line_per_chain_and_pristine_with_its_interval(summary: Summary) -> None:
    """Every chain is one line on a log axis, and pristine is a reference with its limits."""
    figure = series.curve(summary, "accuracy", "file")
    pristine = summary.pristine().accuracy
    assert [line.name for line in figure.series] == ["jpeg", "jpeg2000", "jpeg@256", "jpeg2000@256"]
    assert figure.log_x
    (reference,) = figure.references
    assert (reference.value, reference.low, reference.high) == (pristine.value, pristine.low, pristine.high)


def test_undefined_point_stays_as_a_gap(summary: Summary) -> None:
    """A point whose metric is undefined stays in its line as NaN, never left out or zero."""
    target = summary.chains()["jpeg"][3]
    holed = target.with_estimates(accuracy=undefined("no classified case"))
    points = tuple(holed if p is target else p for p in summary.points)
    line = series.curve(replace(summary, points=points), "accuracy", "file").series[0]
    assert math.isnan(line.y[3])
    assert len(line.y) == 12
    assert not math.isnan(line.y[2] + line.y[4])


def test_default_points_are_pristine_near_forty_and_strongest(summary: Summary) -> None:
    """The matrices shown by default are pristine, each chain near 40:1 of the file, and its end."""
    chosen = series.default_points(summary)
    assert chosen[0] == "pristine"
    assert len(set(chosen)) == len(chosen)
    for points in summary.chains().values():
        near = min(points, key=lambda p: abs(math.log(p.ratio_file / 40)))
        assert {near.point, points[-1].point} <= set(chosen)


def test_unknown_point_is_refused_with_the_known_ones(summary: Summary) -> None:
    """A confusion matrix of a point outside the study is an error that lists the points."""
    with pytest.raises(UsageError, match=r"jpeg:q31.*pristine, jpeg:q95"):
        series.confusions(summary, ["jpeg:q31"])


def test_knobs_of_different_codecs_never_share_an_axis(summary: Summary) -> None:
    """Ratio against knob is one figure per codec, with the chains that share the knob."""
    figures = series.quality_curves(summary, "pixels")
    assert [[line.name for line in f.series] for f in figures] == [
        ["jpeg", "jpeg@256"],
        ["jpeg2000", "jpeg2000@256"],
    ]
    assert figures[0].series[0].x == tuple(p.quality for p in summary.chains()["jpeg"])


def test_flip_bars_hold_both_directions(summary: Summary) -> None:
    """Flips per point come in both directions, in the order of the chain."""
    for panel in series.flip_bars(summary).panels:
        points = summary.chains()[panel.name]
        assert panel.right_to_wrong == tuple(p.flips.right_to_wrong for p in points)
        assert panel.wrong_to_right == tuple(p.flips.wrong_to_right for p in points)


def test_study_without_chains_still_has_its_matrix(summary: Summary) -> None:
    """With pristine alone there is one figure left: its confusion matrix."""
    figures = series.all_figures(replace(summary, points=summary.points[:1]))
    assert [figure.name for figure in figures] == ["confusion"]


def test_figure_names_are_safe_file_names(summary: Summary) -> None:
    """A codec's name cannot lead a figure's file out of its folder."""
    point = replace(summary.points[1], codec="../x y")
    (figure,) = series.quality_curves(replace(summary, points=(summary.points[0], point)), "file")
    assert "/" not in figure.name
    assert " " not in figure.name

"""Seconds per exam: from the bytes of the results, exam by exam."""

from __future__ import annotations

import math

import polars as pl
import pytest

from bitdose.links import LINKS, Link, knee_bytes, seconds
from bitdose.report.findings.links import LinkTable, link_rows, link_sentences, link_table, seconds_text
from bitdose.results.summary import Summary

OWN = Link.parse("up=44k,rtt=750ms")


@pytest.fixture(scope="module")
def found(table: pl.DataFrame, summary: Summary) -> LinkTable:
    """Price the made-up study on a named link and on one of our own."""
    return link_table(table, summary, [LINKS["gprs"], OWN])


def test_means_are_those_of_the_exams(found: LinkTable, table: pl.DataFrame) -> None:
    """A cell is the mean over exams of the seconds of each, not the seconds of the mean."""
    rows = table.filter((pl.col("point") == "jpeg:q60") & (pl.col("status") == "ok"))
    priced = [float(seconds(OWN, size)) for size in rows["bytes_coded"].to_list()]
    row = next(row for row in found.rows if row.point == "jpeg:q60")
    assert row.n == len(priced)
    assert row.costs[1].mean_s == pytest.approx(sum(priced) / len(priced))
    files = [float(seconds(OWN, size)) for size in rows["bytes_file"].to_list()]
    assert row.costs[1].seconds_of_pristine == pytest.approx(sum(files) / len(files))


def test_every_point_is_on_every_link(found: LinkTable, summary: Summary) -> None:
    """Rows follow the summary's points, columns the links given; the flat rows are their product."""
    assert [row.point for row in found.rows] == [point.point for point in summary.points]
    assert [head.name for head in found.heads] == ["gprs", "up=44k,rtt=750ms"]
    assert len(link_rows(found)) == 2 * len(summary.points)


def test_the_knee_is_marked(found: LinkTable) -> None:
    """A point is below the knee exactly if its mean exam has fewer bytes; both sorts occur here."""
    marks = {row.below_knee[0] for row in found.rows}
    assert marks == {True, False}
    for row in found.rows:
        assert row.below_knee[0] == (row.mean_bytes <= knee_bytes(LINKS["gprs"]))


def test_a_point_without_an_exam_is_undefined(table: pl.DataFrame, summary: Summary) -> None:
    """Where every case failed there are no seconds, and the reason is kept."""
    lost = table.with_columns(
        status=pl.when(pl.col("point") == "jpeg:q60").then(pl.lit("broken")).otherwise("status")
    )
    rows = link_table(lost, summary, [OWN]).rows
    row = next(row for row in rows if row.point == "jpeg:q60")
    assert math.isnan(row.costs[0].mean_s)
    assert row.costs[0].reason == "no exam"
    assert row.below_knee == (False,)


def test_sentences_compare_with_the_source_file(found: LinkTable) -> None:
    """Each link's sentence has the certified point's seconds and the source file's."""
    said = link_sentences(found, "jpeg:q60")
    row = next(row for row in found.rows if row.point == "jpeg:q60")
    assert len(said) == 2
    assert f"takes {seconds_text(row.costs[0].mean_s)} on average at jpeg:q60" in said[0]
    assert f"{seconds_text(row.costs[0].seconds_of_pristine)} as the source file" in said[0]
    assert "at jpeg" not in link_sentences(found)[0]
    assert link_sentences(found, "no such point") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.996, "1.00 s"), (5.0, "5.0 s"), (119.4, "119 s"), (7200.0, "2 h")],
)
def test_seconds_are_written_for_a_person(value: float, text: str) -> None:
    """From hundredths to hours, with the digits that matter."""
    assert seconds_text(value) == text

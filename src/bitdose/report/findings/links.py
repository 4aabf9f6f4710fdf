"""Seconds, not only ratios: what each point costs on each link, from the bytes in the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitdose.links import Link, LinkCost, costs, knee_bytes
from bitdose.report.findings.flips import of_model
from bitdose.report.findings.phrasing import bytes_text
from bitdose.report.findings.sentences import counted
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summary import Summary

if TYPE_CHECKING:
    from polars import DataFrame

_NOTHING = 1e-9


@dataclass(frozen=True)
class LinkHead:
    """One link: its figures, where they are from, and the bytes under which its fixed part rules."""

    name: str
    figures: str
    source: str
    knee_bytes: float


@dataclass(frozen=True)
class LinkRow:
    """One point on every link; ``below_knee`` says where fewer bytes buy little."""

    point: str
    chain: str
    n: int
    mean_bytes: float
    costs: tuple[LinkCost, ...]
    below_knee: tuple[bool, ...]


@dataclass(frozen=True)
class LinkTable:
    """All points on all links, in the order of the summary and of the links given."""

    heads: tuple[LinkHead, ...]
    rows: tuple[LinkRow, ...]


def link_table(table: DataFrame, summary: Summary, links: Sequence[Link]) -> LinkTable:
    """Compute the seconds per exam of every point on every link.

    Parameters
    ----------
    table : polars.DataFrame
        Results in the schema of :mod:`bitdose.results.schema`.
    summary : Summary
        Of the same table: says which points there are.
    links : sequence of Link
        The links.

    Returns
    -------
    LinkTable
        NaN where a point has no exam. The seconds are those of a connection made for the exam.
    """
    import polars as pl

    heads = tuple(_head(link) for link in links)
    own = of_model(table, summary).filter(pl.col("status") == OK).select("point", "bytes_coded", "bytes_file")
    by_point = {str(key[0]): rows for key, rows in own.partition_by("point", as_dict=True).items()}
    rows = []
    for point in summary.points:
        found = by_point.get(point.point, own.clear())
        coded, files = (found[name].to_numpy() for name in ("bytes_coded", "bytes_file"))
        priced = tuple(costs(link, coded, pristine_bytes=files) for link in links)
        mean = float(coded.mean()) if coded.size else float("nan")
        below = tuple(mean <= head.knee_bytes for head in heads)
        rows.append(LinkRow(point.point, point.chain, coded.size, mean, priced, below))
    return LinkTable(heads, tuple(rows))


def link_rows(table: LinkTable) -> list[dict[str, Any]]:
    """Flatten to one row per point and link for a spreadsheet."""
    return [
        {
            "point": row.point,
            "link": head.name,
            "n": row.n,
            "mean_bytes": row.mean_bytes,
            "mean_s": cost.mean_s,
            "median_s": cost.median_s,
            "p95_s": cost.p95_s,
            "exams_per_hour": cost.exams_per_hour,
            "source_file_mean_s": cost.seconds_of_pristine,
            "knee_bytes": head.knee_bytes,
            "below_knee": below,
            "reason": cost.reason,
        }
        for row in table.rows
        for head, cost, below in zip(table.heads, row.costs, row.below_knee, strict=True)
    ]


def link_sentences(table: LinkTable, point: str = "") -> list[str]:
    """Say per link what a point saves, and the bytes under which nothing is left to save.

    Parameters
    ----------
    table : LinkTable
        The seconds.
    point : str
        The certified point; empty tells the source files alone.
    """
    row = next((row for row in table.rows if row.point == (point or PRISTINE)), None)
    if row is None:
        return []
    pairs = zip(table.heads, row.costs, row.below_knee, strict=True)
    return [_said(head, cost, row, below) for head, cost, below in pairs if not cost.reason]


def seconds_text(seconds: float) -> str:
    """Write seconds for a person.

    Examples
    --------
    >>> seconds_text(0.234), seconds_text(61.2), seconds_text(1818), seconds_text(float("nan"))
    ('0.23 s', '61 s', '30.3 min', '–')
    """
    if not seconds > _NOTHING:
        return "–" if seconds != seconds else "0 s"  # noqa: PLR0124 -- NaN
    for least, size, unit in ((5400, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / size:.3g} {unit}"
    digits = 2 if seconds < 1 else 1 if seconds < 10 else 0  # noqa: PLR2004 -- two digits or three
    return f"{seconds:.{digits}f} s"


def _said(head: LinkHead, cost: LinkCost, row: LinkRow, below: bool) -> str:  # noqa: FBT001
    text = f"{head.name}: an exam takes {seconds_text(cost.mean_s)} on average"
    if row.point != PRISTINE:
        text += f" at {row.point}, {seconds_text(cost.seconds_of_pristine)} as the source file"
    text += f"; {counted(round(cost.exams_per_hour), 'exam')} per hour, one after another."
    knee = bytes_text(head.knee_bytes)
    if below:
        here = bytes_text(row.mean_bytes)
        return f"{text} At {here} per exam the link's fixed part rules already (below {knee})."
    return f"{text} Below {knee} per exam, fewer bytes buy little."


def _head(link: Link) -> LinkHead:
    name = link.name or str(link)
    loss = f", {100 * link.loss:g} % lost" if link.loss else ""
    figures = (
        f"{_rate(link.up_bps)} up, {_rate(link.down_bps)} down, {1000 * link.rtt_s:g} ms round trip{loss}"
    )
    return LinkHead(name, figures, link.source, knee_bytes(link))


def _rate(bps: float) -> str:
    scale, unit = next(((s, u) for s, u in ((1e9, "Gbit/s"), (1e6, "Mbit/s")) if bps >= s), (1e3, "kbit/s"))
    return f"{bps / scale:g} {unit}"

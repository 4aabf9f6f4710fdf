"""Write the made parts of docs/results.md, and its figures, from the tables in results/: ``make results``.

A made part stands between ``<!-- made: KIND NAME -->`` and ``<!-- end -->``. Only the tables are read:
neither images nor weights are needed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from bitdose.report.figures.base import Figure
from bitdose.report.figures.drawing import draw
from bitdose.report.figures.figure_data import confusions, curve
from bitdose.report.findings.chosen_points import nearest as nearest_point
from bitdose.report.findings.sentences import findings
from bitdose.results.schema import OK, PRISTINE
from bitdose.results.summarize import summarize
from bitdose.results.summary import PointSummary, Summary
from bitdose.results.table import read_table
from bitdose.stats.clusters import clustered_tango, clustered_wilson
from bitdose.stats.estimate import Estimate

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PAGE = HERE / "results.md"
MADE = re.compile(r"(<!-- made: (\w+) ?([^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

# Chains and average ratios of the paper's printed points, on the file basis (FACTS, section 1).
PAPER_RATIOS = {"jpeg": 28.5, "jpeg2000": 46.3, "jpeg@256": 38.9, "jpeg2000@256": 45.9}
LOSSES = (0.01, 0.02)
FIGURES: dict[str, Figure] = {}


@cache
def table_of(name: str) -> pl.DataFrame:
    """Read a kept table."""
    return read_table(RESULTS / f"{name}.parquet")


@cache
def summary_of(name: str) -> Summary:
    """Summarise a kept table."""
    return summarize(table_of(name))


def points(name: str) -> str:
    """Return the table of all points."""
    head = ("point", "ratio (file)", "ratio (pixels)", "kB per case", "accuracy, %")
    head += ("against pristine, points", "macro F1", "flips (lost / gained)")
    return markdown(head, [point_row(point) for point in summary_of(name).points])


def point_row(point: PointSummary) -> list[str]:
    """Write one point."""
    flips = point.flips
    return [
        f"`{point.point}`",
        f"{point.ratio_file:.1f}",
        f"{point.ratio_pixels:.1f}",
        f"{point.coded_bytes_per_case / 1e3:.1f}",
        percent(point.accuracy),
        percent(point.accuracy_difference, sign="+"),
        f"{point.macro_f1:.3f}",
        f"{flips.changed} ({flips.right_to_wrong} / {flips.wrong_to_right})",
    ]


def ends(name: str) -> str:
    """Return each chain's strongest point, and how far its probabilities are from the pristine ones."""
    head = ("strongest point", "ratio (file)", "PSNR, dB", "accuracy, %", "against pristine, points")
    head += ("changed predictions", "mean change of a probability")
    rows = []
    for chain in summary_of(name).chains().values():
        point = chain[-1]
        cells = [
            f"`{point.point}`",
            f"{point.ratio_file:.1f}",
            f"{point.psnr_db:.1f}",
            percent(point.accuracy),
        ]
        cells += [percent(point.accuracy_difference, sign="+"), f"{point.flips.changed} of {point.flips.n}"]
        rows.append([*cells, f"{mean_change(name, point.point):.3f}"])
    return markdown(head, rows)


def mean_change(name: str, point: str) -> float:
    """Return the mean absolute difference of all probabilities between a point and pristine."""
    table = table_of(name).filter(pl.col("status") == OK)
    columns = [column for column in table.columns if column.startswith("p_")]
    at, before = (
        table.filter(pl.col("point") == each).select("case_id", *columns) for each in (point, PRISTINE)
    )
    both = at.join(before, on="case_id", suffix="_before")
    changes = [(both[column] - both[f"{column}_before"]).abs().mean() for column in columns]
    return float(np.mean(changes))


def said(name: str) -> str:
    """Return what the report says first."""
    return "\n".join(f"- {line}" for line in findings(summary_of(name)))


def card(name: str) -> str:
    """Return a trained model's numbers on its test split, with the digest of its ONNX file."""
    metrics = json.loads((RESULTS / "cards" / f"{name}.json").read_text(encoding="utf-8"))["test"]
    text = (RESULTS / "cards" / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"model\.onnx \| SHA-256 `([0-9a-f]{64})`", text)
    rows = [[key, interval(metrics[key])] for key in ("accuracy", "macro_f1")]
    for label, own in metrics["classes"].items():
        rows += [[f"{kind}, {label}", interval(own[kind])] for kind in ("sensitivity", "specificity")]
    digest = found.group(1) if found else "?"
    table = markdown((f"{metrics['cases']} test cases", "pristine"), rows)
    return f"{table}\n\nONNX file: SHA-256 `{digest}`."


def figure(arguments: str) -> str:
    """Place accuracy or macro F1 against the ratio: ``NAME METRIC BASIS``."""
    name, metric, basis = arguments.split()
    drawn = curve(summary_of(name), metric, basis)  # type: ignore[arg-type]
    return picture(f"{name}-{metric}-{basis}.png", drawn)


def matrices(name: str) -> str:
    """Place the confusion matrices of pristine and of the points nearest the paper's ratios."""
    summary = summary_of(name)
    chosen = [PRISTINE, *(nearest(summary, chain, ratio).point for chain, ratio in PAPER_RATIOS.items())]
    drawn = confusions(summary, chosen)
    head = ("the paper's point", "nearest here", "ratio (file)", "accuracy, %", "macro F1")
    rows = []
    for chain, ratio in PAPER_RATIOS.items():
        point = nearest(summary, chain, ratio)
        cells = [f"{chain}, {ratio}:1", f"`{point.point}`", f"{point.ratio_file:.1f}"]
        rows.append([*cells, percent(point.accuracy), f"{point.macro_f1:.3f}"])
    return f"{markdown(head, rows)}\n\n{picture(f'{name}-confusion.png', drawn)}"


def picture(name: str, figure: Figure) -> str:
    """Note a figure to be drawn, and return its place on the page."""
    FIGURES[name] = figure
    return f"![{figure.alt}](img/{name})"


def nearest(summary: Summary, chain: str, ratio: float) -> PointSummary:
    """Return the chain's point whose ratio of the files is nearest."""
    found = nearest_point(summary.chains()[chain], ratio)
    if found is None:
        raise SystemExit(f"{chain}: no point has a ratio")
    return found


def pairs(arguments: str) -> str:
    """Compare points on the same cases: ``NAME A~B [A~B ...]``, each B against A."""
    name, *texts = arguments.split()
    head = ("point", "against", "kB per case", "accuracy, %", "difference, points", "changed predictions")
    return markdown(head, [pair_row(name, *text.split("~")) for text in texts])


def pair_row(name: str, first: str, second: str) -> list[str]:
    """Write one comparison, all of it of the cases classified at both points."""
    both = paired(name, first, second)
    right_a, right_b = (both[f"predicted_{side}"] == both["case_label"] for side in "ab")
    gained, lost = (right_b & ~right_a).to_numpy(), (right_a & ~right_b).to_numpy()
    difference = clustered_tango(gained, lost, both["case_patient"].to_numpy())
    changed = f"{int((both['predicted_a'] != both['predicted_b']).sum())} of {len(both)}"
    size = " → ".join(f"{both[f'bytes_{side}'].mean() / 1e3:.1f}" for side in "ab")
    accuracy = " → ".join(f"{100 * right.mean():.1f}" for right in (right_a, right_b))
    return [f"`{second}`", f"`{first}`", size, accuracy, percent(difference, sign="+"), changed]


def paired(name: str, first: str, second: str) -> pl.DataFrame:
    """Return a row per case classified at both points."""
    table = pl.concat([table_of(part) for part in name.split("+")], how="diagonal_relaxed")
    rows = table.filter(pl.col("status") == OK).unique(["case_id", "point"], keep="first")
    columns = ["predicted", "bytes_coded"]
    a = rows.filter(pl.col("point") == first).select("case_id", "case_label", "case_patient", *columns)
    b = rows.filter(pl.col("point") == second).select("case_id", *columns)
    names = {"predicted": "predicted_a", "bytes_coded": "bytes_a", "bytes_coded_b": "bytes_b"}
    return a.join(b, on="case_id", suffix="_b").rename(names).sort("case_id")


def sources(arguments: str) -> str:
    """Compare groups of a column at some points: ``NAME COLUMN POINT...``."""
    name, column, *wanted = arguments.split()
    table = table_of(name).filter(pl.col("status") == OK)
    groups = sorted(table[column].drop_nulls().unique().to_list(), key=str)
    rows = []
    for group in groups:
        part = table.filter(pl.col(column) == group)
        cells = [at_point(part.filter(pl.col("point") == point)) for point in wanted]
        rows.append([str(group), str(part["case_id"].n_unique()), *cells])
    return markdown((column.removeprefix("case_"), "cases", *(f"`{point}`" for point in wanted)), rows)


def at_point(rows: pl.DataFrame) -> str:
    """Write the accuracy in percent with its interval, and the ratio, of some rows of one point."""
    if rows.is_empty():
        return "–"
    hits = (rows["predicted"] == rows["case_label"]).to_numpy()
    share = clustered_wilson(hits, rows["case_patient"].to_numpy())
    return f"{percent(share)}, {rows['bytes_file'].sum() / rows['bytes_coded'].sum():.1f}:1"


def elsewhere(names: str) -> str:
    """For each model and chain, the strongest point before the observed loss exceeds 1 and 2 points."""
    models = names.split()
    chains = list(summary_of(models[0]).chains())
    rows = []
    for name in models:
        summary = summary_of(name)
        for loss in LOSSES:
            cells = [strongest(summary, chain, loss) for chain in chains]
            accuracy = percent(summary.pristine().accuracy) if loss == LOSSES[0] else ""
            rows.append([name if loss == LOSSES[0] else "", accuracy, f"{100 * loss:.0f}", *cells])
    head = ("classifier", "pristine accuracy, %", "points lost at most", *chains)
    return markdown(head, rows)


def strongest(summary: Summary, chain: str, loss: float) -> str:
    """Follow a chain from weak to strong; return the last point before a larger loss, with the difference."""
    last = None
    for point in summary.chains()[chain]:
        if not -point.accuracy_difference.value <= loss + 1e-12:
            break
        last = point
    if last is None:
        return "–"
    return f"**{last.ratio_file:.0f}:1** {percent(last.accuracy_difference, sign='+')}"


def percent(estimate: Estimate, *, sign: str = "") -> str:
    """Write an estimate in percent with its interval."""
    value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
    if np.isnan(value):
        return "–"
    if np.isnan(low):
        return f"{value:{sign}.1f}"
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def interval(estimate: dict[str, float | None]) -> str:
    """Write an estimate of a card."""
    if estimate["value"] is None or estimate["low"] is None:
        return str(estimate["value"])
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


KINDS: dict[str, Callable[[str], str]] = {
    "points": points,
    "ends": ends,
    "said": said,
    "card": card,
    "figure": figure,
    "matrices": matrices,
    "pairs": pairs,
    "sources": sources,
    "elsewhere": elsewhere,
}


def made(text: str) -> str:
    """Return a page with its made parts made anew."""
    return MADE.sub(lambda part: f"{part[1]}\n{KINDS[part[2]](part[3])}\n\n{part[5]}", text)


def main() -> None:
    """Rewrite the page; with ``--check`` only say whether it is up to date."""
    text = PAGE.read_text(encoding="utf-8")
    fresh = made(text)
    if "--check" in sys.argv:
        raise SystemExit("docs/results.md is out of date: make results" if fresh != text else 0)
    PAGE.write_text(fresh, encoding="utf-8")
    for name, drawn in FIGURES.items():
        (HERE / "img" / name).write_bytes(draw(drawn).png)


if __name__ == "__main__":
    main()

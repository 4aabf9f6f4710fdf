"""Write the figure and the numbers of docs/explanation/certificate.md from a kept table: ``make figure``.

The table is the demo's, less what the page does not need. Given a run folder, it is taken anew from there:
``python docs/make_figures.py demo-run/run``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import layers
import polars as pl

from bitdose.decision.base import ChainTest, Decision, PointTest
from bitdose.decision.decide import decide
from bitdose.report.figures.canvas import new_canvas
from bitdose.report.figures.style import GRID, INK, MUTED, WRONG, style_of
from bitdose.results.schema import PRISTINE
from bitdose.results.table import read_table
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
TABLE = HERE / "explanation" / "phantoms.parquet"
PAGE = HERE / "explanation" / "certificate.md"
PICTURE = HERE / "img" / "certificate.png"
RULE = Rule((Margin("accuracy", "", 0.1),))
COLUMNS = (
    "case_id", "case_label", "case_patient", "point", "codec_chain", "codec_strength", "bytes_file",
    "bytes_pixels", "bytes_coded", "predicted", "status", "reason", "p_clear", "p_nodules", "p_reticular",
)  # fmt: skip

_POINTS = 100  # a fraction in percentage points
_LOWEST, _HIGHEST = -6.0, 24.0


@cache
def table() -> pl.DataFrame:
    """Read the kept table."""
    return read_table(TABLE)


@cache
def decision() -> Decision:
    """Decide on the kept table by the page's rule."""
    return decide(table(), RULE)


def keep(run: Path) -> None:
    """Take the kept table anew from a run: probabilities in float32, no times, no names of files."""
    rows = read_table(run).select(COLUMNS)
    ids = {name: f"{number:04d}" for number, name in enumerate(sorted(rows["case_id"].unique()))}
    named = [pl.col(name).replace_strict(ids) for name in ("case_id", "case_patient")]
    rows.with_columns(*named, pl.col("^p_.*$").cast(pl.Float32)).write_parquet(TABLE, compression_level=22)


def changed(point: str) -> tuple[int, int]:
    """Count the cases that turn from right to wrong, and from wrong to right."""
    rows = table().select("case_id", "point", right=pl.col("predicted") == pl.col("case_label"))
    before, after = (
        rows.filter(pl.col("point") == name).sort("case_id")["right"] for name in (PRISTINE, point)
    )
    return int((before & ~after).sum()), int((~before & after).sum())


def tests_table() -> str:
    """Return a row for each point that was tested, chain by chain."""
    lines = ["| point | ratio_file | flips (lost / gained) | loss seen | upper limit | p | |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for chain in decision().chain_tests:
        lines += [_row(test) for test in chain.tested]
    return "\n".join(lines)


def _row(test: PointTest) -> str:
    found = test.tests[0].test
    lost, gained = changed(test.point)
    certified = decision().certified
    last = (
        "**certified**"
        if certified and test.point == certified.point
        else "passes"
        if test.passed
        else "fails"
    )
    return (
        f"| `{test.point}` | {test.ratio_file:.1f} | {lost} / {gained} | {_POINTS * found.loss:.1f} "
        f"| {_POINTS * found.upper:.1f} | {found.p:.4f} | {last} |"
    )


def draw() -> bytes:
    """Draw every chain: what was seen, the limit that decides, the margin, and where the test stopped."""
    from io import BytesIO

    canvas = new_canvas(8.4, 6.0)
    panels = canvas.subplots(2, 2, sharey=True)
    for axes, chain in zip(panels.flat, decision().chain_tests, strict=True):
        _panel(axes, chain)
    for axes in panels[:, 0]:
        axes.set_ylabel("Loss of accuracy, points", color=INK)
    for axes in panels[1]:
        axes.set_xlabel("weak  →  strong compression", color=MUTED, fontsize=8.5)
    panels[0, 0].text(-0.4, _POINTS * RULE.margins[0].limit + 0.4, "margin", fontsize=8.5, color=WRONG)
    out = BytesIO()
    canvas.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _panel(axes: Axes, chain: ChainTest) -> None:
    style, limit = style_of(chain.name), _POINTS * RULE.margins[0].limit
    names = [*(test.point for test in chain.tested), *chain.untested]
    axes.axhspan(limit, _HIGHEST, color=WRONG, alpha=0.07, lw=0)
    axes.axhline(limit, color=WRONG, lw=1)
    axes.axhline(0, color=GRID, lw=1)
    for at, test in enumerate(chain.tested):
        found = test.tests[0].test
        loss, upper = _POINTS * found.loss, _POINTS * found.upper
        axes.vlines(at, loss, upper, color=style.colour, lw=1.6)
        axes.plot(at, upper, marker="_", ms=9, color=style.colour)
        axes.plot(
            at, loss, marker="o", ms=6, color=style.colour, mfc=style.colour if test.passed else "white"
        )
    _notes(axes, chain)
    axes.set_title(f"{chain.name}, each test at alpha = {chain.alpha:g}", color=INK, fontsize=9.5, loc="left")
    axes.set_xticks(range(len(names)), [_setting(name) for name in names], fontsize=8, color=MUTED)
    axes.tick_params(axis="y", labelsize=8, colors=MUTED)
    axes.set_ylim(_LOWEST, _HIGHEST)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)


def _notes(axes: Axes, chain: ChainTest) -> None:
    """Write where the sequence stopped, what was not tested, and which point is certified."""
    certified, stopped = decision().certified, len(chain.tested)
    for number, test in enumerate(chain.tested):
        if certified and test.point == certified.point:
            top = _POINTS * test.tests[0].test.upper
            arrow = {"arrowstyle": "->", "color": INK, "lw": 0.8}
            at_text = (number - 0.6, 15)
            axes.annotate("certified", (number, top), at_text, ha="center", fontsize=8.5, arrowprops=arrow)
    if chain.untested:
        axes.axvspan(stopped - 0.5, stopped + len(chain.untested) - 0.5, color=GRID, alpha=0.6, lw=0)
        middle = stopped + (len(chain.untested) - 1) / 2
        axes.text(middle, -3, "not tested", ha="center", va="center", fontsize=8.5, color=MUTED)


def _setting(point: str) -> str:
    return point.partition(":")[2].partition("@")[0]


def made() -> str:
    """Return the page with its numbers made anew."""
    return layers.made(PAGE, {"tests": tests_table})


def main(arguments: Sequence[str]) -> None:
    """Write the page and its figure; with a run folder, keep its table first."""
    if arguments:
        keep(Path(arguments[0]))
    PAGE.write_text(made(), encoding="utf-8")
    PICTURE.write_bytes(draw())


if __name__ == "__main__":
    main(sys.argv[1:])

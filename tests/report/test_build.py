"""A report with a decision and links: one page, the verdict first, the files beside it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.links import LINKS, Link
from bitdose.report.build import ReportPaths, write_report
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule

VOID = {"meta", "img", "br"}
MARGINS = ["accuracy=0.35", "harmful_flips=0.35"]
POINTS = {
    "pristine",
    "jpeg:q90",
    "jpeg:q40",
    "jpeg:q1",
    "jpeg2000:5x@256",
    "jpeg2000:20x@256",
    "jpeg2000:60x@256",
}
Asked = list[tuple[str, tuple[str, ...]]]


class Reader(HTMLParser):
    """Collects tags, text and nesting errors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.errors: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check nesting."""
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def _read(path: Path | None) -> Reader:
    assert path is not None
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.errors
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def table(make_table: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """Make a study of two short chains, quick to draw."""
    return make_table(90, keep=POINTS.__contains__)


@pytest.fixture(scope="module")
def summary(table: pl.DataFrame) -> Summary:
    """Summarise it."""
    return summarize(table, draws=100)


@pytest.fixture(scope="module")
def decision(table: pl.DataFrame) -> Decision:
    """Decide on the made-up study so that something passes."""
    return decide(table, Rule(read_margins(MARGINS)))


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
    table: pl.DataFrame,
    summary: Summary,
    decision: Decision,
    load_variants: Callable[..., Any],
) -> tuple[ReportPaths, Asked]:
    """Write a report with a decision, two links and a gallery; note which cases and points it asked for."""
    asked: Asked = []

    def load(case_id: str, points: list[str]) -> Any:
        asked.append((case_id, tuple(points)))
        return load_variants(case_id, points)

    out = tmp_path_factory.mktemp("run")
    return _report(out, summary, table, decision, load_variants=load), asked


def _report(
    out: Path, summary: Summary, table: pl.DataFrame, decision: Decision, **options: Any
) -> ReportPaths:
    links = [LINKS["gprs"], Link.parse("up=9k,rtt=1500ms")]
    fixed = {"manifest": {"seed": 7}, "max_gallery": 2, "bases": ["file"], "profile": "profile 12ab"}
    return write_report(out, summary, table, decision=decision, links=links, **fixed, **options)


@pytest.fixture(scope="module")
def paths(written: tuple[ReportPaths, Asked]) -> ReportPaths:
    """Return where that report is."""
    return written[0]


def test_the_verdict_opens_the_page(paths: ReportPaths, decision: Decision) -> None:
    """Before findings, figures and tables stands the decision, in a sentence, with when it was fixed."""
    html = paths.html.read_text(encoding="utf-8")
    assert decision.certified is not None
    at = [
        html.index(words)
        for words in ("Certified: ", "set after the run", "Pristine, the classifier", "<img")
    ]
    assert at == sorted(at)
    assert decision.certified.point in html[at[0] : at[1]]
    assert decision.rule.digest() in html


def test_the_page_stays_self_contained(paths: ReportPaths) -> None:
    """With decision, links and audit both pages fetch nothing, and their anchors and ids hold."""
    for path in (paths.html, paths.audit):
        reader = _read(path)
        ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for tag, attributes in reader.tags:
            assert tag not in {"script", "link", "iframe", "object"}
            assert (attributes.get("src") or "data:image/").startswith("data:image/")
            assert (attributes.get("href") or "#").startswith("#")
            assert (attributes.get("href") or "#").lstrip("#") in {"", *ids}
            assert tag != "th" or attributes.get("scope") in {"row", "col"}
            assert tag != "img" or len(attributes["alt"] or "") > 20


def test_every_test_and_walk_is_on_the_page(paths: ReportPaths, decision: Decision) -> None:
    """The evidence has a row per point and margin; each walk says where it stopped and what is untested."""
    reader = _read(paths.html)
    tests = [test for walk in decision.chain_tests for point in walk.tested for test in point.tests]
    html = paths.html.read_text(encoding="utf-8")
    table = html[html.index('aria-label="Table of tests"') :]
    assert table[: table.index("</table>")].count('<th scope="row">') == len(tests)
    for walk in decision.chain_tests:
        if walk.failed:
            assert f"stopped at {walk.failed.point}" in reader.text
        assert ", ".join(walk.untested) in reader.text
    assert "What this study cannot show" in reader.text
    assert "no reader study" in reader.text


def test_files_lie_beside_the_page(paths: ReportPaths, summary: Summary) -> None:
    """Audit, exports, seconds and the forest plots are written, and every figure can be removed later."""
    out = paths.html.parent
    assert paths.audit == out / "audit.html"
    assert paths.links == out / "links.csv"
    assert len(paths.exports) == len(summary.chains())
    names = {path.name for path in paths.figures}
    assert {"forest_all.svg", "forest_1_accuracy.png", "forest_2_harmful_flips.svg"} <= names
    rows = list(csv.DictReader(out.joinpath("links.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2 * len(summary.points)
    assert {row["link"] for row in rows} == {"gprs", "up=9k,rtt=1500ms"}
    assert "profile 12ab" in _read(paths.audit).text


def test_the_gallery_begins_at_the_certified_point(
    written: tuple[ReportPaths, Asked], decision: Decision, table: pl.DataFrame
) -> None:
    """The first case shown is one that the certified point turns wrong, and it is shown there."""
    assert decision.certified is not None
    case_id, points = written[1][0]
    rows = {row["point"]: row for row in table.filter(pl.col("case_id") == case_id).iter_rows(named=True)}
    best = decision.certified.point
    assert rows["pristine"]["predicted"] == rows["pristine"]["case_label"] != rows[best]["predicted"]
    assert best in points


def test_a_later_report_without_a_decision_keeps_none(
    table: pl.DataFrame, summary: Summary, decision: Decision, tmp_path: Path
) -> None:
    """Forest plots and audit of an earlier decision go; an audit page that is not ours stays."""
    first = write_report(tmp_path, summary, table, manifest={}, bases=["file"], decision=decision)
    assert first.audit
    assert first.links is None
    later = write_report(tmp_path, summary, table, manifest={}, bases=["file"])
    assert (later.audit, later.links, later.exports) == (None, None, ())
    assert not first.audit.exists()
    assert not list((tmp_path / "figures").glob("forest_*"))
    assert "The decision" not in later.html.read_text(encoding="utf-8")
    first.audit.write_text("mine")
    write_report(tmp_path, summary, table, manifest={}, bases=["file"])
    assert first.audit.read_text() == "mine"


def test_nothing_certified_makes_a_report(table: pl.DataFrame, summary: Summary, tmp_path: Path) -> None:
    """A decision that certifies nothing opens the page with that, and links are told for the source files."""
    none = decide(table, Rule(read_margins(["accuracy=0.01"])))
    paths = write_report(
        tmp_path, summary, table, manifest={}, bases=["file"], decision=none, links=[LINKS["3g"]]
    )
    text = _read(paths.html).text
    assert text.index("Nothing is certified") < text.index("What was found")
    assert "out of reach" in text
    assert "At the certified point" not in text


def test_links_alone_make_a_table(table: pl.DataFrame, summary: Summary, tmp_path: Path) -> None:
    """Seconds need no decision."""
    paths = write_report(tmp_path, summary, table, manifest={}, bases=["file"], links=list(LINKS.values()))
    text = _read(paths.html).text
    assert "Seconds per exam" in text
    assert all(name in text for name in LINKS)
    assert paths.audit is None


def test_user_text_is_escaped(make_table: Callable[..., pl.DataFrame], tmp_path: Path) -> None:
    """Labels, notes, groups, links and profile are shown as text in both pages, whatever they hold."""
    labels = ("<script>alert(1)</script>", "a[1],b", "新型肺炎")
    odd = make_table(60, labels=labels, keep=POINTS.__contains__).with_columns(
        case_ward=pl.when(pl.col("case_id") < "case-0030").then(pl.lit("<u>1</u>")).otherwise(pl.lit("{{2}}"))
    )
    rule = Rule(read_margins(["accuracy=0.3", "sensitivity[<script>alert(1)</script>]=0.5"]))
    found = replace(decide(odd, rule), notes=("<i>note</i>",))
    link = replace(Link.parse("up=9k,rtt=1s"), name="<b>link</b>", source="<em>")
    paths = write_report(
        tmp_path, summarize(odd, draws=50), odd, manifest={}, bases=["file"], decision=found, links=[link],
        profile="<a href=x>",
    )  # fmt: skip
    for path in (paths.html, paths.audit):
        reader = _read(path)
        assert not {"script", "u", "i", "em", "a"} & {
            tag for tag, at in reader.tags if not at.get("href", "").startswith("#")
        }
    assert "<b>link</b>" in _read(paths.html).text
    assert "<i>note</i>" in _read(paths.html).text
    assert "<script>alert(1)</script>" in _read(paths.audit).text


def test_the_same_decision_gives_the_same_bytes(
    paths: ReportPaths, table: pl.DataFrame, summary: Summary, decision: Decision, tmp_path: Path
) -> None:
    """Audit page, exports and forest plots repeat byte for byte."""
    again = _report(tmp_path, summary, table, decision)
    assert again.audit
    assert paths.audit
    assert again.audit.read_bytes() == paths.audit.read_bytes()
    for one, other in zip(paths.exports, again.exports, strict=True):
        assert one.read_bytes() == other.read_bytes()
    forests = [path for path in paths.figures if path.name.startswith("forest")]
    assert forests
    for path in forests:
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes()


def test_no_number_is_a_bare_nan(paths: ReportPaths) -> None:
    """What is undefined is a dash or a reason on both pages, never the word."""
    for path in (paths.html, paths.audit):
        assert not re.search(r"\bnan\b", _read(path).text)

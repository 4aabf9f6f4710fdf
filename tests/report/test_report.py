"""The report as files: self-contained, safe, complete."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.errors import CaseError
from bitdose.report import build
from bitdose.report.build import ReportPaths, write_report
from bitdose.report.figures.render_pool import Renderer
from bitdose.report.page.html import DISCLAIMER, MAX_FLIPPED_ROWS
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary
from bitdose.stats.estimate import undefined

MANIFEST = {"versions": {"numpy": "2.0"}, "seed": 7, "machine": {"cpu": "made up"}}
VOID = {"meta", "img", "br", "link", "input", "hr"}


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

    def of(self, name: str) -> list[dict[str, str | None]]:
        """Attributes of all tags of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]


def _read(paths: ReportPaths) -> Reader:
    reader = Reader()
    reader.feed(paths.html.read_text(encoding="utf-8"))
    assert not reader.errors
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def paths(
    tmp_path_factory: pytest.TempPathFactory,
    table: pl.DataFrame,
    summary: Summary,
    load_variants: Callable[..., Any],
    pen: Renderer,
) -> ReportPaths:
    """Write a full report with two cases in its gallery."""
    out = tmp_path_factory.mktemp("run")
    return write_report(
        out, summary, table, manifest=MANIFEST, load_variants=load_variants, max_gallery=2, pen=pen
    )


def test_page_fetches_nothing(paths: ReportPaths) -> None:
    """The page refers to nothing outside itself: only data URIs and its own anchors."""
    reader = _read(paths)
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith("#")
    style = re.sub(r"data:image/[^\"]+", "", paths.html.read_text())
    assert not re.search(r"https?://|url\(|@import", style)
    anchors = {a["href"][1:] for a in reader.of("a") if a["href"]}
    assert anchors <= {attributes.get("id") for _, attributes in reader.tags}


def test_page_is_accessible(paths: ReportPaths) -> None:
    """The page has a language, a title, alt text on images, scope on headers, and unique ids."""
    reader = _read(paths)
    assert reader.of("html") == [{"lang": "en"}]
    assert len(reader.of("h1")) == len(reader.of("title")) == 1
    assert all(len(image["alt"] or "") > 20 for image in reader.of("img"))
    assert all(header.get("scope") in {"row", "col"} for header in reader.of("th"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert any("width=device-width" in (meta.get("content") or "") for meta in reader.of("meta"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(paths: ReportPaths, scheme: str) -> None:
    """Text, soft text, links and marks reach WCAG AA (4.5:1) on the page and on striped rows."""
    roots = re.findall(r":root \{ (--ink[^}]+)\}", paths.html.read_text())
    colours = dict(re.findall(r"--(\w+): (#\w+)", roots[scheme == "dark"]))
    for text in ("ink", "soft", "link", "mark"):
        for ground in ("paper", "stripe"):
            assert _contrast(colours[text], colours[ground]) >= 4.5


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_page_says_first_what_was_found(paths: ReportPaths, summary: Summary) -> None:
    """The findings come before any figure or table, the disclaimer at top and bottom."""
    html = paths.html.read_text()
    assert html.index("Pristine, the classifier is right on") < html.index("<img") < html.index("<table")
    assert html.count(DISCLAIMER) == 2
    assert all(point.point in html for point in summary.points)
    assert "truncated PNG file" in html
    assert "machine.cpu" in html


def test_figures_exist_in_both_formats(paths: ReportPaths) -> None:
    """Each figure lies in figures/ as SVG and PNG, the plates as PNG, and no temporary file is left."""
    folder = paths.html.parent / "figures"
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in paths.figures} == names
    for stem in (
        "accuracy_file",
        "accuracy_pixels",
        "macro_f1_file",
        "confusion",
        "flips",
        "ratio_quality_jpeg_q_file",
    ):
        assert {f"{stem}.svg", f"{stem}.png"} <= names
    assert {"case_01.png", "case_02.png"} <= names
    found = {path.name for path in paths.html.parent.iterdir()}
    made = {"figures", "figures.json", "report.html", "summary.csv", "summary.json", "subgroups.csv"}
    assert found == made


def test_figures_of_an_earlier_report_go(
    table: pl.DataFrame, summary: Summary, tmp_path: Path, pen: Renderer
) -> None:
    """Figures of a version 0.1 report that this one does not make are removed; other files are left alone."""
    folder = tmp_path / "figures"
    (folder / "case_03.png.d").mkdir(parents=True)
    stale = ["case_01.png", "case_17.png", "accuracy_pixels.svg", "ratio_knob_webp_q_file.png"]
    others = ["mine.png", "case_study.png", "confusion.pdf", "case_03.png.d"]
    for name in [*stale, *others[:-1]]:
        (folder / name).write_text("old")
    paths = write_report(tmp_path, summary, table, manifest={}, bases=["file"], pen=pen)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in paths.figures} | set(others)


def test_every_figure_can_be_removed_later(paths: ReportPaths, tmp_path: Path) -> None:
    """Whatever name a report gives a figure, a later report without it knows the name."""
    folder = tmp_path / "figures"
    folder.mkdir()
    for path in paths.figures:
        (folder / path.name).write_text("old")
    (tmp_path / "figures.json").write_bytes((paths.html.parent / "figures.json").read_bytes())
    build._remove_stale(tmp_path, [])
    assert not list(folder.iterdir())


def test_subgroups_are_written_as_a_table(paths: ReportPaths, table: pl.DataFrame) -> None:
    """subgroups.csv holds the cases and the pristine accuracy by format and history, as counted by hand."""
    listed = list(csv.DictReader(paths.subgroups.read_text().splitlines()))
    rows = {(row["column"], row["group"]): row for row in listed if row["point"] == "pristine"}
    assert set(rows) == {("format", "jpeg"), ("format", "png"), ("lossy", "no"), ("lossy", "yes")}
    png = table.filter((pl.col("point") == "pristine") & (pl.col("case_format") == "png"))
    ok = png.filter(pl.col("status") == "ok")
    right = ok.filter(pl.col("predicted") == pl.col("case_label"))
    one = rows["format", "png"]
    assert (int(one["n_cases"]), int(one["n_patients"])) == (len(png), png["case_patient"].n_unique())
    assert (int(one["n_ok"]), int(one["n_right"])) == (len(ok), len(right))
    assert float(one["accuracy"]) == len(right) / len(ok)
    assert float(one["accuracy_low"]) < float(one["accuracy"]) < float(one["accuracy_high"])


def test_unfinished_study_is_marked(
    table: pl.DataFrame, summary: Summary, tmp_path: Path, pen: Renderer
) -> None:
    """The warning of an unfinished study opens the page in the style of a warning."""
    unfinished = replace(summary, n_planned=150)
    html = write_report(tmp_path, unfinished, table, manifest={}, bases=["file"], pen=pen).html.read_text()
    assert '<li class="notice">UNFINISHED: 120 of 150 cases' in html
    whole = write_report(tmp_path, summary, table, manifest={}, bases=["file"], pen=pen).html.read_text()
    assert '<li class="notice">' not in whole


def test_one_case_is_one_on_the_page(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path, pen: Renderer
) -> None:
    """The head of the page counts one case as one."""
    table = make_table(1, keep=lambda point: point == "pristine", failed=lambda _: False)
    paths = write_report(tmp_path, summarize(table, draws=20), table, manifest={}, pen=pen)
    assert "1 case, 3 classes, 1 point." in _read(paths).text


def test_second_report_is_the_same(
    paths: ReportPaths,
    table: pl.DataFrame,
    summary: Summary,
    load_variants: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The same results give the same bytes in every file."""
    again = write_report(
        tmp_path, summary, table, manifest=MANIFEST, load_variants=load_variants, max_gallery=2
    )
    assert again.html.read_bytes() == paths.html.read_bytes()
    for one, other in zip(paths.figures, again.figures, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_user_text_is_escaped(make_table: Callable[..., pl.DataFrame], tmp_path: Path, pen: Renderer) -> None:
    """Labels, case ids, title and manifest are shown as text, whatever they hold."""
    labels = ("<script>alert(1)</script>", "$x_1$", "新型肺炎 " + "very long " * 30)
    odd = make_table(30, labels=labels, failed=lambda i: i == 4).with_columns(
        case_id=pl.lit("<img src=http://x>\"'") + pl.col("case_id"),
        reason=pl.when(pl.col("status") != "ok").then(pl.lit("<b>bad</b>")),
    )
    summary = summarize(odd, draws=100)
    paths = write_report(
        tmp_path, summary, odd, manifest={"<i>": "<u>"}, title="<h1>&", bases=["file"], pen=pen
    )
    reader = _read(paths)
    assert not {"script", "b", "i", "u"} & {tag for tag, _ in reader.tags}
    assert len(reader.of("h1")) == 1
    assert "<script>alert(1)</script>" in reader.text
    assert "<img src=http://x>\"'case-" in reader.text


def test_pristine_alone_makes_a_report(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path, pen: Renderer
) -> None:
    """With one point and no chain there are findings, tables and a matrix, and no curve."""
    table = make_table(20, keep=lambda point: point == "pristine", failed=lambda _: False)
    paths = write_report(tmp_path, summarize(table, draws=100), table, manifest={}, pen=pen)
    text = _read(paths).text
    assert "There is no coded point" in text
    assert "No answer changed at any point." in text
    assert {path.name for path in paths.figures} == {"confusion.svg", "confusion.png"}


def test_one_coded_point_makes_a_report(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path, pen: Renderer
) -> None:
    """A chain of one point is drawn and told."""
    table = make_table(20, keep=lambda point: point in {"pristine", "jpeg:q1"}, failed=lambda _: False)
    paths = write_report(tmp_path, summarize(table, draws=100), table, manifest={}, pen=pen)
    assert "jpeg:" in _read(paths).text


def test_class_without_cases_is_a_dash_with_its_reason(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path, pen: Renderer
) -> None:
    """A class absent from the split is a dash on the page and an empty cell with the reason in the CSV."""
    table = make_table(30).filter(pl.col("case_label") != "covid-19")
    summary = summarize(table, draws=100)
    paths = write_report(tmp_path, summary, table, manifest={}, bases=["file"], pen=pen)
    assert "–" in _read(paths).text
    row = next(csv.DictReader(paths.csv.read_text(encoding="utf-8").splitlines()))
    assert row["sensitivity[covid-19]"] == ""
    assert "covid-19" in row["sensitivity_reason[covid-19]"]
    assert "NaN" not in paths.json.read_text()
    json.loads(paths.json.read_text())


def test_nothing_classified_makes_a_report(
    make_table: Callable[..., pl.DataFrame], summary: Summary, tmp_path: Path, pen: Renderer
) -> None:
    """A summary in which every case failed still gives a page that says so."""
    nothing, nan = undefined("no classified case"), float("nan")
    points = tuple(
        replace(
            p.with_estimates(**dict.fromkeys(p.estimates, nothing)),
            n_ok=0,
            n_failed=120,
            **dict.fromkeys(("ratio_file", "ratio_pixels", "coded_bytes_per_case", "psnr_db", "ssim"), nan),
            confusion=((0, 0, 0),) * 3,
        )
        for p in summary.points
    )
    table = make_table(10, failed=lambda _: True)
    paths = write_report(
        tmp_path, replace(summary, points=points), table, manifest={}, bases=["file"], pen=pen
    )
    text = _read(paths).text
    assert "no classified case" in text
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", text)


def test_case_without_pixels_is_named(
    table: pl.DataFrame, summary: Summary, load_variants: Callable[..., Any], tmp_path: Path, pen: Renderer
) -> None:
    """A case whose pixels cannot be had is left out of the gallery and named with the reason."""
    calls = []

    def load(case_id: str, points: list[str]) -> Any:
        calls.append(case_id)
        if len(calls) == 1:
            raise CaseError("unreadable", "file is gone")
        return load_variants(case_id, points)

    paths = write_report(
        tmp_path, summary, table, manifest={}, load_variants=load, max_gallery=2, bases=["file"], pen=pen
    )
    assert "file is gone" in _read(paths).text
    assert (tmp_path / "figures" / "case_01.png").exists()
    assert not (tmp_path / "figures" / "case_02.png").exists()


def test_images_can_be_left_out(table: pl.DataFrame, summary: Summary, tmp_path: Path, pen: Renderer) -> None:
    """Without a loader the page has no case image, says so, and still lists the cases."""
    paths = write_report(tmp_path, summary, table, manifest={}, bases=["file"], pen=pen)
    reader = _read(paths)
    assert not any("image/png" in (image["src"] or "") for image in reader.of("img"))
    assert "images were left out" in reader.text
    assert "case-00" in reader.text


def test_long_lists_are_cut_and_counted(
    table: pl.DataFrame, summary: Summary, tmp_path: Path, pen: Renderer
) -> None:
    """Of thousands of changed cases the page lists 200 and counts the rest."""
    copies = [table.with_columns(case_id=pl.col("case_id") + f"-{n}") for n in range(20)]
    many = pl.concat(copies)
    paths = write_report(tmp_path, summary, many, manifest={}, bases=["file"], pen=pen)
    html = paths.html.read_text()
    listed = re.findall(r'<th scope="row">case-', html)
    assert len(listed) == MAX_FLIPPED_ROWS
    assert "more changed and are not listed here" in html

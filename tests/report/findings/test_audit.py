"""The audit page: every answer from the study's own records, every gap said plainly."""

from __future__ import annotations

import polars as pl
import pytest

from bitdose.decision.base import Decision
from bitdose.decision.decide import decide
from bitdose.report.findings.audit import ANSWERED, NOT_ANSWERED, NOT_RECORDED, Question, audit_rows
from bitdose.report.findings.limitations import not_shown
from bitdose.report.findings.subgroups import subgroups
from bitdose.report.page.html import DISCLAIMER, render_audit
from bitdose.results.summary import Summary
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule

MANIFEST = {
    "seed": 7,
    "platform": "made-up-os",
    "identity": {
        "data": "d" * 64,
        "libraries": {"numpy": "2.0"},
        "input": {"size": [256, 256], "labels": []},
    },
}


@pytest.fixture(scope="module")
def decision(table: pl.DataFrame) -> Decision:
    """Decide on the made-up study so that something passes."""
    return decide(table, Rule(read_margins(["accuracy=0.25"])))


@pytest.fixture(scope="module")
def questions(table: pl.DataFrame, summary: Summary, decision: Decision) -> dict[str, Question]:
    """Ask everything of a study with a decision."""
    best = decision.certified.point if decision.certified else ""
    groups = subgroups(table, summary, ["pristine", best])
    rows = audit_rows(
        summary,
        table,
        manifest=MANIFEST,
        decision=decision,
        open_points=not_shown(decision, table, summary, groups=groups),
        groups=groups,
        profile="profile 12ab by key 34cd",
    )
    return {row.asked: row for row in rows}


def _text(questions: dict[str, Question], asked: str) -> str:
    return " ".join(questions[asked].answers)


def test_every_topic_of_the_usual_assessment_is_there(questions: dict[str, Question]) -> None:
    """From intended use to responsibility, no topic is missing and no question stands twice."""
    topics = list(dict.fromkeys(one.topic for one in questions.values()))
    assert topics == [
        "Intended use",
        "Input",
        "Reference data",
        "What was compressed, and with what",
        "Endpoint and error control",
        "Result",
        "Missing data and failures",
        "Subgroups",
        "Robustness",
        "Reproducibility",
        "Limits",
        "After deployment",
        "Responsibility",
    ]
    assert len(questions) > 40


def test_answers_are_those_of_the_table(
    questions: dict[str, Question], table: pl.DataFrame, decision: Decision
) -> None:
    """Counts, formats, margins, digests and versions are what the records hold."""
    assert decision.certified is not None
    assert _text(questions, "How many cases and patients?") == "120 cases of 60 patients"
    per_class = _text(questions, "How many of each class?")
    assert per_class == "covid-19 (40 cases), normal (40 cases), pneumonia (40 cases)"
    n_png = table.filter(pl.col("case_format") == "png")["case_id"].n_unique()
    assert f"png ({n_png} cases)" in _text(questions, "Which file formats?")
    assert "1024 wide, 1024 high" in _text(questions, "How large are the images?")
    assert _text(questions, "Which loss was accepted, in which measure?") == "accuracy=0.25"
    assert decision.rule.digest() in _text(questions, "Was that fixed before anyone saw results?")
    assert decision.certified.point in _text(questions, "Which point may be used?")
    assert "2 of 120 cases failed" in _text(questions, "How many cases failed, and why?")
    assert "truncated PNG file" in _text(questions, "How many cases failed, and why?")
    assert _text(questions, "Which versions ran?") == "numpy 2.0"
    assert _text(questions, "Digest of the data?") == "d" * 64
    assert _text(questions, "Who signed what?") == "profile 12ab by key 34cd"
    assert "format png" in _text(
        questions, "How does accuracy change in each group at the certified point, as observed?"
    )


def test_gaps_are_told_apart(questions: dict[str, Question]) -> None:
    """What the records lack is not recorded; what no such study tells is not answered by it."""
    assert questions["Who set the reference standard, and how?"].state == NOT_RECORDED
    assert questions["Which modality?"].state == NOT_RECORDED
    assert questions["Is it shown that training never saw them?"].state == NOT_ANSWERED
    assert questions["How is a change noticed once it is in use?"].state == NOT_ANSWERED
    for one in questions.values():
        assert bool(one.answers) == (one.state == ANSWERED)
        assert not any("nan" in answer.split() for answer in one.answers)


def test_a_bare_table_answers_what_it_can(make_bare: pl.DataFrame, summary: Summary) -> None:
    """Without manifest, decision and every optional column there are answers, gaps and no error."""
    rows = {one.asked: one for one in audit_rows(summary, make_bare, manifest={})}
    unknown = ["Which file formats?", "How large are the images?", "Which versions ran?", "What was decided?"]
    unknown += ["At which error rate?", "Which seed?", "Which software coded?", "Who signed what?"]
    assert {rows[asked].state for asked in unknown} == {NOT_RECORDED}
    assert rows["How many cases and patients?"].answers == ("120 cases; patients are not recorded",)


@pytest.fixture
def make_bare(table: pl.DataFrame) -> pl.DataFrame:
    """Leave of the made-up study the required columns alone, as another lab's table may be."""
    needed = ["case_id", "case_label", "point", "codec_chain", "codec_strength", "bytes_file"]
    needed += ["bytes_pixels", "bytes_coded", "predicted", "status"]
    return table.select(needed)


def test_nothing_certified_is_an_answer(table: pl.DataFrame, summary: Summary) -> None:
    """A study that certifies nothing says so where it is asked which point may be used."""
    none = decide(table, Rule(read_margins(["accuracy=0.001"])))
    rows = {one.asked: one for one in audit_rows(summary, table, manifest={}, decision=none)}
    assert rows["Which point may be used?"].answers == ("None: no point was shown to hold every margin.",)


def test_the_page_is_self_contained_and_escaped(questions: dict[str, Question]) -> None:
    """The page fetches nothing, runs nothing, shows user text as text, and says what it is for."""
    odd = Question("<b>topic", "<script>alert(1)</script>", ("<img src=http://x>",), ANSWERED)
    html = render_audit("<h1>&", [*questions.values(), odd])
    for raw in ("<script>", "<b>", "<img", "<link", "@import", "url("):
        assert raw not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count(DISCLAIMER) == 2
    assert html.count("Not answered by this study.") == sum(
        q.state == NOT_ANSWERED for q in questions.values()
    )
    assert html.count("<h1>") == 1

"""A decision in words: what a physician reads first, and the rows behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from bitdose.decision.base import ChainTest, Decision, MarginTest, PointTest, RequiredSampleSize
from bitdose.decision.decide import decide
from bitdose.report.findings.decision import (
    chain_test_rows,
    evidence_rows,
    harmed,
    neighbours,
    rule_rows,
    sentences,
)
from bitdose.report.findings.phrasing import metric_words, point_words, shown_amount
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule
from bitdose.stats.noninferiority import LossTest, untestable

ACCURACY = Margin("accuracy", "", 0.02)
FLIPS = Margin("harmful_flips", "", 0.05)


def _test(margin: Margin, loss: float, upper: float, p: float) -> MarginTest:
    found = LossTest(loss, upper, p, margin.limit, 0.05, "by hand", 1200, "patient")
    return MarginTest(margin, 0.9, 0.9 - loss, found)


def _point(name: str, *tests: MarginTest, chain: str = "jpeg2000@256") -> PointTest:
    return PointTest(name, chain, tests, 0.05, 1761, 41.2, 126.0, 8118.0)


def _decision(*walks: ChainTest, certified: PointTest | None, **changes: Any) -> Decision:
    made = Decision(
        rule=Rule((ACCURACY,)),
        model="net 0123",
        labels=("normal", "covid-19"),
        chain_tests=walks,
        certified=certified,
        candidates=(),
        pareto=(),
        required_sample_sizes=(),
        n_cases=1761,
        n_patients=1200,
        clustered=True,
    )
    return replace(made, **changes)


GOOD = _point("jpeg2000:40x@256", _test(ACCURACY, 0.006, 0.014, 0.01))
BAD = _point("jpeg2000:60x@256", _test(ACCURACY, 0.011, 0.0204, 0.06))
WALK = ChainTest("jpeg2000@256", 0.05, (GOOD, BAD), ("jpeg2000:100x@256",))


def test_a_certificate_reads_as_sentences() -> None:
    """The verdict names the point in words and text form; then come n, loss, limit, margin and chance."""
    said = sentences(_decision(WALK, certified=GOOD, preregistered=True))
    assert said == [
        (
            "Certified: JPEG 2000 at 40:1 after downsizing to 256 x 256 pixels (jpeg2000:40x@256). "
            "Files become 41 times smaller."
        ),
        (
            "On 1,761 cases of 1,200 patients, each compared with its pristine self: accuracy falls by less "
            "than the 2 points allowed (a loss of 0.6 points seen, upper limit 1.4 points)."
        ),
        (
            "Of 100 studies like this one at most 5 would certify a point that truly loses more than a "
            "margin, if the patients are a random sample of those that it is for."
        ),
        "Margins, order and alpha stood in the study file before the run.",
    ]


def test_margins_set_later_are_told() -> None:
    """A rule that was not fixed before the run ends in the warning to confirm it."""
    assert "set after the run" in sentences(_decision(WALK, certified=GOOD))[-1]


def test_nothing_certified_says_how_many_would_be_needed() -> None:
    """Without a certified point the verdict says so, and each margin what it would have needed."""
    short = RequiredSampleSize(ACCURACY, 132, 247, 2172, "jpeg:q95")
    none = _decision(ChainTest("jpeg", 0.05, (BAD,)), certified=None, required_sample_sizes=(short,))
    said = sentences(none)
    assert said[0] == (
        "Nothing is certified: on 1,761 cases of 1,200 patients, no point was shown to hold every margin."
    )
    assert said[1] == (
        "For a margin of 2 points on accuracy, at least 247 patients would be needed even if no answer "
        "changed; about 2,172 patients if further ones answer as those did at jpeg:q95 (here: 132 patients)."
    )


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        (RequiredSampleSize(ACCURACY, 500, 149, -1, "jpeg:q95"), "no number would do"),
        (RequiredSampleSize(ACCURACY, 500, 149, 500, "jpeg:q95"), "another margin stood in the way"),
        (RequiredSampleSize(ACCURACY, 0, -1, -1, "jpeg:q95", "no case of class 'x'"), "no case of class 'x'"),
    ],
)
def test_shortfalls_that_more_cases_do_not_mend(short: RequiredSampleSize, expected: str) -> None:
    """Where cases are not what is missing, the sentence says what is."""
    said = sentences(_decision(certified=None, required_sample_sizes=(short,)))[1]
    assert expected in said
    assert "-1" not in said


def test_a_rate_a_gain_and_no_loss_have_their_own_words() -> None:
    """Flips are told as a rate in percent, a negative loss as a gain, none as none, never as minus zero."""
    gain, none = _test(ACCURACY, -0.014, 0.01, 0.01), _test(ACCURACY, -0.0, 0.01, 0.01)
    rate = _test(FLIPS, 0.018, 0.031, 0.001)
    for test, words in (
        (gain, "a gain of 1.4 points"),
        (none, "no loss"),
        (rate, "fewer than the 5 % allowed"),
    ):
        assert words in sentences(_decision(certified=_point("jpeg:q30", test)))[1]


def test_a_limit_never_rounds_onto_its_margin() -> None:
    """What is above or below the margin also reads so: digits are added until it does."""
    assert shown_amount(0.0196, ACCURACY) == "1.96 points"
    assert shown_amount(0.02004, ACCURACY) == "2.004 points"
    assert shown_amount(0.0196, Margin("macro_f1", "", 0.02)) == "0.0196"
    assert shown_amount(math.nan, ACCURACY) == "undefined"


def test_walks_say_where_they_stopped() -> None:
    """A walk's row has its last pass, the failure with its numbers, and the points never reached."""
    (row,) = chain_test_rows(_decision(WALK, certified=GOOD))
    assert (row.n_passed, row.last_passed, row.stopped_at) == (1, "jpeg2000:40x@256", "jpeg2000:60x@256")
    assert row.why == "accuracy: 1.1 points seen, upper limit 2.04, margin 2"
    assert row.untested == ("jpeg2000:100x@256",)
    (end,) = chain_test_rows(_decision(ChainTest("jpeg", 0.05, (GOOD,)), certified=GOOD))
    assert (end.stopped_at, end.why) == ("", "came to its end")


def test_a_search_tells_the_failure_next_to_what_passed() -> None:
    """Of a search, the failure told is the one next to what passed, and the rule says that points raced."""
    harsher = _point("jpeg2000:100x@256", _test(ACCURACY, 0.2, 0.3, 1.0))
    made = _decision(ChainTest("jpeg2000@256", 0.05, (GOOD, BAD, harsher), searched=True), certified=GOOD)
    (row,) = chain_test_rows(made)
    assert row.searched
    assert row.stopped_at == BAD.point
    assert "raced" in dict(rule_rows(made))["Order of tests"]


def test_an_undefined_test_gives_its_reason() -> None:
    """A walk that stopped at a test that could not be made says why it could not."""
    lost = MarginTest(
        ACCURACY, math.nan, math.nan, untestable("3 of 9 cases failed", margin=0.02, alpha=0.05)
    )
    (row,) = chain_test_rows(_decision(ChainTest("jpeg", 0.05, (_point("jpeg:q9", lost),)), certified=None))
    assert row.why == "accuracy: 3 of 9 cases failed"


def test_evidence_has_a_row_per_test() -> None:
    """Each margin of each tested point is a row, and those of the certified point are marked."""
    rows = evidence_rows(_decision(WALK, certified=GOOD))
    assert [(r.point, r.test.passed, r.chosen) for r in rows] == [
        ("jpeg2000:40x@256", True, True),
        ("jpeg2000:60x@256", False, False),
    ]


def test_the_rule_is_printed_with_its_digest() -> None:
    """The rule's rows hold margins, alpha and the digest that the rule itself gives."""
    made = _decision(WALK, certified=GOOD)
    rows = dict(rule_rows(made))
    assert rows["Digest of the rule"] == made.rule.digest()
    assert rows["Alpha"] == "0.05, one-sided"
    assert "accuracy=0.02" in rows.values()


def test_harm_is_counted_as_by_hand(table: pl.DataFrame) -> None:
    """Right answers that turn wrong are those counted case by case in plain Python."""
    found = decide(table, Rule((Margin("accuracy", "", 0.3),)))
    point = found.certified.point if found.certified else "jpeg:q60"
    answers: dict[str, dict[str, bool]] = {}
    for row in table.filter(pl.col("status") == "ok").iter_rows(named=True):
        answers.setdefault(row["case_id"], {})[row["point"]] = row["predicted"] == row["case_label"]
    was_right = [one for one in answers.values() if one["pristine"]]
    assert harmed(table, found, point) == (len(was_right), sum(not one[point] for one in was_right))
    text = " ".join(sentences(found, table))
    assert f"{len(was_right)} right answers" in text


def test_harm_stands_on_the_proving_split(table: pl.DataFrame) -> None:
    """With two splits, harm is counted on the one that proved."""
    half = table.with_columns(
        case_split=pl.when(pl.col("case_patient") < "patient-0030").then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    found = decide(half, Rule((Margin("accuracy", "", 0.4),), select="a", confirm="b"))
    n_right, _ = harmed(half, found, "jpeg:q60")
    own = half.filter((pl.col("case_split") == "b") & (pl.col("point") == "pristine"))
    assert n_right == (own["predicted"] == own["case_label"]).sum()


def test_neighbours_are_the_points_beside() -> None:
    """The gallery looks at the certified point, then one milder, then one harsher."""
    chains = {"jpeg": ["jpeg:q9"], "jpeg2000@256": ["jpeg2000:8x@256", GOOD.point, BAD.point, "x"]}
    assert neighbours(_decision(WALK, certified=GOOD), chains) == [GOOD.point, "jpeg2000:8x@256", BAD.point]
    assert neighbours(_decision(WALK, certified=None), chains) == [BAD.point]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pristine", "the source as it is"),
        (
            "jpeg:q30+optimize@320x256",
            "JPEG of quality 30 with optimize after downsizing to 320 x 256 pixels",
        ),
        ("jpeg2000:38dB", "JPEG 2000 at 38dB"),
        ("their own point", "their own point"),
    ],
)
def test_points_in_words(text: str, words: str) -> None:
    """Knob, options and size are said; a point of another lab keeps its own name."""
    assert point_words(text) == words


def test_metrics_in_words() -> None:
    """A metric of a class names it, a mean over classes says so."""
    assert metric_words(Margin("sensitivity", "", 0.1)) == "mean sensitivity"
    assert metric_words(Margin("f1", "covid-19", 0.1)) == "F1 for covid-19"


def test_real_decisions_read_whole(make_table: Callable[..., pl.DataFrame]) -> None:
    """On a made-up study, no sentence holds a bare nan, whatever was asked."""
    study = make_table(60)
    for margin in ("accuracy=0.3", "accuracy=0.01", "macro_f1=0.2", "ece=0.3", "harmful_flips=0.4"):
        said = " ".join(sentences(decide(study, Rule((Margin.parse(margin),))), study))
        assert "nan" not in said

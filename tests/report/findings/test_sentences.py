"""The first lines of the report."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bitdose.report.findings.sentences import findings, first_loss, strongest_within
from bitdose.results.summarize import summarize
from bitdose.results.summary import Comparison, PointSummary, Summary
from bitdose.stats.estimate import Estimate, undefined
from bitdose.stats.proportions import tango


def _with(point: PointSummary, gained: int, lost: int, n: int = 2000) -> PointSummary:
    return point.with_estimates(accuracy_difference=tango(gained, lost, n))


@pytest.fixture
def large(summary: Summary) -> Summary:
    """Make the same study as if it had 2,000 cases: losses of 0, 4, 6 and from there 200 cases."""
    lost = (0, 4, 6) + (200,) * 9
    points = [
        _with(p, 0, loss) for chain in summary.chains().values() for p, loss in zip(chain, lost, strict=True)
    ]
    pristine = replace(summary.pristine(), n_ok=2000)
    return replace(summary, points=(pristine, *points), n_cases=2000, n_patients=2000, resampling_unit="case")


def test_pristine_comes_first_with_its_interval(summary: Summary) -> None:
    """The first sentence is the pristine accuracy with its interval."""
    estimate = summary.pristine().accuracy
    first = findings(summary)[0]
    assert f"{100 * estimate.value:.1f} %" in first
    assert f"interval {100 * estimate.low:.1f} to {100 * estimate.high:.1f}" in first


def test_point_within_the_margin_is_observed_not_certified(large: Summary) -> None:
    """The strongest point within two points is named with its ratio and called observed, not certified."""
    sentence = next(s for s in findings(large) if s.startswith("jpeg:"))
    point = large.chains()["jpeg"][2]
    assert f"up to {point.point}, {point.ratio_file:.1f}:1" in sentence
    assert "observed, not certified" in sentence
    assert f"first clear loss is at {large.chains()['jpeg'][1].point}" in sentence


def test_walk_stops_at_the_first_failure(large: Summary) -> None:
    """A point beyond the first one that can lose the margin does not count, however good it looks."""
    chain = list(large.chains()["jpeg"])
    chain[7] = _with(chain[7], 0, 0)
    assert strongest_within(chain, 0.02) is chain[2]
    assert strongest_within([_with(chain[0], 0, 300), chain[1]], 0.02) is None


def test_first_loss_needs_the_whole_interval_below_zero(large: Summary) -> None:
    """A loss is clear only where the upper limit is below zero."""
    chain = large.chains()["jpeg"]
    assert first_loss(chain) is chain[1]
    assert first_loss(chain[:1]) is None


def test_a_loss_is_clear_only_if_every_stronger_point_loses_too(large: Summary) -> None:
    """One unlucky mild point is no clear loss; a point without an answer neither adds nor takes away."""
    chain = list(large.chains()["jpeg"])
    chain[5] = _with(chain[5], 0, 0)
    assert first_loss(chain) is chain[6]
    chain[-1] = _with(chain[-1], 0, 0)
    assert first_loss(chain) is None
    sentence = next(s for s in findings(replace(large, points=(large.points[0], *chain))) if "jpeg:" in s)
    assert "not every stronger one does" in sentence
    assert "no point shows" not in sentence
    chain[-1] = chain[-1].with_estimates(accuracy_difference=undefined("no paired case"))
    assert first_loss(chain) is chain[6]


def test_number_of_points_looked_at_is_told_once(summary: Summary, large: Summary) -> None:
    """Intervals are said to be of one point each, with the number of points there were."""
    for study in (summary, large):
        text = " ".join(findings(study))
        assert text.count("Each interval is of one point; 48 points were looked at.") == 1
    assert "looked at" not in " ".join(findings(replace(summary, points=summary.points[:1])))


def test_unfinished_study_says_so_first(summary: Summary) -> None:
    """With fewer cases than planned the first sentence warns; a whole or unplanned one has no warning."""
    first, second = findings(replace(summary, n_planned=150))[:2]
    assert first == (
        "UNFINISHED: 120 of 150 cases have run; what follows is of these alone, "
        "and they need not be typical of the rest."
    )
    assert second.startswith("Pristine")
    for planned in (0, 120):
        assert "UNFINISHED" not in " ".join(findings(replace(summary, n_planned=planned)))


def test_small_studies_say_what_they_cannot_show(summary: Summary) -> None:
    """Where n cannot show the margin, it says so and claims no point within it."""
    text = findings(summary)
    assert any("out of reach" in sentence for sentence in text)
    assert not any("observed, not certified" in sentence for sentence in text)


def test_jpeg_end_names_the_huffman_floor(summary: Summary) -> None:
    """Full-size JPEG's highest ratio is told on both bases, with the floor it runs into."""
    last = summary.chains()["jpeg"][-1]
    sentence = next(s for s in findings(summary) if "goes no further" in s)
    assert f"{last.ratio_file:.1f}:1" in sentence
    assert f"{last.ratio_pixels:.1f}:1" in sentence
    assert "Huffman" in sentence


def test_jpeg_end_is_claimed_of_quality_1_alone(summary: Summary) -> None:
    """A chain that stops at q5 has a strongest point studied, not an end, and no floor it has not met."""
    chain = summary.chains()["jpeg"][:-1]
    text = " ".join(findings(replace(summary, points=(summary.points[0], *chain))))
    assert f"jpeg: the strongest point studied is jpeg:q5, {chain[-1].ratio_file:.1f}:1" in text
    assert "goes no further" not in text
    assert "Huffman" not in text


@pytest.mark.parametrize("options", ["+optimize", "+progressive", "+444+optimize"])
def test_own_huffman_tables_have_no_floor(summary: Summary, options: str) -> None:
    """A chain whose files carry their own tables is not said to run into the default tables' floor."""
    jpeg = summary.chains()["jpeg"]
    chain = [replace(p, chain=f"jpeg{options}", point=f"{p.point}{options}") for p in jpeg]
    text = " ".join(findings(replace(summary, points=(summary.points[0], *chain))))
    assert "Huffman" not in text
    assert "goes no further" not in text


@pytest.mark.parametrize(
    ("gained", "lost", "verdict"),
    [
        (40, 10, "downsizing first is 15.0 points better (8.4 to 21.9, paired on the same cases)"),
        (10, 40, "downsizing first is 15.0 points worse (8.4 to 21.9, paired on the same cases)"),
        (10, 11, "no difference is shown (−0.5 points, −5.3 to +4.3, paired on the same cases)"),
    ],
)
def test_downsizing_is_judged_on_the_same_cases(
    summary: Summary, gained: int, lost: int, verdict: str
) -> None:
    """The verdict is that of the paired difference, whatever the two intervals of accuracy do."""
    full, small = summary.chains()["jpeg"][9], summary.chains()["jpeg@256"][1]
    one = Comparison(full.point, small.point, tango(gained, lost, 200))
    text = " ".join(findings(replace(summary, comparisons=(one,))))
    assert f"at {full.ratio_file:.1f}:1 and {small.ratio_file:.1f}:1 of the source files" in text
    assert verdict in text
    assert "overlap" not in text


def test_downsizing_without_a_like_ratio_is_not_judged(summary: Summary) -> None:
    """Chains that share no ratio are said to be beyond comparison."""
    chains = summary.chains()
    apart = replace(summary, points=(summary.points[0], chains["jpeg"][0], chains["jpeg@256"][-1]))
    assert any("cannot be compared" in sentence for sentence in findings(apart))


def test_failures_and_lossy_sources_are_told(summary: Summary) -> None:
    """Failed cases are counted with their reason, and lossy sources come with a caution."""
    text = " ".join(findings(summary))
    assert "2 of 120 cases failed" in text
    assert "truncated PNG file" in text
    assert "40 of 120 source files (33 %)" in text


def test_nothing_classified_is_said_not_raised(summary: Summary) -> None:
    """Undefined numbers become words with their reason."""
    nothing = undefined("no classified case")
    points = tuple(
        replace(p.with_estimates(accuracy=nothing, macro_f1=nothing, accuracy_difference=nothing), n_ok=0)
        for p in summary.points
    )
    text = findings(replace(summary, points=points))
    assert "no classified case" in text[0]
    assert "nan" not in " ".join(text)


def test_no_interval_is_said(summary: Summary) -> None:
    """An estimate whose limits are unknown is never printed with NaN."""
    bare = Estimate(0.5, float("nan"), float("nan"), 0.95, "x", 3, reason="no spread")
    points = tuple(
        p.with_estimates(accuracy=bare, macro_f1=bare, accuracy_difference=bare) for p in summary.points
    )
    assert "nan" not in " ".join(findings(replace(summary, points=points)))


def test_clean_study_has_no_caution(make_table) -> None:  # type: ignore[no-untyped-def]
    """Without failures or lossy sources there is neither count nor caution."""
    import polars as pl

    clean = make_table(30, failed=lambda _: False).with_columns(case_lossy=pl.lit(value=False))
    text = " ".join(findings(summarize(clean, draws=200)))
    assert "None of the 30 cases failed." in text
    assert "Caution" not in text


def test_one_case_is_written_as_one(make_table) -> None:  # type: ignore[no-untyped-def]
    """A study of a single case says "1 case", failed or not."""
    one = summarize(make_table(1, failed=lambda _: False), draws=20)
    text = " ".join(findings(replace(one, n_planned=2)))
    assert "UNFINISHED: 1 of 2 cases has run; what follows is of this one alone" in text
    assert "The one case did not fail." in text
    assert "1 of 1 source file (100 %) was" in text
    broken = " ".join(findings(replace(one, n_failed_cases=1)))
    assert "1 of 1 case failed and is left out where it did" in broken
    assert not re.search(r"\b1 (cases|patients|points|classes|source files)\b(?! of)", text + broken)

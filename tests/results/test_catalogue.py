"""The catalogue of metrics is the one place that says what a metric is: a row in it is enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import matthews_corrcoef

from bitdose.decision.decide import decide
from bitdose.metrics import catalogue
from bitdose.metrics.catalogue import METRICS, Metric
from bitdose.metrics.classification import accuracy, confusion_matrix, matthews_correlation, sensitivity
from bitdose.metrics.influence import (
    confusion_changes,
    confusion_influence,
    f1_influence,
)
from bitdose.profile.issue import estimates_of
from bitdose.report.figures.figure_data import charted, curve
from bitdose.report.findings.decision import sentences
from bitdose.report.findings.phrasing import metric_words, shown_amount
from bitdose.report.page.html import Page, methods_used, render
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary
from bitdose.results.table import rows_to_table
from bitdose.rule.margins import Margin
from bitdose.rule.rule import Rule

POINT = "jpeg:q30"


def made_table(n: int = 120, *, several: bool = False, lost: int = 6) -> pl.DataFrame:
    """Write three classes, pristine mostly right, a few predictions lost and one gained at one point."""
    rng = np.random.default_rng(4)
    labels = np.array(["a", "b", "c"])
    true = rng.integers(0, 3, n)
    before = np.where(rng.random(n) < 0.85, true, (true + 1) % 3)
    after = before.copy()
    after[np.flatnonzero(before == true)[:lost]] = (true[np.flatnonzero(before == true)[:lost]] + 1) % 3
    rows: list[dict[str, Any]] = []
    for point, chain, said in (("pristine", "pristine", before), (POINT, "jpeg", after)):
        for i in range(n):
            rows.append({
                "case_id": f"{i:04d}", "case_patient": f"{i // 2 if several else i:04d}",
                "case_label": labels[true[i]], "point": point, "codec_chain": chain,
                "codec_name": "jpeg" if point == POINT else "", "codec_strength": float(point == POINT),
                "bytes_file": 100, "bytes_pixels": 200, "bytes_coded": 10, "model": "toy@1",
                "predicted": labels[said[i]], "status": "ok",
                **{f"p_{name}": float(k == said[i]) for k, name in enumerate(labels)},
            })  # fmt: skip
    return rows_to_table(rows)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> dict[str, Metric]:
    """Add two metrics to the catalogue and nowhere else: one of all classes and one of each."""
    names = {"en": "informedness", "pt": "informação"}
    informed = Metric(
        "confusion", "never", "mean sensitivity above chance", "informedness", "Informedness", names,
        low=-0.5, needs=frozenset({"positives"}), every_class=True, charted=True,
        confusion=lambda counts: 1.5 * sensitivity(counts).mean(-1) - 0.5,
    )  # fmt: skip
    missed = Metric(
        "share", "must", "share of a class's cases predicted as another", "miss rate", "Miss rate",
        {"en": "miss rate", "pt": "taxa de perda"}, percent=True, needs=frozenset({"positives"}),
        among="case of class {}",
        share=lambda true, said, k: (~((true == k) & (said != k)), np.asarray(true == k)),
    )  # fmt: skip
    for name, metric in (("informedness", informed), ("kept", missed)):
        monkeypatch.setitem(METRICS, name, metric)
    return {"informedness": informed, "kept": missed}


def test_a_metric_of_the_catalogue_needs_no_other_place(made_up: dict[str, Metric]) -> None:
    """A made-up metric is margin, estimate, column, curve, phrase, decision and page by its row alone."""
    table = made_table()
    summary = summarize(table, draws=200)
    point = summary.points[1]
    rule = Rule({"informedness": 1.2, "kept[b]": 0.3})
    decision = decide(table, rule)
    assert decision.certified is not None
    assert decision.certified.point == POINT

    found = point.estimates["informedness"]
    assert found.low < found.value < found.high
    assert point.estimates["informedness_difference"].high > point.estimates["informedness_difference"].low
    assert point.classes[1].estimates["kept"].method == "wilson"
    row = summary.rows()[1]
    assert row["informedness_low"] == found.low
    assert row["kept_difference[b]"] == point.classes[1].estimates["kept_difference"].value
    written = summary.to_dict()["points"][1]
    assert written["informedness"]["value"] == found.value
    assert written["classes"][1]["kept"]["method"] == "wilson"
    assert {"informedness", "informedness_difference", "kept[b]"} <= dict(estimates_of(point)).keys()

    assert metric_words(Margin.parse("kept[b]=0.3")) == "miss rate for b"
    assert shown_amount(0.25, Margin.parse("kept[b]=0.3")) == "25.0 points"
    said = " ".join(sentences(decision))
    assert "informedness falls by less than the 1.2 allowed" in said
    assert "informedness" in charted()
    assert curve(summary, "informedness", "file").y_title == "Informedness"
    assert "difference of informedness" in str(methods_used(summary))
    html = render(Page("T", summary, ["x"]))
    assert "Informedness</th>" in html
    assert "Miss rate, %</th>" in html


def test_the_service_names_a_metric_by_the_catalogue(made_up: dict[str, Metric]) -> None:
    """The pages take a metric's name in their language, and its unit, from its row."""
    web = pytest.importorskip("bitdose.service.web.web_pages")
    assert web._metrics("pt")["informedness"] == {"name": "informação", "percent": False}
    assert web._metrics("en")["kept"] == {"name": "miss rate", "percent": True}


@pytest.mark.parametrize("several", [False, True])
def test_matthews_correlation_end_to_end(several: bool) -> None:
    """Estimate, difference and decision hold scikit-learn's values, with intervals and words."""
    table = made_table(several=several)
    summary = summarize(table, draws=500)
    values = {}
    for point in summary.points:
        own = table.filter(pl.col("point") == point.point)
        values[point.point] = matthews_corrcoef(own["case_label"], own["predicted"])
        found = point.estimates["mcc"]
        assert found.value == pytest.approx(values[point.point])
        assert found.low < found.value < found.high
        assert found.method == f"{'patient' if several else 'case'}-bootstrap-bca"
    change = summary.points[1].estimates["mcc_difference"]
    assert change.value == pytest.approx(values[POINT] - values["pristine"], abs=1e-12)
    assert change.low < change.value < change.high
    assert change.method == "tango-effective"
    decision = decide(table, Rule(["mcc=0.5"]))
    (test,) = decision.chain_tests[0].tested[0].tests
    assert test.test.loss == pytest.approx(values["pristine"] - values[POINT], abs=1e-6)
    assert test.test.loss < test.test.upper < 0.5
    assert "Matthews' correlation falls by less than the 0.500 allowed" in sentences(decision)[1] or (
        "Matthews' correlation falls by less than the 0.5 allowed" in sentences(decision)[1]
    )


def test_matthews_correlation_is_scikit_learns() -> None:
    """On random matrices of two to six classes, weighted ones too; a stack at once."""
    rng = np.random.default_rng(2)
    for k in range(2, 7):
        true, said, weights = rng.integers(0, k, 60), rng.integers(0, k, 60), rng.exponential(size=60)
        plain = confusion_matrix(true, said, k)
        weighted = np.zeros((k, k))
        np.add.at(weighted, (true, said), weights)
        found = matthews_correlation(np.stack([plain.astype(float), weighted]))
        assert found[0] == pytest.approx(matthews_corrcoef(true, said))
        assert found[1] == pytest.approx(matthews_corrcoef(true, said, sample_weight=weights))


def test_matthews_correlation_by_hand() -> None:
    """3 and 4 right of 8, one wrong: (3 4 - 1 0) / sqrt(4 3 5 4) = 12 / sqrt(240)."""
    assert float(matthews_correlation(np.array([[3, 1], [0, 4]]))) == pytest.approx(12 / np.sqrt(240))
    assert float(matthews_correlation(np.array([[2, 0], [0, 5]]))) == 1.0
    assert float(matthews_correlation(np.array([[0, 2], [2, 0]]))) == -1.0
    assert float(matthews_correlation(np.array([[2, 2], [3, 3]]))) == 0.0


@pytest.mark.parametrize("counts", [[[0, 3], [0, 4]], [[3, 4], [0, 0]], [[0, 0], [0, 0]]])
def test_matthews_correlation_of_one_class_is_undefined(counts: list[list[int]]) -> None:
    """Where every case or every prediction is of one class there is no correlation: NaN, not 0."""
    assert np.isnan(matthews_correlation(np.array(counts)))
    assert np.isnan(matthews_correlation(0.1 * np.array(counts)))


def test_an_undefined_correlation_says_why() -> None:
    """A summary and a decision give NaN with the reason where all predictions are of one class."""
    table = made_table().with_columns(
        predicted=pl.when(pl.col("point") == POINT).then(pl.lit("a")).otherwise("predicted")
    )
    point = summarize(table, draws=50).points[1]
    for name in ("mcc", "mcc_difference"):
        assert np.isnan(point.estimates[name].value)
        assert point.estimates[name].reason == "all cases are of one class, or all predictions are"
    (test,) = decide(table, Rule(["mcc=0.5"])).chain_tests[0].tested[0].tests
    assert np.isnan(test.test.p)
    assert test.test.reason == "all cases are of one class, or all predictions are"


def test_the_interval_of_an_unchanged_correlation_has_a_width() -> None:
    """Where no prediction changes the difference is 0, and its limits are not."""
    change = summarize(made_table(lost=0), draws=50).points[1].estimates["mcc_difference"]
    assert change.value == 0
    assert change.low < 0 < change.high


def test_slopes_agree_with_the_closed_form() -> None:
    """The influence by central difference is F1's own, and changes add up to the difference exactly."""
    rng = np.random.default_rng(5)
    true, before, after = (rng.integers(0, 3, 50) for _ in range(3))
    by_slope = confusion_influence(METRICS["macro_f1"].of_confusion, true, before, 3)
    np.testing.assert_allclose(by_slope, f1_influence(true, before, 3).mean(1), atol=1e-8)
    for function in (accuracy, matthews_correlation):
        parts = confusion_changes(function, true, before, after, 3)
        values = [float(function(confusion_matrix(true, one, 3))) for one in (before, after)]
        assert parts.sum() == pytest.approx(values[1] - values[0], abs=1e-14)
        assert not parts[before == after].any()


def test_every_row_of_the_catalogue_is_whole() -> None:
    """Each metric has the functions of its family, a range, words and names."""
    for name, metric in METRICS.items():
        assert metric.low < metric.high, name
        assert metric.words
        assert metric.title
        assert metric.page_names.keys() == {"en", "pt"}
        assert (metric.share is not None) == (metric.family == "share")
        assert (metric.event is not None) == (metric.family == "flips")
        needs_matrix = metric.family == "confusion" or (
            metric.family == "share" and not (metric.paired and metric.of_class != "may")
        )
        assert metric.confusion is not None or not needs_matrix, name
    with pytest.raises(TypeError, match="no function of the confusion matrix"):
        METRICS["auroc"].of_confusion(np.eye(2))


def test_a_summary_of_other_metrics_stays_readable(made_up: dict[str, Metric]) -> None:
    """Tables are made of the estimates that a summary holds, so one without a newer metric is written too."""
    summary = summarize(made_table(), draws=20)
    kept = tuple(
        replace(p, estimates={k: v for k, v in p.estimates.items() if not k.startswith("informedness")})
        for p in summary.points
    )
    older: Summary = replace(summary, points=kept)
    assert "informedness" not in older.rows()[1]
    assert "difference of informedness" not in str(methods_used(older))
    assert catalogue.METRICS["informedness"] is made_up["informedness"]

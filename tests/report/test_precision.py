"""A study in another precision: its pristine row stands beside the same in fp32."""

from __future__ import annotations

import polars as pl
import pytest

from bitdose.report.findings.sentences import findings
from bitdose.report.page.html import Page, render
from bitdose.results.schema import PRISTINE
from bitdose.results.summarize import summarize
from bitdose.results.summary import Summary


@pytest.fixture(scope="module")
def rough(table: pl.DataFrame) -> pl.DataFrame:
    """Make the study as if its fp32 answers were all right and the precision had upset the others."""
    few = table.filter(pl.col("point").is_in([PRISTINE, "jpeg:q50", "jpeg:q10"]))
    pristine = (pl.col("point") == PRISTINE) & (pl.col("status") == "ok")
    return few.with_columns(
        pl.when(pristine).then("case_label").alias("fp32_predicted"),
        pl.when(pristine).then(0.125).alias("fp32_gap"),
        pl.lit("toy-bf16@1").alias("model"),
    )


@pytest.fixture(scope="module")
def summary(rough: pl.DataFrame) -> Summary:
    """Summarise it."""
    return summarize(rough, draws=50)


def test_the_second_sentence_is_what_the_precision_does(summary: Summary) -> None:
    """Fp32's accuracy, the answers changed without any coding, the largest gap; nothing for fp32 itself."""
    sentence = findings(summary)[1]
    wrong = summary.in_fp32.flips.right_to_wrong  # type: ignore[union-attr]
    assert wrong > 0
    assert sentence.startswith("In fp32 the same network is right on 100.0 % (95 % interval ")
    assert f"toy-bf16@1 changes {wrong} of these answers without any coding, {wrong} from right" in sentence
    assert sentence.endswith("no probability differs by more than 0.12.")


def test_report_csv_and_json_show_the_fp32_row(summary: Summary) -> None:
    """The page has a row of its own below pristine; the files hold the numbers, in pristine's row alone."""
    page = render(Page("Made up", summary, findings(summary)))
    assert page.index('<th scope="row">pristine</th>') < page.index('<th scope="row">pristine, in fp32</th>')
    by_point = {row["point"]: row for row in summary.rows()}
    assert by_point[PRISTINE]["fp32_accuracy"] == 1
    assert by_point[PRISTINE]["fp32_flips_wrong_to_right"] == 0
    assert "fp32_accuracy" not in by_point["jpeg:q10"]
    assert summary.to_dict()["in_fp32"]["accuracy"]["value"] == 1

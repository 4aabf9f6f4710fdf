"""What the summary promises: a table small enough to check by hand, and its undefined corners."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as reference

from bitdose.errors import BitdoseError, UsageError
from bitdose.metrics.calibration import expected_calibration_error
from bitdose.results.schema import PRISTINE
from bitdose.results.summarize import summarize
from bitdose.results.summary import PointSummary, Summary
from bitdose.results.table import rows_to_table
from bitdose.stats.clusters import clustered_tango
from bitdose.stats.proportions import mcnemar_midp, tango, wilson

Q90, Q10 = "jpeg:q90", "jpeg:q10"
STRENGTH = {PRISTINE: 0.0, Q90: 10.0, Q10: 90.0}

# Case (its patient likewise): true class, answers at pristine, q90 and q10.
ANSWERS = {
    "1": ("sick", ["sick", "sick", "well"]),  # right to wrong at q10
    "2": ("sick", ["well", "sick", "well"]),  # wrong to right at q90 only
    "3": ("well", ["well", "well", "well"]),  # never changes
    "4": ("well", ["sick", "sick", "well"]),  # wrong to right at q10
}
CODED = {PRISTINE: [100, 100, 100, 100], Q90: [50, 50, 100, 100], Q10: [10, 10, 10, 30]}
PSNR_DB = {PRISTINE: [math.inf] * 4, Q90: [40.0, 42.0, math.inf, math.inf], Q10: [30.0, 30.0, 32.0, 34.0]}


def row(case: str, point: str, label: str, predicted: str | None, **more: object) -> dict:
    """Write one row of an image of 10x20 pixels in a file of 100 bytes."""
    sure = 0.75 if predicted == "sick" else 0.25
    return {
        "case_id": case, "case_label": label, "case_patient": case, "point": point, "codec_name": "jpeg",
        "codec_chain": point.partition(":")[0], "codec_strength": STRENGTH.get(point, 50.0),
        "bytes_file": 100, "bytes_pixels": 200, "bytes_coded": 100,
        "case_height": 10, "case_width": 20, "case_slices": 1,
        "model": "toy@1", "predicted": predicted, "p_sick": sure, "p_well": 1 - sure, "status": "ok",
    } | more  # fmt: skip


def rows_by_hand() -> list[dict]:
    """Write the table of four patients and three points."""
    return [
        row(case, point, label, answers[k], bytes_coded=CODED[point][n], psnr_db=PSNR_DB[point][n])
        for n, (case, (label, answers)) in enumerate(ANSWERS.items())
        for k, point in enumerate(STRENGTH)
    ]


def failed(case: str, point: str, label: str = "sick") -> dict:
    """Write a failed row, as a study does."""
    more = {"bytes_coded": None, "p_sick": None, "p_well": None, "status": "unreadable", "reason": "cut off"}
    return row(case, point, label, None, **more)


def at(summary: Summary, point: str) -> PointSummary:
    """Return one point's numbers."""
    return next(found for found in summary.points if found.point == point)


@pytest.fixture(scope="module")
def summary() -> Summary:
    """Summarise the table of four patients."""
    return summarize(rows_to_table(rows_by_hand()))


def test_the_head_counts_cases_and_patients(summary: Summary) -> None:
    """Four cases of four patients by one model; points from pristine on, mildest first."""
    assert (summary.model, summary.labels) == ("toy@1", ("sick", "well"))
    assert (summary.n_cases, summary.n_patients, summary.n_failed_cases) == (4, 4, 0)
    assert summary.resampling_unit == "case"
    assert [point.point for point in summary.points] == [PRISTINE, Q90, Q10]
    assert list(summary.chains()) == ["jpeg"]
    assert summary.pristine().point == PRISTINE


def test_confusion_and_accuracy_by_hand(summary: Summary) -> None:
    """Right are 2, 3 and 2 of four; true classes stand in rows."""
    assert [point.accuracy.value for point in summary.points] == [2 / 4, 3 / 4, 2 / 4]
    assert [point.confusion for point in summary.points] == [
        ((1, 1), (1, 1)), ((2, 0), (1, 1)), ((0, 2), (0, 2)),
    ]  # fmt: skip
    assert at(summary, Q90).accuracy == wilson(3, 4)
    assert at(summary, Q90).macro_f1.value == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_classes_by_hand(summary: Summary) -> None:
    """At q90 both sick are found, one of two well is called sick; each share has its own n."""
    sick, well = at(summary, Q90).classes
    assert (sick.label, sick.n) == ("sick", 2)
    assert (
        sick.estimates["sensitivity"].value,
        sick.estimates["specificity"].value,
        sick.estimates["precision"].value,
    ) == (1.0, 0.5, 2 / 3)
    assert (
        well.estimates["sensitivity"].value,
        well.estimates["specificity"].value,
        well.estimates["precision"].value,
    ) == (0.5, 1.0, 1.0)
    assert sick.estimates["auroc"].value == 0.75
    assert (sick.estimates["sensitivity"].n, sick.estimates["precision"].n) == (2, 3)


def test_flips_by_kind(summary: Summary) -> None:
    """Q90 heals one answer; q10 breaks one, heals one, and leaves the other two."""
    q90, q10 = at(summary, Q90).flips, at(summary, Q10).flips
    assert (q90.changed, q90.right_to_wrong, q90.wrong_to_right, q90.wrong_to_wrong) == (1, 0, 1, 0)
    assert (q10.changed, q10.right_to_wrong, q10.wrong_to_right, q10.wrong_to_wrong) == (2, 1, 1, 0)
    assert (q10.share, q10.harmful_share) == (wilson(2, 4, what="x"), wilson(1, 4, what="x"))
    assert q10.mcnemar_midp == mcnemar_midp(1, 1)
    assert summary.pristine().flips.changed == 0


def test_a_wrong_answer_can_turn_into_another_wrong_one() -> None:
    """With three classes the third kind of flip exists, and the kinds add up to the changes."""
    rows = [
        row("1", PRISTINE, "sick", "well"), row("1", Q10, "sick", "odd"),
        row("2", PRISTINE, "well", "well"), row("2", Q10, "well", "odd"),
    ]  # fmt: skip
    flips = at(summarize(rows_to_table([one | {"p_odd": 0.1} for one in rows])), Q10).flips
    assert (flips.changed, flips.right_to_wrong, flips.wrong_to_right, flips.wrong_to_wrong) == (2, 1, 0, 1)


def test_differences_are_coded_minus_pristine(summary: Summary) -> None:
    """Q90 gains one of four, q10 gains one and loses one: Tango's intervals of just that."""
    assert at(summary, Q90).accuracy_difference == tango(1, 0, 4)
    assert at(summary, Q10).accuracy_difference == tango(1, 1, 4)
    gap = at(summary, Q90).macro_f1.value - summary.pristine().macro_f1.value
    assert at(summary, Q90).estimates["macro_f1_difference"].value == pytest.approx(gap, abs=1e-15)


def test_ratios_and_rate_by_hand(summary: Summary) -> None:
    """Q90 codes 300 bytes of 400 in files and 800 in pixels; the means of the ratios differ."""
    q90 = at(summary, Q90)
    assert (q90.ratio_file, q90.ratio_pixels) == (400 / 300, 800 / 300)
    assert (q90.ratio_file_mean, q90.ratio_pixels_mean) == ((2 + 2 + 1 + 1) / 4, (4 + 4 + 2 + 2) / 4)
    assert (q90.coded_bytes_per_case, q90.rate_bpp) == (75.0, 8 * 300 / (4 * 200))


def test_psnr_is_the_mean_of_the_finite_values(summary: Summary) -> None:
    """Infinite PSNR does not swallow the mean; it stands only where every case is identical."""
    assert [point.psnr_db for point in summary.points] == [math.inf, 41.0, 31.5]
    assert math.isnan(at(summary, Q90).ssim)


def test_to_dict_is_json(summary: Summary) -> None:
    """The whole summary is JSON: NaN as null, infinity as text, and back without loss."""
    written = summary.to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["points"][0]["psnr_db"] == "inf"
    assert written["points"][0]["ssim"] is None


def test_the_order_of_rows_does_not_matter(summary: Summary) -> None:
    """Shuffled rows give the same summary to the last digit, bootstrap limits included."""
    table = rows_to_table(rows_by_hand())
    for seed in range(3):
        shuffled = summarize(table.sample(fraction=1, shuffle=True, seed=seed)).to_dict()
        assert shuffled == summary.to_dict()


def test_failed_rows_are_counted_and_left_out() -> None:
    """A case that failed at one point is missing there alone, and its reason is counted once per case."""
    kept = [one for one in rows_by_hand() if (one["case_id"], one["point"]) != ("4", Q10)]
    both = [failed("5", point) for point in STRENGTH]
    found = summarize(rows_to_table([*kept, failed("4", Q10, "well"), *both]))
    assert (found.n_cases, found.n_failed_cases) == (5, 2)
    assert [(point.n_ok, point.n_failed) for point in found.points] == [(4, 1), (4, 1), (3, 2)]
    assert found.failures == {"unreadable: cut off": 2}
    assert at(found, Q10).flips.n == 3
    assert at(found, Q10).ratio_file == 300 / 30


def test_a_case_that_failed_pristine_has_no_pair() -> None:
    """Without its pristine answer a case counts for accuracy but neither for flips nor differences."""
    rows = [one for one in rows_by_hand() if (one["case_id"], one["point"]) != ("1", PRISTINE)]
    q10 = at(summarize(rows_to_table([*rows, failed("1", PRISTINE)])), Q10)
    assert (q10.n_ok, q10.flips.n, q10.accuracy_difference.n) == (4, 3, 3)
    assert q10.flips.right_to_wrong == 0


def test_an_absent_class_is_undefined_with_its_reason() -> None:
    """A class of the model without a case: NaN, the reason beside it, null in JSON; the others stand."""
    found = summarize(rows_to_table([one | {"p_odd": 0.0} for one in rows_by_hand()]))
    odd = at(found, Q90).classes[2]
    assert (odd.label, odd.n) == ("odd", 0)
    for estimate in (odd.estimates["sensitivity"], odd.estimates["f1"], at(found, Q90).macro_f1):
        assert math.isnan(estimate.value)
        assert estimate.reason == "no case of class 'odd'"
    assert odd.estimates["precision"].reason == "no prediction of class 'odd'"
    assert odd.estimates["auroc"].reason == "no positive case"
    written = at(found, Q90).estimates["macro_f1_difference"].reason, found.to_dict()["points"][1]["macro_f1"]
    assert written[0] == "no case of class 'odd'"
    assert (written[1]["value"], written[1]["reason"]) == (None, "no case of class 'odd'")
    assert at(found, Q90).accuracy.value == 3 / 4


def test_without_pristine_rows_nothing_is_compared() -> None:
    """Accuracy stands; differences, flips and McNemar's p are undefined; ``pristine()`` raises."""
    found = summarize(rows_to_table([one for one in rows_by_hand() if one["point"] != PRISTINE]))
    q10 = at(found, Q10)
    assert q10.accuracy.value == 2 / 4
    assert q10.accuracy_difference.reason == "no paired case"
    assert q10.estimates["macro_f1_difference"].reason == "no case classified here and pristine"
    assert q10.flips.share.reason == "no paired case"
    assert found.to_dict()["points"][1]["flips"]["mcnemar_midp"] is None
    with pytest.raises(BitdoseError, match="no 'pristine' rows"):
        found.pristine()


def test_without_probabilities_there_is_no_auroc() -> None:
    """A table of answers alone is summarised; AUROC says what it lacks."""
    table = rows_to_table(rows_by_hand()).drop("p_sick", "p_well")
    found = summarize(table)
    assert found.labels == ("sick", "well")
    assert at(found, Q90).accuracy.value == 3 / 4
    assert at(found, Q90).classes[0].estimates["auroc"].reason == "the table has no probabilities"


def test_without_patients_every_case_is_one() -> None:
    """A table that names no patient is summarised by case, not as one patient."""
    found = summarize(rows_to_table([one | {"case_patient": None} for one in rows_by_hand()]))
    assert (found.n_patients, found.resampling_unit) == (4, "case")


def test_cases_of_one_patient_widen_the_interval(summary: Summary) -> None:
    """The same answers by two patients: the unit is the patient and the interval no narrower."""
    table = rows_to_table(rows_by_hand()).with_columns(
        case_patient=pl.when(pl.col("case_label") == "sick").then(pl.lit("p")).otherwise(pl.lit("q"))
    )
    found = summarize(table)
    assert (found.n_patients, found.resampling_unit) == (2, "patient")
    one, other = at(found, Q10).accuracy, at(summary, Q10).accuracy
    assert (one.unit, one.n) == ("patient", 2)
    assert one.low < other.low < other.high < one.high


def random_table(rng: np.random.Generator, labels: list[str], n: int = 60) -> pl.DataFrame:
    """Draw answers and probabilities, ties among them, for cases of patients of one to three cases."""
    rows = []
    for i in range(n):
        truth = labels[i % len(labels)]
        for point in (PRISTINE, Q90):
            p = np.round(rng.dirichlet(np.ones(len(labels))), 1)
            own = {f"p_{label}": float(value) for label, value in zip(labels, p, strict=True)}
            answer = truth if rng.random() < 0.4 else str(rng.choice(labels))
            one = row(f"{i:02d}", point, truth, answer, case_patient=f"p{i // rng.integers(1, 4)}") | own
            rows.append({k: v for k, v in one.items() if not k.startswith("p_") or k[2:] in labels})
    return rows_to_table(rows)


@pytest.mark.parametrize("seed", range(6))
def test_values_are_scikit_learns(seed: int) -> None:
    """What a report shows of a random table is what scikit-learn says of its rows."""
    labels = ["a", "b", "c", "d"][: 2 + seed % 3]
    table = random_table(np.random.default_rng(seed), labels)
    for point in summarize(table, draws=50).points:
        own = table.filter(pl.col("point") == point.point)
        true, answer = own["case_label"].to_list(), own["predicted"].to_list()
        assert point.accuracy.value == pytest.approx(reference.accuracy_score(true, answer))
        assert point.macro_f1.value == pytest.approx(reference.f1_score(true, answer, average="macro"))
        assert point.confusion == tuple(map(tuple, reference.confusion_matrix(true, answer, labels=labels)))
        precision, recall, f1, count = reference.precision_recall_fscore_support(true, answer, labels=labels)
        for c, one in enumerate(point.classes):
            is_class = [label == one.label for label in true]
            others = [label != one.label for label in true], [label != one.label for label in answer]
            assert (one.label, one.n) == (labels[c], count[c])
            assert one.estimates["sensitivity"].value == pytest.approx(recall[c])
            assert one.estimates["specificity"].value == pytest.approx(reference.recall_score(*others))
            assert one.estimates["precision"].value == pytest.approx(precision[c])
            assert one.estimates["f1"].value == pytest.approx(f1[c])
            assert one.estimates["auroc"].value == pytest.approx(
                reference.roc_auc_score(is_class, own[f"p_{one.label}"])
            )


def downsizing_rows(answers: dict[str, str], coded: dict[str, int]) -> list[dict]:
    """Write rows of sick cases at pristine, right, and at points whose answers are given as s and w."""
    rows = [row(f"{i}", PRISTINE, "sick", "sick") for i in range(len(next(iter(answers.values()))))]
    for strength, (point, letters) in enumerate(answers.items(), 1):
        chain, size = ("jpeg@256", "256x256") if "@" in point else ("jpeg", "")
        rows += [
            row(f"{i}", point, "sick", {"s": "sick", "w": "well"}[letter], codec_chain=chain,
                codec_size=size, codec_strength=float(strength), bytes_coded=coded[point])
            for i, letter in enumerate(letters)
        ]  # fmt: skip
    return rows


ANSWERS_SMALL = {
    "jpeg:q30": "s" * 19 + "w", "jpeg:q5": "s" * 8 + "w" * 12, "jpeg:q1": "w" * 20,
    "jpeg:q60@256": "w" + "s" * 19, "jpeg:q20@256": "s" * 20, "jpeg:q5@256": "w" * 18 + "s" * 2,
}  # fmt: skip
CODED_SMALL = {
    "jpeg:q30": 20, "jpeg:q5": 10, "jpeg:q1": 4, "jpeg:q60@256": 19, "jpeg:q20@256": 9, "jpeg:q5@256": 4,
}  # fmt: skip


def test_downsizing_is_compared_on_the_same_cases() -> None:
    """At 10:1 the downsized one is right 12 times more, at 25:1, where both are broken, 2 times more."""
    found = summarize(rows_to_table(downsizing_rows(ANSWERS_SMALL, CODED_SMALL))).comparisons
    assert [(one.full, one.small) for one in found] == [
        ("jpeg:q5", "jpeg:q20@256"),
        ("jpeg:q1", "jpeg:q5@256"),
    ]
    assert [one.difference for one in found] == [tango(12, 0, 20), tango(2, 0, 20)]


def test_the_same_strongest_pair_is_compared_once() -> None:
    """Where the strongest pair is of use itself there is one comparison; apart in ratio, none."""
    rows = downsizing_rows(ANSWERS_SMALL, CODED_SMALL)
    kept = [one for one in rows if one["point"] not in {"jpeg:q1", "jpeg:q5@256"}]
    assert [one.full for one in summarize(rows_to_table(kept)).comparisons] == ["jpeg:q5"]
    apart = downsizing_rows(
        ANSWERS_SMALL, CODED_SMALL | {"jpeg:q60@256": 14, "jpeg:q20@256": 7, "jpeg:q5@256": 2}
    )
    assert summarize(rows_to_table(apart)).comparisons == ()


def test_a_case_missing_at_one_point_is_not_compared() -> None:
    """A case that failed at either point has no pair; cases of one patient are a cluster."""
    rows = downsizing_rows(ANSWERS_SMALL, CODED_SMALL)
    rows = [one for one in rows if (one["case_id"], one["point"]) != ("19", "jpeg:q5")]
    lost = failed("19", "jpeg:q5") | {"codec_size": "", "codec_strength": 2.0}
    assert summarize(rows_to_table([*rows, lost])).comparisons[0].difference == tango(11, 0, 19)
    rows = [one | {"case_patient": f"p{int(one['case_id']) // 2}"} for one in rows]
    gained = np.array([False] * 8 + [True] * 11)
    expected = clustered_tango(gained, np.zeros(19, bool), np.arange(19) // 2)
    assert summarize(rows_to_table([*rows, lost])).comparisons[0].difference == expected


def test_midp_is_undefined_where_patients_have_several_cases(summary: Summary) -> None:
    """McNemar's test takes cases as independent: with two cases of one patient there is no p."""
    table = rows_to_table(
        [one | {"case_patient": "p" if one["case_id"] in "12" else "q"} for one in rows_by_hand()]
    )
    assert math.isnan(at(summarize(table), Q10).flips.mcnemar_midp)
    assert not math.isnan(at(summary, Q10).flips.mcnemar_midp)


def test_several_models_are_refused() -> None:
    """Two models in one table are not mixed: the error names both."""
    rows = [*rows_by_hand(), row("1", PRISTINE, "sick", "sick", model="other@2")]
    with pytest.raises(UsageError, match=r"one model, got 2: .*(toy@1, other@2|other@2, toy@1)"):
        summarize(rows_to_table(rows))


def test_nothing_classified_is_an_error() -> None:
    """Where every case failed there is nothing to report: the error gives the first reason."""
    with pytest.raises(BitdoseError, match="no case was classified; first reason: cut off"):
        summarize(rows_to_table([failed("1", PRISTINE), failed("1", Q10)]))
    with pytest.raises(BitdoseError, match="no case was classified; first reason: no rows"):
        summarize(rows_to_table([]))


def test_a_label_the_model_does_not_know_is_refused() -> None:
    """A class in the table without a probability column is named, not counted as another."""
    with pytest.raises(UsageError, match="label 'ill' of case '1' is none of the classifier's: sick, well"):
        summarize(rows_to_table([row("1", PRISTINE, "ill", "sick")]))


def test_a_study_of_the_papers_size_is_summarised_in_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """1,761 cases at 49 points, three classes, two cases per patient: well below 60 s."""
    rng, n, labels = np.random.default_rng(0), 1761, np.array(["normal", "pneumonia", "covid-19"])
    truth = rng.integers(0, 3, n)
    points = [PRISTINE, *(f"{codec}:q{q}" for codec in ("jpeg", "avif", "webp") for q in range(1, 17))]
    parts = []
    for rank, point in enumerate(points):
        answer = np.where(rng.random(n) < 0.06 + 0.004 * rank, rng.integers(0, 3, n), truth)
        p = rng.dirichlet([1, 1, 1], n)
        parts.append({
            "case_id": [f"case-{i:04d}" for i in range(n)], "case_label": labels[truth],
            "case_patient": [f"patient-{i // 2}" for i in range(n)], "point": [point] * n,
            "codec_chain": [point.split(":")[0]] * n, "codec_strength": [float(rank)] * n,
            "bytes_file": [10**5] * n, "bytes_pixels": [10**6] * n, "bytes_coded": rng.integers(1, 10**5, n),
            "model": ["toy@1"] * n, "predicted": labels[answer], "status": ["ok"] * n,
            **{f"p_{label}": p[:, c] for c, label in enumerate(labels)},
        })  # fmt: skip
    blank = rows_to_table([]).clear(n)
    table = pl.concat([blank.with_columns(**{k: pl.Series(v) for k, v in part.items()}) for part in parts])
    start = time.perf_counter()
    found = summarize(table)
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nsummarize: {len(table)} rows in {seconds:.1f} s")
    assert (found.n_cases, len(found.points)) == (n, 49)
    assert seconds < 60


def sureness_rows(patients: int, cases_each: int, *, seed: int = 0) -> list[dict]:
    """Draw cases with probabilities at pristine and, less sure, at q90."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(patients * cases_each):
        sick, firm = i // cases_each % 2 == 0, rng.normal(1.0, 1.2)
        for point, loss in ((PRISTINE, 0.0), (Q90, 0.4)):
            sure = float(1 / (1 + np.exp(-(firm - loss + rng.normal(0, 0.3)))))
            p_sick = sure if sick else 1 - sure
            rows.append(
                row(f"{i:03d}", point, "sick" if sick else "well", "sick" if p_sick > 0.5 else "well",
                    case_patient=f"p{i // cases_each:03d}", p_sick=p_sick, p_well=1 - p_sick)
            )  # fmt: skip
    return rows


@pytest.fixture(scope="module", params=[1, 2], ids=["cases", "patients"])
def sure(request: pytest.FixtureRequest) -> tuple[pl.DataFrame, Summary]:
    """Summarise 120 cases of 120 patients, and of 60."""
    table = rows_to_table(sureness_rows(120 // request.param, request.param))
    return table, summarize(table)


def test_calibration_is_of_all_classes(sure: tuple[pl.DataFrame, Summary]) -> None:
    """Brier score and calibration error are those of the rows, and the loss at q90 is the difference."""
    table, found = sure
    for point in found.points:
        own = table.filter(pl.col("point") == point.point)
        p, true = (
            own.select("p_sick", "p_well").to_numpy(),
            (own["case_label"] == "well").cast(int).to_numpy(),
        )
        assert point.estimates["brier"].value == pytest.approx(2 * reference.brier_score_loss(true, p[:, 1]))
        assert point.estimates["ece"].value == pytest.approx(expected_calibration_error(true, p))
        assert point.estimates["brier"].low < point.estimates["brier"].value < point.estimates["brier"].high
        assert point.estimates["ece"].low <= point.estimates["ece"].value <= point.estimates["ece"].high
    before, after = found.points
    for name in ("brier", "ece"):
        gap = after.estimates[name].value - before.estimates[name].value
        difference = after.estimates[f"{name}_difference"]
        assert difference.value == pytest.approx(gap)
        assert difference.low < gap < difference.high
    assert after.estimates["brier_difference"].low > 0


def test_each_class_has_its_differences(sure: tuple[pl.DataFrame, Summary]) -> None:
    """Every metric of a class has its paired difference, the value of which is that of the two points."""
    _, found = sure
    before, after = found.points
    for old, new in zip(before.classes, after.classes, strict=True):
        for name in ("sensitivity", "specificity", "f1", "auroc"):
            difference = new.estimates[f"{name}_difference"]
            gap = new.estimates[name].value - old.estimates[name].value
            assert difference.value == pytest.approx(gap, abs=1e-12)
            assert difference.low < difference.value < difference.high
            assert old.estimates[f"{name}_difference"].value == 0


def test_paired_differences_of_a_class_go_by_its_cases() -> None:
    """Sensitivity pairs the class's cases, specificity the others: Tango's of discordant cases by hand."""
    found = summarize(rows_to_table(sureness_rows(120, 1)))
    table = rows_to_table(sureness_rows(120, 1))
    before, after = (
        table.filter(pl.col("point") == p)["predicted"].to_numpy() == "sick" for p in (PRISTINE, Q90)
    )
    sick = table.filter(pl.col("point") == Q90)["case_label"].to_numpy() == "sick"
    one = at(found, Q90).classes[0]
    gained, lost = (int((x & sick).sum()) for x in (after & ~before, before & ~after))
    assert one.estimates["sensitivity_difference"] == tango(gained, lost, 60)
    gained, lost = (int((x & ~sick).sum()) for x in (before & ~after, after & ~before))
    assert one.estimates["specificity_difference"] == tango(gained, lost, 60)


def test_methods_follow_the_patients(sure: tuple[pl.DataFrame, Summary]) -> None:
    """One case per patient: DeLong and McNemar; several: Obuchowski's area and test."""
    _, found = sure
    unit = found.resampling_unit
    after = at(found, Q90)
    several = unit == "patient"
    one = after.classes[0]
    assert after.macro_f1.method == one.estimates["f1"].method == f"{unit}-bootstrap-bca"
    assert (
        after.estimates["macro_f1_difference"].method
        == one.estimates["f1_difference"].method
        == "tango-effective"
    )
    assert one.estimates["auroc"].method == ("obuchowski-logit" if several else "delong-logit")
    assert one.estimates["auroc_difference"].method == "tango-pairs"
    assert {
        one.estimates["auroc"].unit,
        after.estimates["brier"].unit,
        one.estimates["f1"].unit,
        one.estimates["auroc_difference"].unit,
    } == {unit}
    assert after.flips.p_method == ("obuchowski" if several else "mcnemar-midp")
    assert 0 < after.flips.p_value < 1
    assert math.isnan(after.flips.mcnemar_midp) is several
    assert several or after.flips.p_value == after.flips.mcnemar_midp


def test_few_patients_have_no_p_value() -> None:
    """With 20 patients of two cases the clustered test is silent, and says why."""
    flips = at(summarize(rows_to_table(sureness_rows(20, 2))), Q90).flips
    assert math.isnan(flips.p_value)
    assert flips.p_reason == "20 patients are too few for the clustered test, which needs 50"


def test_without_probabilities_nothing_is_said_of_them() -> None:
    """Brier, calibration error and area, and their differences, are undefined, with the reason."""
    point = at(summarize(rows_to_table(rows_by_hand()).drop("p_sick", "p_well")), Q90)
    lacking = [
        point.estimates["brier"],
        point.estimates["ece"],
        point.estimates["brier_difference"],
        point.estimates["ece_difference"],
    ]
    lacking += [point.classes[0].estimates["auroc"], point.classes[0].estimates["auroc_difference"]]
    assert {one.reason for one in lacking} == {"the table has no probabilities"}
    assert all(math.isnan(one.value) for one in lacking)
    assert point.classes[0].estimates["sensitivity_difference"].value == 0.5


def test_without_pristine_rows_no_difference_is_defined() -> None:
    """Every difference says that no case was classified here and pristine."""
    point = at(summarize(rows_to_table([one for one in rows_by_hand() if one["point"] != PRISTINE])), Q10)
    one = point.classes[0]
    lacking = [
        point.estimates["brier_difference"],
        point.estimates["ece_difference"],
        one.estimates["f1_difference"],
        one.estimates["auroc_difference"],
    ]
    assert {e.reason for e in lacking} == {"no case classified here and pristine"}
    assert one.estimates["sensitivity_difference"].reason == "no paired case"
    assert point.flips.p_reason == "no paired case"


def test_a_case_that_failed_is_in_no_difference() -> None:
    """A case without its answer here is left out of both arms: the difference is of the others."""
    rows = sureness_rows(40, 1)
    kept = [r for r in rows if (r["case_id"], r["point"]) != ("007", Q90)]
    found = at(summarize(rows_to_table([*kept, failed("007", Q90, "well")])), Q90)
    rest = at(summarize(rows_to_table([r for r in rows if r["case_id"] != "007"])), Q90)
    for name in ("brier_difference", "ece_difference", "macro_f1_difference"):
        assert found.estimates[name].value == pytest.approx(rest.estimates[name].value, abs=1e-12)
    difference, other = (point.classes[1].estimates["auroc_difference"] for point in (found, rest))
    assert (difference.value, difference.low) == pytest.approx((other.value, other.low), abs=1e-12)


def test_an_unchanged_point_is_zero_within_what_the_cases_can_tell(summary: Summary) -> None:
    """Against itself, pristine differs by exactly zero: with limits of no change, or a reason."""
    point = summary.pristine()
    for difference in (point.estimates["brier_difference"], point.estimates["ece_difference"]):
        assert difference.value == 0
        assert math.isnan(difference.low)
        assert difference.reason.startswith("limits undefined")
    fewest = min(one.n for one in point.classes)
    for difference in (
        point.estimates["macro_f1_difference"],
        point.classes[0].estimates["auroc_difference"],
    ):
        same = tango(0, 0, fewest)
        assert (difference.value, difference.low) == pytest.approx((0, same.low), abs=1e-9)


def test_rows_in_any_order_give_the_same_summary() -> None:
    """Sorted by case or not, with a case missing at a point or not: the numbers are those of the rows."""
    table = rows_to_table([one for one in rows_by_hand() if (one["case_id"], one["point"]) != ("1", Q10)])
    assert len(table) < len(rows_by_hand())
    mixed = summarize(table.sample(fraction=1, shuffle=True, seed=4)).to_dict()
    in_order = summarize(table.sort("case_id", "point")).to_dict()
    by_name = {key: value for key, value in mixed.items() if key != "points"}
    assert by_name == {key: value for key, value in in_order.items() if key != "points"}
    assert sorted(map(str, mixed["points"])) == sorted(map(str, in_order["points"]))

"""What a decision promises: the walk stops where it must, and bad tables are told apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from bitdose.decision.decide import decide, worst_p
from bitdose.errors import BitdoseError, UsageError
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule

MakeRows = Callable[..., pl.DataFrame]

N = 400
TRUTH = ["sick", "well"] * (N // 2)


def rule(*margins: str, **more: object) -> Rule:
    """Write a rule for accuracy unless told otherwise."""
    return Rule(read_margins(margins or ["accuracy=0.05"]), **more)  # type: ignore[arg-type]


def wrong_on(count: int, start: int = 0) -> list[str]:
    """Answer rightly but for so many cases."""
    other = {"sick": "well", "well": "sick"}
    return [other[t] if start <= n < start + count else t for n, t in enumerate(TRUTH)]


ANSWERS = {
    "pristine": TRUTH,
    "jpeg:q90": TRUTH,
    "jpeg:q50": wrong_on(4),
    "jpeg:q10": wrong_on(60),
    "jpeg:q5": TRUTH,  # lucky: behind a failure, so never tested
    "jpeg2000:10x": wrong_on(2),
    "jpeg2000:40x": wrong_on(6),
}


def test_a_chain_is_walked_until_its_first_failure(make_rows: MakeRows) -> None:
    """The lucky point behind a failure is not tested; the best ratio among what passed is certified."""
    found = decide(make_rows(ANSWERS, TRUTH), rule())
    jpeg, jpeg2000 = found.chain_tests
    assert [test.point for test in jpeg.tested] == ["jpeg:q90", "jpeg:q50", "jpeg:q10"]
    assert (jpeg.failed.point, jpeg.untested) == ("jpeg:q10", ("jpeg:q5",))
    assert [test.passed for test in jpeg2000.tested] == [True, True]
    assert jpeg2000.failed is None
    assert found.certified.point == "jpeg2000:40x"
    assert found.certified.ratio_file == pytest.approx(1000 / (1000 // 7))
    assert found.required_sample_sizes == ()


def test_chains_share_alpha_and_one_order_keeps_it_whole(make_rows: MakeRows) -> None:
    """Two chains are tested at half the level each; a pre-registered order at the full one."""
    table = make_rows(ANSWERS, TRUTH)
    assert {walk.alpha for walk in decide(table, rule()).chain_tests} == {0.025}
    one = decide(table, rule(order=("jpeg2000:10x", "jpeg", "jpeg2000")))
    assert [walk.alpha for walk in one.chain_tests] == [0.05]
    assert [t.point for t in one.chain_tests[0].tested] == [
        "jpeg2000:10x",
        "jpeg:q90",
        "jpeg:q50",
        "jpeg:q10",
    ]
    assert one.chain_tests[0].untested == ("jpeg:q5", "jpeg2000:40x")
    assert one.certified.point == "jpeg2000:10x"


def test_all_margins_must_hold(make_rows: MakeRows) -> None:
    """A point whose accuracy holds and whose worst class does not is no answer."""
    answers = {
        "pristine": TRUTH,
        "jpeg:q50": [
            a if t == "well" or n > 30 else "well" for n, (a, t) in enumerate(zip(TRUTH, TRUTH, strict=True))
        ],
    }
    table = make_rows(answers, TRUTH)
    assert decide(table, rule("accuracy=0.08")).certified.point == "jpeg:q50"
    both = decide(table, rule("accuracy=0.08", "sensitivity[sick]=0.08"))
    assert both.certified is None
    assert [test.passed for test in both.chain_tests[0].failed.tests] == [True, False]


def test_objectives_choose_among_what_passed(make_rows: MakeRows) -> None:
    """Fewest bytes, or fewest seconds: below a link's knee the mildest of equally quick points."""
    coded = {"jpeg:q90": 500, "jpeg:q50": 100, "jpeg2000:10x": 99, "jpeg2000:40x": 400}
    table = make_rows(
        {k: v for k, v in ANSWERS.items() if k not in {"jpeg:q10", "jpeg:q5"}}, TRUTH, coded_bytes=coded
    )
    assert decide(table, rule(objective="bytes")).certified.point == "jpeg2000:10x"
    seconds = decide(
        table, rule(objective="seconds", link="gprs"), seconds=lambda b: 1 + np.maximum(b - 100, 0) / 1e3
    )
    assert seconds.certified.point == "jpeg:q50"
    assert seconds.certified.seconds == 1


def test_two_splits_choose_on_one_and_prove_on_the_other(make_rows: MakeRows) -> None:
    """Candidates come from the first split alone; each test of the one walk is at the full alpha."""
    splits = ["calibration"] * (N // 2) + ["test"] * (N // 2)
    answers = ANSWERS | {"jpeg:q5": wrong_on(60, start=N // 2)}  # good on calibration, bad on test
    table = make_rows(answers, TRUTH, splits=splits)
    found = decide(table, rule(select="calibration", confirm="test"))
    assert found.n_cases == N // 2
    assert [walk.name for walk in found.chain_tests] == ["confirm"]
    assert found.chain_tests[0].alpha == 0.05
    assert "jpeg:q5" in found.candidates
    assert "jpeg:q10" not in found.candidates
    assert found.chain_tests[0].failed.point == "jpeg:q5" or found.certified.point != "jpeg:q5"


def test_nothing_passes_and_the_decision_says_what_would_be_needed(make_rows: MakeRows) -> None:
    """With 40 cases a margin of 5 points cannot be shown: 59 unchanged ones are the least."""
    few = {point: given[:40] for point, given in ANSWERS.items()}
    found = decide(make_rows({p: few[p] for p in ("pristine", "jpeg:q90")}, TRUTH[:40]), rule())
    assert found.certified is None
    (short,) = found.required_sample_sizes
    assert (short.n, short.least, short.at_weakest) == (40, 59, 59)
    hopeless = decide(make_rows({"pristine": TRUTH, "jpeg:q10": wrong_on(60)}, TRUTH), rule())
    assert hopeless.required_sample_sizes[0].at_weakest == -1


def test_the_same_table_in_any_order_of_rows_gives_the_same_decision(make_rows: MakeRows) -> None:
    """Seeds are names: shuffled rows change no digit, F1's draws included."""
    table = make_rows(ANSWERS, TRUTH)
    asked = rule("macro_f1=0.05", "auroc=0.2")
    again = table.sample(fraction=1, shuffle=True, seed=3)
    # The order of chains is that of the table, so it is kept here by sorting on it.
    again = again.sort("codec_chain", maintain_order=True)
    one, two = decide(table.sort("codec_chain", maintain_order=True), asked), decide(again, asked)
    assert one.to_dict() == two.to_dict()


def test_zero_errors_are_no_proof_of_zero_loss(make_rows: MakeRows) -> None:
    """With no answer changed at all every metric still has a limit above zero."""
    names = ["accuracy", "macro_f1", "sensitivity[sick]", "specificity[sick]", "precision[sick]", "f1[sick]"]
    names += ["auroc", "auroc[sick]", "brier", "ece", "harmful_flips", "flips[well]", "sensitivity"]
    found = decide(
        make_rows({"pristine": TRUTH, "jpeg:q90": TRUTH}, TRUTH), rule(*(f"{n}=0.2" for n in names))
    )
    for each in found.chain_tests[0].tested[0].tests:
        assert each.test.loss == 0
        assert 2 / N < each.test.upper < 12 / N, each.margin.name
        assert 0 <= each.test.p < 0.05


def test_a_point_that_does_not_answer_every_case_is_not_certified(make_rows: MakeRows) -> None:
    """Different case sets per point, or failed rows: NaN with the reason, and the walk stops there."""
    table = make_rows(ANSWERS, TRUTH)
    absent = table.filter(~((pl.col("point") == "jpeg:q50") & (pl.col("case_id") == "case-0007")))
    walk = decide(absent, rule()).chain_tests[0]
    assert walk.failed.point == "jpeg:q50"
    assert "1 of 400 cases have no prediction at this point (no row 1)" in walk.failed.tests[0].test.reason
    assert math.isnan(walk.failed.tests[0].test.upper)
    here = (pl.col("point") == "jpeg:q50") & (pl.col("case_id") == "case-0007")
    failed = table.with_columns(pl.when(here).then(pl.lit("codec-limit")).otherwise("status").alias("status"))
    found = decide(failed, rule())
    assert "(codec-limit 1)" in found.chain_tests[0].failed.tests[0].test.reason
    assert any("stopped at jpeg:q50: 1 of 400" in note for note in found.notes)


def test_cases_that_fail_at_pristine_are_left_out_and_counted(make_rows: MakeRows) -> None:
    """A file that cannot be read says nothing of coding."""
    table = make_rows(ANSWERS, TRUTH)
    status = pl.when(pl.col("case_id") == "case-0000").then(pl.lit("unreadable")).otherwise("status")
    found = decide(table.with_columns(status.alias("status")), rule())
    assert found.n_cases == N - 1
    assert found.notes[0] == "1 cases have no prediction at pristine and are left out."


def test_one_class_only_leaves_means_over_classes_undefined(make_rows: MakeRows) -> None:
    """Accuracy holds; F1 and AUROC are NaN and say which class is missing."""
    sick = ["sick"] * 300
    table = make_rows({"pristine": sick, "jpeg:q90": sick}, sick)
    assert decide(table, rule()).certified.point == "jpeg:q90"
    found = decide(table, rule("accuracy=0.05", "macro_f1=0.05", "specificity[sick]=0.1", "auroc[sick]=0.1"))
    assert found.certified is None
    reasons = {t.margin.name: t.test.reason for t in found.chain_tests[0].failed.tests}
    assert reasons == {
        "accuracy": "",
        "auroc[sick]": "every case is of class 'sick'",
        "macro_f1": "no case of class 'well'",
        "specificity[sick]": "every case is of class 'sick'",
    }


def test_one_patient_only_proves_nothing(make_rows: MakeRows) -> None:
    """Four hundred images of one patient are one unit of evidence."""
    table = make_rows({"pristine": TRUTH, "jpeg:q90": TRUTH}, TRUTH, patients=["p"] * N)
    found = decide(table, rule("accuracy=0.5", "macro_f1=0.5"))
    assert found.certified is None
    assert [(t.test.n, t.test.unit) for t in found.chain_tests[0].failed.tests] == [(1, "patient")] * 2
    assert found.required_sample_sizes[0].n == 1


def test_patients_count_and_not_images(make_rows: MakeRows) -> None:
    """The same answers prove less when ten images at a time are of one patient."""
    patients = [f"p{n // 10}" for n in range(N)]
    answers = {"pristine": TRUTH, "jpeg:q50": wrong_on(4)}
    alone = decide(make_rows(answers, TRUTH), rule()).chain_tests[0].tested[0].tests[0].test
    together = (
        decide(make_rows(answers, TRUTH, patients=patients), rule()).chain_tests[0].tested[0].tests[0].test
    )
    assert (alone.n, together.n) == (N, 40)
    assert alone.upper < together.upper
    assert alone.passed
    assert not together.passed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.filter(pl.col("point") != "pristine"), "no pristine rows"),
        (lambda t: t.filter(pl.col("point") == "pristine"), "only pristine rows"),
        (lambda t: t.with_columns(pl.lit("cut").alias("status")), "no case was classified at pristine"),
        (lambda t: pl.concat([t, t.with_columns(pl.lit("b").alias("model"))]), "one model, got 2"),
        (lambda t: t.with_columns(pl.lit("odd").alias("case_label")), "label 'odd' is none"),
    ],
)
def test_tables_that_cannot_be_decided_on_are_refused(
    make_rows: MakeRows, change: Callable, says: str
) -> None:
    """One line each, that says what is missing."""
    with pytest.raises(BitdoseError, match=says) as caught:
        decide(change(make_rows(ANSWERS, TRUTH)), rule())
    assert "\n" not in str(caught.value)


def test_splits_orders_and_classes_that_are_not_there_are_refused(make_rows: MakeRows) -> None:
    """The message lists what is there."""
    table = make_rows(ANSWERS, TRUTH, splits=["train", "test"] * (N // 2))
    with pytest.raises(UsageError, match="split 'calibration': the run has test, train"):
        decide(table, rule(select="calibration", confirm="test"))
    with pytest.raises(UsageError, match="the run has no splits"):
        decide(make_rows(ANSWERS, TRUTH), rule(select="a", confirm="b"))
    with pytest.raises(UsageError, match="did you mean 'jpeg2000'"):
        decide(table, rule(order=("jpg2000",)))
    with pytest.raises(UsageError, match="no such class"):
        decide(table, rule("sensitivity[covid]=0.1"))


def test_a_patient_in_both_splits_is_refused_without_a_name(make_rows: MakeRows) -> None:
    """Choosing and proving on the same patient is biased; the message counts and names nobody."""
    patients = [f"p{n % (N // 2)}" for n in range(N)]
    splits = ["select"] * (N // 2) + ["confirm"] * (N // 2)
    table = make_rows(ANSWERS, TRUTH, patients=patients, splits=splits)
    with pytest.raises(UsageError, match="got 200") as caught:
        decide(table, rule(select="select", confirm="confirm"))
    assert "p1" not in str(caught.value)


def test_a_table_without_probabilities_decides_on_answers_alone(make_rows: MakeRows) -> None:
    """Accuracy works; AUROC is NaN with the reason."""
    table = make_rows(ANSWERS, TRUTH).drop("p_sick", "p_well")
    assert decide(table, rule()).certified.point == "jpeg2000:40x"
    (test,) = decide(table, rule("auroc=0.1")).chain_tests[0].failed.tests
    assert test.test.reason == "the results hold no probabilities"


def test_a_decision_is_json(make_rows: MakeRows) -> None:
    """Everything in it, NaN as null; the rule with its digest."""
    table, asked = make_rows(ANSWERS, TRUTH), rule("harmful_flips=0.05")
    identity = {"cases": len(TRUTH), "points": list(ANSWERS), "decision": asked.to_dict()}
    found = decide(table, asked, manifest={"identity": identity})
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["preregistered"] is True
    assert written["rule_digest"] == found.rule.digest()
    assert written["certified"]["tests"][0]["pristine"] is None
    assert written["chain_tests"][0]["tested"][0]["passed"] is True
    assert worst_p(found.certified) == written["certified"]["tests"][0]["test"]["p"]


EVERY = (
    "accuracy", "sensitivity", "sensitivity[sick]", "specificity[sick]", "precision[sick]", "f1[sick]",
    "macro_f1", "auroc", "auroc[sick]", "brier", "ece", "flips", "harmful_flips[sick]",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("sure", [0.6, 0.99])
def test_few_unchanged_cases_never_prove_a_small_margin(make_rows: MakeRows, name: str, sure: float) -> None:
    """Thirty cases without a changed answer leave every metric a limit above zero, and above a thousandth."""
    truth = TRUTH[:30]
    table = make_rows({"pristine": truth, "jpeg:q90": truth}, truth, sure=sure)
    (test,) = decide(table, rule(f"{name}=0.001")).chain_tests[0].tested[0].tests
    assert test.test.upper > 0.001
    assert not test.passed


@pytest.mark.parametrize("name", EVERY)
def test_a_set_of_one_class_proves_nothing_of_classes_told_apart(make_rows: MakeRows, name: str) -> None:
    """What compares classes is undefined where there is one; what is of the cases alone still counts."""
    sick = ["sick"] * 300
    table = make_rows({"pristine": sick, "jpeg:q90": sick}, sick)
    (test,) = decide(table, rule(f"{name}=0.02")).chain_tests[0].tested[0].tests
    of_cases = {"accuracy", "sensitivity[sick]", "f1[sick]", "brier", "ece", "flips", "harmful_flips[sick]"}
    assert (test.test.reason == "") == (name in of_cases)
    assert math.isnan(test.test.p) or test.test.upper > 0


def test_a_size_that_is_not_known_stops_the_choice(make_rows: MakeRows) -> None:
    """Without bytes no point is the smallest: an error, not the first of the list."""
    table = make_rows(ANSWERS, TRUTH)
    here = pl.when(pl.col("point") == "jpeg:q50").then(None).otherwise("bytes_coded").alias("bytes_coded")
    with pytest.raises(UsageError, match="size of jpeg:q50 is not known"):
        decide(table.with_columns(here), rule())


@pytest.mark.parametrize("column", ["codec_chain", "codec_strength"])
def test_a_point_without_its_place_in_a_chain_is_refused(make_rows: MakeRows, column: str) -> None:
    """Without chain or strength there is no order to walk."""
    table = make_rows(ANSWERS, TRUTH)
    here = pl.when(pl.col("point") == "jpeg:q50").then(None).otherwise(column).alias(column)
    with pytest.raises(UsageError, match=f"{column} is missing at point 'jpeg:q50'"):
        decide(table.with_columns(here), rule())


def test_an_ok_row_without_an_answer_is_no_answer(make_rows: MakeRows) -> None:
    """A table from elsewhere may lack one: the point fails with the count."""
    table = make_rows(ANSWERS, TRUTH)
    here = (pl.col("point") == "jpeg:q90") & (pl.col("case_id") == "case-0003")
    found = decide(
        table.with_columns(pl.when(here).then(None).otherwise("predicted").alias("predicted")), rule()
    )
    assert (
        "1 of 400 cases have no prediction at this point (no-prediction 1)"
        in found.chain_tests[0].failed.tests[0].test.reason
    )


def test_what_an_assessor_should_know_is_noted(make_rows: MakeRows) -> None:
    """Unnamed patients, and splits that stand together."""
    splits = ["train", "test"] * (N // 2)
    notes = decide(make_rows(ANSWERS, TRUTH, splits=splits), rule()).notes
    assert notes[0] == "No patient is named: each case counts as a patient of its own."
    assert notes[1].startswith("The splits test, train stand together")
    named = make_rows(ANSWERS, TRUTH, patients=[f"p{n}" for n in range(N)])
    assert decide(named, rule()).notes == ()


def test_an_alpha_that_draws_cannot_tell_is_undefined(make_rows: MakeRows) -> None:
    """A p-value of draws is never below one over their number: NaN with the reason, no false hope."""
    found = decide(make_rows(ANSWERS, TRUTH), rule("macro_f1=0.1", alpha=1e-7))
    assert "is too small for" in found.chain_tests[0].failed.tests[0].test.reason

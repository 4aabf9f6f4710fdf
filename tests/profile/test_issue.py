"""From a decision to a profile: every fact is the run's own, and nothing of a patient comes along."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.decision.decide import decide
from bitdose.errors import BitdoseError, UsageError
from bitdose.profile.document import read_profile
from bitdose.profile.issue import estimates_of, make_profile, results_digest
from bitdose.results.table import CASES_DIGEST, cases_digest
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.run import Run
from bitdose.search.racing import Racing
from bitdose.search.run_results import RunResults

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_the_evidence_is_that_of_the_decision(run: Any) -> None:
    """Margins, numbers of cases, rule and rate are the decision's, to the last digit."""
    found, proof = run.profile(), run.decision.certified
    assert (found.point, found.chain) == ("jpeg:q30@256", "jpeg@256")
    assert [m.metric for m in found.evidence.margins] == ["accuracy", "sensitivity[covid-19]"]
    for shown, test in zip(found.evidence.margins, proof.tests, strict=True):
        assert (shown.loss, shown.upper, shown.p, shown.alpha) == (
            test.test.loss, test.test.upper, test.test.p, test.test.alpha
        )  # fmt: skip
    evidence = found.evidence
    assert (evidence.n, evidence.patients, evidence.clustered, evidence.splits) == (300, 290, True, ("test",))
    assert (evidence.rule, evidence.rule_digest) == (run.decision.rule, run.decision.rule.digest())
    assert found.rate.ratio_file == pytest.approx(300 * 700_000 / sum(9_000 + i for i in range(300)))
    assert found.rate.seconds is None
    assert found.id == found.content_id()
    assert found.signature is None


def test_every_estimate_of_the_summary_is_kept(run: Any) -> None:
    """Accuracy, F1, calibration, flips and each class's metrics come along, whatever the summary has."""
    found = {reading.metric: reading for reading in run.profile().evidence.estimates}
    for name in ("accuracy", "macro_f1", "brier", "flips.share", "sensitivity[normal]", "auroc[covid-19]"):
        assert name in found
    point = run.results.point_summary("jpeg:q30@256")
    assert len(found) == len(list(estimates_of(point)))
    assert found["accuracy"].value == point.accuracy.value
    assert found["accuracy"].low == point.accuracy.low


def test_an_undefined_estimate_is_null_with_its_reason(run: Any) -> None:
    """NaN becomes null, and the reason stays: without probabilities there is no AUROC."""
    bare = replace(run, table=run.table.drop("p_normal", "p_covid-19"))
    found = {r.metric: r for r in bare.profile().evidence.estimates}["auroc[covid-19]"]
    assert (found.value, found.low) == (None, None)
    assert found.reason


def test_limits_are_what_the_certified_rows_hold(run: Any) -> None:
    """Smallest and largest size, depths, colour and formats of the cases behind the proof."""
    limits = run.profile(modality="dx, CR").limits
    assert limits.modalities == ("CR", "DX")
    assert (limits.height, limits.width, limits.slices) == ((900, 1199), (1200, 1200), (1, 1))
    assert (limits.bits, limits.photometric, limits.formats) == ((12,), ("MONOCHROME2",), ("DICOM", "PNG"))


def test_cases_outside_the_proof_do_not_widen_the_limits(run: Any) -> None:
    """A case that failed at pristine, alone or at every point, was not compared: its size says nothing."""
    rows = run.table.filter(pl.col("case_height") == 900)
    tiny = rows.with_columns(pl.lit(3, pl.Int64).alias("case_height"))
    at_pristine = pl.col("point") == "pristine"
    for name, lost in (("x", pl.lit(value=True)), ("y", at_pristine)):
        failed = pl.when(lost).then(pl.lit("codec-limit")).otherwise("status").alias("status")
        more = tiny.with_columns(pl.lit(name).alias("case_id"), failed)
        found = run.at(pl.concat([run.table, more])).profile()
        assert found.limits.height == (900, 1199)


def test_colour_volumes_and_a_column_of_modalities_are_seen(rule: Rule, make: Any) -> None:
    """Three samples in a place are RGB, slices count, and the table's own modality joins what is given."""
    colour = make(rule, case_bits=8, case_height=10, case_width=20, bytes_pixels=600, case_modality="Mammo")
    limits = colour.profile(modality="US").limits
    assert (limits.photometric, limits.modalities) == (("RGB",), ("MG", "US"))
    volume = {"case_bits": 16, "case_height": 10, "case_width": 20, "case_slices": 7, "bytes_pixels": 2800}
    limits = make(rule, **volume).profile().limits
    assert (limits.photometric, limits.slices, limits.modalities) == (("MONOCHROME2",), (7, 7), ())


def test_a_table_that_does_not_say_sizes_gives_no_limits(rule: Rule, make: Any) -> None:
    """What another lab's table lacks is null or empty: not stated, not guessed."""
    lacking = dict.fromkeys(("case_height", "case_width", "case_slices", "case_bits", "case_format"))
    limits = make(rule, **lacking).profile().limits
    assert (limits.height, limits.slices, limits.bits, limits.photometric) == (None, None, (), ())


def test_no_case_patient_or_path_comes_along(run: Any) -> None:
    """Neither ids nor patients' names stand in the profile."""
    text = json.dumps(run.profile().to_dict())
    assert "secret-" not in text
    assert "patient-" not in text.replace("patient-bootstrap", "")


def test_kernels_codec_and_libraries_say_which_client_was_certified(run: Any, rule: Rule, make: Any) -> None:
    """The libraries that resize and code are named with their versions; full size needs no kernel."""
    found = run.profile()
    assert found.client.libraries == ("opencv-python-headless 4.12.0.88", found.codec.library)
    assert (found.client.version, found.libraries["pillow"]) == ("0.1.0", "12.0.0")
    assert (found.codec.name, found.codec.knob, found.codec.value, found.codec.size) == (
        "jpeg",
        "q",
        30,
        "256x256",
    )
    assert (found.codec.mode, found.codec.studied_modes) == ("exact", ("exact",))
    assert found.codec.mappings == ("linear 12>8>12 bits",)
    big = Rule(read_margins(["accuracy=0.6"]))
    full = make(big, points=("pristine", "jpeg2000:20x")).profile()
    assert (full.codec.size, full.codec.kernels, full.codec.studied_modes) == ("", "", ("layered",))
    assert full.client.libraries == (full.codec.library,)
    assert any("encode shared with others" in note for note in full.notes)


def test_with_two_splits_the_second_alone_is_the_evidence(make: Any) -> None:
    """Limits and digests are of the split that proves, not of the one that chose."""
    rule = Rule(read_margins(["accuracy=0.1"]), select="calibration", confirm="test")
    both = make(Rule(read_margins(["accuracy=0.1"])))
    first = both.table.with_columns(
        pl.concat_str(pl.lit("c-"), "case_id").alias("case_id"),
        pl.concat_str(pl.lit("c-"), "case_patient").alias("case_patient"),
        pl.lit("calibration").alias("case_split"),
        pl.lit(64, pl.Int64).alias("case_height"),
    )
    found = replace(both.at(pl.concat([first, both.table])), rule=rule).profile()
    assert found.evidence.splits == ("test",)
    assert found.limits.height == (900, 1199)
    assert found.evidence.results_digest == results_digest(both.table)


def test_the_digest_of_results_sees_answers_and_not_the_order_of_rows(run: Any) -> None:
    """Shuffled rows and other times change nothing; one other answer does."""
    before = results_digest(run.table)
    shuffled = run.table.sample(fraction=1, shuffle=True, seed=3).with_columns(pl.lit(9.0).alias("encode_ms"))
    assert results_digest(shuffled) == before
    row = pl.int_range(pl.len()) == 5
    other = pl.when(row).then(pl.lit("normal")).otherwise("predicted").alias("predicted")
    changed = run.table.with_columns(other)
    assert (results_digest(changed) != before) == (changed["predicted"][5] != run.table["predicted"][5])
    assert results_digest(run.table.with_columns((pl.col("bytes_coded") + 1).alias("bytes_coded"))) != before


def test_a_profile_survives_its_own_file(run: Any) -> None:
    """What is made can be read back: no fact of a run breaks the schema."""
    made = run.profile()
    assert read_profile(json.dumps(made.to_dict()).encode()) == made


def test_nothing_certified_means_no_profile(make: Any) -> None:
    """Without a certified point there is an error of one line, not an empty profile."""
    with pytest.raises(BitdoseError, match="nothing was certified") as caught:
        make(Rule(read_margins(["accuracy=0.001"]))).profile()
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({}, "needs a run folder's manifest with model, input, data, libraries, cases, points"),
        ({"identity": {"model": "net@0123456789ab"}}, "manifest with input, data, libraries, cases, points"),
    ],
)
def test_a_bare_table_gives_no_profile(run: Any, manifest: dict[str, Any], words: str) -> None:
    """Without the manifest nobody knows what was studied."""
    with pytest.raises(BitdoseError, match=words):
        replace(run, manifest=manifest).profile()


def test_a_classifier_must_be_the_manifests_and_have_a_digest(run: Any) -> None:
    """Another model's manifest, or a model without a digest, is refused."""
    identity = run.manifest["identity"] | {"model": "other@0123456789ab"}
    with pytest.raises(UsageError, match="expected those of other@0123456789ab, .* got those of net@"):
        replace(run, manifest={"identity": identity}).profile()
    nameless = replace(run, table=run.table.with_columns(pl.lit("callable").alias("model")))
    with pytest.raises(BitdoseError, match="classifier 'callable' has no digest"):
        replace(nameless, manifest={"identity": identity | {"model": "callable"}}).profile()


def test_two_codec_builds_at_one_point_are_refused(run: Any) -> None:
    """Results of mixed builds say nothing of either."""
    other = pl.when(pl.col("case_height") == 900).then(pl.lit("old 1")).otherwise("codec_library")
    mixed = run.table.with_columns(other.alias("codec_library"))
    with pytest.raises(BitdoseError, match="codec_library differs within the certified point: "):
        replace(run, table=mixed).profile()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modality": "thermography"}, "modality 'thermography': expected DICOM's code"),
        ({"modality": ""}, "modality '': expected DICOM's code"),
        ({"expires": "0d"}, "expires: expected up to 3650 days from now"),
        ({"expires": "9999d"}, "expires: expected up to 3650 days"),
        ({"expires": "999999d"}, "expires: expected up to 3650 days"),
        ({"expires": "soon"}, "expires: expected days such as 365d or a date"),
        ({"expires": "2026-11-22"}, "expires: expected up to 3650 days from now"),
        ({"expires": "2027-02-30"}, "expires: expected UTC such as"),
    ],
)
def test_wrong_options_are_wrong_calls(run: Any, options: dict[str, str], words: str) -> None:
    """A modality that is none and an expiry that is past, far or unreadable."""
    with pytest.raises(UsageError, match=words):
        run.profile(**options)


def test_expiry_is_days_or_a_date(run: Any) -> None:
    """Days count from now to the second; a date is its first second, UTC."""
    assert run.profile().expires == "2027-11-22T10:00:00Z"
    assert run.profile(expires="30d").expires == "2026-12-22T10:00:00Z"
    assert run.profile(expires="2027-01-02").expires == "2027-01-02T00:00:00Z"


FORGED: dict[str, tuple[Callable[[pl.DataFrame, Mapping[str, Any]], tuple[Any, Any]], str]] = {
    "a tenth of the cases": (
        lambda table, manifest: (table.filter(pl.col("case_id") < "secret-030"), manifest),
        "30 of 300 cases have run",
    ),
    "a point left out": (
        lambda table, manifest: (table.filter(pl.col("point") != "jpeg2000:20x"), manifest),
        "jpeg2000:20x: expected 300 rows",
    ),
    "rows of a failed point left out": (
        lambda table, manifest: (
            table.filter((pl.col("point") != "jpeg2000:20x") | (pl.col("case_id") < "secret-2")),
            manifest,
        ),
        "jpeg2000:20x: expected 300 rows, one per case of the manifest, got 200 of 200",
    ),
    "a point that was never planned": (
        lambda table, manifest: (
            pl.concat([table, table.filter(pl.col("point") == "pristine").with_columns(point=pl.lit("q1"))]),
            manifest,
        ),
        "q1: expected 0 rows",
    ),
    "every case twice": (
        lambda table, manifest: (
            pl.concat([table, table.with_columns(pl.concat_str(pl.lit("b-"), "case_id").alias("case_id"))]),
            manifest,
        ),
        "expected the 300 cases of the manifest, got 600",
    ),
    "each case its own patient": (
        lambda table, manifest: (table.with_columns(case_patient=pl.col("case_id")), manifest),
        "cases, labels, patients or splits are not those of the manifest",
    ),
    "labels made to fit": (
        lambda table, manifest: (table.with_columns(case_label=pl.col("predicted")), manifest),
        "expected the 300 cases of the manifest, got",
    ),
    "another classifier": (
        lambda table, manifest: (table.with_columns(model=pl.lit("other@ffffffffffff")), manifest),
        "as the manifest says, got those of other@",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("way", ["make_profile", "Run.profile", "Run.certify", "decide"])
def test_no_public_call_certifies_what_is_not_the_run(run: Any, kind: str, way: str, tmp_path: Path) -> None:
    """Cases or points that disagree with the manifest give no decision and no profile, whoever asks."""
    change, words = FORGED[kind]
    held = run.table.select("case_id", "case_label", "case_patient", "case_split").unique().iter_rows()
    manifest = {**run.manifest, "data": {CASES_DIGEST: cases_digest(held)}}
    table, manifest = change(run.table, manifest)
    forged = Run(RunResults(table, manifest), tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "make_profile": lambda: make_profile(RunResults(table, manifest), run.rule, now=NOW),
        "Run.profile": lambda: forged.profile(rule=run.rule, key=tmp_path / "key.pem"),
        "Run.certify": lambda: forged.certify(run.rule, key=tmp_path / "key.pem"),
        "decide": lambda: decide(table, run.rule, manifest=manifest),
    }
    with pytest.raises(UsageError, match=words):
        calls[way]()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("registered", [True, False])
def test_whether_the_rule_was_registered_is_read_off_the_manifest(
    run: Any, registered: bool, tmp_path: Path
) -> None:
    """No argument says so: the rule of the manifest is fixed before the run, any other came after it."""
    other = Rule(read_margins(["accuracy=0.2"]))
    identity = run.manifest["identity"] | {"decision": (run.rule if registered else other).to_dict()}
    studied = Run(RunResults(run.table, {"identity": identity}), tmp_path)
    made = studied.profile(rule=run.rule, key=tmp_path / "key.pem")
    assert made.evidence.preregistered is registered
    assert any("not fixed in the study file" in note for note in made.notes) is not registered
    assert studied.decide(run.rule).preregistered is registered


def test_nobody_can_claim_that_a_rule_was_registered() -> None:
    """No public call takes the claim, or a finished decision, as an argument."""
    for call in (decide, Racing, RunResults, make_profile, Run, Run.decide, Run.profile, Run.certify):
        names = set(inspect.signature(call).parameters)
        assert not names & {"preregistered", "registered", "decision", "complete"}, call

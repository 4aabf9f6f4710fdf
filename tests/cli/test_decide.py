"""`bitdose decide` and what goes with it: rules fixed before and after the run, profiles, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.cli.app import run
from bitdose.study.store import read_run

POINTS = "jpeg:q95,jpeg:q50,jpeg:q1,jpeg2000:4x,jpeg2000:40x"
WIDE = ("--margin", "accuracy=0.25")


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the signing key of the tests out of the user's home."""
    monkeypatch.setenv("BITDOSE_KEY", str(tmp_path / "key.pem"))


@pytest.fixture(scope="module")
def measured(many_textures: Path, texture_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a finished run of 60 cases without a rule."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    assert run(study(many_textures, texture_model, folder)) == 0
    return folder


@pytest.fixture
def own_run(measured: Path, tmp_path: Path) -> Path:
    """Give a copy of the run to write into."""
    return shutil.copytree(measured, tmp_path / "run")


def study(data: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Give the arguments of the study, without a report."""
    base = ["study", str(data), "--model", str(model), "--points", POINTS, "--out", str(out), "--no-ssim"]
    return [*base, "--workers", "1", "--no-report", *more]


def test_a_decision_writes_a_profile_that_verifies(
    own_run: Path, texture_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One call from a run to a signed profile; the sentence comes first, and the report shows it."""
    assert run(["decide", str(own_run), *WIDE, "--modality", "DX"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Certified: ")
    assert "set after the run" in said
    decided = json.loads((own_run / "decision.json").read_text())
    profile = json.loads((own_run / "profile.json").read_text())
    assert profile["point"] == decided["certified"]["point"]
    assert profile["limits"]["modalities"] == ["DX"]
    assert decided["preregistered"] is False
    page = (own_run / "report.html").read_text()
    assert page.index("Certified: ") < page.index("Pristine, the classifier is right")
    assert "not a medical device" in page
    assert run(["profile", "verify", str(own_run / "profile.json"), "--model", str(texture_model)]) == 0


def test_a_rule_fixed_before_the_run_is_told_apart_from_one_made_after_it(
    many_textures: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`study --margin` fixes the rule and decides at its end; another margin later is not pre-registered."""
    folder = tmp_path / "run"
    assert run(study(many_textures, texture_model, folder, *WIDE)) == 0
    assert capsys.readouterr().out.startswith("Certified: ")
    first = json.loads((folder / "decision.json").read_text())
    assert first["preregistered"] is True
    assert run(["decide", str(folder), "--no-report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rule_digest"] == first["rule_digest"]
    assert run(["decide", str(folder), "--margin", "accuracy=0.3", "--no-report", "--json"]) == 0
    later = json.loads(capsys.readouterr().out)
    assert later["preregistered"] is False
    assert later["rule_digest"] != first["rule_digest"]


def test_a_rule_cannot_change_when_a_run_goes_on(
    many_textures: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resuming with other margins is refused: what was fixed before the run stays fixed."""
    folder = tmp_path / "run"
    run(study(many_textures, texture_model, folder, *WIDE))
    more = ("--margin", "accuracy=0.3", "--resume")
    assert run(study(many_textures, texture_model, folder, *more)) == 2
    assert "decision" in capsys.readouterr().err


def test_nothing_certified_is_exit_code_one_and_no_profile(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer says how many cases a margin of one point would need."""
    assert run(["decide", str(own_run), "--margin", "accuracy=0.01", "--no-report"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Nothing is certified")
    assert "598" in said or "needed" in said
    assert not (own_run / "profile.json").exists()
    assert json.loads((own_run / "decision.json").read_text())["certified"] is None


def test_a_profile_of_an_earlier_decision_does_not_outlive_it(own_run: Path) -> None:
    """Where a stricter rule certifies nothing, the old profile is set aside, not left as if it held."""
    assert run(["decide", str(own_run), *WIDE, "--no-report"]) == 0
    assert run(["decide", str(own_run), "--margin", "accuracy=0.01", "--no-report"]) == 1
    assert not (own_run / "profile.json").exists()


def test_a_bare_table_is_decided_on_without_a_profile(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table from elsewhere has no manifest that names the classifier; the decision stands beside it."""
    table = tmp_path / "theirs.parquet"
    read_run(measured).write_parquet(table)
    assert run(["decide", str(table), *WIDE, "--no-report"]) == 0
    assert "No profile" in capsys.readouterr().out
    assert (tmp_path / "theirs.decision.json").is_file()
    assert not list(tmp_path.glob("*profile*"))


def test_seconds_on_a_link_can_be_the_objective(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The certified point is then the one with the fewest seconds, and the decision gives them."""
    more = ("--objective", "seconds", "--link", "up=44k,rtt=750ms", "--no-report", "--json")
    assert run(["decide", str(own_run), *WIDE, *more]) == 0
    assert json.loads(capsys.readouterr().out)["certified"]["seconds"] > 2.25


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--margin: expected at least one"),
        (["--margin", "accuracy=2"], "above 0 and below 1"),
        (["--margin", "acuracy=0.1"], "did you mean 'accuracy'"),
        (["--margin", "sensitivity[rugh]=0.1"], "did you mean 'rough'"),
        ([*WIDE, "--alpha", "0"], "--alpha"),
        ([*WIDE, "--select", "a"], "expected both or neither"),
        ([*WIDE, "--select", "a", "--confirm", "b"], "the run has no splits"),
        ([*WIDE, "--order", "jpg"], "did you mean 'jpeg'"),
        ([*WIDE, "--objective", "speed"], "--objective"),
        ([*WIDE, "--objective", "seconds"], "--link"),
        ([*WIDE, "--objective", "seconds", "--link", "grps"], "did you mean 'gprs'"),
        ([*WIDE, "--expires", "soon"], "expire"),
        ([*WIDE, "--modality", "XX"], "--modality"),
    ],
)
def test_wrong_calls_are_one_line_and_exit_code_two(
    measured: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says which argument, what was expected and what came; nothing is written."""
    before = sorted(path.name for path in measured.iterdir())
    assert run(["decide", str(measured), *options, "--no-report"]) == 2
    line = capsys.readouterr().err
    assert says in line
    assert line.count("\n") == 1
    assert sorted(path.name for path in measured.iterdir()) == before


def test_a_run_without_pristine_rows_is_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to compare with."""
    table = tmp_path / "coded.parquet"
    read_run(measured).filter(pl.col("point") != "pristine").write_parquet(table)
    assert run(["decide", str(table), *WIDE]) == 2
    assert "no pristine rows" in capsys.readouterr().err


def test_a_broken_decision_file_does_not_break_the_report(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the file and what to do."""
    (own_run / "decision.json").write_text("{")
    assert run(["report", str(own_run), "--no-images"]) == 2
    assert "decision.json: no decision; remove it" in capsys.readouterr().err


def test_a_search_answers_for_its_own_rule_only(
    many_textures: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its points were chosen by its rule; its report and its decision can be made again, others cannot."""
    call = ["search", str(many_textures), "--model", str(texture_model), "--points", POINTS]
    call += ["--workers", "1", "--out", str(tmp_path / "run"), *WIDE]
    assert run(call) == 0
    said = capsys.readouterr().out
    assert "case-points measured" in said
    first = json.loads((tmp_path / "run" / "decision.json").read_text())
    assert run(["decide", str(tmp_path / "run"), "--no-report"]) == 0
    assert json.loads((tmp_path / "run" / "decision.json").read_text()) == first
    assert run(["report", str(tmp_path / "run"), "--no-images"]) == 0
    assert "Certified: " in (tmp_path / "run" / "report.html").read_text()
    capsys.readouterr()
    assert run(["decide", str(tmp_path / "run"), "--margin", "accuracy=0.3", "--no-report"]) == 2
    assert "its own rule only" in capsys.readouterr().err


def test_an_unfinished_run_is_not_decided_on(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deciding on interim data inflates the type-I error; the report still says what is there."""
    for part in (own_run / "results").glob("*.parquet"):
        kept = pl.read_parquet(part)
        kept.filter(pl.col("case_id").str.contains("[0-4].png$")).write_parquet(part)
    assert run(["decide", str(own_run), *WIDE, "--no-report"]) == 2
    assert "of 60 cases have run; finish the run first" in capsys.readouterr().err
    assert run(["report", str(own_run), "--no-images"]) == 0


def test_a_profile_elsewhere_leaves_no_older_one_in_the_run(own_run: Path, tmp_path: Path) -> None:
    """The run folder never holds a profile of another rule than its decision's."""
    assert run(["decide", str(own_run), *WIDE, "--no-report"]) == 0
    more = ("--margin", "accuracy=0.3", "--out", str(tmp_path / "mine.json"), "--no-report")
    assert run(["decide", str(own_run), *more]) == 0
    assert (tmp_path / "mine.json").is_file()
    assert not (own_run / "profile.json").exists()


def test_a_decision_of_another_run_is_told_apart(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file, not options that nobody gave; an empty rule is no rule."""
    rule = {"margins": {"accuracy": 0.1}, "select": "a", "confirm": "b"}
    for held in ({"rule": rule}, {"rule": {}}, []):
        (own_run / "decision.json").write_text(json.dumps(held))
        assert run(["report", str(own_run), "--no-images"]) == 2
        assert "decision.json: " in capsys.readouterr().err


def test_a_bare_tables_report_stands_in_a_folder_of_its_name(measured: Path, tmp_path: Path) -> None:
    """Two tables in one folder do not overwrite each other's reports."""
    table = tmp_path / "theirs.parquet"
    read_run(measured).write_parquet(table)
    assert run(["decide", str(table), *WIDE, "--no-images"]) == 0
    assert (tmp_path / "theirs-report" / "report.html").is_file()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("options", [["--order", ","], ["--out", "."], ["--expires", "never"]])
def test_options_are_checked_also_where_nothing_will_be_certified(
    measured: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option is told before the answer, whatever the answer is."""
    assert run(["decide", str(measured), "--margin", "accuracy=0.001", *options, "--no-report"]) == 2
    assert options[0].lstrip("-")[:6] in capsys.readouterr().err


def test_a_decision_with_its_report_reads_and_summarises_once(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a million rows each reading counts: the report takes over what the decision has found."""
    from bitdose.search import run_results
    from bitdose.study import store

    calls: list[str] = []

    def noted(module: Any, name: str) -> None:
        function = getattr(module, name)

        def noting(table: Any, *others: Any, **options: Any) -> Any:
            if (
                not isinstance(table, pl.DataFrame) or table["point"].n_unique() > 2
            ):  # those of a subset aside
                calls.append(name)
            return function(table, *others, **options)

        monkeypatch.setattr(module, name, noting)

    for module, name in ((store, "read_run"), (run_results, "summarize"), (run_results, "decide")):
        noted(module, name)
    assert run(["decide", str(own_run), *WIDE]) == 0
    assert sorted(calls) == ["decide", "read_run", "summarize"]

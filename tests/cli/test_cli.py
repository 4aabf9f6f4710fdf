"""The command line as a person or a program meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bitdose.cli.app import run
from bitdose.native.library import state
from bitdose.study.spec import load_spec

POINTS = "jpeg:q90,jpeg:q5,jpeg2000:20x,jpeg:q90@32"


def study(data: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Give the arguments of a small study."""
    base = ["study", str(data), "--model", str(model), "--points", POINTS, "--out", str(out)]
    return [*base, "--workers", "1", *more]


def test_one_command_answers(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bitdose study` measures, writes the report with its figures, and says what it found."""
    assert run(study(texture_set, texture_model, tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "12 cases" in said
    assert "report:" in said
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        "report.html",
        "summary.csv",
        "summary.json",
        "figures",
        "results",
        "study.toml",
        "manifest.json",
    } <= files


@pytest.mark.parametrize(("words", "exact"), [((), True), (("--exact",), True), (("--layered",), False)])
def test_streams_are_each_rates_own_unless_layers_are_asked_for(
    texture_set: Path, texture_model: Path, tmp_path: Path, words: tuple[str, ...], *, exact: bool
) -> None:
    """What was asked for stands in the run folder's study file."""
    assert run(study(texture_set, texture_model, tmp_path / "run", "--no-report", *words)) == 0
    assert load_spec(tmp_path / "run" / "study.toml").exact is exact


def test_a_program_can_read_the_answer(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints one JSON document and nothing else."""
    assert run(study(texture_set, texture_model, tmp_path / "run", "--json", "--no-report")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["cases"], answer["done"], answer["failed"], answer["points"]) == (12, 12, 0, 5)


def test_a_dry_run_writes_nothing_and_says_what_n_can_show(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dry-run` prints the grid, the cost and the smallest loss that n could exclude; no folder is made."""
    assert run(study(texture_set, texture_model, tmp_path / "run", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "5 points, 60 case-points" in said
    assert "about" in said
    assert "24.2 points (Tango, 95 %)" in said  # 1.96² / (12 + 1.96²)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_can_be_read_by_a_program(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dry-run --json` holds the same as numbers."""
    run(study(texture_set, texture_model, tmp_path / "run", "--dry-run", "--json"))
    found = json.loads(capsys.readouterr().out)
    assert found["case_points"] == 60
    assert found["seconds"] > 0
    assert found["provable_loss"] == pytest.approx(0.2425, abs=1e-4)


def test_a_study_file_describes_the_grid_and_flags_override_it(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One TOML file is a study; the run folder's resolved copy runs again to the same points."""
    file = tmp_path / "mine.toml"
    file.write_text(
        f'[data]\npath = "{texture_set}"\n[model]\npath = "{texture_model}"\n'
        '[study]\npoints = ["jpeg:q90", "jpeg:q5"]\n'
    )
    out = tmp_path / "run"
    assert run(["study", str(file), "--limit", "6", "--out", str(out), "--workers", "1", "--no-report"]) == 0
    capsys.readouterr()
    again = ["study", str(out / "study.toml"), "--out", str(tmp_path / "b"), "--no-report", "--json"]
    assert run(again) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["cases"], answer["points"]) == (6, 3)


def test_a_report_can_be_made_again_without_the_sources(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the images are gone the report is still written, and a line says that they are missing."""
    import shutil

    data = shutil.copytree(texture_set, tmp_path / "data")
    assert run(study(data, texture_model, tmp_path / "run", "--no-report")) == 0
    shutil.rmtree(data)
    assert run(["report", str(tmp_path / "run")]) == 0
    assert "no images" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").exists()


def test_a_table_from_another_lab_gets_a_report(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A results table alone, as one Parquet file, is enough for the report."""
    from bitdose.results.table import read_table

    assert run(study(texture_set, texture_model, tmp_path / "run", "--no-report")) == 0
    read_table(tmp_path / "run").write_parquet(tmp_path / "theirs.parquet")
    assert run(["report", str(tmp_path / "theirs.parquet"), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "No such command 'nope'"),
        (["study"], "Missing argument 'data'"),
        (["study", "DATA"], "--model: expected an .onnx file"),
        (["study", "nowhere", "--model", "MODEL"], "no such folder or table"),
        (["study", "DATA", "--model", "nowhere.onnx"], "No such file"),
        (["study", "DATA", "--model", "MODEL", "--points", "jpg:q3"], "did you mean 'jpeg'"),
        (["study", "DATA", "--model", "MODEL", "--points", "jpeg:q0"], "from q1 to q100, got q0"),
        (["study", "DATA", "--model", "MODEL", "--limit", "0"], "--limit: expected 1 or more"),
        (["study", "DATA", "--model", "MODEL", "--color", "red"], "--color: expected keep or grey"),
        (["study", "DATA", "--model", "MODEL", "--classes", "a"], "expected a=b,c=d"),
        (
            ["study", "DATA", "--model", "MODEL", "--classes", "rough=odd"],
            "the model has 'smooth', 'grainy', 'rough'",
        ),
        (["study", "DATA", "--model", "MODEL", "--size", "9by9"], "--size '9by9': expected HEIGHTxWIDTH"),
        (["study", "DATA", "--model", "MODEL", "--size", "²"], "--size '²': expected HEIGHTxWIDTH"),
        (["study", "DATA", "--model", "MODEL", "--size", "9" * 5000], "expected HEIGHTxWIDTH"),
        (["study", "DATA", "--model", "MODEL", "--mean", "a"], "--mean 'a': expected numbers"),
        (
            ["study", "DATA", "--model", "MODEL", "--channels", "3"],
            "channels is 3 in the model's flags but 1",
        ),
        (["study", "DATA", "--model", "MODEL", "--split", "test"], "split"),
        (["study", "DATA", "--model", "MODEL", "--max-failures", "2"], "--max-failures: expected a share"),
        (["study", "missing.toml"], "study file missing.toml"),
        (["report", "nowhere"], "no such run folder"),
        (["report", "DATA"], "no results"),
        (["points", "jpeg:q1..5/0"], "expected a step above 0"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    texture_set: Path,
    texture_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every wrong call says in one line on stderr which argument, what was expected, what came."""
    named = {"DATA": str(texture_set), "MODEL": str(texture_model)}
    assert run([named.get(word, word) for word in arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


def test_lists_name_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    """`codecs`, `points` and `models` list what is here, for a person and for a program."""
    assert run(["codecs"]) == run(["points", "quick"]) == run(["models"]) == 0
    said = capsys.readouterr().out
    for word in ("jpeg2000", "libjpeg-turbo", "jpeg:q90@256", "phantom", "pristine"):
        assert word in said
    run(["codecs", "--json"])
    assert {"jpeg", "jpeg2000"} <= {row["codec"] for row in json.loads(capsys.readouterr().out)}


def test_a_missing_extra_is_a_fact_with_the_command_to_get_it() -> None:
    """Without torch, `models` lists all that needs it as missing, with the command that installs it."""
    code = (
        "import sys; sys.modules['torch'] = None\nfrom bitdose.cli.app import run\nsys.exit(run(['models']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert done.stdout.count("pip install 'bitdose[torch]'") == 3


def test_progress_is_for_terminals_only(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """In a pipe nothing is drawn; on a terminal the bar shows cases, rate and accuracy per chain."""
    arguments = [
        sys.executable,
        "-m",
        "bitdose",
        *study(texture_set, texture_model, tmp_path / "a", "--no-report"),
    ]
    piped = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert piped.stderr == ("" if state().available else f"bitdose: {state().line()}\n")
    arguments[arguments.index(str(tmp_path / "a"))] = str(tmp_path / "b")
    import pty

    lead, follow = pty.openpty()
    shown = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=follow)
    import os

    os.close(follow)
    drawn = b""
    try:
        while chunk := os.read(lead, 65536):
            drawn += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    assert shown.wait() == 0
    assert b"12/12" in drawn
    assert b"accuracy %" in drawn

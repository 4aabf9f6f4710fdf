"""What the command line does where things go wrong that nobody foresaw, or that no terminal can show."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bitdose.codecs.grid
from bitdose.cli.app import run
from bitdose.results.summarize import summarize
from bitdose.results.table import read_table
from bitdose.study.progress import StudyProgress
from bitdose.study.progress_bar import study_progress


def study(data: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Give the arguments of a small study without its report."""
    base = ["study", str(data), "--model", str(model), "--points", "jpeg:q5", "--out", str(out)]
    return [*base, "--workers", "1", "--no-report", *more]


def break_points(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let a command meet an error that no code of ours translates."""

    def broken(_: object) -> None:
        raise error

    monkeypatch.setattr(bitdose.codecs.grid, "expand_points", broken)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("Doe^Jane"), "internal error: RuntimeError in bitdose.cli.lists (please report it; "),
        (PermissionError(13, "Permission denied", "/data/Doe"), "Permission denied (PermissionError in "),
    ],
)
def test_an_unforeseen_error_is_one_line_without_its_text(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kind and module are named, the error's own text is not: it may hold paths or names; exit code 1."""
    monkeypatch.delenv("BITDOSE_DEBUG", raising=False)
    break_points(monkeypatch, error)
    assert run(["points"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"bitdose: {says}")
    assert "BITDOSE_DEBUG=1" in said
    assert said.count("\n") == 1
    assert "Doe" not in said


def test_an_argument_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A path of bytes that are no UTF-8, which no study file could repeat, is a wrong call."""
    assert run(["study", "caf\udce9", "--model", "phantom"]) == 2
    said = capsys.readouterr().err
    assert said == r"bitdose: argument 'caf\udce9': expected UTF-8; rename the file or folder" + "\n"


def test_a_developer_gets_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With BITDOSE_DEBUG=1 the error passes through."""
    monkeypatch.setenv("BITDOSE_DEBUG", "1")
    break_points(monkeypatch, RuntimeError("here"))
    with pytest.raises(RuntimeError, match="here"):
        run(["points"])


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_terminal_can_show_a_finding(encoding: str) -> None:
    """Signs that an encoding lacks are printed as others: a loss keeps its minus, and nothing raises."""
    code = (
        "import typer\nfrom bitdose.cli import app, main\n"
        "app.app.command('say')(lambda: print('loss \\u22125 \\u2264 \\u6f22'))\nmain(['say'])"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    wanted = "loss \u22125 \u2264 \u6f22" if encoding == "utf-8" else "loss -5 <= ?"
    assert done.stdout.decode(encoding).strip() == wanted


def test_a_demo_needs_a_folder_it_may_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, or a path under one, is no folder to write to: a wrong call, in one line."""
    file = tmp_path / "file"
    file.write_text("")
    assert run(["demo", "--out", str(file)]) == 2
    assert f"--out {file}: expected a folder to write to: Not a directory" in capsys.readouterr().err


def test_a_report_draws_with_the_seed_of_its_run(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """`--seed` reaches the bootstrap, and the number of planned cases the summary."""
    out = tmp_path / "run"
    files = sorted(texture_set.glob("*/*.png"))
    labels = [path.parent.name for path in files]
    swapped = [*labels[1:], labels[0]]  # some answers are wrong, so that intervals are drawn
    lines = [f"{file},{label}" for file, label in zip(files, swapped, strict=True)]
    data = tmp_path / "cases.csv"
    data.write_text("\n".join(["path,label", *lines]))
    assert run(study(data, texture_model, out, "--seed", "7")) == 0
    assert run(["report", str(out), "--no-images"]) == 0
    found = json.loads((out / "summary.json").read_text())
    table = read_table(out)

    def expected(seed: int) -> Any:
        return json.loads(json.dumps(summarize(table, seed=seed, n_planned=12).to_dict()))

    assert found == expected(7)
    assert any(found != expected(seed) for seed in range(5))  # few cases: two seeds may agree by chance
    (out / "manifest.json").unlink()
    assert run(["report", str(out), "--no-images"]) == 0
    assert json.loads((out / "summary.json").read_text())["n_planned"] == 0


def test_the_bar_of_a_resumed_study_begins_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of an earlier run count as done in the bar, though not in the rate."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    tally = StudyProgress()
    tally.skipped = 8
    tally.add([{"point": "p", "codec_chain": "c", "status": "ok", "case_label": "a", "predicted": "a"}])
    with study_progress(12) as watch:
        assert watch is not None
        watch(tally)
    assert "9/12" in terminal.getvalue()

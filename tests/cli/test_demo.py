"""The demo, small: the same path as the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitdose.cli.app import run


def test_the_demo_tells_the_whole_story_and_runs_on_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Phantoms are drawn, studied and reported; another number of them is another set, not a mixture."""
    out = str(tmp_path / "demo")
    assert run(["demo", "--out", out, "--per-class", "2", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "6 synthetic phantoms. Research use only, not a medical device." in said
    assert "of 6 cases" in said
    assert (tmp_path / "demo" / "run" / "report.html").exists()
    assert run(["demo", "--out", out, "--per-class", "1", "--workers", "1"]) == 2
    assert "cases: the run folder has 6, this study 3" in capsys.readouterr().err

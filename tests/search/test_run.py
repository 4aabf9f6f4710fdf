"""A search with real studies in it: the full grid's answer, resumed after a kill, refused elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bitdose.decision.decide import decide
from bitdose.decision.registration import is_search
from bitdose.errors import BitdoseError, UsageError
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.search.run import ROUNDS, search
from bitdose.search.run_results import replayed, seen_on_all_cases
from bitdose.study.plan import make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_manifest, read_run

POINTS = "jpeg:q95,jpeg:q80,jpeg:q50,jpeg:q20,jpeg:q1,jpeg2000:4x,jpeg2000:20x,jpeg2000:200x"
RULE = Rule(read_margins(["accuracy=0.2"]), alpha=0.2)


@pytest.fixture
def spec(many_textures: Path, texture_model: Path) -> StudySpec:
    """Give a study of 60 cases and two chains."""
    return StudySpec(data=str(many_textures), model=str(texture_model), points=(POINTS,), ssim=False)


def test_it_finds_the_full_grids_answer_with_fewer_case_points(spec: StudySpec, tmp_path: Path) -> None:
    """The same certified point as every point measured; its rows stand in the run folder."""
    found = search(spec, RULE, tmp_path / "search", workers=1)
    run_study(make_plan(spec), tmp_path / "whole", workers=1)
    whole = decide(read_run(tmp_path / "whole"), RULE)
    assert found.decision.certified.point == whole.certified.point
    assert found.whole_grid == 60 * 9
    assert found.evaluated == len(read_run(tmp_path / "search")) < found.whole_grid
    assert found.rounds == len(list((tmp_path / "search" / ROUNDS).iterdir()))
    manifest = read_manifest(tmp_path / "search")
    assert is_search(manifest)
    again = replayed(read_run(tmp_path / "search"), manifest)
    assert again == found.decision


def test_a_finished_search_runs_nothing_again(spec: StudySpec, tmp_path: Path) -> None:
    """The same call reads the rounds that are there."""
    first = search(spec, RULE, tmp_path / "run", workers=1)
    parts = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / ROUNDS).rglob("*.parquet")}
    assert search(spec, RULE, tmp_path / "run", workers=1) == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / ROUNDS).rglob("*.parquet")} == parts


def test_a_killed_search_goes_on_to_the_same_answer(spec: StudySpec, tmp_path: Path, spawn: Any) -> None:
    """Kill -9 in the middle of a round, then the same call."""
    command = [
        sys.executable,
        "-m",
        "bitdose",
        "search",
        spec.data,
        "--model",
        spec.model,
        "--points",
        POINTS,
    ]
    command += [
        "--margin",
        "accuracy=0.2",
        "--alpha",
        "0.2",
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "1",
    ]
    command += ["--json"]
    environment = os.environ | {"BITDOSE_KEY": str(tmp_path / "key.pem")}
    process = spawn(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    journal = tmp_path / "run" / ROUNDS / "00" / "results" / "journal.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_text().count("\n") >= 5:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (
        answer["certified"]["point"]
        == search(spec, RULE, tmp_path / "other", workers=1).decision.certified.point
    )
    assert answer["evaluated"] < answer["whole_grid"]
    assert Path(answer["profile"]).is_file()


def test_folders_of_other_studies_and_rules_are_refused(spec: StudySpec, tmp_path: Path) -> None:
    """A search cannot go on in a study's folder, nor under another rule in its own."""
    search(spec, RULE, tmp_path / "run", workers=1)
    with pytest.raises(UsageError, match="another study"):
        search(spec, RULE.updated(alpha=0.1), tmp_path / "run", workers=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        search(spec, RULE, tmp_path / "other", workers=1)
    with pytest.raises(UsageError, match="it is a file"):
        search(spec, RULE, tmp_path / "other" / "notes.txt", workers=1)
    with pytest.raises(UsageError, match="takes no order"):
        search(spec, RULE.updated(order=("jpeg",)), tmp_path / "new", workers=1)


def test_an_unfinished_search_has_no_decision_to_replay(spec: StudySpec, tmp_path: Path) -> None:
    """Its first round alone does not answer."""
    search(spec, RULE, tmp_path / "run", workers=1)
    first_round = read_run(tmp_path / "run" / ROUNDS / "00")
    with pytest.raises(BitdoseError, match="not finished"):
        replayed(first_round, read_manifest(tmp_path / "run"))


def test_figures_show_no_point_that_saw_a_few_cases(spec: StudySpec, tmp_path: Path) -> None:
    """What the race gave up or passed by is left out, by split; what saw all cases is there whole."""
    search(spec, RULE, tmp_path / "run", workers=1)
    rows = read_run(tmp_path / "run")
    shown = seen_on_all_cases(rows)
    seen, left = (dict(t.group_by("point").len().iter_rows()) for t in (rows, shown))
    assert left == {point: n for point, n in seen.items() if n == 60}
    assert len(left) < len(seen)
    second = rows.filter(rows["point"] == "pristine").head(5)
    split = second.with_columns(case_split=pl.lit("other"))
    assert len(seen_on_all_cases(pl.concat([rows, split]))) == len(shown) + 5

"""The speed benchmark: it runs, what it counts is counted right, and a part that fails is said."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

pytest.importorskip("torch", reason="the loops need torch (pip install 'bitdose[torch]')")
pytest.importorskip("psutil", reason="memory is measured by psutil")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SIDE, POINTS = 96, "jpeg:q50,jpeg:q20@48,jpeg2000:10x"
RATIOS = ("over_handwritten", "over_expert", "to_answer", "of_floor")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Import the benchmark's parts as it does, from their folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measure
    import sweep
    import sweep_compare

    return SimpleNamespace(measure=measure, sweep=sweep, compare=sweep_compare)


@pytest.fixture
def table(texture_set: Path, tmp_path: Path) -> Path:
    """Write a table of one texture of each class."""
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "width", "height"])
        for folder in sorted(texture_set.iterdir()):
            writer.writerow([folder / "0.png", folder.name, "test", SIDE, SIDE])
    return tmp_path / "cases.csv"


@pytest.fixture
def model(texture_model: Path, tmp_path: Path) -> Path:
    """Give the classifier of textures a whole sidecar, as the loops read it."""
    path = Path(shutil.copy(texture_model, tmp_path / "net.onnx"))
    sidecar = json.loads(texture_model.with_suffix(".json").read_text())
    sidecar["input"] = {"size": [SIDE, SIDE], "channels": 1}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


@pytest.mark.long
def test_every_part_runs_and_a_study_is_what_the_loops_give(table: Path, model: Path) -> None:
    """All parts end, every ratio is there, and no stream, answer or probability differs from a loop's."""
    where = ["--table", str(table), "--split", "test", "--size", str(SIDE), "--model", str(model)]
    what = ["--n", "4", "--repeats", "1", "--networks", "mobilenetv2", "--grids", POINTS, "--json"]
    words = [sys.executable, str(BENCHMARKS / "sweep.py"), *where, *what]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["failed"] == {}
    assert all(last[ratio] > 0 for ratio in RATIOS)
    (one,) = last["sweeps"].values()
    assert set(one["wall_and_core_seconds"]) == {
        "handwritten", "bitdose", "layered", "uncompiled", "uncompiled-layered", "expert", "search",
        "codec", "inference", "prepare",
    }  # fmt: skip
    assert all(cpu_s > 0 for ((_, cpu_s),) in one["wall_and_core_seconds"].values())
    for loop in ("handwritten", "expert"):
        for mine in ("bitdose", "uncompiled"):
            found = one["compared"][f"{mine} beside {loop}"]
            assert found["rows"] == 4 * 4
            assert found["bytes_differ"] == found["answers_differ"] == found["probabilities_differ"] == 0
            assert len(found["answers"]) > 1, "agreement on one constant answer proves nothing"
    assert one["compared"]["streams"] == {"streams": 9, "handwritten": 0, "expert": 0}


def test_a_part_that_fails_is_named_and_not_tried_again(parts: SimpleNamespace) -> None:
    """A command that ends badly leaves its last line as the reason, and the rest goes on."""
    runner = parts.sweep.Measurements(argparse.Namespace())
    asked = []

    def fail() -> None:
        asked.append(1)
        parts.measure.run([sys.executable, "-c", "raise SystemExit('no such model')"])

    assert [runner.guarded("a part", fail), runner.guarded("a part", fail)] == [None, None]
    assert asked == [1]
    assert runner.failed == {"a part": "CommandError: exit code 1: no such model"}
    assert runner.guarded("another", lambda: 7) == 7


def test_core_seconds_hold_the_children(parts: SimpleNamespace) -> None:
    """What a command's own child burns is counted, on the processor and on the clock."""
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    used = parts.measure.run([sys.executable, "-c", outer])
    assert 0.5 < used.cpu_s < 2
    assert used.wall_s >= 0.5


def test_files_are_repeated_under_new_ids(parts: SimpleNamespace, table: Path, tmp_path: Path) -> None:
    """Three files make seven cases; another size makes none."""
    made = parts.measure.subset(table, tmp_path, size=SIDE, n=7)
    rows = list(csv.DictReader(made.read_text().splitlines()))
    assert [row["id"] for row in rows] == [str(index) for index in range(7)]
    assert rows[0]["path"] == rows[3]["path"] != rows[1]["path"]
    assert rows[2]["label"] == rows[5]["label"]
    with pytest.raises(SystemExit, match="no case"):
        parts.measure.subset(table, tmp_path, size=SIDE + 1)


def test_every_difference_is_counted(parts: SimpleNamespace) -> None:
    """One stream longer, one answer other, one probability off by a millionth; missing rows are refused."""
    rows = pl.DataFrame({
        "case_id": ["0", "0", "1", "1"],
        "point": ["pristine", "jpeg:q5"] * 2,
        "bytes_coded": [900, 100, 901, 100],
        "predicted": ["a", "a", "b", "b"],
        "p_a": [0.9, 0.8, 0.1, 0.2],
    })  # fmt: skip
    other = rows.with_columns(
        bytes_coded=pl.Series([1, 100, 1, 150]),
        predicted=pl.Series(["a", "a", "b", "a"]),
        p_a=pl.Series([0.9, 0.8 + 1e-6, 0.1, 0.2]),
    )
    found = parts.compare.differences(rows, other)
    assert (found["rows"], found["bytes_differ"], found["answers_differ"]) == (4, 1, 1)
    assert found["probabilities_differ"] == 1
    assert found["largest_probability_gap"] == pytest.approx(1e-6)
    assert found["bytes_total_ratio"] == pytest.approx(200 / 250)
    assert parts.compare.answers_given(rows) == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match="in common"):
        parts.compare.differences(rows, other[:3])

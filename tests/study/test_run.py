"""A study from start to end, interrupted, resumed, refused; with real processes and real kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bitdose.errors import BitdoseError, UsageError
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.study.plan import make_plan
from bitdose.study.progress import StudyProgress
from bitdose.study.run import RunOutcome, run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_run

POINTS = ("jpeg:q90,jpeg:q50,jpeg:q5,jpeg2000:4x,jpeg2000:20x,jpeg:q90@32",)
TIMES = ["encode_ms", "decode_ms"]


@pytest.fixture
def spec(texture_set: Path, texture_model: Path) -> StudySpec:
    """Give a study of 12 cases and 7 points."""
    return StudySpec(data=str(texture_set), model=str(texture_model), points=POINTS)


def command(spec: StudySpec, out: Path, *more: str) -> list[str]:
    """Give the study's command line."""
    study = [sys.executable, "-m", "bitdose", "study", spec.data, "--model", spec.model]
    return [*study, "--points", spec.points[0], "--out", str(out), "--no-report", *more]


def results(folder: Path) -> pl.DataFrame:
    """Give a run's rows without what no two runs share: the clock."""
    return read_run(folder).drop(TIMES)


def processes_gone(group: int) -> bool:
    """Wait a little for a process group to be empty (Python's resource tracker takes a moment)."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_every_case_has_a_row_at_every_point(spec: StudySpec, tmp_path: Path) -> None:
    """A study of 12 cases and 7 points gives 84 ok rows."""
    outcome = run_study(make_plan(spec), tmp_path / "run", workers=1)
    assert outcome == RunOutcome(tmp_path / "run", total=12, done=12, skipped=0, failed=0)
    table = read_run(tmp_path / "run")
    assert len(table) == 84
    assert set(table["status"]) == {"ok"}


def test_any_number_of_workers_gives_identical_results(spec: StudySpec, tmp_path: Path) -> None:
    """One process or three: the same rows, to the last bit."""
    for workers in (1, 3):
        run_study(make_plan(spec), tmp_path / str(workers), workers=workers)
    assert_frame_equal(results(tmp_path / "1"), results(tmp_path / "3"), check_exact=True)


def test_a_study_killed_again_and_again_ends_as_if_never_killed(
    spec: StudySpec, tmp_path: Path, spawn: Any
) -> None:
    """After kill -9 at random moments and --resume the rows equal those of an undisturbed run."""
    spec = spec.updated(points=("paper",))
    run_study(make_plan(spec), tmp_path / "whole", workers=1)
    rng, killed = random.Random(3), 0
    journal = tmp_path / "killed" / "results" / "journal.jsonl"
    for _ in range(5):
        before = journal.stat().st_size if journal.exists() else 0
        process = spawn(
            command(spec, tmp_path / "killed", "--resume"), stdout=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > before):
            time.sleep(0.005)
        time.sleep(rng.random() / 10)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    done = subprocess.run(command(spec, tmp_path / "killed", "--resume"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert killed > 0
    assert_frame_equal(results(tmp_path / "killed"), results(tmp_path / "whole"), check_exact=True)


def test_resuming_changes_nothing_that_is_done(spec: StudySpec, tmp_path: Path) -> None:
    """A resumed run that has nothing to do leaves the parts as they are, byte for byte."""
    out = tmp_path / "run"
    run_study(make_plan(spec), out, workers=1)
    before = {path: path.read_bytes() for path in (out / "results").glob("*.parquet")}
    outcome = run_study(make_plan(spec), out, workers=1, resume=True)
    assert (outcome.skipped, outcome.done) == (12, 12)
    assert {path: path.read_bytes() for path in (out / "results").glob("*.parquet")} == before


def test_results_are_not_overwritten_unasked(spec: StudySpec, tmp_path: Path) -> None:
    """A folder with results is refused without --resume."""
    run_study(make_plan(spec), tmp_path / "run", workers=1)
    with pytest.raises(UsageError, match="12 of 12 cases are already there.*resume=True"):
        run_study(make_plan(spec), tmp_path / "run", workers=1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"points": ("jpeg:q90,jpeg:q40",)}, "points: this study adds jpeg:q40"),
        ({"exact": False}, "exact: the run folder has True, this study False"),
        ({"limit": 6}, "cases: the run folder has 12, this study 6"),
        ({"color": "grey"}, "color: the run folder has keep"),
    ],
)
def test_a_folder_of_another_study_is_refused_by_what_differs(
    spec: StudySpec, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    """Rows of two studies never mix: the error names the first difference."""
    run_study(make_plan(spec), tmp_path / "run", workers=1)
    with pytest.raises(UsageError, match=named):
        run_study(make_plan(spec.updated(**changes)), tmp_path / "run", workers=1, resume=True)


def test_a_folder_with_other_files_is_refused(spec: StudySpec, tmp_path: Path) -> None:
    """A study does not spread into a folder that is somebody's."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        run_study(make_plan(spec), tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_that_changed_after_it_was_studied_is_not_resumed_past(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """Another image of the same size under a finished case's name: the folder is refused."""
    import shutil

    import cv2

    data = tmp_path / "data"
    shutil.copytree(texture_set, data)
    for path in data.rglob("*.png"):  # BMP files are all of one size, whatever they hold
        cv2.imwrite(str(path.with_suffix(".bmp")), cv2.imread(str(path), 0))
        path.unlink()
    spec = StudySpec(data=str(data), model=str(texture_model), points=("jpeg:q90",))
    run_study(make_plan(spec), tmp_path / "run", workers=1)
    time.sleep(0.01)
    shutil.copyfile(data / "rough" / "0.bmp", data / "smooth" / "0.bmp")
    with pytest.raises(UsageError, match="files of 1 finished cases have changed"):
        run_study(make_plan(spec), tmp_path / "run", workers=1, resume=True)


def test_the_share_of_failures_is_of_the_whole_study(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """Two bad cases of ten are the same share before and after an interruption."""
    data = tmp_path / "data"
    for label in ("rough", "smooth"):
        (data / label).mkdir(parents=True)
        for index in range(4):
            (data / label / f"{index}.png").write_bytes((texture_set / label / f"{index}.png").read_bytes())
        (data / label / "bad.png").write_bytes(b"broken")
    spec = StudySpec(data=str(data), model=str(texture_model), points=("jpeg:q90",), max_failures=0.2)
    plan = make_plan(spec)

    def stop_after_eight(tally: StudyProgress) -> None:
        if tally.cases == 8:
            raise KeyboardInterrupt

    first = run_study(plan, tmp_path / "run", workers=1, watch=stop_after_eight)
    assert first.interrupted
    assert run_study(plan, tmp_path / "run", workers=1, resume=True).failed == 2


def test_failed_cases_can_be_tried_again(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """What failed for a passing reason runs again on request, in place of the failed rows."""
    data = tmp_path / "data"
    (data / "rough").mkdir(parents=True)
    (data / "smooth").mkdir()
    good = (texture_set / "rough" / "0.png").read_bytes()
    (data / "smooth" / "0.png").write_bytes((texture_set / "smooth" / "0.png").read_bytes())
    file = data / "rough" / "0.png"
    file.write_bytes(b"x" * len(good))
    spec = StudySpec(data=str(data), model=str(texture_model), points=("jpeg:q90",), max_failures=1.0)
    assert run_study(make_plan(spec), tmp_path / "run", workers=1).failed == 1
    file.write_bytes(good)
    again = run_study(make_plan(spec), tmp_path / "run", workers=1, resume=True, retry_failed=True)
    assert (again.failed, again.done, again.skipped) == (0, 2, 1)
    assert set(read_run(tmp_path / "run")["status"]) == {"ok"}


def test_memory_holds_one_batch_and_not_every_point(tmp_path: Path) -> None:
    """A volume's variants are classified as they come: never more than one waits for the classifier."""
    import nibabel as nib
    import numpy as np

    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "b").mkdir()
    volume = np.random.default_rng(0).integers(0, 255, (180, 180, 70)).astype(np.uint8)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "data" / "a" / "v.nii")
    sizes: list[int] = []

    def look(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return np.tile([0.5, 0.5], (len(batch), 1))

    spec = InputSpec(labels=("a", "b"), layout="NDHWC")
    study = StudySpec(
        data=str(tmp_path / "data"), model="", points=("jpeg:q90,jpeg:q50,jpeg:q10",), ssim=False
    )
    run_study(make_plan(study, CallableClassifier(look, spec)), tmp_path / "run")
    assert sizes == [1, 1, 1, 1, 1]  # the probe, then each of four points on its own


@pytest.mark.parametrize("delay_s", [0.35, 0.45, 0.55, 0.7, 0.9])
def test_ctrl_c_while_workers_start_prints_no_traceback(
    spec: StudySpec, tmp_path: Path, delay_s: float, spawn: Any
) -> None:
    """A terminal sends Ctrl-C to every process of the group, also to workers that are still starting."""
    process = spawn(
        command(spec, tmp_path / "run"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) <= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_says_so_and_can_be_resumed(
    spec: StudySpec, tmp_path: Path, number: signal.Signals, spawn: Any
) -> None:
    """Ctrl-C or a termination signal: one line, exit code 1, no stray process, a resumable run."""
    out = tmp_path / "run"
    slow = spec.updated(points=("paper",))
    process = spawn(
        command(slow, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal = out / "results" / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("the study was over before the signal came")
    assert process.returncode == 1
    assert "--resume" in errors
    assert len(errors.strip().splitlines()) == 1
    assert processes_gone(process.pid)
    assert 0 < read_run(out)["case_id"].n_unique() < 12
    assert subprocess.run(command(slow, out, "--resume"), capture_output=True).returncode == 0
    assert read_run(out)["case_id"].n_unique() == 12


def test_broken_files_become_rows_and_the_rest_goes_on(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """Empty, truncated and mislabelled files among good ones: failed rows with reasons, the rest ok."""
    import shutil

    data = tmp_path / "data"
    shutil.copytree(texture_set, data)
    good = (texture_set / "rough" / "0.png").read_bytes()
    (data / "rough" / "empty.png").write_bytes(b"")
    (data / "rough" / "cut.png").write_bytes(good[: len(good) // 2])
    (data / "rough" / "words.png").write_text("no image")
    (data / "rough" / "really_a_png.jpg").write_bytes(good)
    spec = StudySpec(data=str(data), model=str(texture_model), points=("jpeg:q90",))
    outcome = run_study(make_plan(spec), tmp_path / "run", workers=2)
    assert (outcome.total, outcome.failed) == (16, 3)
    failed = read_run(tmp_path / "run").filter(pl.col("status") != "ok")
    assert len(failed) == 6
    assert failed["reason"].null_count() == 0


def test_too_many_failures_stop_the_study(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """Beyond the allowed share of failures a study stops with the count, and its rows stay readable."""
    data = tmp_path / "data"
    for label in ("rough", "smooth"):
        (data / label).mkdir(parents=True)
        for index in range(4):
            (data / label / f"{index}.png").write_bytes(b"broken")
    spec = StudySpec(data=str(data), model=str(texture_model), points=("jpeg:q90",), max_failures=0.25)
    with pytest.raises(BitdoseError, match="3 cases failed, more than max_failures=0.25 of 8"):
        run_study(make_plan(spec), tmp_path / "run", workers=1)
    assert read_run(tmp_path / "run")["case_id"].n_unique() == 3


def test_a_worker_that_dies_costs_its_case_only(texture_set: Path, tmp_path: Path) -> None:
    """A crash of a worker process is a failed row; another worker takes over and the rest goes on."""
    (tmp_path / "deadly.py").write_text(
        "import os, torch\n"
        "class Net(torch.nn.Module):\n"
        "    bitdose_spec = {'labels': ['smooth', 'grainy', 'rough'],\n"
        "                    'input': {'size': [96, 96], 'channels': 1, 'layout': 'NCHW'}}\n"
        "    def forward(self, x):\n"
        "        if x.std(dim=(1, 2, 3)).max() > 0.2142:\n"
        "            os._exit(9)\n"
        "        return torch.full((len(x), 3), 1 / 3)\n"
    )
    code = (
        "from pathlib import Path\n"
        "from bitdose.study.plan import make_plan\n"
        "from bitdose.study.run import run_study\n"
        "from bitdose.study.spec import StudySpec\n"
        "if __name__ == '__main__':\n"
        f"    spec = StudySpec(data={str(texture_set)!r}, model='deadly:Net', max_failures=1.0,\n"
        "                     points=('jpeg:q90',))\n"
        "    print(run_study(make_plan(spec), Path('run'), workers=2).failed)\n"
    )
    (tmp_path / "go.py").write_text(code)
    done = subprocess.run([sys.executable, "go.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = read_run(tmp_path / "run")
    dead = table.filter(pl.col("status") == "worker-died")
    assert 0 < dead["case_id"].n_unique() < 12
    assert table["case_id"].n_unique() == 12
    assert int(done.stdout) == dead["case_id"].n_unique()


def test_any_callable_can_be_studied(texture_set: Path, tmp_path: Path) -> None:
    """A Python callable from (N, H, W, C) to (N, K) is a classifier like any other."""
    labels = ("smooth", "grainy", "rough")

    def guess(batch: object) -> list[list[float]]:
        return [[0.2, 0.3, 0.5] for _ in batch]  # type: ignore[attr-defined]

    classifier = CallableClassifier(guess, InputSpec(labels=labels, layout="NHWC"), "guess")
    plan = make_plan(StudySpec(data=str(texture_set), model="", points=("jpeg:q50",)), classifier)
    run_study(plan, tmp_path / "run")
    assert set(read_run(tmp_path / "run")["predicted"]) == {"rough"}


def test_an_unexpected_crash_inside_a_case_is_a_row(texture_set: Path, tmp_path: Path) -> None:
    """Whatever a model raises on one case is a row with the kind of error, and the study goes on."""
    labels, calls = ("smooth", "grainy", "rough"), []

    def moody(batch: object) -> list[list[float]]:
        calls.append(batch)
        if len(calls) == 3:
            raise ValueError("patient Jane Doe")
        return [[0.2, 0.3, 0.5] for _ in batch]  # type: ignore[attr-defined]

    classifier = CallableClassifier(moody, InputSpec(labels=labels, layout="NHWC"), "moody")
    plan = make_plan(StudySpec(data=str(texture_set), model="", points=("jpeg:q50",)), classifier)
    assert run_study(plan, tmp_path / "run").failed == 1
    reasons = set(read_run(tmp_path / "run")["reason"].drop_nulls())
    assert reasons == {"ValueError while the case was worked on"}


def test_a_model_that_comes_out_different_each_time_stops_the_study(
    texture_set: Path, tmp_path: Path
) -> None:
    """A factory with random weights would give every worker another classifier: one line says so."""
    (tmp_path / "moving.py").write_text(
        "import torch\n"
        "def net():\n"
        "    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))\n"
        "    labels = ['smooth', 'grainy', 'rough']\n"
        "    made.bitdose_spec = {'labels': labels, 'input': {'size': [8, 8]}, 'output': 'logits'}\n"
        "    return made\n"
    )
    arguments = [sys.executable, "-m", "bitdose", "study", str(texture_set), "--model", "moving:net"]
    arguments += ["--points", "jpeg:q50", "--workers", "2", "--out", "run"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "comes out different each time" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

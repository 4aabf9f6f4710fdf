"""Coder processes and one classifier for all: the local engine's rows, and what a crash costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bitdose.errors import BitdoseError
from bitdose.results.table import rows_to_table
from bitdose.study.engines.blocks import Blocks, Mapped
from bitdose.study.engines.local import run_in_process
from bitdose.study.engines.pipeline import run_pipeline
from bitdose.study.plan import Plan, make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_run

POINTS = ("jpeg:q90,jpeg:q50,jpeg:q5,jpeg2000:4x,jpeg2000:20x,jpeg:q90@32",)
TIMES = ["encode_ms", "decode_ms"]

# What every process of the program runs at its start: ``sitecustomize`` is imported by the interpreter.
_BROKEN = """
import multiprocessing
import os
from pathlib import Path
import bitdose.study.engines.pipeline_peers as peers
from bitdose.models.base import CallableClassifier
from bitdose.study import worker
from bitdose.study import source_cache as kept
"""
_PROGRAM = """
from pathlib import Path
from bitdose.study.plan import make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec

spec = StudySpec(data={data!r}, model={model!r}, points=("jpeg:q90,jpeg:q50",), max_failures=1.0,
                 engine="pipeline")
print(run_study(make_plan(spec), Path("run"), workers={workers}).failed)
"""
_DEADLY_FILE = """
read = kept.read_case
def read_case(case, **how):
    if case.id == "rough/1.png":
        os._exit(9)
    return read(case, **how)
kept.read_case = read_case
"""
_DEATH_AT_THE_END = """
import time
worker._CHUNK_SAMPLES = {"cpu": 1}
coded_chunks, loaded = worker.coded_chunks, peers.loaded
def coded_and_died(*how, **more):
    for chunk in coded_chunks(*how, **more):
        if Path("died").exists():
            Path("again").touch()
        yield chunk
    if not Path("died").exists():
        Path("died").touch()
        os._exit(9)
def late(*how):
    while not Path("again").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    return loaded(*how)
peers.coded_chunks, peers.loaded = coded_and_died, late
"""
_TOO_LARGE = """
import time
from bitdose.study.engines import pipeline
pipeline._MERGED_SAMPLES = {"cpu": 2**22}
coded_chunks, loaded, predict = worker.coded_chunks, peers.loaded, CallableClassifier.predict
def counted(case, *how, **more):
    for chunk in coded_chunks(case, *how, **more):
        yield chunk
    Path("coded-" + case.path.parent.name + case.path.stem).touch()
def late(*how):
    while len(list(Path().glob("coded-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.2)
    return loaded(*how)
def limited(self, batch):
    if len(batch) > 3:
        Path("merged").touch()
        raise MemoryError
    if batch.std(axis=(1, 2, 3)).max() > 0.2218 and multiprocessing.parent_process():
        raise ValueError("patient Jane Doe")
    return predict(self, batch)
peers.coded_chunks, peers.loaded, CallableClassifier.predict = counted, late, limited
"""
_DEADLY_INPUT = """
predict = CallableClassifier.predict
def deadly(self, batch):
    if batch.std(axis=(1, 2, 3)).max() > {limit} and multiprocessing.parent_process():
        {before}
        os._exit(7)
    return predict(self, batch)
CallableClassifier.predict = deadly
"""


@pytest.fixture
def plan(texture_set: Path, texture_model: Path, tmp_path: Path) -> Plan:
    """Give a plan of 13 cases, one of them broken, and 7 points."""
    data = tmp_path / "data"
    shutil.copytree(texture_set, data)
    (data / "rough" / "cut.png").write_bytes((data / "rough" / "0.png").read_bytes()[:900])
    return make_plan(StudySpec(data=str(data), model=str(texture_model), points=POINTS))


def in_one_place(plan: Plan) -> pl.DataFrame:
    """Give the rows of the engine that has no other process."""
    return table(run_in_process(plan.cases.cases, plan.job, plan.classifier))


def table(finished: object) -> pl.DataFrame:
    """Give an engine's rows, in the order of cases and points, without the clock."""
    rows = [row for _, rows in finished for row in rows]  # type: ignore[attr-defined]
    return rows_to_table(rows).drop(TIMES).sort("case_id", "point")


def run_program(
    tmp_path: Path, spec: tuple[Path, Path], patch: str, *, workers: int = 2
) -> subprocess.CompletedProcess[str]:
    """Run a study by the split engine in whose processes something was broken on purpose."""
    data, model = map(str, spec)
    (tmp_path / "sitecustomize.py").write_text(_BROKEN + patch)
    (tmp_path / "go.py").write_text(_PROGRAM.format(data=data, model=model, workers=workers))
    places = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "go.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": places},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def blocks_left() -> set[str]:
    """Give the shared memory of this machine."""
    return set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()


@pytest.mark.parametrize("merged", [None, 2**20])
def test_rows_are_those_of_the_local_engine(plan: Plan, merged: int | None) -> None:
    """A failed case among them; chunks of one case or of several in a batch: equal to the last bit."""
    found = table(run_pipeline(plan.cases.cases, plan.job, plan.classifier, workers=3, merged_samples=merged))
    assert_frame_equal(found, in_one_place(plan), check_exact=True)
    assert set(found["status"]) == {"ok", "truncated"}


def test_a_study_asks_for_it_by_name_or_by_its_device(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``engine="pipeline"`` runs so, as a classifier on a GPU does by itself: the same rows."""

    def stop(tally: object) -> None:
        raise KeyboardInterrupt

    split = replace(plan, spec=plan.spec.updated(engine="pipeline"))
    gpu = replace(plan, classifier=replace(plan.classifier, device="cuda"))  # type: ignore[type-var]
    monkeypatch.delattr("bitdose.study.run.open_pool")
    assert run_study(split, tmp_path / "run", workers=2, watch=stop).interrupted
    assert run_study(gpu, tmp_path / "run", workers=2, resume=True).done == 13
    found = read_run(tmp_path / "run").drop(TIMES).sort("case_id", "point")
    assert_frame_equal(found, in_one_place(plan), check_exact=True, check_column_order=False)


def test_a_coder_that_dies_costs_its_case_only(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A file on which the process ends is a failed row of both points; the other eleven are ok."""
    done = run_program(tmp_path, (texture_set, texture_model), _DEADLY_FILE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
    rows = read_run(tmp_path / "run")
    dead = rows.filter(pl.col("status") == "worker-died")
    assert set(dead["case_id"]) == {"rough/1.png"}
    assert set(dead["reason"]) == {"the worker process ended with code 9 on this case"}
    assert rows.filter(pl.col("status") == "ok")["case_id"].n_unique() == 11


def test_what_a_dead_coder_left_behind_blocks_nobody(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A coder that dies when its chunks hold every block: they are let go, and the next coder goes on."""
    done = run_program(tmp_path, (texture_set, texture_model), _DEATH_AT_THE_END, workers=1)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
    assert read_run(tmp_path / "run").filter(pl.col("status") == "ok")["case_id"].n_unique() == 11


def test_a_classifier_that_dies_once_costs_nothing(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """The process that died is started again and sees what it had once more: every row is ok."""
    once = "if not Path('died').exists(): Path('died').touch()\n        else: return predict(self, batch)"
    patch = _DEADLY_INPUT.format(limit=0.1, before=once)
    done = run_program(tmp_path, (texture_set, texture_model), patch)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")
    assert (tmp_path / "died").exists()
    found = read_run(tmp_path / "run").drop(TIMES).sort("case_id", "point")
    whole = StudySpec(data=str(texture_set), model=str(texture_model), points=("jpeg:q90,jpeg:q50",))
    assert_frame_equal(found, in_one_place(make_plan(whole)), check_exact=True, check_column_order=False)


def test_an_input_on_which_the_classifier_dies_costs_its_case(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """It is tried twice, then its case is a failed row; the rest goes on with another process."""
    patch = _DEADLY_INPUT.format(limit=0.2218, before="pass")
    done = run_program(tmp_path, (texture_set, texture_model), patch)
    assert done.returncode == 0, done.stderr
    rows = read_run(tmp_path / "run")
    dead = rows.filter(pl.col("status") == "worker-died")
    assert set(dead["reason"]) == {"the classifier's process ended with code 7 on this case"}
    assert set(dead["case_id"]) == {"rough/3.png"}
    assert rows["case_id"].n_unique() == 12


def test_a_batch_that_fails_is_tried_case_by_case(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """Too many chunks for the device's memory are tried one by one; one that fails alone costs its case."""
    done = run_program(tmp_path, (texture_set, texture_model), _TOO_LARGE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
    assert (tmp_path / "merged").exists()
    failed = read_run(tmp_path / "run").filter(pl.col("status") != "ok")
    assert set(failed["case_id"]) == {"rough/3.png"}
    assert set(failed["reason"]) == {"ValueError while the case was worked on"}


def test_a_classifier_that_cannot_start_stops_the_study(
    texture_set: Path, texture_model: Path, tmp_path: Path
) -> None:
    """A process that ends while it loads is tried again, but not for ever."""
    done = run_program(tmp_path, (texture_set, texture_model), "peers.loaded = lambda job, name: os._exit(5)")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("the classifier's process ended with code 5 while it loaded")


def test_no_more_blocks_are_out_than_there_are() -> None:
    """Who wants one more gets none; one that was put back is given again, a small one replaced."""
    before, blocks, mapped = blocks_left(), Blocks(2), Mapped()
    first, second = blocks.take(100), blocks.take(4000)
    assert first is not None
    assert second is not None
    assert blocks.take(1) is None
    mapped.array(first, (5, 5))[...] = 3
    assert Mapped().array(first, (5, 5)).sum() == 75
    blocks.give_back(second)
    assert blocks.take(4000) == second
    blocks.give_back(first)
    larger = blocks.take(100_000)
    assert larger not in (None, first, second)
    blocks.close()
    assert blocks_left() <= before


def test_shared_memory_that_is_not_there_is_said() -> None:
    """Without a single block the study stops with what to do; while others are out, it waits for them."""
    blocks = Blocks(3)
    with pytest.raises(BitdoseError, match="no shared memory for 1152921504606846976 bytes"):
        blocks.take(2**60)
    assert blocks.take(100) is not None
    assert blocks.take(2**60) is None
    blocks.close()

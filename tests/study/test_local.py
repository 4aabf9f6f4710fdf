"""What worker processes promise: started early, given the next case at once, gone at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitdose.cli.app import run
from bitdose.study.engines import local
from bitdose.study.engines.local import PrestartedWorkers, WorkerPool, open_pool
from bitdose.study.plan import Plan, make_plan
from bitdose.study.progress import StudyProgress
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec


@pytest.fixture
def plan(texture_set: Path, texture_model: Path) -> Plan:
    """Twelve cases, two points."""
    return make_plan(StudySpec(data=str(texture_set), model=str(texture_model), points=("jpeg:q90",)))


def _pids(pool: WorkerPool) -> set[int | None]:
    return {worker.process.pid for worker in pool._team}


def test_a_pool_takes_those_who_have_started_and_the_others_are_stopped(plan: Plan) -> None:
    """A pool of two takes two of three pre-started workers; the third ends with the context."""
    tasks = [(case, plan.job.points) for case in plan.cases.cases[:3]]
    with PrestartedWorkers(3) as prestarted:
        early = {worker.process.pid: worker.process for worker in prestarted._waiting}
        with open_pool(plan, workers=2, n_tasks=3, prestarted=prestarted) as pool:
            assert isinstance(pool, WorkerPool)
            assert _pids(pool) < set(early)
            rows = {case.id: rows for case, rows in pool.run(tasks)}
        assert sum(process.is_alive() for process in early.values()) == 1
    assert not any(process.is_alive() for process in early.values())
    assert {case.id for case, _ in tasks} == set(rows)
    assert {row["status"] for found in rows.values() for row in found} == {"ok"}


@pytest.mark.parametrize("engine", ["local", "pipeline"])
def test_while_a_study_runs_nobody_waits(
    texture_set: Path, texture_model: Path, tmp_path: Path, engine: str
) -> None:
    """A study takes as many of four pre-started workers as it was asked for; other engines take none."""
    how = {"points": ("jpeg:q90",), "engine": engine, "limit": 3}
    plan = make_plan(StudySpec(data=str(texture_set), model=str(texture_model), **how))
    alive = []
    with PrestartedWorkers(4) as prestarted:
        processes = [worker.process for worker in prestarted._waiting]

        def watch(_: StudyProgress) -> None:
            alive.append(sum(process.is_alive() for process in processes))

        run_study(plan, tmp_path / "run", workers=2, watch=watch, prestarted=prestarted)
    assert alive == [2 if engine == "local" else 0] * 3


def test_a_pool_larger_than_its_crew_starts_the_rest(plan: Plan) -> None:
    """One pre-started worker and a pool of two: one more process, and all rows."""
    with (
        PrestartedWorkers(1) as prestarted,
        open_pool(plan, workers=2, n_tasks=2, prestarted=prestarted) as pool,
    ):
        assert isinstance(pool, WorkerPool)
        assert len(_pids(pool)) == 2
        assert len(list(pool.run((case, plan.job.points) for case in plan.cases.cases[:2]))) == 2


def test_one_of_the_crew_that_died_while_it_waited_is_replaced(plan: Plan) -> None:
    """A process that ended before its orders costs no case."""
    with PrestartedWorkers(2) as prestarted:
        prestarted._waiting[0].process.kill()
        prestarted._waiting[0].process.join()
        with open_pool(plan, workers=2, n_tasks=4, prestarted=prestarted) as pool:
            rows = [
                row
                for _, rows in pool.run((c, plan.job.points) for c in plan.cases.cases[:4])
                for row in rows
            ]
    assert [row["status"] for row in rows] == ["ok"] * 8


def test_a_worker_has_its_next_case_while_the_last_ones_rows_are_written(plan: Plan) -> None:
    """Whoever takes rows may take their time: as long as cases are left, nobody waits for it."""
    tasks = [(case, plan.job.points) for case in plan.cases.cases]
    given = []
    with open_pool(plan, workers=2, n_tasks=len(tasks)) as pool:
        assert isinstance(pool, WorkerPool)
        for _ in pool.run(tasks):
            given.append(all(worker.task for worker in pool._team))
    assert len(given) == len(tasks)
    assert all(given[:-2])


def test_a_study_that_cannot_be_planned_leaves_no_process(
    texture_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong call ends with its one line, and its workers with it."""
    started = []
    hire = local._Worker.__init__

    def noted(worker: local._Worker) -> None:
        hire(worker)
        started.append(worker.process)

    monkeypatch.setattr(local._Worker, "__init__", noted)
    assert run(["study", str(tmp_path / "nowhere.csv"), "--model", str(texture_model), "--workers", "2"]) == 2
    assert len(started) == 2
    assert not any(process.is_alive() for process in started)

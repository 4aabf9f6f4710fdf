"""Search: the certified point without the whole grid, as a race of points over rounds of cases.

Each round measures the race's next request, case by case: ``RUN/rounds/<n>`` holds its rows in the layout of
a study's folder. A killed search therefore loses at most the cases in flight; the next run replays the stored
rounds and continues. The cases come in one random order, the same for every point, and no case-point is
computed twice. At the end the rows of all rounds are merged into ``RUN/results``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitdose.codecs.grid import chains_of, expand_points
from bitdose.codecs.point import Point
from bitdose.data.base import CaseSet
from bitdose.decision.base import Decision
from bitdose.decision.registration import SEARCH, is_search
from bitdose.errors import UsageError, argument
from bitdose.hashing import rng_for
from bitdose.models.base import Classifier
from bitdose.results.schema import OK
from bitdose.results.table import PARTS, write_part
from bitdose.rule.rule import Rule
from bitdose.search.racing import Racing, Request
from bitdose.search.run_results import of_search, seconds_on
from bitdose.study.engines.local import Pool, PrestartedWorkers, open_pool
from bitdose.study.engines.task_queue import Task
from bitdose.study.plan import Plan, make_plan
from bitdose.study.progress import StudyProgress
from bitdose.study.progress_bar import Watcher
from bitdose.study.run import check_failures, terminable
from bitdose.study.spec import StudySpec
from bitdose.study.store import MANIFEST, Store, disk_errors, read_manifest, read_run, write_manifest

if TYPE_CHECKING:
    import polars as pl

ROUNDS = "rounds"
_KEEP_BYTES = 2**32  # at most, and no more than an eighth of the machine's memory

Progress = Callable[[int], AbstractContextManager[Watcher | None]]


@dataclass(frozen=True)
class Found:
    """Outcome and cost of a search.

    Parameters
    ----------
    decision : Decision or None
        None where the search was interrupted; another call resumes it.
    rounds : int
        Number of rounds.
    evaluated, whole_grid : int
        Case-points measured, pristine included, and case-points of the whole grid.
    """

    decision: Decision | None
    rounds: int
    evaluated: int
    whole_grid: int


def search(
    spec: StudySpec,
    rule: Rule,
    out: Path,
    *,
    classifier: Classifier | None = None,
    cases: CaseSet | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    prestarted: PrestartedWorkers | None = None,
) -> Found:
    """Find the certified point by a race of the grid's points; an existing run folder is resumed.

    Parameters
    ----------
    spec : StudySpec
        The study whose grid is searched. Points that share an encode in a study of the whole grid share it
        here too; SSIM is not measured.
    rule : Rule
        Margins, alpha, splits, objective; without ``order``.
    out : pathlib.Path
        The run folder.
    classifier : Classifier, optional
        A loaded classifier in place of ``spec.model``.
    cases : CaseSet, optional
        Cases that came as Python objects, in place of ``spec.data``.
    workers : int, optional
        As for ``run_study``.
    progress : callable, optional
        From a round's number of cases to a context manager that returns a watcher.
    prestarted : PrestartedWorkers, optional
        Pre-started workers on this machine.

    Raises
    ------
    UsageError
        If the rule has an order, the folder holds something else, or data and model do not fit.
    BitdoseError
        If too many cases failed.

    References
    ----------
    Maron & Moore 1997, Artif Intell Rev 11:193, doi 10.1023/A:1006556606079.

    References
    ----------
    Maron & Moore 1997, Artif Intell Rev 11:193, doi 10.1023/A:1006556606079.
    """
    if rule.order:
        raise UsageError(
            f"{argument('order')}: a search takes no order; leave it out, or use 'study' and 'decide'"
        )
    whole = replace(spec, ssim=False, rule=rule)
    chains = chains_of(expand_points(spec.points))
    grid = {name: [str(point) for point in points] for name, points in chains.items()}
    names = (rule.select, rule.confirm) if rule.select else ("",)
    plans = {
        name: make_plan(replace(whole, split=name) if name else whole, classifier, cases=cases)
        for name in names
    }
    sizes = {name: len(plan.cases.cases) for name, plan in plans.items()}
    _claim(out, plans[rule.select], {"grid": grid, "sizes": sizes})
    race = Racing(rule, grid, sizes, seconds=seconds_on(rule), seed=spec.seed)
    found = _Search(race, plans, out, progress or _unseen)
    plan, most = plans[rule.select], max(sizes.values())
    early = prestarted or PrestartedWorkers(0)
    with open_pool(plan, workers=workers, n_tasks=most, keep_bytes=_room(), prestarted=early) as pool:
        early.dismiss()
        return found.run(pool)


@dataclass(frozen=True)
class _Search:
    """One search: the race, a plan per split, and where its rounds go."""

    race: Racing
    plans: Mapping[str, Plan]
    out: Path
    progress: Progress

    def run(self, pool: Pool) -> Found:
        """Serve the race's requests until it decides."""
        asked, table, rounds = self.race.start, None, 0
        while True:
            rows = self._measure(asked, table, rounds, pool)
            if rows is None:
                return self._found(None, table, rounds)
            table, rounds = _together(table, rows), rounds + 1
            self._check_failures(table)
            found = self.race.step(table)
            if isinstance(found, Decision):
                with disk_errors(self.out):
                    write_part(table, self.out / PARTS / "search.parquet")
                return self._found(
                    of_search(found, self.plans[self.race.rule.select].manifest), table, rounds
                )
            asked = found

    def _measure(
        self, asked: Request, table: pl.DataFrame | None, number: int, pool: Pool
    ) -> pl.DataFrame | None:
        """Run one round; None if it was interrupted."""
        folder = self.out / ROUNDS / f"{number:02d}"
        with Store(folder) as store:
            done = store.done()
            tasks = [task for task in self._tasks(asked, table) if task[0].id not in done]
            tally = StudyProgress(skipped=len(done))
            with self.progress(len(tasks) + len(done)) as watch:
                try:
                    with terminable():
                        for case, rows in pool.run(tasks):
                            store.append(case.id, rows)
                            tally.add(rows)
                            if watch:
                                watch(tally)
                except KeyboardInterrupt:
                    return None
        return read_run(folder)

    def _tasks(self, asked: Request, table: pl.DataFrame | None) -> list[Task]:
        """Return every case with missing points, and these points."""
        seen = _seen(table, asked.split)
        wanted = [(Point.parse(text), seen.get(text, 0), upto) for text, upto in asked.points]
        cases = self.plans[asked.split].cases.cases
        order = rng_for(self.race.seed, "search", *sorted(case.id for case in cases)).permutation(len(cases))
        by_name = sorted(cases, key=lambda case: case.id)
        tasks = []
        for place, index in enumerate(order):
            points = tuple(point for point, have, upto in wanted if have <= place < upto)
            if points:
                tasks.append((by_name[index], points))
        return tasks

    def _check_failures(self, table: pl.DataFrame) -> None:
        failed = table.filter(table["status"] != OK)["case_id"].n_unique()
        check_failures(failed, self.plans[self.race.rule.select])

    def _found(self, decision: Decision | None, table: pl.DataFrame | None, rounds: int) -> Found:
        cases, points = sum(self.race.sizes.values()), 1 + sum(map(len, self.race.grid.values()))
        return Found(decision, rounds, 0 if table is None else len(table), cases * points)


def _claim(out: Path, plan: Plan, held: Mapping[str, object]) -> None:
    """Make the folder this search's, or check that it is."""
    manifest = {**plan.manifest, SEARCH: dict(held)}
    if out.exists() and not out.is_dir():
        raise UsageError(f"{argument('out', out)}: expected a folder, it is a file")
    if (out / MANIFEST).exists():
        there = read_manifest(out)
        if not is_search(there) or there.get("identity") != manifest["identity"]:
            raise UsageError(f"{argument('out', out)}: it holds another study; choose another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{argument('out', out)}: the folder holds other files; choose a new or empty folder"
        )
    with disk_errors(out):
        (out / PARTS).mkdir(parents=True, exist_ok=True)
        write_manifest(out, manifest, plan.spec.resolved().to_toml())


def _together(table: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows if table is None else pl.concat([table, rows], how="diagonal_relaxed")


def _seen(table: pl.DataFrame | None, split: str) -> dict[str, int]:
    """Return the number of a split's cases measured at each point."""
    if table is None:
        return {}
    mine = table.filter(table["case_split"] == split) if split else table
    return dict(mine.group_by("point").len().iter_rows())


def _room() -> int:
    """Return the size in bytes of the cache of decoded cases, which later rounds reuse."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not reported by this system
        memory = _KEEP_BYTES
    return min(_KEEP_BYTES, memory // 8)


@contextmanager
def _unseen(_total: int) -> Iterator[Watcher | None]:
    yield None

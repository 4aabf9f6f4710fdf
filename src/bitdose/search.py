"""Search: the certified point without the whole grid, a round of points at a time.

Every round is a study of its own in ``RUN/rounds/<n>``: the points that the bisections ask for next, on
the cases of the split that they are asked of. So a killed search loses at most the cases in flight,
and when it is run again it goes through the rounds that are there and on from where it was. At the end
the rounds' rows stand together in ``RUN/results``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitdose.codecs.grid import chains_of, expand_points
from bitdose.codecs.point import Point
from bitdose.decision.base import Decision
from bitdose.decision.bisection import Pending, bisect
from bitdose.decision.rule import Rule
from bitdose.decision.walk import Seconds
from bitdose.errors import BitdoseError, UsageError
from bitdose.models.base import Classifier
from bitdose.results.table import PARTS, write_part
from bitdose.study.plan import Plan, make_plan
from bitdose.study.run import Watcher, run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import MANIFEST, disk_errors, read_manifest, read_run, write_manifest

if TYPE_CHECKING:
    import polars as pl

ROUNDS = "rounds"
_KEY = "search"

Progress = Callable[[int], AbstractContextManager[Watcher | None]]


@dataclass(frozen=True)
class Found:
    """What a search found and what it cost.

    Parameters
    ----------
    decision : Decision or None
        None where the search was interrupted; run again, it goes on.
    rounds : int
        Studies run.
    evaluated, whole_grid : int
        Case-points measured, pristine included, and those that the whole grid would have taken.
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
    seconds: Seconds | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Found:
    """Find the certified point by bisection on every chain; the run folder is resumed if it is there.

    Parameters
    ----------
    spec : StudySpec
        The study whose grid is searched. JPEG 2000 points of one chain are coded alone (``exact``),
        since the rounds share no encode.
    rule : Rule
        Margins, alpha, splits, objective; without ``order``.
    out : pathlib.Path
        The run folder.
    classifier : Classifier, optional
        A loaded classifier in place of ``spec.model``.
    seconds : callable, optional
        As for ``decide``.
    workers : int, optional
        As for ``run_study``.
    progress : callable, optional
        From a number of cases to a context that gives a watcher.

    Raises
    ------
    UsageError
        If the rule has an order, the folder holds something else, or data and model do not fit.
    BitdoseError
        If too many cases failed.
    """
    if rule.order:
        raise UsageError("--order: a search walks no order; leave it out, or use 'study' and 'decide'")
    whole = replace(spec, exact=True, decision=rule.to_dict())
    chains = chains_of(expand_points(spec.points))
    grid = {name: [str(point) for point in points] for name, points in chains.items()}
    names = (rule.select, rule.confirm) if rule.select else ("",)
    plans = {name: make_plan(replace(whole, split=name) if name else whole, classifier) for name in names}
    _claim(out, plans[rule.select], grid)
    return _Search(rule, grid, plans, out, workers, progress).run(seconds)


@dataclass(frozen=True)
class _Search:
    """One search: the grid, a plan per split, and where its rounds go."""

    rule: Rule
    grid: Mapping[str, list[str]]
    plans: Mapping[str, Plan]
    out: Path
    workers: int | None
    progress: Progress | None

    def run(self, seconds: Seconds | None) -> Found:
        """Measure what the bisections ask for until they are done."""
        rule, table, rounds = self.rule, None, 0
        pending = Pending(rule.select, tuple(points[(len(points) - 1) // 2] for points in self.grid.values()))
        while True:
            rows = self._measure(pending, table, rounds)
            if rows is None:
                return self._found(None, table, rounds)
            table, rounds = _together(table, rows), rounds + 1
            seed = self.plans[rule.select].spec.seed
            found = bisect(table, rule, self.grid, seconds=seconds, seed=seed, preregistered=True)
            if isinstance(found, Decision):
                with disk_errors(self.out):
                    write_part(table, self.out / PARTS / "search.parquet")
                return self._found(_noted(found), table, rounds)
            pending = found

    def _measure(self, pending: Pending, table: pl.DataFrame | None, number: int) -> pl.DataFrame | None:
        """Run one round; None if it was interrupted."""
        plan, folder = self.plans[pending.split], self.out / ROUNDS / f"{number:02d}"
        has_pristine = table is not None and (not pending.split or pending.split in table["case_split"])
        points = [Point.parse(text) for text in pending.points]
        here = plan.at(points if has_pristine else [Point(), *points])
        with (self.progress or _unseen)(len(plan.cases.cases)) as watch:
            outcome = run_study(here, folder, workers=self.workers, resume=True, watch=watch)
        return None if outcome.interrupted else read_run(folder)

    def _found(self, decision: Decision | None, table: pl.DataFrame | None, rounds: int) -> Found:
        cases = sum(len(plan.cases.cases) for plan in self.plans.values())
        whole_grid = cases * (1 + sum(map(len, self.grid.values())))
        return Found(decision, rounds, 0 if table is None else len(table), whole_grid)


def is_search(manifest: Mapping[str, object]) -> bool:
    """Whether a run folder's manifest is a search's."""
    return _KEY in manifest


def replayed(table: pl.DataFrame, manifest: Mapping[str, object], *, seconds: Seconds | None) -> Decision:
    """Reach a finished search's decision again from its rows; raises ``BitdoseError`` if it is unfinished."""
    held = manifest[_KEY]
    identity = manifest["identity"]
    if not isinstance(held, dict) or not isinstance(identity, dict):
        raise BitdoseError("manifest: the search it describes cannot be read")
    rule, seed = Rule.from_dict(identity["decision"]), manifest.get("seed", 0)
    found = bisect(table, rule, held["grid"], seconds=seconds, seed=int(str(seed)), preregistered=True)
    if isinstance(found, Pending):
        raise BitdoseError("the search is not finished; run 'bitdose search' again to go on")
    return _noted(found)


def _claim(out: Path, plan: Plan, grid: Mapping[str, list[str]]) -> None:
    """Make the folder this search's, or check that it is."""
    manifest = {**plan.manifest, _KEY: {"grid": dict(grid)}}
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: expected a folder, it is a file")
    if (out / MANIFEST).exists():
        held = read_manifest(out)
        if not is_search(held) or held.get("identity") != manifest["identity"]:
            raise UsageError(f"--out {out}: it holds another study; choose another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"--out {out}: the folder holds other files; choose a new or empty folder")
    with disk_errors(out):
        (out / PARTS).mkdir(parents=True, exist_ok=True)
        write_manifest(out, manifest, plan.spec.resolved().to_toml())


def _together(table: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows if table is None else pl.concat([table, rows], how="diagonal_relaxed")


def _noted(found: Decision) -> Decision:
    if found.rule.select:
        return found
    note = "Found by bisection, which takes for granted that the true loss does not fall along a chain."
    return replace(found, notes=(*found.notes, note))


@contextmanager
def _unseen(_total: int) -> Iterator[Watcher | None]:
    yield None

"""Worker processes on this machine: each takes one case at a time, and may die without harm.

A process per core rather than threads: Pillow holds the interpreter's lock while it codes
JPEG 2000, and while one process codes the other classifies. A worker that dies (a decoder
that crashes on a broken file, the system's memory killer) costs its case, which becomes a
failed row, and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, Self

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError
from bitdose.malloc import keep_freed_memory
from bitdose.models.base import Classifier
from bitdose.processes import CONTEXT
from bitdose.study.engines.task_queue import Homes, Points, Task, TaskQueue
from bitdose.study.plan import Plan, StudyJob
from bitdose.study.rows import Row
from bitdose.study.source_cache import SourceCache
from bitdose.study.worker import crash, failed_rows, run_case

Finished = tuple[Case, list[Row]]
Orders = tuple[StudyJob, str, int]

_AHEAD = 16
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
STOP_SECONDS = 5
KEPT_FREE_BYTES = 2**26  # what a 1024x1024 X-ray's points free and ask for again


class Pool(Protocol):
    """What runs cases: this process, or workers that stay between calls."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Finished]:
        """Run each case at its points; yield it with its rows as it finishes."""
        ...

    def __enter__(self) -> Self:
        """Return the pool."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop what it started."""
        ...


class PrestartedWorkers:
    """Worker processes that start, and import what they need, while a study is still being planned.

    Those that no pool has taken are stopped at the end.

    Parameters
    ----------
    workers : int
        Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._waiting = [_Worker() for _ in range(workers)]

    def __enter__(self) -> Self:
        """Return the crew."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop who was not taken."""
        self.dismiss()

    def dismiss(self) -> None:
        """Stop those who still wait: they would hold memory while others work."""
        while self._waiting:
            self._waiting.pop().stop()

    def take(self, orders: Orders) -> _Worker:
        """Give orders to a process that waits, or to a new one."""
        worker = self._waiting.pop() if self._waiting else _Worker()
        worker.tell(orders)
        return worker


def open_pool(
    plan: Plan,
    *,
    workers: int | None,
    n_tasks: int,
    keep_bytes: int = 0,
    crew: PrestartedWorkers | None = None,
) -> Pool:
    """Open the pool that suits a plan: workers where the classifier can be loaded by them.

    Parameters
    ----------
    plan : Plan
        Its job says what to do, its classifier what to load or to use.
    workers : int or None
        Worker processes; None takes all cores.
    n_tasks : int
        Tasks to come: one task needs no worker.
    keep_bytes : int
        Pixels of sources and bytes of shared encodes that the pool keeps in memory, over all workers, for
        tasks that come back to the same cases.
    crew : PrestartedWorkers, optional
        Workers that have started already; they come first.
    """
    count = os.cpu_count() or 1 if workers is None else workers
    if plan.job.model is None or count <= 1 or n_tasks <= 1:
        return HerePool(plan.job, plan.classifier, keep_bytes=keep_bytes)
    team = min(count, n_tasks)
    return WorkerPool(plan.job, plan.classifier.name, workers=team, keep_bytes=keep_bytes, crew=crew)


class HerePool:
    """Runs cases one after the other in this process."""

    def __init__(self, job: StudyJob, classifier: Classifier, *, keep_bytes: int = 0) -> None:
        self._job, self._classifier = job, classifier
        self._kept = SourceCache(keep_bytes)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Have nothing to stop."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Finished]:
        """Run the tasks in the order given."""
        for case, points in tasks:
            yield case, _run_safely(case, _part_of(self._job, points), self._classifier, self._kept)


class WorkerPool:
    """Worker processes that load the classifier of ``job.model`` themselves, once.

    Parameters
    ----------
    job : StudyJob
        With ``model`` set; its points give way to those of each task.
    classifier_name : str
        The planned classifier's name; a worker that loads another one stops the study.
    workers : int
        Number of processes.
    keep_bytes : int
        As for :func:`open_pool`.
    crew : PrestartedWorkers, optional
        As for :func:`open_pool`.
    """

    def __init__(
        self,
        job: StudyJob,
        classifier_name: str,
        *,
        workers: int,
        keep_bytes: int = 0,
        crew: PrestartedWorkers | None = None,
    ) -> None:
        self._job, self._name, self._keep_bytes = job, classifier_name, keep_bytes // workers
        self._homes: Homes | None = {} if keep_bytes else None
        self._crew = crew or PrestartedWorkers(0)
        self._team = [self._worker() for _ in range(workers)]

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers."""
        for worker in self._team:
            worker.stop()

    def run(self, tasks: Iterable[Task]) -> Iterator[Finished]:
        """Run tasks as workers become free, so that memory stays at one case per worker.

        Yields
        ------
        tuple of Case and list of dict
            Each case with its rows, as they finish.

        Raises
        ------
        BitdoseError
            If a worker cannot start.
        """
        waiting = TaskQueue(tasks, self._homes, ahead=_AHEAD * len(self._team))
        for index, worker in enumerate(self._team):
            if worker.task is None:
                self._give_next(index, waiting)
        while busy := {worker.pipe: (k, worker.task) for k, worker in enumerate(self._team) if worker.task}:
            ready: list[Any] = wait(list(busy))
            for index, task in map(busy.__getitem__, ready):
                finished = self._finished(self._team[index], task)
                # Before the rows are on the disk: a worker need not wait for it.
                self._give_next(index, waiting)
                yield finished

    def _give_next(self, index: int, waiting: TaskQueue) -> None:
        """Give a free worker its next task, if there is one; a worker that died is replaced first."""
        task = waiting.next_for(index)
        if task:
            worker = self._team[index]
            self._team[index] = worker if worker.alive else self._replaced(worker)
            self._team[index].give(task)

    def _finished(self, worker: _Worker, task: Task) -> Finished:
        """Take what a worker has to say of its task: the case's rows; those of a failure if it died."""
        (case, points), answer = task, worker.take()
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            code = worker.process.exitcode
            error = CaseError("worker-died", f"the worker process ended with code {code} on this case")
            answer = failed_rows(case, replace(self._job, points=points), self._name, error)
        return case, answer

    def _replaced(self, worker: _Worker) -> _Worker:
        worker.stop()
        return self._worker()

    def _worker(self) -> _Worker:
        return self._crew.take((self._job, self._name, self._keep_bytes))


def run_in_process(cases: Iterable[Case], job: StudyJob, classifier: Classifier) -> Iterator[Finished]:
    """Run cases one after the other in this process, each at all points of the job."""
    return HerePool(job, classifier).run((case, job.points) for case in cases)


class _Worker:
    """One process, the pipe to it, and the case it has; it waits for orders first."""

    def __init__(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        with quiet_start():
            self.process.start()
        theirs.close()
        self.task: Task | None = None

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def give(self, task: Task) -> None:
        self.task = task
        self.tell(task)

    def tell(self, what: Orders | Task) -> None:
        with contextlib.suppress(OSError):  # a dead worker shows itself when its answer is read
            self.pipe.send(what)

    def take(self) -> list[Row] | Exception | None:
        """Return the answer, an error that stops the study, or None if the worker died; it is free then."""
        self.task = None
        try:
            answer: list[Row] | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(STOP_SECONDS)
            return None
        return answer

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.pipe.close()


def _serve(pipe: Connection) -> None:
    """Be a worker process: take orders, load the classifier once, then answer case by case until stopped."""
    be_worker()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone: nobody to hear, or to tell
        job, name, keep_bytes = pipe.recv()
        kept, classifier = SourceCache(keep_bytes), None
        while True:
            case, points = pipe.recv()
            try:
                classifier = classifier or loaded(job, name)
                answer: list[Row] | BitdoseError = _run_safely(case, _part_of(job, points), classifier, kept)
            except BitdoseError as error:
                answer = error
            pipe.send(answer)


def loaded(job: StudyJob, name: str) -> Classifier:
    """Load the classifier; raises ``BitdoseError`` if it is not the one the study was planned with."""
    if job.model is None:
        raise BitdoseError("a worker process needs a classifier by reference")
    classifier = job.model.load()
    if classifier.name != name:
        raise BitdoseError(
            f"model: it comes out different each time it is loaded ({name}, then {classifier.name}): "
            "save its weights and give them with --weights"
        )
    return classifier


def _part_of(job: StudyJob, points: Points) -> StudyJob:
    """Return the job at some of its points, which are coded as they would be among all."""
    return replace(job, points=points, grid=job.points)


def _run_safely(case: Case, job: StudyJob, classifier: Classifier, kept: SourceCache) -> list[Row]:
    """Run one case; whatever goes wrong inside it is a row, and the study goes on."""
    try:
        return run_case(case, job, classifier, kept=kept)
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        return failed_rows(case, job, classifier.name, crash(unexpected))


def be_worker() -> None:
    """Settle a worker process: one thread for OpenCV (the processes share the cores), and its memory kept."""
    import cv2

    cv2.setNumThreads(1)
    keep_freed_memory(up_to=KEPT_FREE_BYTES)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Start a process with one thread per numeric library (the processes share the cores) and no Ctrl-C."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    main = threading.current_thread() is threading.main_thread()
    # A child inherits this, so that Ctrl-C is the parent's to handle from the child's first moment.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, interrupt)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

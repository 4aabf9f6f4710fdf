"""Worker processes on this machine: each runs one case at a time, and may die without harm.

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
from bitdose.errors import BitdoseError, CaseError, argument
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
RETAINED_BYTES = 2**26  # bytes that the points of a 1024x1024 X-ray free and allocate again


class Pool(Protocol):
    """Executor of cases: this process, or workers that persist between calls."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Finished]:
        """Run each case at its points; yield each case with its rows as it finishes."""
        ...

    def __enter__(self) -> Self:
        """Return the pool."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop the started processes."""
        ...


class PrestartedWorkers:
    """Pre-started workers: processes that start and import while a study is still being planned.

    Workers that no pool has taken are stopped at the end of the context.

    Parameters
    ----------
    workers : int
        Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._waiting = [_Worker() for _ in range(workers)]

    def __enter__(self) -> Self:
        """Return the prestarted."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers that no pool has taken."""
        self.dismiss()

    def dismiss(self) -> None:
        """Stop the idle workers, which would hold memory for nothing."""
        while self._waiting:
            self._waiting.pop().stop()

    def take(self, orders: Orders) -> _Worker:
        """Send orders to a pre-started process, or to a new one."""
        worker = self._waiting.pop() if self._waiting else _Worker()
        worker.tell(orders)
        return worker


def open_pool(
    plan: Plan,
    *,
    workers: int | None,
    n_tasks: int,
    keep_bytes: int = 0,
    prestarted: PrestartedWorkers | None = None,
) -> Pool:
    """Open the pool for a plan: workers if they can load the classifier, else this process.

    Parameters
    ----------
    plan : Plan
        Plan with the job and the classifier.
    workers : int or None
        Worker processes; None takes all cores.
    n_tasks : int
        Number of expected tasks: a single one needs no worker.
    keep_bytes : int
        Cache size in bytes, over all workers, for source pixels and shared encodes of repeated cases.
    prestarted : PrestartedWorkers, optional
        Pre-started workers, used first.
    """
    count = os.cpu_count() or 1 if workers is None else workers
    if plan.job.model is None or count <= 1 or n_tasks <= 1:
        return HerePool(plan.job, plan.classifier, keep_bytes=keep_bytes)
    team = min(count, n_tasks)
    return WorkerPool(
        plan.job, plan.classifier.name, workers=team, keep_bytes=keep_bytes, prestarted=prestarted
    )


class HerePool:
    """Sequential execution in this process."""

    def __init__(self, job: StudyJob, classifier: Classifier, *, keep_bytes: int = 0) -> None:
        self._job, self._classifier = job, classifier
        self._kept = SourceCache(keep_bytes)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """No-op: nothing was started."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Finished]:
        """Run the tasks in the order given."""
        for case, points in tasks:
            yield case, _run_safely(case, _part_of(self._job, points), self._classifier, self._kept)


class WorkerPool:
    """Pool of worker processes, each of which loads the classifier of ``job.model`` once.

    Parameters
    ----------
    job : StudyJob
        Job with ``model`` set; each task's points replace its points.
    classifier_name : str
        Name of the planned classifier; a worker that loads a different one stops the study.
    workers : int
        Number of processes.
    keep_bytes : int
        As for :func:`open_pool`.
    prestarted : PrestartedWorkers, optional
        As for :func:`open_pool`.
    """

    def __init__(
        self,
        job: StudyJob,
        classifier_name: str,
        *,
        workers: int,
        keep_bytes: int = 0,
        prestarted: PrestartedWorkers | None = None,
    ) -> None:
        self._job, self._name, self._keep_bytes = job, classifier_name, keep_bytes // workers
        self._homes: Homes | None = {} if keep_bytes else None
        self._prestarted = prestarted or PrestartedWorkers(0)
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
                # Before the rows are written: the worker need not wait for the disk.
                self._give_next(index, waiting)
                yield finished

    def _give_next(self, index: int, waiting: TaskQueue) -> None:
        """Send a free worker its next task, if any; a dead worker is replaced first."""
        task = waiting.next_for(index)
        if task:
            worker = self._team[index]
            self._team[index] = worker if worker.alive else self._replaced(worker)
            self._team[index].give(task)

    def _finished(self, worker: _Worker, task: Task) -> Finished:
        """Receive a worker's rows for its task, or failed rows if it died."""
        (case, points), result = task, worker.take()
        if isinstance(result, Exception):
            raise result
        if result is None:
            code = worker.process.exitcode
            error = CaseError("worker-died", f"the worker process ended with code {code} on this case")
            result = failed_rows(case, replace(self._job, points=points), self._name, error)
        return case, result

    def _replaced(self, worker: _Worker) -> _Worker:
        worker.stop()
        return self._worker()

    def _worker(self) -> _Worker:
        return self._prestarted.take((self._job, self._name, self._keep_bytes))


def run_in_process(cases: Iterable[Case], job: StudyJob, classifier: Classifier) -> Iterator[Finished]:
    """Run cases one after the other in this process, each at all points of the job."""
    return HerePool(job, classifier).run((case, job.points) for case in cases)


class _Worker:
    """One process, the pipe to it, and its current case; the process first waits for orders."""

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
        with contextlib.suppress(OSError):  # a dead worker is detected when its result is read
            self.pipe.send(what)

    def take(self) -> list[Row] | Exception | None:
        """Return the rows, an error that stops the study, or None if the worker died; frees the worker."""
        self.task = None
        try:
            result: list[Row] | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(STOP_SECONDS)
            return None
        return result

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.pipe.close()


def _serve(pipe: Connection) -> None:
    """Run a worker process: receive orders, load the classifier once, run cases until stopped."""
    configure_worker()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        job, name, keep_bytes = pipe.recv()
        kept, classifier = SourceCache(keep_bytes), None
        while True:
            case, points = pipe.recv()
            try:
                classifier = classifier or loaded(job, name)
                result: list[Row] | BitdoseError = _run_safely(case, _part_of(job, points), classifier, kept)
            except BitdoseError as error:
                result = error
            pipe.send(result)


def loaded(job: StudyJob, name: str) -> Classifier:
    """Load the classifier; raises ``BitdoseError`` if it differs from the planned one."""
    if job.model is None:
        raise BitdoseError("a worker process needs a classifier by reference")
    classifier = job.model.load()
    if classifier.name != name:
        raise BitdoseError(
            f"model: it comes out different each time it is loaded ({name}, then {classifier.name}): "
            f"save its weights and give them with {argument('weights')}"
        )
    return classifier


def _part_of(job: StudyJob, points: Points) -> StudyJob:
    """Return the job at a subset of its points, coded exactly as among all points."""
    return replace(job, points=points, grid=job.points)


def _run_safely(case: Case, job: StudyJob, classifier: Classifier, kept: SourceCache) -> list[Row]:
    """Run one case; any error inside it becomes a failed row, and the study continues."""
    try:
        return run_case(case, job, classifier, kept=kept)
    except BitdoseError:
        raise
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        return failed_rows(case, job, classifier.name, crash(unexpected))


def configure_worker() -> None:
    """Configure a worker process: one OpenCV thread (processes share cores), freed memory retained."""
    import cv2

    cv2.setNumThreads(1)
    keep_freed_memory(up_to=RETAINED_BYTES)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Start a process with one thread per numeric library (the processes share the cores) and no Ctrl-C."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    main = threading.current_thread() is threading.main_thread()
    # Inherited by the child, so that only the parent handles Ctrl-C from the start.
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

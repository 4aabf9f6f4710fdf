"""The least that a sweep can take: its coding alone and its inference alone, everything in memory.

Both run in processes, one per core, that are started and warmed before the clock: decoded sources go
through exactly the coding of a study (downsized once per size, encodes shared where a study shares
them, decoded, interpolated back), and ready batches go through the classifier. Both need the same
cores, so that a sweep's limit on a machine is their sum.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bitdose.codecs.coding import code_points
from bitdose.codecs.grid import expand_points
from bitdose.data.read import read_source
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.models.base import Classifier
from bitdose.models.load import ModelRef
from bitdose.models.prepare import prepare, prepare_many
from bitdose.study.engines.local import configure_worker

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_BATCHES = (4, 8, 16, 32)
_GROUP = 4  # images that a study brings to the input together
_KINDS = 4  # different inputs in a batch: what is in them does not change the time


class Floor(NamedTuple):
    """Wall and core seconds."""

    wall_s: float
    cpu_s: float


class Floors:
    """A sweep's floors: processes that hold its sources and its classifier until it is closed.

    Parameters
    ----------
    table : pathlib.Path
        The cases; sources are read as grey.
    points : str
        As after ``--points``.
    model : pathlib.Path
        The classifier.
    cores : int
        Processes.

    Raises
    ------
    RuntimeError
        If a process cannot start.
    """

    def __init__(self, table: Path, points: str, model: Path, *, cores: int) -> None:
        with table.open(newline="") as file:
            self.paths = [row["path"] for row in csv.DictReader(file)]
        self.inputs = len(self.paths) * len(expand_points(points))
        self.cores = cores
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(cores + 1)
        try:
            self.pool = context.Pool(cores, _start, (self.paths, points, str(model), barrier))
            _all_ready(barrier)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        self.batch = self._best_batch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        self.pool.terminate()
        self.pool.join()

    def codec(self) -> Floor:
        """Time the coding of every case at every point."""
        return self._timed(_code, self.paths)

    def prepare(self) -> Floor:
        """Time what lies between coding and inference: images brought to the classifier's input."""
        return self._timed(_prepare, self.paths)

    def inference(self) -> Floor:
        """Time the classification of every case at every point, in batches of the fastest size."""
        whole, rest = divmod(self.inputs, self.batch)
        return self._timed(_classify, [*[self.batch] * whole, *[rest] * bool(rest)])

    def _best_batch(self) -> int:
        """Return the size of batch at which an input takes least, all cores busy."""
        whole = max(_BATCHES)
        took = {
            size: self._timed(_classify, [size] * (self.cores * whole // size)).cpu_s for size in _BATCHES
        }
        return min(took, key=lambda size: took[size])

    def _timed(self, work: Callable[[Any], float], items: Iterable[Any]) -> Floor:
        started = time.perf_counter()
        cpu_s = sum(self.pool.imap_unordered(work, items))
        return Floor(time.perf_counter() - started, cpu_s)


def _all_ready(barrier: Any) -> None:
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise RuntimeError("a process of the floors could not start: its error stands above") from None


@dataclass
class _Held:
    """What a process holds in memory."""

    points: str
    classifier: Classifier
    images: dict[str, Image] = field(default_factory=dict)
    batch: Any = None


_held: _Held


def _start(paths: list[str], points: str, model: str, barrier: Any) -> None:
    """Be a process of the pool, settled as a study's: everything read, every kind of work done once."""
    global _held  # noqa: PLW0603
    try:
        configure_worker()
        _held = _Held(points, ModelRef(model).load())
        _held.images = {path: read_source(Path(path), color="grey").image for path in dict.fromkeys(paths)}
        kinds = list(_held.images.values())[:_KINDS]
        inputs = [prepare(image, _held.classifier.spec) for image in kinds]
        _held.batch = np.stack([inputs[index % len(inputs)] for index in range(max(_BATCHES))])
        _code(paths[0])
        _classify(max(_BATCHES))
    except BaseException:
        barrier.abort()
        raise
    barrier.wait()


def _code(path: str) -> float:
    """Code one case at every point; processor seconds."""
    started = time.process_time()
    for _, coded in code_points(_held.images[path], expand_points(_held.points)):
        if isinstance(coded, CaseError):
            raise coded
    return time.process_time() - started


def _prepare(path: str) -> float:
    """Bring one case to the classifier's input as often as there are points; processor seconds."""
    started = time.process_time()
    left = len(expand_points(_held.points))
    while left > 0:
        prepare_many([_held.images[path]] * min(left, _GROUP), _held.classifier.spec)
        left -= _GROUP
    return time.process_time() - started


def _classify(size: int) -> float:
    """Classify one ready batch; processor seconds."""
    started = time.process_time()
    _held.classifier.predict(_held.batch[:size])
    return time.process_time() - started

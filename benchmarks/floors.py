"""The least that a sweep can take: its coding alone and its inference alone, everything in memory.

Both run in processes, one per core, that are started and warmed before the clock: decoded sources go
through exactly the coding of a study (downsized once per size, encodes shared where a study shares
them, decoded, interpolated back), and ready batches go through the classifier. Both need the same
cores, so that a sweep's limit on a machine is their sum.
"""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdose.codecs.coding import code_points
from bitdose.codecs.grid import expand_points
from bitdose.data.read import read_source
from bitdose.errors import CaseError
from bitdose.image import Image
from bitdose.models.load import ModelRef
from bitdose.models.prepare import prepare

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_BATCHES = (8, 16, 32, 64)
_HELD_CASES = 4  # whose inputs a process holds: what is in them does not change the time


class Floor(NamedTuple):
    """Wall and core seconds."""

    wall_s: float
    cpu_s: float


@dataclass
class _Held:
    """What a process holds in memory."""

    job: _Job
    images: dict[str, Image] = field(default_factory=dict)
    batches: list[Any] = field(default_factory=list)
    classifier: Any = None


@dataclass(frozen=True)
class _Job:
    """What the processes are to do."""

    paths: tuple[str, ...]
    points: str
    model: str
    batch: int = 0


_held: _Held


def codec_floor(table: Path, points: str, *, cores: int) -> Floor:
    """Time the coding of every case at every point."""
    job = _Job(_paths(table), points, "")
    with _processes(cores, job, _warm_codec) as pool:
        return _timed(pool, _code, range(len(job.paths)))


def prepare_floor(table: Path, points: str, model: Path, *, cores: int) -> Floor:
    """Time what lies between the two: decoded images brought to the classifier's input."""
    job = _Job(_paths(table), points, str(model))
    with _processes(cores, job, _warm_prepare) as pool:
        return _timed(pool, _prepare, range(len(job.paths)))


def inference_floor(table: Path, points: str, model: Path, *, cores: int, batch: int) -> Floor:
    """Time the classification of every case at every point, in batches of ``batch``."""
    job = _Job(_paths(table), points, str(model), batch)
    inputs = len(job.paths) * len(expand_points(points))
    sizes = [batch] * (inputs // batch) + [inputs % batch] * bool(inputs % batch)
    with _processes(cores, job, _warm_inference) as pool:
        return _timed(pool, _classify, sizes)


def best_batch(table: Path, points: str, model: Path, *, cores: int) -> int:
    """Return the size of batch at which an input takes least, all cores busy."""
    found = {}
    for batch in _BATCHES:
        job = _Job(_paths(table)[:1], points, str(model), batch)
        with _processes(cores, job, _warm_inference) as pool:
            rounds = max(_BATCHES) // batch
            found[batch] = _timed(pool, _classify, [batch] * (rounds * cores)).cpu_s
    return min(found, key=lambda batch: found[batch])


def _paths(table: Path) -> tuple[str, ...]:
    with table.open(newline="") as file:
        return tuple(row["path"] for row in csv.DictReader(file))


@contextlib.contextmanager
def _processes(cores: int, job: _Job, warm: Callable[[], None]) -> Iterator[Any]:
    """Give a pool whose processes have one thread per library and have done their work once."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores + 1)
    try:
        with context.Pool(cores, _start, (job, warm, barrier)) as pool:
            _all_ready(barrier)
            yield pool
            pool.close()
            pool.join()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _start(job: _Job, warm: Callable[[], None], barrier: Any) -> None:
    global _held  # noqa: PLW0603
    import cv2

    cv2.setNumThreads(1)
    _held = _Held(job)
    try:
        warm()
    except BaseException:
        barrier.abort()
        raise
    barrier.wait()


def _all_ready(barrier: Any) -> None:
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise RuntimeError("a process could not start: its error stands above") from None


def _timed(pool: Any, work: Callable[[Any], float], items: Any) -> Floor:
    started = time.perf_counter()
    cpu_s = sum(pool.imap_unordered(work, items))
    return Floor(time.perf_counter() - started, cpu_s)


def _warm_codec() -> None:
    for path in dict.fromkeys(_held.job.paths):
        _held.images[path] = read_source(Path(path), color="grey").image
    _code(0)


def _code(index: int) -> float:
    """Code one case at every point; processor seconds."""
    started = time.process_time()
    points = expand_points(_held.job.points)
    for _, coded in code_points(_held.images[_held.job.paths[index]], points):
        if isinstance(coded, CaseError):
            raise coded
    return time.process_time() - started


def _warm_prepare() -> None:
    _warm_inputs()
    _held.images = {"": read_source(Path(_held.job.paths[0]), color="grey").image}
    _prepare(0)


def _prepare(_index: int) -> float:
    started = time.process_time()
    for _ in expand_points(_held.job.points):
        prepare(_held.images[""], _held.classifier.spec)
    return time.process_time() - started


def _warm_inputs() -> None:
    _held.classifier = ModelRef(_held.job.model).load()


def _warm_inference() -> None:
    _warm_inputs()
    batch, spec = _held.job.batch, _held.classifier.spec
    kinds = list(dict.fromkeys(_held.job.paths))[:_HELD_CASES]
    inputs = [prepare(read_source(Path(path), color="grey").image, spec) for path in kinds]
    _held.batches = [np.stack([inputs[index % len(inputs)] for index in range(batch)])]
    _classify(batch)


def _classify(size: int) -> float:
    started = time.process_time()
    _held.classifier.predict(_held.batches[0][:size])
    return time.process_time() - started

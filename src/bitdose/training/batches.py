"""Prefetching of batches by threads, so that the network does not wait for files.

The order of an epoch depends on seed and epoch only. An unreadable case is counted and
excluded from this and all later epochs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError, argument
from bitdose.hashing import rng_for
from bitdose.training.samples import Sample

Read = Callable[[Case], Sample]

FAILED_FILE = "failed-cases.json"

_AHEAD_BATCHES = 3


@dataclass
class Failures:
    """Unreadable cases, and their limit.

    Parameters
    ----------
    total : int
        Cases of the run.
    max_share : float
        Share of cases that may fail before the run stops.
    """

    total: int
    max_share: float
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, case: Case, error: CaseError) -> None:
        """Record a case; raise ``BitdoseError`` if too many have failed."""
        self.reasons.setdefault(case.id, f"{error.status}: {error.reason}")
        if len(self.reasons) > self.max_share * self.total:
            raise BitdoseError(
                f"{len(self.reasons)} of {self.total} cases cannot be read, more than the share of "
                f"{self.max_share:g} allowed ({argument('max_failures')}; {FAILED_FILE} names "
                "them); the last: "
                f"{error.status}: {error.reason}"
            )

    def without(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases that have not failed."""
        return [case for case in cases if case.id not in self.reasons]


def epoch_batches(cases: Sequence[Case], *, batch: int, seed: int, epoch: int) -> list[list[Case]]:
    """Shuffle the cases and split them into batches of nearly equal size, at most ``batch``.

    Equal sizes avoid a last batch of one, which batch norm cannot use.
    """
    order = rng_for("order", seed, epoch).permutation(len(cases))
    parts = np.array_split(order, max(1, -(-len(cases) // batch)))
    return [[cases[int(index)] for index in part] for part in parts]


class Loader:
    """Prefetching loader with threads, in order, with a measurement of its waiting time.

    Parameters
    ----------
    threads : int
        Number of reader threads; most formats are decoded without the GIL.
    failures : Failures
        Record of unreadable cases.
    """

    def __init__(self, threads: int, failures: Failures) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bitdose-loader")
        self.failures = failures
        self.waited_seconds = 0.0

    def close(self) -> None:
        """Stop the threads; pending reads are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batches(self, batches: Sequence[Sequence[Case]], read: Read) -> Iterator[list[Sample]]:
        """Yield the samples of each batch; empty if all cases of a batch fail."""
        waiting: deque[list[tuple[Case, Future[Sample]]]] = deque()
        rest = iter(batches)

        def submit() -> None:
            part = next(rest, None)
            if part is not None:
                waiting.append([(case, self._pool.submit(read, case)) for case in part])

        for _ in range(_AHEAD_BATCHES):
            submit()
        try:
            while waiting:
                started = time.perf_counter()
                samples = [self._result(case, future) for case, future in waiting.popleft()]
                self.waited_seconds += time.perf_counter() - started
                submit()
                yield [sample for sample in samples if sample is not None]
        finally:
            for part in waiting:
                for _, future in part:
                    future.cancel()

    def _result(self, case: Case, future: Future[Sample]) -> Sample | None:
        try:
            return future.result()
        except CaseError as error:
            self.failures.add(case, error)
            return None


def same_shapes(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Group samples that can be stacked: volumes of different depths cannot be one tensor."""

    def shape(sample: Sample) -> tuple[int, ...]:
        return tuple(sample.pixels.shape[1:])

    return [list(group) for _, group in groupby(sorted(samples, key=shape), key=shape)]

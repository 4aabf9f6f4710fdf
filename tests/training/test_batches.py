"""What the loader promises: a fixed order, batches of nearly one size, read ahead but not without bound."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError
from bitdose.training.batches import Failures, Loader, epoch_batches, same_shapes
from bitdose.training.samples import Sample

CASES = [Case(str(n), "a", Path(str(n)), str(n)) for n in range(40)]


def sample(case: Case) -> Sample:
    """Make a sample that tells whose it is."""
    return Sample(np.full((1, 2, 2), int(case.id), np.uint8), 255, int(case.id))


@pytest.fixture
def loader() -> Iterator[Loader]:
    """Give a loader of four threads that allows a tenth of 40 cases to fail."""
    made = Loader(4, Failures(len(CASES), 0.1))
    yield made
    made.close()


@pytest.mark.parametrize(("n", "batch"), [(40, 8), (41, 8), (7, 64), (9, 4), (1, 1)])
def test_an_epoch_is_cut_into_batches_of_nearly_one_size(n: int, batch: int) -> None:
    """Every case once, no batch above the size asked, none much smaller: batch norm sees no lone last one."""
    cases = [Case(str(i), "a", Path("x"), str(i)) for i in range(n)]
    parts = epoch_batches(cases, batch=batch, seed=0, epoch=1)
    assert Counter(case.id for part in parts for case in part) == Counter(case.id for case in cases)
    sizes = [len(part) for part in parts]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_the_order_follows_from_seed_and_epoch() -> None:
    """The same seed and epoch give the same batches; another epoch or seed others."""
    first, again, epoch, seed = (
        epoch_batches(CASES, batch=8, seed=s, epoch=e) for s, e in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert first == again
    assert first != epoch
    assert first != seed


def test_batches_come_in_order_whatever_the_threads_do(loader: Loader) -> None:
    """Readers that finish in any order do not change what comes when."""
    rng = np.random.default_rng(0)
    naps = dict(zip((case.id for case in CASES), rng.uniform(0, 0.004, len(CASES)), strict=True))

    def read(case: Case) -> Sample:
        time.sleep(naps[case.id])
        return sample(case)

    parts = [CASES[start : start + 4] for start in range(0, 40, 4)]
    found = [[s.label for s in samples] for samples in loader.batches(parts, read)]
    assert found == [[int(case.id) for case in part] for part in parts]


def test_reading_goes_ahead_but_not_without_bound(loader: Loader) -> None:
    """While one batch is used the next ones are read: three batches ahead at most, and no wait for them."""
    started: list[str] = []
    lock = threading.Lock()

    def read(case: Case) -> Sample:
        with lock:
            started.append(case.id)
        return sample(case)

    parts = [CASES[start : start + 4] for start in range(0, 40, 4)]
    for used, _ in enumerate(loader.batches(parts, read), start=1):
        time.sleep(0.01)
        assert 4 * used <= len(started) <= 4 * (used + 3)
    assert len(started) == 40


def test_the_wait_is_for_the_reader_alone(loader: Loader) -> None:
    """Slow use is no wait; slow reading is."""
    parts = [[case] for case in CASES[:10]]
    for _ in loader.batches(parts, sample):
        time.sleep(0.02)
    slow_use = loader.waited_seconds

    def slow(case: Case) -> Sample:
        time.sleep(0.1)
        return sample(case)

    list(loader.batches(parts, slow))
    assert slow_use < loader.waited_seconds - slow_use


def test_a_case_that_fails_is_left_out_and_counted(loader: Loader) -> None:
    """Its batch comes without it; one whose cases all fail is empty; other errors are not swallowed."""

    def read(case: Case) -> Sample:
        if case.id in ("1", "4"):
            raise CaseError("unreadable", "damaged")
        return sample(case)

    found = [
        [s.label for s in samples] for samples in loader.batches([CASES[:3], [CASES[4]], CASES[5:6]], read)
    ]
    assert found == [[0, 2], [], [5]]
    assert loader.failures.reasons == {"1": "unreadable: damaged", "4": "unreadable: damaged"}
    assert [case.id for case in loader.failures.without(CASES[:6])] == ["0", "2", "3", "5"]

    def broken(case: Case) -> Sample:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(loader.batches([CASES[:1]], broken))


def test_one_case_that_fails_each_epoch_counts_once() -> None:
    """The share is of cases, not of attempts; beyond it the run stops with the last reason."""
    failures = Failures(10, 0.2)
    for _ in range(5):
        failures.add(CASES[0], CaseError("unreadable", "damaged"))
    failures.add(CASES[1], CaseError("unreadable", "damaged"))
    with pytest.raises(BitdoseError, match="3 of 10 cases cannot be read, .* the last: empty-file: no byte"):
        failures.add(CASES[2], CaseError("empty-file", "no byte"))


def test_samples_of_one_shape_go_together() -> None:
    """Volumes of several depths make groups that can be stacked; the order within a group stays."""
    depths = [3, 5, 3, 5, 4]
    samples = [Sample(np.zeros((1, depth, 2, 2), np.uint8), 255, n) for n, depth in enumerate(depths)]
    assert [[s.label for s in group] for group in same_shapes(samples)] == [[0, 2], [4], [1, 3]]
    assert same_shapes([]) == []

"""Coder and classifier processes of the pipeline engine, and their messages to the scheduler.

A coder reads and codes cases and writes the classifier's inputs into shared memory; the classifier
process returns predictions. Rows, block names and predictions go through pipes; arrays do not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError
from bitdose.models.base import Batch, Classifier, InputSpec
from bitdose.study.engines.blocks import Mapped
from bitdose.study.engines.local import configure_worker, loaded
from bitdose.study.plan import StudyJob
from bitdose.study.worker import Chunk, ChunkPredictions, ask, coded_chunks, crash


class CasePredictions(NamedTuple):
    """Properties of the classifier that a coder needs: name, input specification, device."""

    name: str
    spec: InputSpec
    device: str


class Room(NamedTuple):
    """Request of a coder for a block of ``n_bytes`` bytes."""

    n_bytes: int


class CasePart(NamedTuple):
    """Rows of a chunk, whose inputs of this shape are in the coder's block."""

    chunk: Chunk
    shape: tuple[int, ...]


class End(NamedTuple):
    """End of a case: coded, or failed."""

    error: CaseError | None


class Inputs(NamedTuple):
    """Inputs of a chunk for the classifier: block, shape, and mask of pristine inputs."""

    block: str
    shape: tuple[int, ...]
    pristine: list[int]


Said = Room | CasePart | End | BitdoseError
Answered = list[ChunkPredictions] | BitdoseError
READY = "ready"


def run_coder(pipe: Connection, job: StudyJob, seen: CasePredictions) -> None:
    """Code case by case until the pipe closes."""
    configure_worker()
    mapped = Mapped()
    with contextlib.suppress(EOFError, OSError):  # the scheduler is gone
        while True:
            for said in _coded(pipe.recv(), job, seen, mapped, pipe):
                pipe.send(said)


def run_classifier(pipe: Connection, job: StudyJob, name: str) -> None:
    """Load the classifier, then classify batch by batch until the pipe closes."""
    configure_worker()
    mapped = Mapped()
    with contextlib.suppress(EOFError, OSError):
        try:
            classifier = loaded(job, name)
        except BitdoseError as error:
            pipe.send(error)
            return
        pipe.send(READY)
        while True:
            batch: Sequence[Inputs] = pipe.recv()
            arrays = [mapped.array(one.block, one.shape) for one in batch]
            pipe.send(answers_to(classifier, arrays, batch))


def _coded(
    case: Case, job: StudyJob, seen: CasePredictions, mapped: Mapped, pipe: Connection
) -> Iterator[Said]:
    chunks = coded_chunks(case, job, seen.name, seen.spec, device=seen.device)
    while True:
        try:
            chunk = next(chunks, None)
        except BitdoseError as error:
            yield error
            return
        except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
            yield End(crash(unexpected))
            return
        if chunk is None:
            yield End(None)
            return
        inputs = chunk.inputs
        if chunk.waiting:
            yield Room(inputs.nbytes)
            mapped.array(pipe.recv(), inputs.shape)[...] = inputs
        yield CasePart(chunk._replace(inputs=inputs[:0]), inputs.shape)


def answers_to(classifier: Classifier, arrays: Sequence[Batch], batch: Sequence[Inputs]) -> Answered:
    """Classify a batch of chunks; one list entry each, or a ``CaseError`` for a failed batch."""
    try:
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        starts = [0, *accumulate(len(array) for array in arrays)]
        pristine = [start + k for start, one in zip(starts, batch, strict=False) for k in one.pristine]
        return list(_apart(ask(classifier, whole, pristine), starts, batch))
    except BitdoseError as error:
        return error
    except Exception as unexpected:  # noqa: BLE001 -- the edge of the engine
        return crash(unexpected)


def _apart(
    predictions: ChunkPredictions, starts: Sequence[int], batch: Sequence[Inputs]
) -> Iterator[ChunkPredictions]:
    """Split a batch's predictions by chunk."""
    begun = 0
    for start, one in zip(starts, batch, strict=False):
        mine, plain = predictions.probabilities[start : start + one.shape[0]], None
        if one.pristine and predictions.in_fp32 is not None:
            plain = predictions.in_fp32[begun : begun + len(one.pristine)]
            begun += len(one.pristine)
        yield ChunkPredictions(mine, plain)

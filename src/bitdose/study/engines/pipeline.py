"""Pipeline engine: coders on all cores and one classifier process, for a single device such as a GPU.

Each coder takes a case, and its chunks go through shared memory to the classifier's process, many cases'
chunks in one batch where the device is faster with large ones. The number of chunks in flight is limited by
the blocks of shared memory: a coder waits for a free one. A coder that dies costs its case, which becomes a
failed row. A classifier process that dies is restarted and repeats its batches; a chunk on which it dies
again in a batch of its own costs its case. A classifier that is an object of this process classifies here,
one batch after the other, while the coders go on.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, CaseError
from bitdose.models.base import Classifier
from bitdose.processes import CONTEXT
from bitdose.study.engines.blocks import Blocks
from bitdose.study.engines.local import STOP_SECONDS, Finished, quiet_start
from bitdose.study.engines.pipeline_peers import (
    READY,
    Answered,
    CasePart,
    CasePredictions,
    End,
    Inputs,
    Room,
    answers_to,
    run_classifier,
    run_coder,
)
from bitdose.study.plan import StudyJob
from bitdose.study.rows import Row
from bitdose.study.worker import Chunk, ChunkPredictions, failed_rows, fill_predictions, in_order

# Batch size on a GPU, in samples. On a CPU larger batches gain nothing.
_MERGED_SAMPLES = {"cuda": 2**24}
_AHEAD = 2  # batches queued at the classifier: the current and the next one
_SPARE_BLOCKS = 2
_MAX_DEATHS = 2


def run_pipeline(
    cases: Iterable[Case],
    job: StudyJob,
    classifier: Classifier,
    *,
    workers: int,
    merged_samples: int | None = None,
) -> Iterator[Finished]:
    """Run cases in coder processes and one classifier process; a classifier that is an object runs here.

    Parameters
    ----------
    cases : iterable of Case
        Taken as coders become free.
    job : StudyJob
        With ``model`` set, a process of its own loads that; without, ``classifier`` answers in this one.
    classifier : Classifier
        The planned classifier; a process that loads a different one stops the study.
    workers : int
        Number of coders.
    merged_samples : int, optional
        Batch size in samples, filled with chunks of several cases; by default the device's usual one. If a
        runtime's last digits depend on the batch size, so do those of the rows.

    Yields
    ------
    tuple of Case and list of dict
        Each case with its rows, as they finish.

    Raises
    ------
    BitdoseError
        If the classifier cannot be loaded there, or there is no shared memory.
    """
    limit = _MERGED_SAMPLES.get(classifier.device, 0) if merged_samples is None else merged_samples
    yield from _Leader(deque(cases), job, classifier, workers, limit).run()


class _Peer:
    """A process and the pipe to it."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=target, args=(theirs, *arguments), daemon=True)
        with quiet_start():
            self.process.start()
        theirs.close()

    def tell(self, what: object) -> None:
        with contextlib.suppress(OSError):  # a dead process is detected when it is read from
            self.pipe.send(what)

    def hear(self) -> Any:
        """Return the process's message; None if it died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(STOP_SECONDS)
            return None

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.pipe.close()


class _Here:
    """A classifier of this process in a peer's place: it answers as soon as it is told."""

    def __init__(self, classifier: Classifier, blocks: Blocks) -> None:
        self._classifier, self._blocks = classifier, blocks
        self._said: deque[Answered] = deque()

    def tell(self, batch: Sequence[Inputs]) -> None:
        arrays = [self._blocks.copy(one.block, one.shape) for one in batch]
        self._said.append(answers_to(self._classifier, arrays, batch))

    def hear(self) -> Answered:
        return self._said.popleft()

    def stop(self) -> None:
        """No-op: nothing was started."""


@dataclass(eq=False)
class _Open:
    """A case in flight: its rows so far, and the number of its unclassified chunks."""

    case: Case
    rows: list[Row] = field(default_factory=list)
    unanswered: int = 0
    coded: bool = False
    error: CaseError | None = None


@dataclass(eq=False)
class _Coder:
    """A coder, its current case, and the block that it writes to."""

    peer: _Peer
    at: _Open | None = None
    block: str = ""


@dataclass(eq=False)
class _Waiting:
    """A chunk for the classifier."""

    of: _Open
    chunk: Chunk
    inputs: Inputs
    alone: bool = False  # a batch with it failed
    deaths: int = 0


class _Leader:
    """Scheduler: sends cases and blocks to coders, batches to the classifier, and collects rows."""

    def __init__(
        self, waiting: deque[Case], job: StudyJob, classifier: Classifier, workers: int, limit: int
    ) -> None:
        self.waiting, self.job, self.limit = waiting, job, limit
        self.here = None if job.model else classifier
        self.seen = CasePredictions(classifier.name, classifier.spec, classifier.device)
        count = min(workers, max(1, len(waiting)))
        self.blocks = Blocks(count + _SPARE_BLOCKS)
        self.open: list[_Open] = []
        self.asking: deque[tuple[_Coder, int]] = deque()
        self.chunks: deque[_Waiting] = deque()
        self.given: deque[list[_Waiting]] = deque()
        self.early_deaths = 0
        self.classifier: _Peer | _Here = self._classifier()
        self.coders = [_Coder(self._coder()) for _ in range(count)]

    def run(self) -> Iterator[Finished]:
        """Yield each case with its rows."""
        try:
            while self.waiting or self.open:
                self._give_cases()
                self._give_batches()  # first, since this releases the blocks of failed cases
                self._give_blocks()
                yield from self._finished()
                if not self.open:
                    continue
                busy: dict[Any, _Coder | None] = {c.peer.pipe: c for c in self.coders if c.at}
                theirs = [self.classifier.pipe] if isinstance(self.classifier, _Peer) else []
                for pipe in wait([*busy, *theirs]):
                    coder = busy.get(pipe)
                    self._hear_coder(coder) if coder else self._hear_classifier()
        finally:
            for peer in (self.classifier, *(coder.peer for coder in self.coders)):
                peer.stop()
            self.blocks.close()

    def _classifier(self) -> _Peer | _Here:
        self.ready = self.here is not None
        if self.here:
            return _Here(self.here, self.blocks)
        return _Peer(run_classifier, self.job, self.seen.name)

    def _coder(self) -> _Peer:
        return _Peer(run_coder, self.job, self.seen)

    def _give_cases(self) -> None:
        for coder in self.coders:
            if coder.at is None and self.waiting:
                if not coder.peer.process.is_alive():
                    coder.peer.stop()
                    coder.peer = self._coder()
                coder.at = _Open(self.waiting.popleft())
                self.open.append(coder.at)
                coder.peer.tell(coder.at.case)

    def _give_blocks(self) -> None:
        while self.asking:
            coder, n_bytes = self.asking[0]
            block = self.blocks.take(n_bytes)
            if block is None:
                return
            self.asking.popleft()
            coder.block = block
            coder.peer.tell(block)

    def _give_batches(self) -> None:
        while self.ready and self.chunks and len(self.given) < _AHEAD:
            batch = self._batch()
            if batch:
                self.given.append(batch)
                self.classifier.tell([one.inputs for one in batch])
                if self.here:
                    self._hear_classifier()

    def _batch(self) -> list[_Waiting]:
        """Return the next batch: a chunk and its successors that fit; chunks of failed cases are dropped."""
        batch: list[_Waiting] = []
        samples = 0
        while self.chunks:
            one = self.chunks[0]
            if one.of.error:
                self._let_go(self.chunks.popleft())
                continue
            samples += math.prod(one.inputs.shape)
            alike = not batch or batch[0].inputs.shape[1:] == one.inputs.shape[1:]
            if batch and (one.alone or batch[0].alone or not alike or samples > self.limit):
                break
            batch.append(self.chunks.popleft())
        return batch

    def _let_go(self, one: _Waiting) -> None:
        self.blocks.give_back(one.inputs.block)
        one.of.unanswered -= 1

    def _hear_coder(self, coder: _Coder) -> None:
        here = coder.at
        if here is None:
            return
        said = coder.peer.hear()
        if isinstance(said, Room):
            self.asking.append((coder, said.n_bytes))
        elif isinstance(said, CasePart):
            here.rows += said.chunk.waiting + said.chunk.settled
            if said.chunk.waiting:
                inputs = Inputs(coder.block, said.shape, said.chunk.pristine)
                self.chunks.append(_Waiting(here, said.chunk, inputs))
                here.unanswered += 1
                coder.block = ""
        elif isinstance(said, End):
            here.coded, here.error, coder.at = True, here.error or said.error, None
        elif isinstance(said, BitdoseError):
            raise said
        else:
            self._bury(coder, here)

    def _bury(self, coder: _Coder, here: _Open) -> None:
        """Fail the case of a coder that died, and free its block."""
        code = coder.peer.process.exitcode
        error = CaseError("worker-died", f"the worker process ended with code {code} on this case")
        here.coded, here.error, coder.at = True, error, None
        self.asking = deque((one, n_bytes) for one, n_bytes in self.asking if one is not coder)
        if coder.block:
            self.blocks.give_back(coder.block)
            coder.block = ""

    def _hear_classifier(self) -> None:
        said = self.classifier.hear()
        if said == READY:
            self.ready, self.early_deaths = True, 0
        elif said is None:
            self._restart()
        elif isinstance(said, CaseError):
            self._try_apart(self.given.popleft(), said)
        elif isinstance(said, BitdoseError):
            raise said
        else:
            for one, predictions in zip(self.given.popleft(), said, strict=True):
                self._classified(one, predictions)

    def _classified(self, one: _Waiting, predictions: ChunkPredictions) -> None:
        fill_predictions(one.chunk, predictions, self.seen.spec)
        self._let_go(one)

    def _try_apart(self, batch: list[_Waiting], error: CaseError) -> None:
        """Retry the chunks of a failed batch individually; a chunk that was already alone costs its case."""
        if len(batch) == 1:
            batch[0].of.error = error
        for one in reversed(batch):
            one.alone = True
            self.chunks.appendleft(one)

    def _restart(self) -> None:
        """Restart a classifier process that died, and resend its batches."""
        code = self.classifier.process.exitcode if isinstance(self.classifier, _Peer) else None
        if not self.ready:
            self.early_deaths += 1
            if self.early_deaths > _MAX_DEATHS:
                raise BitdoseError(f"model: the classifier's process ended with code {code} while it loaded")
        self.classifier.stop()
        self.classifier = self._classifier()
        first, *others = self.given or [[]]
        self.given = deque()
        self.chunks.extendleft(one for batch in reversed(others) for one in reversed(batch))
        if len(first) == 1:
            first[0].deaths += 1
        if len(first) == 1 and first[0].deaths < _MAX_DEATHS:
            self.chunks.appendleft(first[0])
        else:
            reason = f"the classifier's process ended with code {code} on this case"
            self._try_apart(first, CaseError("worker-died", reason))

    def _finished(self) -> Iterator[Finished]:
        done = [one for one in self.open if one.coded and not one.unanswered]
        self.open = [one for one in self.open if one not in done]
        for one in done:
            if one.error:
                yield one.case, failed_rows(one.case, self.job, self.seen.name, one.error)
            else:
                yield one.case, in_order(one.rows, self.job)

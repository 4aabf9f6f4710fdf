"""Classifier worker: claims exams, classifies them in batches, and stores predictions until stopped.

On SIGTERM, or when its parent process is gone, it stops after the current exams. A kill at any time loses
nothing: its claims expire, and predictions are stored atomically.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from bitdose.codecs.point import Point
from bitdose.errors import BitdoseError, CaseError, UsageError, argument
from bitdose.models.base import Classifier
from bitdose.models.load import ModelRef
from bitdose.profile.document import Profile
from bitdose.service.clock import now
from bitdose.service.db.database import make_engine, reading, sessions
from bitdose.service.db.tables import ExamRow
from bitdose.service.exams import queue
from bitdose.service.exams.inference import (
    PreparedInput,
    Read,
    ServerCoded,
    code_pristine,
    prepared,
    read_batch,
)
from bitdose.service.exams.profiles import Profiles
from bitdose.service.exams.queue import Claimed
from bitdose.service.exams.retention import coded_id
from bitdose.service.exams.storage import BlobStore, open_store
from bitdose.service.problems import where
from bitdose.service.settings import Settings
from bitdose.wire import ExamKind, ExamState

IDLE_S = 0.05

_LOG = logging.getLogger("bitdose.service.exams.worker")
_AFTER_TROUBLE_S = 2.0
_RENEW_S = queue.LEASE.total_seconds() / 3


@dataclass
class _Job:
    """One exam in progress; a pristine one without a coded partner is coded by the server as well."""

    exam: Claimed
    item: PreparedInput
    coded: ServerCoded | None = None
    coded_item: PreparedInput | None = None


@dataclass(frozen=True)
class Reader:
    """A loaded classifier with its queue and store.

    Parameters
    ----------
    engine, store, profiles
        The service's.
    classifier : Classifier
        Loaded.
    worker : str
        Unique name of the worker.
    """

    engine: Engine
    store: BlobStore
    profiles: Profiles
    classifier: Classifier
    worker: str

    def read_some(self, limit: int) -> int:
        """Process up to ``limit`` queued exams; return their number."""
        exams = queue.claim(self.engine, self.worker, limit=limit)
        if not exams:
            return 0
        with _renewing(self.engine, self.worker):
            jobs = [self._prepare(exam) for exam in exams]
            items = [job.item for job in jobs] + [job.coded_item for job in jobs if job.coded_item]
            reads = read_batch(items, self.classifier)
            self._settle(jobs, reads[: len(jobs)], iter(reads[len(jobs) :]))
        return len(exams)

    def _prepare(self, exam: Claimed) -> _Job:
        try:
            payload = self.store.read(exam.blob)
        except BitdoseError as error:
            return _Job(exam, PreparedInput(None, 0.0, str(error)))
        job = _Job(exam, prepared(exam.meta, payload, self.classifier))
        if exam.meta.kind is ExamKind.PRISTINE and job.item.batch is not None and not self._has_coded(exam):
            self._code(job, payload)
        return job

    def _has_coded(self, exam: Claimed) -> bool:
        """Whether the clinic sent the same exam coded, and it was accepted."""
        if exam.pair is None:
            return False
        same = (ExamRow.account_id == exam.account_id, ExamRow.pair == exam.pair)
        accepted = (ExamRow.kind == ExamKind.CODED, ExamRow.state != ExamState.REFUSED)
        with reading(self.engine) as session:
            return session.scalar(select(ExamRow.id).where(*same, *accepted).limit(1)) is not None

    def _code(self, job: _Job, payload: bytes) -> None:
        profile = self.profiles.get(job.exam.profile)
        if profile is None:
            return
        pair = job.exam.pair or f"service-{job.exam.id}"
        try:
            job.coded = code_pristine(job.exam.meta, payload, Point.parse(profile.point), pair)
        except CaseError as error:
            _LOG.warning("exam %s: not coded for comparison: %s", job.exam.id, error.reason)
            return
        job.coded_item = prepared(job.coded.meta, job.coded.payload, self.classifier)

    def _settle(self, jobs: Sequence[_Job], reads: Sequence[Read], coded_reads: Iterator[Read]) -> None:
        """Store all outcomes in one transaction; the server's coded bytes are stored before their row."""
        outcomes = [
            (job, read, next(coded_reads) if job.coded_item else None)
            for job, read in zip(jobs, reads, strict=True)
        ]
        blobs = {
            job.exam.id: self._keep(job.coded)
            for job, _, coded in outcomes
            if job.coded is not None and coded is not None and coded.answer is not None
        }
        with sessions(self.engine).begin() as session:
            for job, read, coded in outcomes:
                if read.answer is None:
                    queue.fail(session, job.exam.id, self.worker, read.reason)
                elif queue.finish(session, job.exam.id, self.worker, read.answer) and job.exam.id in blobs:
                    self._add_coded(session, job, coded, blobs[job.exam.id])

    def _keep(self, coded: ServerCoded) -> str:
        name = uuid4().hex
        self.store.write(name, 0, coded.payload)
        self.store.seal(name, len(coded.payload))
        return name

    def _add_coded(self, session: Session, job: _Job, read: Read | None, blob: str) -> None:
        """Add the server's coding of a pristine exam as a separate, classified exam."""
        if job.coded is None or read is None or read.answer is None:
            return
        exam, meta, at = job.exam, job.coded.meta, now()
        row = session.get(ExamRow, exam.id)
        if row is not None:
            row.pair = meta.pair
        name = coded_id(exam.id)
        session.add(
            ExamRow(
                id=name,
                account_id=exam.account_id,
                clinic=exam.clinic,
                meta=meta.model_dump(mode="json"),
                kind=meta.kind,
                pair=meta.pair,
                sha256=meta.sha256,
                blob=blob,
                profile=exam.profile,
                state=ExamState.ANSWERED,
                received=exam.received,
                answered=at,
                attempts=0,
            )
        )
        session.flush()
        session.add(queue.answer_row(name, self.worker, read.answer))


def load_classifier(settings: Settings, profile: Profile) -> Classifier:
    """Load the service's classifier; a missing input spec is taken from the profile.

    Raises
    ------
    UsageError
        If it does not load, or is not the profile's classifier.
    """
    ref = ModelRef(settings.model, settings.weights)
    try:
        found = ref.load()
    except UsageError:
        spec = {
            name: value for name, value in profile.classifier.input.to_dict().items() if value is not None
        }
        found = ModelRef(settings.model, settings.weights, spec).load()
    mine, theirs = found.name.rpartition("@")[2].lower(), profile.classifier.digest
    if not (mine.startswith(theirs) or theirs.startswith(mine)):
        raise UsageError(
            f"{argument('model', settings.model)}: the profile is for another: digest {theirs}, got {mine}"
        )
    return found


def new_name() -> str:
    """Return a unique name of a worker."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid4().hex[:12]}"


def work(settings: Settings, worker: str, *, stopped: Callable[[], bool]) -> None:
    """Process exams until stopped; errors of database or store are retried after a wait.

    Parameters
    ----------
    settings : Settings
        The service's.
    worker : str
        From :func:`new_name`.
    stopped : callable
        Checked between batches.
    """
    engine = make_engine(settings.database_url)
    store, profiles = open_store(settings.storage_url), Profiles(engine)
    reader: Reader | None = None
    try:
        while not stopped():
            profile = profiles.active() if reader is None else None
            if profile is not None:
                classifier = load_classifier(settings, profile)
                reader = Reader(engine, store, profiles, classifier, worker)
            if reader is None or not _read(reader, settings):
                time.sleep(IDLE_S)
    finally:
        queue.give_back(engine, worker)
        engine.dispose()


def main(settings: Settings, worker: str) -> None:
    """Run a worker as a separate process, started by ``processes.py``."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    parent = multiprocessing.parent_process()

    def stopped() -> bool:
        return told.is_set() or (parent is not None and not parent.is_alive())

    try:
        work(settings, worker, stopped=stopped)
    except BitdoseError as error:
        _LOG.error("the worker cannot work: %s", error)
        sys.exit(error.exit_code)


def _read(reader: Reader, settings: Settings) -> bool:
    try:
        if not queue.any_waits(reader.engine):
            return False
        if settings.batch_size > 1:
            time.sleep(settings.batch_seconds)
        return reader.read_some(settings.batch_size) > 0
    except Exception as error:  # noqa: BLE001  a database or store that is away must not end the worker
        _LOG.error("reading failed, trying again: %s", where(error))
        _pause(reader)
        return False


def _pause(reader: Reader) -> None:
    """Release the current claims after an error, if possible, and wait."""
    time.sleep(_AFTER_TROUBLE_S)
    try:
        queue.release(reader.engine, reader.worker)
    except Exception as error:  # noqa: BLE001  still away: the leases will run out
        _LOG.error("claims are left to their leases: %s", where(error))


@contextmanager
def _renewing(engine: Engine, worker: str) -> Iterator[None]:
    """Renew the claims while a batch is processed."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_RENEW_S):
            try:
                queue.renew(engine, worker)
            except Exception as error:  # noqa: BLE001  the next beat may reach it
                _LOG.error("a claim was not renewed: %s", where(error))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

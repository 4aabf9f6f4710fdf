"""The queue on SQLite and PostgreSQL: claimed by one, answered once, never lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AnswerRow, ExamRow
from bitdose.service.exams import queue
from bitdose.wire import Answer

Make = Callable[..., Any]
ANSWER = Answer(predicted="a", probabilities={"a": 0.7, "b": 0.3}, model="m@1", seconds=0.1)
PAST = timedelta(seconds=-1)


@pytest.fixture
def put(tables: Engine, enqueue: Make, coded: Make, draw: Make) -> Callable[..., str]:
    """Give ``put(**values)``: a waiting exam's id."""
    parcel = coded(draw(0, rows=420, columns=460))
    return lambda **values: enqueue(tables, parcel, **values)


def _finish(engine: Engine, exam_id: str, worker: str) -> bool:
    with sessions(engine).begin() as session:
        return queue.finish(session, exam_id, worker, ANSWER)


def _row(engine: Engine, exam_id: str) -> ExamRow:
    with reading(engine) as session:
        row = session.get(ExamRow, exam_id)
        assert row is not None
        return row


def test_a_claimed_exam_is_nobody_elses(tables: Engine, put: Make) -> None:
    """What one worker holds the next does not get; what waits comes in the order of receipt."""
    at = now()
    ids = [put(received=at + timedelta(seconds=index)) for index in range(3)]
    assert [exam.id for exam in queue.claim(tables, "one", limit=2)] == ids[:2]
    assert [exam.id for exam in queue.claim(tables, "two", limit=2)] == ids[2:]
    assert queue.claim(tables, "three", limit=2) == []
    assert not queue.any_waits(tables)


def test_pristine_exams_wait_for_idle_time(tables: Engine, put: Make) -> None:
    """A coded exam comes before every pristine one, however old that is."""
    old = put(kind="pristine", received=now() - timedelta(days=1))
    new = put()
    assert [exam.id for exam in queue.claim(tables, "one", limit=2)] == [new, old]


def test_an_answer_is_written_once(tables: Engine, put: Make) -> None:
    """Who holds the claim answers; a second answer, from anyone, changes nothing."""
    exam_id = put()
    queue.claim(tables, "one", limit=1)
    assert not _finish(tables, exam_id, "two")
    assert _finish(tables, exam_id, "one")
    assert not _finish(tables, exam_id, "one")
    row = _row(tables, exam_id)
    assert (row.state, row.lease) == ("answered", None)
    assert row.answered is not None
    with reading(tables) as session:
        assert [a.worker for a in session.scalars(select(AnswerRow))] == ["one"]


def test_a_lost_lease_settles_nothing(tables: Engine, put: Make) -> None:
    """A worker that was given up answers too late; the exam is the next one's."""
    exam_id = put()
    queue.claim(tables, "slow", limit=1, lease=PAST)
    (again,) = queue.claim(tables, "next", limit=1)
    assert (again.id, again.attempts) == (exam_id, 2)
    assert not _finish(tables, exam_id, "slow")
    with sessions(tables).begin() as session:
        assert not queue.fail(session, exam_id, "slow", "no")
    assert _finish(tables, exam_id, "next")


def test_a_renewed_lease_holds(tables: Engine, put: Make) -> None:
    """A worker that says it is still there keeps its exams."""
    put()
    queue.claim(tables, "one", limit=1, lease=PAST)
    queue.renew(tables, "one")
    assert queue.claim(tables, "two", limit=1) == []


def test_an_exam_that_ends_workers_ends_only_itself(tables: Engine, put: Make) -> None:
    """It is claimed alone after its first time, and fails with the reason after the last."""
    bad = put(received=now() - timedelta(hours=1))
    good = put()
    assert len(queue.claim(tables, "w0", limit=9)) == 2
    assert queue.release(tables, "w0") == 2
    for turn in range(1, queue.MAX_ATTEMPTS):
        assert [exam.id for exam in queue.claim(tables, f"w{turn}", limit=9)] == [bad]
        assert queue.release(tables, f"w{turn}") == 1
    assert [exam.id for exam in queue.claim(tables, "last", limit=9)] == [good]
    row = _row(tables, bad)
    assert row.state == "failed"
    assert "ended 5 times" in row.reason


def test_a_stop_does_not_count_as_an_attempt(tables: Engine, put: Make) -> None:
    """Exams of a worker that is told to stop wait as if they had never been taken."""
    exam_id = put()
    for _ in range(2 * queue.MAX_ATTEMPTS):
        queue.claim(tables, "one", limit=1)
        assert queue.give_back(tables, "one") == 1
    row = _row(tables, exam_id)
    assert (row.state, row.attempts, row.claimed_by) == ("queued", 0, None)


def test_depth_counts_what_is_not_settled(tables: Engine, put: Make) -> None:
    """Waiting and claimed exams are to come; settled ones are not."""
    for state in ("queued", "queued", "answered", "refused", "failed"):
        put(state=state)
    queue.claim(tables, "one", limit=1)
    with reading(tables) as session:
        assert queue.depth(session) == 2


def test_many_workers_at_once_share_the_exams(tables: Engine, put: Make) -> None:
    """Eight workers that claim at the same moment take every exam once."""
    ids = {put() for _ in range(60)}
    taken: list[str] = []
    start = threading.Barrier(8)

    def run(worker: str) -> None:
        start.wait()
        while exams := queue.claim(tables, worker, limit=3):
            taken.extend(exam.id for exam in exams if _finish(tables, exam.id, worker))

    threads = [threading.Thread(target=run, args=(f"w{index}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter(ids)

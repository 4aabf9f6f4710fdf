"""Workers are kept alive, replaced when they die, and stopped with their exams put back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select

from bitdose.errors import UsageError
from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow
from bitdose.service.exams import queue, worker
from bitdose.service.exams.processes import running
from bitdose.service.settings import Settings
from bitdose.wire import EXAMS

Make = Callable[..., Any]


def states(engine: Engine) -> list[str]:
    """Return the states of all exams."""
    with reading(engine) as session:
        return sorted(session.scalars(select(ExamRow.state)))


def test_a_dead_worker_is_replaced_and_its_exams_are_read(
    *,
    settings: Settings,
    engine: Engine,
    uploader: Make,
    send: Make,
    coded: Make,
    draw: Make,
    eventually: Make,
) -> None:
    """SIGKILL ends a worker; another reads on; the end of the block ends all."""
    sender = uploader("clinic")
    with running(settings) as workers:
        send(sender, coded(draw(1)))
        eventually(lambda: states(engine) == ["answered"], 60)
        (first,) = workers.pids
        os.kill(first, signal.SIGKILL)
        send(sender, coded(draw(2)))
        eventually(lambda: states(engine) == ["answered", "answered"], 60)
        (second,) = workers.pids
        assert second != first
    assert not psutil.pid_exists(second)


def test_a_worker_that_is_told_to_stop_puts_back_what_it_holds(
    *, app: FastAPI, settings: Settings, engine: Engine, uploader: Make, send: Make, coded: Make, draw: Make
) -> None:
    """Its claims do not count as attempts, and the exams wait again."""
    send(uploader("clinic"), coded(draw(1)))
    assert len(queue.claim(engine, "me", limit=4)) == 1
    worker.work(settings, "me", stopped=lambda: True)
    assert states(engine) == ["queued"]
    with reading(engine) as session:
        assert session.scalars(select(ExamRow.attempts)).one() == 0


def test_a_blob_that_is_gone_fails_its_exam_only(
    *, app: FastAPI, uploader: Make, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """The exam has failed with the reason; the next one is answered."""
    sender = uploader("clinic")
    lost = send(sender, coded(draw(1)))
    for name in list(app.state.context.store.names()):
        app.state.context.store.delete(name)
    kept = send(sender, coded(draw(2)))
    assert read_all() == 2
    view = sender.get(f"{EXAMS}/{lost}").json()
    assert (view["state"], view["reason"]) == ("failed", "storage: the blob is gone")
    assert sender.get(f"{EXAMS}/{kept}").json()["state"] == "answered"


def test_another_classifier_than_the_profiles_is_refused(
    app: FastAPI, settings: Settings, change: Make, texture_model: Any
) -> None:
    """A worker does not answer with a classifier that the profile was not made for."""
    profile = app.state.context.profile
    assert worker.load_classifier(settings, profile).name.startswith("phantom@")
    with pytest.raises(UsageError, match="the profile is for another"):
        worker.load_classifier(change(model=str(texture_model)), profile)

"""What is due is deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from bitdose.service.clock import now
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AnswerRow, ExamRow, UploadRow
from bitdose.service.exams.retention import Swept, drop_orphans, sweep
from bitdose.service.http.context import Context
from bitdose.wire import UPLOADS

Make = Callable[..., Any]


@pytest.fixture
def context(app: FastAPI) -> Context:
    """Give the app's context."""
    return app.state.context


@pytest.fixture
def sender(uploader: Make) -> httpx.Client:
    """Give a clinic's uploader."""
    return uploader("clinic")


def count(context: Context, table: type) -> int:
    """Count a table's rows."""
    with reading(context.engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_old_exams_go_with_all_that_is_theirs(
    *, context: Context, sender: httpx.Client, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """After their days answer, upload and bytes go too; younger ones stay."""
    old, young = send(sender, coded(draw(1))), send(sender, coded(draw(2)))
    read_all()
    with sessions(context.engine).begin() as session:
        ago = now() - timedelta(days=31)
        session.execute(update(ExamRow).where(ExamRow.id == old).values(received=ago))
    assert sweep(context.engine, context.store, at=now(), days=30) == Swept(exams=1, uploads=0)
    with reading(context.engine) as session:
        assert list(session.scalars(select(ExamRow.id))) == [young]
    assert [count(context, table) for table in (AnswerRow, UploadRow)] == [1, 1]
    assert len(list(context.store.names())) == 1


def test_zero_days_keep_exams(
    context: Context, sender: httpx.Client, send: Make, coded: Make, draw: Make
) -> None:
    """Without a term nothing is deleted, however old."""
    send(sender, coded(draw(1)))
    later = now() + timedelta(days=1)
    assert sweep(context.engine, context.store, at=later, days=0).exams == 0
    assert count(context, ExamRow) == 1


def test_uploads_go_after_their_life(
    *, context: Context, sender: httpx.Client, send: Make, opening: Make, coded: Make, draw: Make
) -> None:
    """An unfinished one goes with its bytes; of a finished one the exam and its bytes stay."""
    send(sender, coded(draw(1)))
    other = coded(draw(2))
    place = sender.post(UPLOADS, headers=opening(other)).headers["Location"]
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    assert sender.patch(place, headers=headers, content=other.payload[:100]).status_code == 204
    assert len(list(context.store.names())) == 2
    later = now() + timedelta(days=8)
    assert sweep(context.engine, context.store, at=later, days=0) == Swept(exams=0, uploads=2)
    assert (count(context, UploadRow), count(context, ExamRow)) == (0, 1)
    assert len(list(context.store.names())) == 1


def test_bytes_that_no_row_knows_go_at_the_second_look(
    context: Context, sender: httpx.Client, send: Make, coded: Make, draw: Make
) -> None:
    """A blob may be a moment older than its row, so the first look only remembers."""
    send(sender, coded(draw(1)))
    lost = uuid4().hex
    context.store.write(lost, 0, b"abc")
    deleted, suspects = drop_orphans(context.engine, context.store, frozenset())
    assert (deleted, suspects) == (0, {lost})
    assert drop_orphans(context.engine, context.store, suspects)[0] == 1
    assert lost not in set(context.store.names())
    assert len(list(context.store.names())) == 1

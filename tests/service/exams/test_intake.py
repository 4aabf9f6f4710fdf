"""An exam is made once of every complete upload, wherever the service stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from bitdose.errors import BitdoseError
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import ExamRow, UploadRow
from bitdose.service.exams import tus
from bitdose.service.exams.intake import DamagedError, complete, complete_all, exam_id
from bitdose.service.http.context import Context

Make = Callable[..., Any]


@pytest.fixture
def context(app: FastAPI) -> Context:
    """Give the app's context."""
    return app.state.context


@pytest.fixture
def sent(context: Context, account: Make) -> Callable[[Any], str]:
    """Give ``sent(parcel)``: an upload with all its bytes and no exam yet."""

    def put(parcel: Any) -> str:
        who = account("clinic").id
        upload = tus.create(context.engine, who, parcel.meta)
        tus.append(context.engine, context.store, upload.id, who, offset=0, data=parcel.payload)
        return upload.id

    return put


def n_exams(context: Context) -> int:
    """Count the exams."""
    with reading(context.engine) as session:
        return session.scalar(select(func.count()).select_from(ExamRow)) or 0


def run(context: Context, upload_id: str) -> str:
    """Complete an upload."""
    return complete(context.engine, context.store, context.profiles, upload_id)


def test_an_upload_becomes_one_exam_however_often(
    context: Context, sent: Make, coded: Make, draw: Make
) -> None:
    """Called again, it gives the same exam."""
    upload_id = sent(coded(draw(1)))
    assert run(context, upload_id) == run(context, upload_id)
    assert n_exams(context) == 1


def test_a_crash_between_the_last_byte_and_the_exam_loses_nothing(
    context: Context, sent: Make, coded: Make, draw: Make
) -> None:
    """An upload that was sealed, or not, before the service died becomes its exam at the next start."""
    ids = [sent(coded(draw(seed))) for seed in range(3)]
    with reading(context.engine) as session:
        upload = session.get(UploadRow, ids[1])
    assert upload is not None
    context.store.seal(upload.blob, upload.length)
    assert complete_all(context.engine, context.store, context.profiles) == 3
    assert n_exams(context) == 3
    assert complete_all(context.engine, context.store, context.profiles) == 0


def test_one_that_was_entered_but_not_noted_is_not_entered_twice(
    context: Context, sent: Make, coded: Make, draw: Make
) -> None:
    """The exam is found by its id, and its bytes stay."""
    parcel = coded(draw(1))
    upload_id = sent(parcel)
    made = run(context, upload_id)
    with sessions(context.engine).begin() as session:
        session.execute(update(UploadRow).values(exam_id=None))
    assert run(context, upload_id) == made
    with reading(context.engine) as session:
        row = session.scalars(select(ExamRow)).one()
    assert context.store.read(row.blob) == parcel.payload


def test_the_id_is_of_sender_and_words(coded: Make, draw: Make) -> None:
    """Another sender, patient, pair or payload is another exam; another version of the client is not."""
    parcel = coded(draw(1), pseudonym="somebody-1")
    same = exam_id(1, parcel.meta)
    assert exam_id(1, parcel.saying(client="bitdose 9").meta) == same
    others = [
        exam_id(2, parcel.meta),
        *(
            exam_id(1, parcel.saying(**said).meta)
            for said in (
                {"pseudonym": "somebody-2"},
                {"pair": "pair-00001"},
                {"sha256": "0" * 64},
                {"modality": ""},
            )
        ),
    ]
    assert len({same, *others}) == 6


def test_a_damaged_payload_is_dropped(context: Context, sent: Make, coded: Make, draw: Make) -> None:
    """Bytes that are not what was stated leave neither exam nor upload nor blob."""
    upload_id = sent(coded(draw(1)).saying(sha256="0" * 64))
    with pytest.raises(DamagedError, match="send it again"):
        run(context, upload_id)
    assert n_exams(context) == 0
    assert list(context.store.names()) == []
    with pytest.raises(BitdoseError, match="not complete"):
        run(context, upload_id)


def test_an_incomplete_upload_is_no_exam(context: Context, account: Make, coded: Make, draw: Make) -> None:
    """Missing bytes are an error, and the upload stays."""
    upload = tus.create(context.engine, account("clinic").id, coded(draw(1)).meta)
    with pytest.raises(BitdoseError, match="not complete"):
        run(context, upload.id)
    assert not tus.find(context.engine, upload.id, account("clinic").id).is_complete
    assert complete_all(context.engine, context.store, context.profiles) == 0


def test_an_account_can_hold_so_many_uploads_open(
    context: Context, account: Make, coded: Make, draw: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than allowed is refused, so that nobody fills the disk with beginnings."""
    monkeypatch.setattr(tus, "MAX_OPEN", 2)
    meta, who = coded(draw(1)).meta, account("clinic").id
    for _ in range(2):
        tus.create(context.engine, who, meta)
    with pytest.raises(tus.TusError, match="2 uploads are open") as caught:
        tus.create(context.engine, who, meta)
    assert caught.value.status == 429

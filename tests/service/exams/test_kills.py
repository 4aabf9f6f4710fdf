"""Killed at any moment: no exam is lost, none is answered twice.

``BITDOSE_KILLS=100`` runs a hundred rounds; the default runs a few.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import Engine, func, select

from bitdose.service import clock
from bitdose.service.accounts.accounts import add_account
from bitdose.service.accounts.tokens import make_token
from bitdose.service.db.database import make_engine, reading, sessions
from bitdose.service.db.tables import AnswerRow, ExamRow, UploadRow
from bitdose.service.http.app import make_context
from bitdose.service.settings import Settings
from bitdose.wire import EXAM_HEADER, UPLOADS, Role

Make = Callable[..., Any]
ROUNDS = int(os.environ.get("BITDOSE_KILLS", "4"))
TUS = {"Tus-Resumable": "1.0.0"}
STREAM = TUS | {"Content-Type": "application/offset+octet-stream"}

_SERVER = """
import sys, uvicorn
from pathlib import Path
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings

if __name__ == "__main__":
    folder, database, profile, port = sys.argv[1:]
    settings = Settings(
        data=Path(folder), database=database, model="phantom", profile=profile, workers=1, batch_size=4
    )
    uvicorn.run(create_app(settings, start_workers=True), port=int(port), log_level="critical")
"""


class Service:
    """A server process with its workers, started, killed and started again."""

    def __init__(self, settings: Settings, script: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = [str(settings.data), settings.database_url, settings.profile, str(self.port)]
        self.command = [sys.executable, str(script), *arguments]
        self.process: Any = None
        self.left: list[psutil.Process] = []

    def start(self) -> None:
        """Start the process; it may not answer yet."""
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)

    def kill_worker(self, rng: random.Random) -> None:
        """Kill one of the children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            if children:
                rng.choice(children).send_signal(signal.SIGKILL)

    def kill(self) -> None:
        """Kill the server; its workers see it and leave by themselves."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.left += psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop in good order."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, settings: Settings, change: Make) -> Settings:
    """Give the settings of a service with SQLite, and of one with PostgreSQL."""
    if request.param == "sqlite":
        return settings
    from sqlalchemy import text

    url = request.getfixturevalue("postgres")
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return change(database=url)


@pytest.fixture
def engine_of_home(home: Settings) -> Iterator[Engine]:
    """Give the service's tables, made before it starts."""
    engine = make_context(home).engine
    yield engine
    engine.dispose()


@pytest.fixture
def bearer(engine_of_home: Engine) -> str:
    """Give a clinic's token."""
    with sessions(engine_of_home).begin() as session:
        values = {"role": Role.CLINIC, "clinic": "north", "password": "four plain words", "now": clock.now()}
        row = add_account(session, name="north-1", **values)
        session.flush()
        return make_token(session, row.id, "uploader", now=clock.now())[1]


@pytest.fixture
def service(home: Settings, engine_of_home: Engine, tmp_path: Path) -> Iterator[Service]:
    """Give a service that is not started yet."""
    script = tmp_path / "run_service.py"
    script.write_text(_SERVER)
    service = Service(home, script)
    yield service
    service.close()


def push(client: httpx.Client, parcel: Any, opening: Make, until: float) -> str:
    """Send one exam as an uploader does: open, ask, go on, and begin anew where the upload is gone."""
    place = ""
    while time.monotonic() < until:
        try:
            if not place:
                answer = client.post(UPLOADS, headers=opening(parcel))
                place = answer.headers.get("Location", "")
                continue
            stands = client.head(place, headers=TUS)
            if EXAM_HEADER in stands.headers:
                return stands.headers[EXAM_HEADER]
            at = int(stands.headers["Upload-Offset"])
            piece = parcel.payload[at : at + 1500]
            answer = client.patch(place, headers=STREAM | {"Upload-Offset": str(at)}, content=piece)
            if EXAM_HEADER in answer.headers:
                return answer.headers[EXAM_HEADER]
        except (httpx.TransportError, KeyError):
            time.sleep(0.05)
    raise AssertionError("the exam could not be sent")


def test_no_exam_is_lost_and_none_answered_twice(
    *,
    service: Service,
    engine_of_home: Engine,
    bearer: str,
    coded: Make,
    pristine: Make,
    draw: Make,
    opening: Make,
    eventually: Make,
    lives: Make,
) -> None:
    """While exams are sent piece by piece, server or worker is killed at random; all get one answer."""
    rng = random.Random(5)
    sent: list[str] = []
    service.start()
    with httpx.Client(
        base_url=service.url, headers={"Authorization": f"Bearer {bearer}"}, timeout=5
    ) as client:
        for turn in range(ROUNDS):
            began = time.monotonic()
            due = began + rng.uniform(0.0, 2.0)
            make = pristine if turn % 4 == 3 else coded
            sent.append(push(client, make(draw(turn, rows=410, columns=450)), opening, began + 300))
            time.sleep(max(0.0, due - time.monotonic()))
            if rng.random() < 0.5:
                service.kill_worker(rng)
            else:
                service.kill()
                service.start()
        eventually(lambda: _open_exams(engine_of_home) == 0, 90)
    with reading(engine_of_home) as session:
        exams = {row.id: row for row in session.scalars(select(ExamRow))}
        answered = list(session.scalars(select(AnswerRow.exam_id)))
        stranded = session.scalar(
            select(func.count()).where(UploadRow.offset == UploadRow.length, UploadRow.exam_id.is_(None))
        )
    assert set(sent) <= set(exams)
    assert len(sent) == len(set(sent)) == ROUNDS
    assert {row.state for row in exams.values()} == {"answered"}
    assert sorted(answered) == sorted(exams)
    assert len(exams) == ROUNDS + ROUNDS // 4  # the service's own coding of each pristine exam
    assert stranded == 0
    eventually(lambda: not any(map(lives, service.left)))


def _open_exams(engine: Engine) -> int:
    with reading(engine) as session:
        unsettled = ExamRow.state.in_(("queued", "reading"))
        return session.scalar(select(func.count()).select_from(ExamRow).where(unsettled)) or 0

"""Workers as Ray actors: the same queue, the same promises, on a cluster started here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, func, select

from bitdose.errors import UsageError
from bitdose.service.db.database import reading
from bitdose.service.db.tables import AnswerRow, ExamRow
from bitdose.service.exams.processes import running
from bitdose.service.settings import Settings

Make = Callable[..., Any]
pytest.importorskip("ray", reason="ray is not installed (pip install 'bitdose[ray]')")


@pytest.fixture
def on_ray(change: Make) -> Settings:
    """Give the settings of a service with two actors, one exam each at a time."""
    return change(workers=2, workers_on="ray", batch_size=1)


def actors(parent: int) -> list[int]:
    """Return the process ids of the actors below a process."""
    below = psutil.Process(parent).children(recursive=True)
    return [p.pid for p in below if any("ray::Actor" in part for part in _command(p))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def answered(engine: Engine) -> dict[str, int]:
    """Return how many answers each exam has."""
    with reading(engine) as session:
        counts = select(ExamRow.id, func.count(AnswerRow.exam_id)).outerjoin(AnswerRow).group_by(ExamRow.id)
        return {name: count for name, count in session.execute(counts)}  # noqa: C416


def test_killed_actors_and_a_killed_driver_lose_nothing(
    *,
    on_ray: Settings,
    engine: Engine,
    uploader: Make,
    send: Make,
    coded: Make,
    draw: Make,
    eventually: Make,
    lives: Make,
) -> None:
    """SIGKILL of actors over an exam, then of what drives them: each exam gets one answer, no process stays.

    The cluster is reached from this machine alone: whoever reaches one can run programs on it.
    """
    sender, sent = uploader("clinic"), []
    with running(on_ray) as workers:
        sent.append(send(sender, coded(draw(1))))
        eventually(lambda: answered(engine) == dict.fromkeys(sent, 1), 90)
        (driver,) = workers.pids
        eventually(lambda: len(actors(driver)) == 2, 60)
        first = actors(driver)
        held = _being_read(engine, lambda seed: sent.append(send(sender, coded(draw(seed)))))
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not held & _claims(engine), 20)  # well before its lease would end
        eventually(lambda: answered(engine) == dict.fromkeys(sent, 1), 90)
        eventually(lambda: len(set(actors(driver)) - set(first)) == 2, 60)
        below = psutil.Process(driver).children(recursive=True)
        assert _listens(below) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        assert _listens(below)
        os.kill(driver, signal.SIGKILL)
        eventually(lambda: bool(workers.pids) and workers.pids != [driver], 60)
        sent.append(send(sender, coded(draw(2))))
        eventually(lambda: answered(engine) == dict.fromkeys(sent, 1), 90)
        below += psutil.Process(workers.pids[0]).children(recursive=True)
    # Ray's own helpers find out by themselves that they are orphans, which takes them up to a minute.
    eventually(lambda: not any(map(lives, below)), 120)


def _being_read(engine: Engine, send_one: Callable[[int], None]) -> set[tuple[str, str]]:
    """Send exams until one is being read, and return who reads what."""
    for seed in range(10, 60):
        send_one(seed)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            if held := _claims(engine):
                return held
    raise AssertionError("none was seen while it was read")


def _claims(engine: Engine) -> set[tuple[str, str]]:
    """Return the exams that are being read, each with its worker."""
    with reading(engine) as session:
        held = select(ExamRow.id, ExamRow.claimed_by).where(ExamRow.state == "reading")
        return {(name, by or "") for name, by in session.execute(held)}


def _listens(processes: list[psutil.Process]) -> set[str]:
    """Return the addresses at which some processes can be reached."""
    found: set[str] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended since it was listed
            at = process.net_connections("inet")
            found |= {one.laddr.ip for one in at if one.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.parametrize("value", ["rays", "ray: ", "process"])
def test_an_unknown_place_is_refused(change: Make, value: str) -> None:
    """Only processes, a Ray of one's own or one at an address will do."""
    with pytest.raises(UsageError, match="workers_on: expected processes, ray or ray:ADDRESS"):
        change(workers_on=value)


def test_the_address_is_read(change: Make) -> None:
    """``ray`` starts one here; what follows the colon is the address, colons and all."""
    addresses = [change(workers_on=text).ray_address for text in ("processes", "ray", "ray:10.0.0.4:6379")]
    assert addresses == [None, "", "10.0.0.4:6379"]


def test_without_ray_the_command_says_how_to_get_it(tmp_path: Any) -> None:
    """A missing extra is one line with the command."""
    (tmp_path / "ray.py").write_text("raise ImportError('not here')\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "bitdose", "serve", "--model", "phantom", "--workers-on", "ray"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "pip install 'bitdose[ray]'" in done.stderr


def test_a_cluster_that_is_not_there_is_one_line(change: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """The process that would drive the actors ends with the address, and no traceback."""
    from bitdose.service.exams.processes import ProcessWorker
    from bitdose.service.exams.ray_workers import main

    driver = ProcessWorker(change(workers_on="ray:127.0.0.1:1"), "x", main)
    assert driver.wait(60)
    assert driver.why_ended() == "code 1"
    said = capfd.readouterr().err
    assert "workers_on: no Ray at 127.0.0.1:1" in said
    assert "Traceback" not in said

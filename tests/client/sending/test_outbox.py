"""The queue outlives its process: what was taken in is there, whole, whatever happened."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitdose.client.sending.outbox import NAME, ItemState, Outbox
from bitdose.client.sending.prepare import Exam, coded_exam, open_exam
from bitdose.errors import BitdoseError
from bitdose.profile.document import Profile

HERE = "https://s"


@pytest.fixture
def exam(png: Callable[..., bytes], profile: Profile) -> Exam:
    """Give an exam ready to go."""
    return coded_exam(open_exam(png()), profile, pseudonym="a" * 16)


def _add(outbox: Outbox, exam: Exam, digest: str = "d") -> bool:
    return outbox.add_all([exam], server=HERE, source="x.png", source_digest=digest)


def test_an_item_comes_back_whole(tmp_path: Path, exam: Exam) -> None:
    """What is read from the queue is what was put in, piece by piece."""
    assert _add(Outbox(tmp_path), exam)
    outbox = Outbox(tmp_path)
    item = outbox.next_waiting(HERE)
    assert item is not None
    assert (item.meta, item.source, item.state) == (exam.meta, "x.png", ItemState.WAITING)
    outbox.check_payload(item)
    with outbox.reading(item) as read:
        assert read(0, 10) + read(10, len(exam.payload) - 10) == exam.payload
    assert outbox.next_waiting("https://other") is None


def test_a_payload_leaves_the_disk_with_its_exam(tmp_path: Path, exam: Exam) -> None:
    """Once the exam is at the service, its bytes are in no file of the folder any more."""
    outbox = Outbox(tmp_path)
    _add(outbox, exam)
    item = outbox.next_waiting(HERE)
    assert item is not None
    outbox.arrived(item, "e1", due=0.0)
    with pytest.raises(BitdoseError, match="not in the queue"), outbox.reading(item) as read:
        read(0, 1)
    left = b"".join(file.read_bytes() for file in tmp_path.glob(f"{NAME}*"))
    assert exam.payload[40:100] not in left


def test_damage_is_seen(tmp_path: Path, exam: Exam) -> None:
    """One byte changed on the disk is noticed before anything is sent."""
    import sqlite3

    outbox = Outbox(tmp_path)
    _add(outbox, exam)
    item = outbox.next_waiting(HERE)
    assert item is not None
    with sqlite3.connect(tmp_path / NAME) as db, db.blobopen("payloads", "data", 1) as blob:
        blob[50] ^= 1
    db.close()
    with pytest.raises(BitdoseError, match="damaged"):
        outbox.check_payload(item)


def test_a_refused_exam_may_be_added_again(tmp_path: Path, exam: Exam) -> None:
    """A refusal ends an item; the same file then is a new one, while a waiting one stays as it is."""
    outbox = Outbox(tmp_path)
    assert _add(outbox, exam)
    assert not _add(outbox, exam)
    item = outbox.next_waiting(HERE)
    assert item is not None
    outbox.finish(item, ItemState.REFUSED, reason="too small")
    assert _add(outbox, exam)
    assert [one.state for one in outbox.items()] == [ItemState.WAITING]


def test_one_that_fails_again_and_again_makes_way(tmp_path: Path, exam: Exam) -> None:
    """After five tries the next in line goes first."""
    outbox = Outbox(tmp_path)
    _add(outbox, exam, "first")
    _add(outbox, exam, "second")
    first = outbox.next_waiting(HERE)
    assert first is not None
    for tries in range(5):
        item = outbox.next_waiting(HERE)
        assert item is not None
        assert (item.id, item.tries) == (first.id, tries)
        outbox.tried(item)
    second = outbox.next_waiting(HERE)
    assert second is not None
    assert second.id != first.id


def test_a_folder_that_cannot_hold_it_says_so(tmp_path: Path, exam: Exam) -> None:
    """A queue that is no database is one line, not a traceback, and nothing is overwritten."""
    (tmp_path / NAME).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(BitdoseError, match="cannot be used"):
        _add(Outbox(tmp_path), exam)
    assert (tmp_path / NAME).read_bytes().startswith(b"no database")


_ADDER = """
import sys
from pathlib import Path
from bitdose.client.sending.outbox import Outbox
from bitdose.client.sending.prepare import Exam
from bitdose.wire import ExamMeta
from bitdose.hashing import bytes_digest
outbox = Outbox(Path(sys.argv[1]))
for n in range(100000):
    data = bytes([n % 256]) * 200000
    meta = ExamMeta(kind="coded", point="jpeg:q30", pseudonym="a" * 16, rows=9, columns=9, bits=8,
                    photometric="MONOCHROME2", sha256=bytes_digest(data), payload_bytes=len(data),
                    source_bytes=9)
    outbox.add_all([Exam(meta, data)], server="https://s", source=f"{n}", source_digest=f"{n}")
    print(n, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_had_taken(tmp_path: Path, spawn: Any) -> None:
    """Killed in mid-write, six times: each exam said to be taken is there, and every payload is whole."""
    said = -1
    for turn in range(6):
        child = spawn([sys.executable, "-c", _ADDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 * turn)
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        said = max([said, *map(int, rest)])
    outbox = Outbox(tmp_path)
    items = outbox.items()
    assert len(items) >= said + 1 > 3
    for item in items:
        outbox.check_payload(item)

"""tus over a real server: resumed at the byte, checked, limited, and safe against itself."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select, update

from bitdose.service import clock
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AuditRow, ExamRow, ProfileRow, UploadRow
from bitdose.service.settings import Settings
from bitdose.wire import EVENTS, EXAM_HEADER, EXAMS, TUS_EXTENSIONS, TUS_VERSION, UPLOADS

Make = Callable[..., Any]
TUS = {"Tus-Resumable": TUS_VERSION}
STREAM = TUS | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def parcel(coded: Make, draw: Make) -> Any:
    """Give an exam of some thousand bytes."""
    return coded(draw(1))


@pytest.fixture
def sender(uploader: Make) -> httpx.Client:
    """Give a clinic's uploader."""
    return uploader("clinic")


@pytest.fixture
def opened(sender: httpx.Client, parcel: Any, opening: Make) -> str:
    """Give the place of an upload that was opened."""
    answer = sender.post(UPLOADS, headers=opening(parcel))
    assert answer.status_code == 201, answer.text
    assert int(answer.headers["Upload-Offset"]) == 0
    return answer.headers["Location"]


def patch(client: httpx.Client, place: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    """Send a piece."""
    return client.patch(place, headers=STREAM | {"Upload-Offset": str(offset)} | headers, content=data)


def offset_of(client: httpx.Client, place: str) -> int:
    """Ask where an upload stands."""
    answer = client.head(place, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def test_the_server_says_what_it_speaks(client: httpx.Client, settings: Settings) -> None:
    """OPTIONS names version, extensions, size limit and checksum, to anyone."""
    answer = client.options(UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == TUS_VERSION
    assert answer.headers["Tus-Extension"] == ",".join(TUS_EXTENSIONS)
    assert answer.headers["Tus-Max-Size"] == str(settings.max_upload_bytes)
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256"


def test_an_upload_goes_on_at_the_byte(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """Pieces of any length add up to one exam, which the last answer and every later look names."""
    data, at = parcel.payload, 0
    for end in (1, 1000, 1001, len(data)):
        answer = patch(sender, opened, at, data[at:end])
        assert answer.status_code == 204, answer.text
        assert int(answer.headers["Upload-Offset"]) == end == offset_of(sender, opened)
        assert (EXAM_HEADER in answer.headers) == (end == len(data))
        at = end
    exam_id = answer.headers[EXAM_HEADER]
    assert sender.head(opened, headers=TUS).headers[EXAM_HEADER] == exam_id
    view = sender.get(f"{EXAMS}/{exam_id}").json()
    assert (view["state"], view["pseudonym"]) == ("queued", parcel.meta.pseudonym)


def test_what_came_before_the_link_broke_is_kept(
    sender: httpx.Client, server: str, parcel: Any, opened: str, eventually: Make
) -> None:
    """A connection cut in the middle of a piece leaves the bytes that arrived; the upload goes on there."""
    data, url = parcel.payload, urlsplit(server)
    head = [f"PATCH {opened} HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {len(data)}"]
    head += [f"{k}: {v}" for k, v in (STREAM | {"Upload-Offset": "0"}).items()]
    head += [f"Authorization: {sender.headers['Authorization']}"]
    with socket.create_connection((url.hostname, url.port)) as raw:
        raw.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + data[:1500])
        time.sleep(0.3)  # what arrives together with the end of a connection, uvicorn drops
    eventually(lambda: offset_of(sender, opened) == 1500)
    assert patch(sender, opened, 1500, data[1500:]).headers[EXAM_HEADER]


def test_the_first_bytes_may_come_with_the_opening(sender: httpx.Client, parcel: Any, opening: Make) -> None:
    """One request opens an upload, carries it and names the exam: a round trip less on a slow link."""
    headers = opening(parcel) | STREAM
    answer = sender.post(UPLOADS, headers=headers, content=parcel.payload)
    assert answer.status_code == 201
    assert answer.headers[EXAM_HEADER]
    assert offset_of(sender, answer.headers["Location"]) == len(parcel.payload)


def test_a_wrong_offset_is_a_conflict(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """Only the byte where the upload stands is taken; a repeated piece is not taken twice."""
    assert patch(sender, opened, 5, b"x").status_code == 409
    assert patch(sender, opened, 0, parcel.payload[:100]).status_code == 204
    answer = patch(sender, opened, 0, parcel.payload[:100])
    assert answer.status_code == 409
    assert "stands at 100" in answer.json()["detail"]
    assert offset_of(sender, opened) == 100


def test_a_piece_with_a_wrong_checksum_is_not_taken(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """A damaged piece is answered with 460 and leaves the offset; the right one is taken."""
    piece = parcel.payload[:500]
    right = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    checked = {"Upload-Checksum": f"sha256 {right}"}
    answer = patch(sender, opened, 0, b"?" + piece[1:], **checked)
    assert (answer.status_code, answer.headers["Content-Type"]) == (460, "application/problem+json")
    assert offset_of(sender, opened) == 0
    assert patch(sender, opened, 0, piece, **checked).status_code == 204
    assert patch(sender, opened, 500, b"x", **{"Upload-Checksum": "md5 abc"}).status_code == 400


def test_a_damaged_payload_has_to_be_sent_again(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """An upload whose bytes are not those of its SHA-256 becomes no exam and is gone."""
    data = bytearray(parcel.payload)
    data[50] ^= 1
    assert patch(sender, opened, 0, bytes(data)).status_code == 460
    assert sender.head(opened, headers=TUS).status_code == 404
    assert sender.get(EXAMS).json()["exams"] == []


def test_the_same_exam_twice_is_one_exam(sender: httpx.Client, parcel: Any, send: Make, app: FastAPI) -> None:
    """An exam sent again, after an answer that was lost, is the same exam and its bytes are kept once."""
    assert send(sender, parcel) == send(sender, parcel)
    assert len(sender.get(EXAMS).json()["exams"]) == 1
    assert len(list(app.state.context.store.names())) == 1


def test_two_requests_for_one_offset_cannot_both_win(
    sender: httpx.Client, new_client: Make, parcel: Any, opened: str
) -> None:
    """Of eight at once one is taken, the others conflict, and the payload is whole."""
    data, codes, start = parcel.payload, [], threading.Barrier(8)

    def run() -> None:
        client = new_client()
        client.headers = sender.headers
        start.wait()
        codes.append(patch(client, opened, 0, data[:1000]).status_code)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [204] + [409] * 7
    assert patch(sender, opened, 1000, data[1000:]).headers[EXAM_HEADER]


def test_more_bytes_than_announced_are_refused(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """A body that would go beyond the announced length is 413, also without a Content-Length."""
    data = parcel.payload + b"x"
    assert patch(sender, opened, 0, data).status_code == 413
    chunked = sender.patch(opened, headers=STREAM | {"Upload-Offset": "0"}, content=iter([data]))
    assert chunked.status_code == 413
    assert offset_of(sender, opened) == 0


def test_a_body_without_a_length_is_taken(sender: httpx.Client, parcel: Any, opened: str) -> None:
    """A chunked body is counted as it comes."""
    answer = sender.patch(opened, headers=STREAM | {"Upload-Offset": "0"}, content=iter([parcel.payload]))
    assert answer.headers[EXAM_HEADER]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Tus-Resumable": ""}, 412),
        ({"Upload-Length": "-5"}, 400),
        ({"Upload-Length": "12"}, 400),
        ({"Upload-Length": str(10**12)}, 413),
        ({"Upload-Length": ""}, 400),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "exam !!!"}, 400),
        ({"Upload-Metadata": "exam " + base64.b64encode(b"{}").decode()}, 400),
        ({"Upload-Metadata": "exam e30=,exam e30="}, 400),
    ],
)
def test_a_wrong_opening_is_refused(
    change: dict[str, str], status: int, sender: httpx.Client, parcel: Any, opening: Make
) -> None:
    """Version, length and metadata are checked; the answer is a problem and repeats nothing that was sent."""
    answer = sender.post(UPLOADS, headers=opening(parcel) | change)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_metadata_alone_can_be_refused(
    sender: httpx.Client, parcel: Any, opening: Make, engine: Engine
) -> None:
    """What the profile forbids is said before a byte of the body has crossed the link, and is recorded."""
    harder = parcel.saying(point="jpeg:q10@256")
    answer = sender.post(UPLOADS, headers=opening(harder))
    assert answer.status_code == 422
    assert "compressed harder than the profile's jpeg:q30@256" in answer.json()["detail"]
    with reading(engine) as session:
        recorded = session.scalars(select(AuditRow.detail).where(AuditRow.status == 422)).all()
    assert recorded == [answer.json()["detail"]]


def test_a_payload_that_lies_becomes_a_refused_exam(
    sender: httpx.Client, coded: Make, draw: Make, send: Make, app: FastAPI
) -> None:
    """A stream harder than stated is a refused exam with the reason, and its bytes are not kept."""
    lying = coded(draw(1), "jpeg:q10@256").saying(point="jpeg:q30@256")
    view = sender.get(f"{EXAMS}/{send(sender, lying)}").json()
    assert view["state"] == "refused"
    assert "compressed harder than the profile's" in view["reason"]
    assert list(app.state.context.store.names()) == []


def test_a_place_is_its_senders_alone(uploader: Make, parcel: Any, opened: str) -> None:
    """To another clinic, and even to an admin, an upload does not exist; others may not send at all."""
    other = uploader("clinic", name="south-1", clinic="south")
    assert other.head(opened, headers=TUS).status_code == 404
    assert patch(other, opened, 0, parcel.payload).status_code == 404
    assert other.delete(opened, headers=TUS).status_code == 404
    assert uploader("physician").post(UPLOADS, headers=TUS).status_code == 403
    assert uploader("admin").head(opened, headers=TUS).status_code == 403


def test_nobody_sends_nothing(client: httpx.Client, parcel: Any, opened: str, opening: Make) -> None:
    """Without a login there is no upload."""
    assert client.post(UPLOADS, headers=opening(parcel)).status_code == 401
    assert patch(client, opened, 0, b"x").status_code == 401


def test_an_upload_can_be_ended(sender: httpx.Client, parcel: Any, opened: str, app: FastAPI) -> None:
    """After DELETE neither the upload nor its bytes are there."""
    patch(sender, opened, 0, parcel.payload[:100])
    assert sender.delete(opened, headers=TUS).status_code == 204
    assert sender.head(opened, headers=TUS).status_code == 404
    assert list(app.state.context.store.names()) == []


def test_an_expired_upload_is_gone(sender: httpx.Client, parcel: Any, opened: str, engine: Engine) -> None:
    """After its life an upload is 410, and the answer before had said when."""
    assert sender.head(opened, headers=TUS).headers["Upload-Expires"].endswith("GMT")
    with sessions(engine).begin() as session:
        session.execute(update(UploadRow).values(expires=clock.now() - timedelta(seconds=1)))
    assert sender.head(opened, headers=TUS).status_code == 410
    assert patch(sender, opened, 0, parcel.payload).status_code == 410


@pytest.mark.parametrize("place", ["/../../etc/passwd", "/%2e%2e%2fetc", "/" + "a" * 32, "/..%5c..", "/%00"])
def test_a_place_is_never_a_path(sender: httpx.Client, place: str) -> None:
    """Whatever stands where an upload's id should be is an upload that is not there."""
    assert sender.head(UPLOADS + place, headers=TUS).status_code in (404, 405)
    assert patch(sender, UPLOADS + place, 0, b"x").status_code in (404, 405)


def test_without_a_profile_nothing_is_taken(
    sender: httpx.Client, parcel: Any, opened: str, opening: Make, engine: Engine
) -> None:
    """While no profile is active the answer is 503; an upload that is complete by then waits for one."""
    with sessions(engine).begin() as session:
        session.execute(update(ProfileRow).values(active=False))
    assert sender.post(UPLOADS, headers=opening(parcel)).status_code == 503
    assert patch(sender, opened, 0, parcel.payload).status_code == 503
    with sessions(engine).begin() as session:
        session.execute(update(ProfileRow).values(active=True))
    assert sender.head(opened, headers=TUS).headers[EXAM_HEADER]


def test_the_row_is_what_was_said(sender: httpx.Client, parcel: Any, send: Make, engine: Engine) -> None:
    """Sender, clinic, profile and metadata of the exam are those of the upload."""
    exam_id = send(sender, parcel)
    with reading(engine) as session:
        row = session.scalars(select(ExamRow)).one()
    assert (row.id, row.clinic, row.sha256) == (exam_id, "north", parcel.meta.sha256)
    assert row.meta == parcel.meta.model_dump(mode="json")
    assert row.profile


def test_a_silent_body_is_cut_off_and_goes_on_later(
    sender: httpx.Client, parcel: Any, opened: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a body, then nothing: 408, and what came counts; one who listens may be silent for longer."""
    monkeypatch.setattr("bitdose.service.http.guards.BODY_IDLE_S", 0.4)
    where, half = urlsplit(server), len(parcel.payload) // 2
    head = STREAM | {
        "Host": where.netloc,
        "Authorization": sender.headers["Authorization"],
        "Upload-Offset": "0",
        "Content-Length": str(len(parcel.payload)),
    }
    lines = [f"PATCH {opened} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    with socket.create_connection((where.hostname, where.port), timeout=10) as link:
        link.sendall("\r\n".join(lines).encode() + parcel.payload[:half])
        assert b"408" in link.recv(4096).split(b"\r\n")[0]
    at = int(sender.head(opened, headers=TUS).headers["Upload-Offset"])
    assert at == half
    with sender.stream("GET", EVENTS) as news:
        lines = news.iter_lines()
        assert next(lines) == ": welcome"
        time.sleep(1.0)
        headers = STREAM | {"Upload-Offset": str(at)}
        answer = sender.patch(opened, headers=headers, content=parcel.payload[at:])
        assert EXAM_HEADER in answer.headers


def test_an_expired_profile_takes_nothing_and_loses_nothing(
    *, sender: httpx.Client, parcel: Any, opened: str, opening: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service runs its profile's time ends: 503 for all that would use it; the bytes stay."""
    from bitdose.service.exams import intake

    late = clock.now() + timedelta(days=3660)
    monkeypatch.setattr(intake, "now", lambda: late)
    assert sender.get("/readyz").status_code == 503
    assert "expired on" in sender.get("/readyz").json()["detail"]
    assert sender.get("/api/v1/profile").status_code == 503
    assert sender.post(UPLOADS, headers=opening(parcel)).status_code == 503
    piece = {"headers": STREAM | {"Upload-Offset": "0"}, "content": parcel.payload}
    assert sender.patch(opened, **piece).status_code == 503
    monkeypatch.setattr(intake, "now", clock.now)
    assert EXAM_HEADER in sender.head(opened, headers=TUS).headers

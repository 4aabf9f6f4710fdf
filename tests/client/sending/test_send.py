"""An exam arrives once, whole, over a line that breaks, and goes on where it stopped."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitdose.client.deidentify.pseudonyms import Pseudonyms
from bitdose.client.sending.connection import Server, StopError, connect, read_token
from bitdose.client.sending.intake import Intake
from bitdose.client.sending.outbox import ItemState, Outbox
from bitdose.client.sending.send import PIECE_BYTES, Event, Sender
from bitdose.errors import BitdoseError, UsageError
from bitdose.profile.document import Profile
from bitdose.wire import UPLOADS

TOKEN = "test-token"


class Clinic:
    """The queue, the sender and what it said, for an address."""

    def __init__(self, folder: Path, url: str, profile: Profile, *, share: float = 0.0, token: str = TOKEN):
        self.outbox, self.server = Outbox(folder), Server(url, token)
        self.intake = Intake(
            self.outbox, Pseudonyms(folder), profile, server=self.server.name, sentinel_share=share
        )
        self.events: list[Event] = []

    def said(self) -> list[str]:
        """Return what happened, but for bytes."""
        return [event.what for event in self.events if event.what != "bytes"]

    def run(self, **options: Any) -> None:
        """Empty the queue; waits are drawn short."""
        with connect(self.server) as client:
            rng = random.Random(0)
            rng.uniform = lambda low, high: 0.0  # type: ignore[method-assign]
            Sender(self.outbox, self.server, client, say=self.events.append, rng=rng).run(**options)


def test_an_exam_is_sent_and_answered(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """A small exam takes one request to send, and the answer is kept with its item."""
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    clinic.run()
    assert clinic.said() == ["sent", "answered"]
    assert [method for method, _ in service.requests] == ["POST", "GET"]
    (item,) = clinic.outbox.items()
    assert item.state is ItemState.ANSWERED
    assert item.answer["answer"]["predicted"] == "normal"


def test_the_answer_may_come_with_the_word_of_arrival(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """One exam alone costs one request; where others wait, none is held up; one not read yet is asked for."""
    service.answers_at_once = True
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    clinic.run()
    assert clinic.said() == ["sent", "answered"]
    assert [method for method, _ in service.requests] == ["POST"]
    assert service.waits == ["wait=5"]
    for seed in (1, 2):
        clinic.intake.add(png(seed), f"{seed}.png")
    service.answers_after = 1
    clinic.run()
    assert service.waits == ["wait=5"] * 2
    assert [method for method, _ in service.requests[1:3]] == ["POST", "POST"]
    assert [item.state for item in clinic.outbox.items()] == [ItemState.ANSWERED] * 3


def test_many_exams_share_one_connection(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """Ten exams and their answers travel over one TCP connection."""
    line = lines(service.url)
    clinic = Clinic(tmp_path, line.url, profile)
    for seed in range(10):
        clinic.intake.add(png(seed), f"{seed}.png")
    clinic.run()
    assert len(service.exams) == 10
    assert line.connections == 1


def test_an_interrupted_upload_goes_on_at_the_byte(
    tmp_path: Path, serve: Any, full_size: Profile, png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """Cut three times in mid-body: what the socket carried in all is the payload once, and headers."""
    service = serve(full_size)
    line = lines(service.url)
    clinic = Clinic(tmp_path, line.url, full_size)
    taken = clinic.intake.add(png(1, side=1024), "x.png")
    total = taken.meta.payload_bytes
    assert total > 300_000
    line.cuts = [60_000, 150_000, 260_000]
    clinic.run()
    assert clinic.said().count("resumed") == 3
    offsets = [event.n_bytes for event in clinic.events if event.what == "resumed"]
    assert offsets == sorted(offsets)
    assert min(offsets) > 40_000
    (exam,) = service.exams
    assert len(exam["data"]) == total
    headers = 6_000  # of eight requests; a body sent anew would be 60 kB and more
    assert total < line.up < total + headers
    print(f"payload {total}, at the socket {line.up}")


def test_a_new_process_goes_on_where_the_old_one_stopped(
    tmp_path: Path, serve: Any, full_size: Profile, png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """After the sender itself is gone, a new one asks for the offset and sends the rest only."""
    service = serve(full_size)
    line = lines(service.url)
    clinic = Clinic(tmp_path, line.url, full_size)
    total = clinic.intake.add(png(1, side=1024), "x.png").meta.payload_bytes
    line.cuts = [200_000]
    with connect(clinic.server) as client:
        assert Sender(clinic.outbox, clinic.server, client).step() is not None
    assert not service.exams
    again = Clinic(tmp_path, line.url, full_size)
    again.run()
    assert again.said() == ["resumed", "sent", "answered"]
    assert line.up < total + 4_000


def test_an_upload_that_expired_begins_anew(
    tmp_path: Path, serve: Any, full_size: Profile, png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """Where the service no longer knows the upload, all of it is sent again, and there is one exam."""
    service = serve(full_size)
    line = lines(service.url)
    clinic = Clinic(tmp_path, line.url, full_size)
    clinic.intake.add(png(1, side=512), "x.png")
    line.cuts = [30_000]
    with connect(clinic.server) as client:
        Sender(clinic.outbox, clinic.server, client).step()
    service.uploads.clear()
    clinic.run()
    assert len(service.exams) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_trouble_that_passes_is_waited_for(
    status: int, tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """Overload, conflict and gateway errors are tried again, and the exam arrives once."""
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    service.troubles = [(status, {}), (status, {})]
    clinic.run()
    assert clinic.said() == ["waiting", "waiting", "sent", "answered"]
    assert len(service.exams) == 1


def test_retry_after_is_obeyed(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """A service that asks for a second gets a second."""
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    service.troubles = [(503, {"Retry_After": "1"})]
    started = time.monotonic()
    clinic.run()
    assert time.monotonic() - started >= 1.0


def test_waits_grow_and_are_random(tmp_path: Path, profile: Profile, png: Callable[..., bytes]) -> None:
    """With nobody there, waits are drawn from 0 to 1, 2, 4, ... 60 seconds."""
    clinic = Clinic(tmp_path, "http://127.0.0.1:9", profile)
    clinic.intake.add(png(), "x.png")
    spans: list[float] = []
    rng = random.Random(0)
    rng.uniform = lambda low, high: spans.append(high) or 0.0  # type: ignore[method-assign, func-returns-value]
    with connect(clinic.server) as client:
        sender = Sender(clinic.outbox, clinic.server, client, rng=rng)
        for _ in range(8):
            sender.step()
    assert spans == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_exam_that_is_refused_is_not_sent_again(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """The reason is kept, the others go on."""
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(1), "bad.png")
    clinic.intake.add(png(2), "good.png")
    service.troubles = [(422, {})]
    clinic.run()
    states = {item.source: (item.state, item.reason) for item in clinic.outbox.items()}
    assert states["bad.png"] == (ItemState.REFUSED, "the service responds with 422: as asked")
    assert states["good.png"][0] is ItemState.ANSWERED


def test_a_wrong_token_stops_everything(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """401 is no exam's fault: sending stops, the queue stays, and the token is in no message."""
    clinic = Clinic(tmp_path, service.url, profile, token="wrong-token")
    clinic.intake.add(png(), "x.png")
    with pytest.raises(StopError, match="no such token") as caught:
        clinic.run()
    assert "wrong-token" not in str(caught.value)
    assert "wrong-token" not in repr(clinic.server)
    assert clinic.outbox.next_waiting(clinic.server.name) is not None


def test_patience_ends(tmp_path: Path, profile: Profile, png: Callable[..., bytes]) -> None:
    """Where nothing moves, the call ends and says that all of it waits."""
    clinic = Clinic(tmp_path, "http://127.0.0.1:9", profile)
    clinic.intake.add(png(), "x.png")
    with pytest.raises(BitdoseError, match="stay in the queue"):
        clinic.run(patience_s=0.05)


def test_the_pristine_half_makes_way(
    tmp_path: Path, serve: Any, full_size: Profile, png: Callable[..., bytes]
) -> None:
    """An exam taken in while a pristine image is on its way goes before its rest; nothing is sent twice."""
    service = serve(full_size)
    clinic = Clinic(tmp_path, service.url, full_size, share=1.0)
    clinic.intake.add(png(1, side=512), "slow.png")
    urgent = Intake(clinic.outbox, Pseudonyms(tmp_path), full_size, server=clinic.server.name)

    def hear(event: Event) -> None:
        clinic.events.append(event)
        late = event.what == "bytes" and event.item is not None and not event.item.meta.point
        if late and event.n_bytes > PIECE_BYTES:
            urgent.add(png(2, side=64), "urgent.png")

    with connect(clinic.server) as client:
        Sender(clinic.outbox, clinic.server, client, say=hear).run(idle=True)
    sent = [(e.item.source, e.item.meta.kind.value) for e in clinic.events if e.what == "sent" and e.item]
    assert sent == [("slow.png", "coded"), ("urgent.png", "coded"), ("slow.png", "pristine")]
    pristine = service.exams[-1]
    assert len(pristine["data"]) == pristine["length"] > 2 * PIECE_BYTES


def test_pristine_halves_wait_for_idle_time(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """A call that is not idle ends with the answers that someone waits for; the halves stay in the queue."""
    clinic = Clinic(tmp_path, service.url, profile, share=1.0)
    clinic.intake.add(png(), "x.png")
    clinic.run()
    assert [exam["meta"].kind.value for exam in service.exams] == ["coded"]
    clinic.run(idle=True)
    assert [exam["meta"].kind.value for exam in service.exams] == ["coded", "pristine"]
    assert {item.state for item in clinic.outbox.items()} == {ItemState.ANSWERED}


def test_an_answer_that_takes_its_time_is_asked_for_again(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """While the exam is being read, the client asks again, and does not send it again."""
    service.answers_after = 2
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    clinic.run()
    assert clinic.said() == ["sent", "answered"]
    assert [path for _, path in service.requests].count(UPLOADS) == 1


def test_an_exam_that_arrived_unnoticed_is_not_sent_again(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """Where all bytes arrived and the word of it was lost, HEAD names the exam, and no byte is sent again."""
    clinic = Clinic(tmp_path / "first", service.url, profile)
    (tmp_path / "first").mkdir()
    (tmp_path / "again").mkdir()
    clinic.intake.add(png(), "x.png")
    clinic.run()
    again = Clinic(tmp_path / "again", service.url, profile)
    again.intake.add(png(), "x.png")
    item = again.outbox.next_waiting(again.server.name)
    assert item is not None
    again.outbox.begun(item, f"{UPLOADS}/u0")
    again.run()
    assert [method for method, _ in service.requests][2:] == ["HEAD", "GET"]
    assert len(service.exams) == 1


def test_an_exam_refused_by_its_payload_says_why(
    tmp_path: Path, service: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """What the service finds wrong after all bytes are there reaches the clinic as the reason."""
    service.refusal = "compressed harder than certified"
    clinic = Clinic(tmp_path, service.url, profile)
    clinic.intake.add(png(), "x.png")
    clinic.run()
    assert clinic.said() == ["sent", "refused"]
    (item,) = clinic.outbox.items()
    assert (item.state, item.reason) == (ItemState.REFUSED, service.refusal)


@pytest.mark.parametrize(
    "url",
    ["http://exams.example.org", "ftp://x", "exams.example.org", "https://u:p@x.org", "http://10.0.0.1"],
)
def test_the_token_travels_encrypted_only(url: str) -> None:
    """Plain HTTP to another machine is refused before anything is sent."""
    with pytest.raises(UsageError, match="^url "):
        Server(url, TOKEN)


def test_a_token_comes_from_a_closed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that others may read is refused; the variable serves where there is no file."""
    file = tmp_path / "token"
    file.write_text("abc\n")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == "abc"
    monkeypatch.setenv("BITDOSE_TOKEN", "xyz")
    assert read_token(None) == "xyz"
    monkeypatch.delenv("BITDOSE_TOKEN")
    with pytest.raises(UsageError, match="BITDOSE_TOKEN"):
        read_token(None)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clinic test")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem", folder / "key.pem"


def test_certificates_are_always_verified(
    tmp_path: Path, serve: Any, profile: Profile, png: Callable[..., bytes]
) -> None:
    """An unknown authority stops everything before the token is sent; named by --ca-file, it is trusted."""
    import threading
    from http.server import ThreadingHTTPServer

    service = serve(profile)
    cert, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    handler = service.handler
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        clinic = Clinic(tmp_path, url, profile)
        clinic.intake.add(png(), "x.png")
        with pytest.raises(StopError, match="goes to ca_file"):
            clinic.run()
        assert not service.requests
        clinic.server = Server(url, TOKEN, cert)
        clinic.run()
        assert clinic.said() == ["sent", "answered"]
    finally:
        server.shutdown()
        server.server_close()

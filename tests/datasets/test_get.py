"""What ``data get`` promises, against a real local file server that misbehaves on request."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import bitdose.datasets.part
from bitdose.data.load import load_cases
from bitdose.datasets.fetch import DiskError
from bitdose.datasets.get import Fetched, get_set
from bitdose.datasets.manifest import Manifest, parse_manifest
from bitdose.datasets.web import FetchError, How, read_url
from bitdose.errors import BitdoseError

SHORT = How(retries=3, timeout_s=2.0, backoff_s=0.01)
BODY = bytes(range(256)) * 1200  # several chunks


class Server(ThreadingHTTPServer):
    """A file server whose next answers can be spoiled."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.validators = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    """Serves ``Server.bodies`` with Range and If-Range."""

    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, spoiled by the next fault of this path if there is one."""
        span, condition = self.headers["Range"], self.headers["If-Range"]
        self.server.asked.append((self.path, span, condition))
        faults = self.server.faults[self.path]
        fault = faults.pop(0) if faults else ""
        if fault[:3].isdigit():
            return self.refuse(fault)
        if self.path not in self.server.bodies:
            return self.refuse("404")
        body = self.server.bodies[self.path]
        tag = '"' + hashlib.sha256(body).hexdigest()[:8] + '"'
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        if fault == "no-range" or (condition and condition != tag):
            start = 0
        if start >= len(body):
            return self.refuse("416")
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.server.validators:
            self.send_header("ETag", tag)
        sent = bytes(len(body)) if fault == "wrong" else body
        self.send_header("Content-Length", str(len(body) - start + (5 if fault == "longer" else 0)))
        self.end_headers()
        half = start + (len(body) - start) // 2
        self.wfile.write(sent[start:half] if fault in ("cut", "stall") else sent[start:])
        self.wfile.flush()
        if fault == "stall":
            time.sleep(1.5)
        if fault in ("cut", "stall"):
            self.connection.close()
        return None

    def refuse(self, fault: str) -> None:
        """Send a bare status, with Retry-After or Location where the fault says so."""
        code, _, more = fault.partition(" ")
        self.send_response(int(code))
        if more:
            self.send_header("Location" if code.startswith("3") else "Retry-After", more)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server for one test, reached without any proxy."""
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def manifest(server: Server, *names: str, body: bytes = BODY, **more: Any) -> Manifest:
    """Serve a body under names and describe it."""
    entries = []
    for name in names:
        server.bodies.setdefault(f"/{name}", body)
        sha256 = hashlib.sha256(body).hexdigest()
        entries.append({"path": name, "url": f"{server.url}/{name}", "bytes": len(body), "sha256": sha256})
    document = {"name": "little", "licence": "CC0", "files": [entry | more for entry in entries]}
    return parse_manifest(json.dumps(document).encode(), "test")


def get(wanted: Manifest, out: Path, how: How = SHORT) -> Fetched:
    """Fetch quickly."""
    return get_set(wanted, out, how=how)


def files(folder: Path) -> list[str]:
    """List what is in a folder, but the lock."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith(".lock"))


def test_files_come_whole_and_a_second_call_fetches_nothing(server: Server, tmp_path: Path) -> None:
    """All files arrive with the right bytes; complete files are checked and skipped."""
    wanted = manifest(server, "a.bin", "deep/er/b.bin")
    assert get(wanted, tmp_path / "out") == Fetched(2, 0, ())
    assert files(tmp_path / "out") == ["a.bin", "deep/er/b.bin"]
    assert (tmp_path / "out/deep/er/b.bin").read_bytes() == BODY
    n_asked = len(server.asked)
    assert get(wanted, tmp_path / "out") == Fetched(0, 2, ())
    assert len(server.asked) == n_asked


@pytest.mark.parametrize("fault", ["cut", "stall", "503", "500", "429 0", "408", "503 0"])
def test_what_passes_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    """A cut, a stall, a busy or failing server: tried again, and the file is whole."""
    server.faults["/a.bin"] = [fault, fault]
    assert get(manifest(server, "a.bin"), tmp_path, How(3, 0.5, 0.01)).fetched == 1
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(server.asked) == 3


def test_a_cut_file_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    """After a cut only the rest is asked for, on condition that the file is the same."""
    server.faults["/a.bin"] = ["cut"]
    get(manifest(server, "a.bin"), tmp_path)
    (_, first, _), (_, span, condition) = server.asked
    assert first is None
    assert span == f"bytes={len(BODY) // 2}-"
    assert condition == '"' + hashlib.sha256(BODY).hexdigest()[:8] + '"'


def test_a_later_call_resumes_too(server: Server, tmp_path: Path) -> None:
    """What one call could not finish, the next one goes on with."""
    server.faults["/a.bin"] = ["cut", "404"]
    done = get(manifest(server, "a.bin"), tmp_path)
    assert done.failures == ((1, "HTTP 404 (127.0.0.1)"),)
    assert files(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1
    assert server.asked[-1][1] == f"bytes={len(BODY) // 2}-"
    assert files(tmp_path) == ["a.bin"]


def test_a_server_that_ignores_range_sends_from_the_start(server: Server, tmp_path: Path) -> None:
    """A 200 to a Range request replaces what there was instead of being appended."""
    server.faults["/a.bin"] = ["cut", "no-range"]
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_or_complete_needs_no_rest(server: Server, tmp_path: Path) -> None:
    """Too long a part is dropped; a complete one is checked and named without a request."""
    (tmp_path / "a.bin.part").write_bytes(BODY + b"x")
    (tmp_path / "b.bin.part").write_bytes(BODY)
    assert get(manifest(server, "a.bin", "b.bin"), tmp_path).fetched == 2
    assert [path for path, _, _ in server.asked] == ["/a.bin"]


def test_an_unsatisfiable_range_begins_anew(server: Server, tmp_path: Path) -> None:
    """A 416 to a resumed request starts the file again."""
    (tmp_path / "a.bin.part").write_bytes(BODY[:100])
    server.faults["/a.bin"] = ["416"]
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("validators", [True, False])
def test_a_file_that_changed_between_two_calls(server: Server, tmp_path: Path, validators: bool) -> None:
    """Halves of two versions are never joined: If-Range sees it, or else the digest does."""
    server.validators = validators
    server.bodies["/a.bin"] = bytes(len(BODY))  # another version, of the same size
    server.faults["/a.bin"] = ["cut", "404"]
    get(manifest(server, "a.bin"), tmp_path)
    server.bodies["/a.bin"] = BODY
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert files(tmp_path) == ["a.bin"]


def test_wrong_bytes_are_set_aside_and_the_rest_goes_on(server: Server, tmp_path: Path) -> None:
    """A whole file with another digest never gets the name; it is kept once, however often it comes."""
    wanted = manifest(server, "a.bin", "b.bin")
    server.faults["/a.bin"] = ["wrong", "wrong"]
    for _ in range(2):
        done = get(wanted, tmp_path)
        assert [number for number, _ in done.failures] == [1]
        assert "SHA-256" in done.failures[0][1]
        assert files(tmp_path) == ["a.bin.wrong", "b.bin"]
    assert get(wanted, tmp_path) == Fetched(1, 1, ())


def test_a_file_of_the_users_in_its_place_is_kept(server: Server, tmp_path: Path) -> None:
    """A wrong file that stands in a file's place is renamed, not overwritten."""
    (tmp_path / "a.bin").write_bytes(b"mine")
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1
    assert (tmp_path / "a.bin.wrong").read_bytes() == b"mine"


def test_the_next_url_is_tried(server: Server, tmp_path: Path) -> None:
    """Of several URLs the first that gives the right bytes counts: gone, wrong, then right."""
    server.bodies |= {"/wrong": bytes(len(BODY)), "/right": BODY}
    urls = [f"{server.url}/{name}" for name in ("gone", "wrong", "right")]
    assert get(manifest(server, "a.bin", url=urls), tmp_path).fetched == 1
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_another_size_is_refused_before_it_comes(server: Server, tmp_path: Path) -> None:
    """A page of another length, as a login page would be, is not taken, and no part is lost to it."""
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    wanted = manifest(server, "a.bin")
    server.bodies["/a.bin"] = b"<html>please log in</html>"
    server.faults["/a.bin"] = ["no-range"]
    assert "26 bytes, the manifest states 307200" in get(wanted, tmp_path).failures[0][1]
    assert (tmp_path / "a.bin.part").stat().st_size == 1000


def test_a_server_that_sends_too_much_is_cut_off(server: Server, tmp_path: Path) -> None:
    """More bytes than the manifest states are not written."""
    wanted = manifest(server, "a.bin", body=BODY[:-5])
    server.bodies["/a.bin"] = BODY
    assert "manifest states 307195" in get(wanted, tmp_path).failures[0][1]
    assert "a.bin" not in files(tmp_path)


def test_a_server_that_is_busy_for_long_is_left_for_later(server: Server, tmp_path: Path) -> None:
    """A Retry-After of an hour is told, not waited for; a date in the past is no wait."""
    server.faults["/a.bin"] = ["503 3600"]
    server.faults["/b.bin"] = ["503 Wed, 21 Oct 2015 07:28:00 GMT"]
    done = get(manifest(server, "a.bin", "b.bin"), tmp_path)
    assert "asks to wait 3600 s" in done.failures[0][1]
    assert done.fetched == 1


def test_a_machine_without_a_network_learns_it_once(server: Server, tmp_path: Path) -> None:
    """A host that never answered is not tried for every file."""
    urls = "http://127.0.0.1:9/{name}"  # discard: nobody listens there
    entries = [{"path": f"{n}.bin", "url": f"h:{n}", "bytes": 9, "sha256": "0" * 64} for n in range(40)]
    document = {"name": "x", "licence": "CC0", "bases": {"h": urls}, "files": entries}
    started = time.monotonic()
    done = get(parse_manifest(json.dumps(document).encode(), "t"), tmp_path, How(2, 2.0, 0.2))
    assert len(done.failures) == 40
    assert sum("for an earlier file" in reason for _, reason in done.failures) >= 30
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("where", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_redirects_lead_to_the_web_only(server: Server, tmp_path: Path, where: str) -> None:
    """A server cannot make the client read the user's own files."""
    server.faults["/a.bin"] = [f"302 {where}"]
    done = get(manifest(server, "a.bin"), tmp_path)
    assert len(done.failures) == 1
    assert files(tmp_path) == []


def test_a_redirect_inside_the_web_is_followed(server: Server, tmp_path: Path) -> None:
    """A 302 to another address of the web gives the file."""
    server.bodies["/elsewhere"] = BODY
    server.faults["/a.bin"] = ["302 /elsewhere"]
    assert get(manifest(server, "a.bin"), tmp_path).fetched == 1


def test_a_link_cannot_lead_a_file_out_of_the_folder(server: Server, tmp_path: Path) -> None:
    """A sub-folder that links elsewhere is refused, and the other files come."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    done = get(manifest(server, "sub/a.bin", "b.bin"), tmp_path / "out")
    assert done.fetched == 1
    assert "points outside" in done.failures[0][1]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_or_file_in_the_way_is_one_failure(server: Server, tmp_path: Path) -> None:
    """A folder in a file's place, or a file in a folder's, fails that file alone."""
    (tmp_path / "a.bin").mkdir()
    (tmp_path / "deep").write_text("a file")
    done = get(manifest(server, "a.bin", "deep/b.bin", "c.bin"), tmp_path)
    assert [number for number, _ in done.failures] == [1, 2]
    assert done.fetched == 1


def test_a_full_disk_stops_all_and_keeps_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room left: one clear error; after room is made the same call goes on."""
    wanted = manifest(server, "a.bin", "b.bin")
    real = bitdose.datasets.part.Part.append

    def full(self: Any, out: Any, chunk: bytes) -> None:
        if self.n_bytes > len(BODY) // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, out, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(bitdose.datasets.part.Part, "append", full)
        with pytest.raises(DiskError, match="the disk is full; received bytes are retained"):
            get(wanted, tmp_path)
    assert get(wanted, tmp_path).failures == ()


def test_a_disk_without_room_is_seen_before_anything_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes to come are held against the room there is."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
    with pytest.raises(BitdoseError, match="307200 bytes are still to come, 1000 are free"):
        get(manifest(server, "a.bin"), tmp_path)
    assert server.asked == []


def test_a_folder_takes_one_get_at_a_time(server: Server, tmp_path: Path) -> None:
    """A second call into the same folder is told to wait."""
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BitdoseError, match="another 'data get' is writing"):
            get(manifest(server, "a.bin"), tmp_path)


def test_an_output_that_cannot_be_a_folder(server: Server, tmp_path: Path) -> None:
    """A file in the folder's place is one line, not a traceback."""
    (tmp_path / "out").write_text("")
    with pytest.raises(BitdoseError, match="cannot write there"):
        get(manifest(server, "a.bin"), tmp_path / "out")


def test_the_table_of_a_set_is_read_by_a_study(server: Server, tmp_path: Path) -> None:
    """Files that are cases become cases.csv; one that failed is left out until it comes."""
    case = {"label": "sick", "patient": "p1", "split": "test", "source": "here"}
    wanted = manifest(server, "a.bin", "b.bin", case=case)
    server.faults["/b.bin"] = ["404"]
    assert get(wanted, tmp_path).table == tmp_path / "cases.csv"
    assert [found.id for found in load_cases(tmp_path).cases] == ["a.bin"]
    get(wanted, tmp_path)
    found = load_cases(tmp_path, split="test").cases
    assert [(c.id, c.label, c.patient, c.columns) for c in found] == [
        (name, "sick", "p1", {"source": "here"}) for name in ("a.bin", "b.bin")
    ]
    assert all(c.path.read_bytes() == BODY for c in found)


def test_a_manifest_without_patients_names_none(server: Server, tmp_path: Path) -> None:
    """Its table has no patient, so that a study does not take files for people; each counts as one."""
    done = get(manifest(server, "a.bin", "b.bin", case={"label": "sick"}), tmp_path)
    assert done.table is not None
    assert done.table.read_text().splitlines()[1] == "a.bin,sick,a.bin,,"
    assert not load_cases(tmp_path).has_patients
    counts = json.loads((tmp_path / "provenance.json").read_text())["counts"]
    assert counts == {"": {"sick": {"cases": 2, "patients": 2}}}


def test_a_table_of_the_users_is_left_alone(server: Server, tmp_path: Path) -> None:
    """A cases.csv that this set did not write stays, and that is said."""
    (tmp_path / "cases.csv").write_text("mine")
    done = get(manifest(server, "a.bin", case={"label": "x"}), tmp_path)
    assert (done.table, done.fetched) == (None, 1)
    assert "exists and stays" in done.table_reason
    assert (tmp_path / "cases.csv").read_text() == "mine"


def test_progress_ends_at_the_whole(server: Server, tmp_path: Path) -> None:
    """Bytes that had to come twice are taken back: the sum is the size of the set."""
    server.faults["/a.bin"] = ["cut", "no-range"]
    server.faults["/b.bin"] = ["cut", "416"]
    gained: list[int] = []
    get_set(manifest(server, "a.bin", "b.bin"), tmp_path, how=SHORT, watch=gained.append)
    assert sum(gained) == 2 * len(BODY)


def test_a_manifest_comes_over_the_web_too(server: Server) -> None:
    """A small document is read with the same patience; a large one is refused."""
    server.bodies["/m.json"] = b"{}"
    server.faults["/m.json"] = ["503", "503"]
    assert read_url(f"{server.url}/m.json", max_bytes=10, how=SHORT) == b"{}"
    for path, limit, says in (("m.json", 1, "expected at most"), ("gone", 9, "HTTP 404")):
        with pytest.raises(FetchError, match=says):
            read_url(f"{server.url}/{path}", max_bytes=limit, how=SHORT)
    with pytest.raises(FetchError, match="retries did not help"):
        read_url("http://127.0.0.1:9/m.json", max_bytes=9, how=How(1, 1.0, 0.01))


def test_a_file_that_may_not_be_written_is_one_failure(server: Server, tmp_path: Path) -> None:
    """A sub-folder without write permission fails its file; the others come."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "sub").mkdir(mode=0o500)
    done = get(manifest(server, "sub/a.bin", "b.bin"), tmp_path)
    assert done.fetched == 1
    assert "cannot be written" in done.failures[0][1]

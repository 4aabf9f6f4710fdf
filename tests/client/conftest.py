"""A real, small tus service; a proxy that counts and cuts the line; objects and profiles made for a test."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from bitdose.codecs.base import CODECS
from bitdose.codecs.coding import kernel_names
from bitdose.codecs.point import Point
from bitdose.hashing import digest
from bitdose.profile.document import Profile, profile_of, save_profile
from bitdose.profile.signing import load_or_make_key, sign
from bitdose.testing.images import textured_image
from bitdose.wire import API, EXAM_HEADER, PROFILE, UPLOADS, ExamMeta

TOKEN = "test-token"
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"
_SPEC = {
    "labels": ["normal", "covid-19"], "size": [64, 64], "slices": None, "channels": 1, "layout": "NCHW",
    "range": [0.0, 1.0], "mean": [0.0], "std": [1.0], "resize": "bilinear", "output": "probabilities",
    "threshold": None,
}  # fmt: skip
_MARGIN = {
    "metric": "accuracy", "limit": 0.05, "pristine": 0.9, "coded": 0.89, "loss": 0.01, "upper": 0.03,
    "p": 0.001, "alpha": 0.05, "method": "tango", "n": 300, "unit": "patient",
}  # fmt: skip
_RULE = {"margins": {"accuracy": 0.05}, "alpha": 0.05, "objective": "ratio"}
_EVIDENCE = {
    "n": 300, "patients": 290, "clustered": True, "splits": ["test"], "alpha": 0.05, "margins": [_MARGIN],
    "estimates": [], "rule": _RULE,
    "rule_digest": digest(_RULE), "data_digest": "ab" * 32, "results_digest": "84" * 32,
    "preregistered": True, "date": "2026-11-22T10:00:00Z",
}  # fmt: skip


def make_profile(
    folder: Path, text: str = "jpeg:q30@64", *, classifier: dict[str, Any] | None = None, **limits: Any
) -> Profile:
    """Make a signed profile of a point that can be coded here."""
    point, now = Point.parse(text), datetime.now(UTC)
    codec = {
        "name": point.codec, "knob": point.unit, "value": point.quality, "options": [],
        "size": f"{point.resize.width}x{point.resize.height}" if point.resize else "",
        "kernels": kernel_names(point.resize), "library": CODECS.get(point.codec).library(),
        "mode": "exact", "studied_modes": ["exact"], "mappings": [],
    }  # fmt: skip
    any_size = {"modalities": ["DX", "CR", "OT", "MR"], "height": [16, 4096], "width": [16, 4096]}
    found = profile_of(
        {
            "schema": "bitdose-profile/1", "id": "0" * 16, "point": text, "chain": point.chain,
            "created": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            "expires": f"{now + timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}",
            "codec": codec,
            "classifier": classifier or {"name": "net", "digest": "0123456789ab", "input": _SPEC},
            "evidence": _EVIDENCE, "libraries": {"bitdose": "0.1.0"}, "notes": [], "signature": None,
            "rate": {"ratio_file": 70.0, "ratio_pixels": 200.0, "mean_bytes": 9000.0, "link": "",
                     "seconds": None},
            "limits": any_size | {"slices": [1, 64], "bits": [8, 12, 16], "formats": ["PNG"],
                                  "photometric": ["MONOCHROME2", "RGB"]} | limits,
            "client": {"name": "bitdose", "version": "0.1.0", "libraries": []},
            "disclaimer": "Research use only, not a medical device.",
        }
    )  # fmt: skip
    return sign(replace(found).named(), load_or_make_key(folder / "key.pem"))


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Give a signed profile of JPEG quality 30 at 64 pixels."""
    return make_profile(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Give a signed profile of JPEG 2000 at full size, whose streams are long enough to be cut."""
    return make_profile(tmp_path_factory.mktemp("full"), "jpeg2000:3x")


@pytest.fixture(scope="session")
def new_profile() -> Callable[..., Profile]:
    """Give the maker of profiles."""
    return make_profile


@pytest.fixture(scope="session")
def profile_file(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the profile as a file."""
    path = tmp_path_factory.mktemp("profile-file") / "profile.json"
    save_profile(profile, path)
    return path


def _radiograph(**attributes: Any) -> bytes:
    side = attributes.pop("side", 128)
    tile = textured_image(min(side, 512), min(side, 512), rng=np.random.default_rng(side), bits=12).pixels
    pixels = np.tile(tile, (5, 5))[:side, :side] if side > len(tile) else tile
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(COMPUTED_RADIOGRAPHY)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3")
    dataset.file_meta.SourceApplicationEntityTitle = "DOE-CLINIC"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.4"), UID("1.2.5")
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "4711", "19500102"
    dataset.Modality, dataset.StudyDate, dataset.StudyTime = "CR", "20240301", "101112"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = side, side, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="session")
def radiograph() -> Callable[..., bytes]:
    """Give the maker of a 12-bit radiograph of Jane Doe."""
    return _radiograph


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Give the maker of an 8-bit grey PNG; another seed is another image."""

    def make(seed: int = 0, side: int = 128) -> bytes:
        pixels = textured_image(side, side, rng=np.random.default_rng(seed)).pixels
        return bytes(cv2.imencode(".png", pixels)[1])

    return make


@dataclass
class Service:
    """A tus service that keeps what it has got, byte by byte, and answers every exam at once.

    ``troubles`` holds answers to give in place of the next ones: status and headers.
    """

    profile: dict[str, Any]
    url: str = ""
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)
    exams: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    sentinel_share: float = 0.0
    answers_after: int = 0
    handler: Any = None
    refusal: str = ""
    answers_at_once: bool = False
    waits: list[str] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, upload: dict[str, Any], data: bytes) -> None:
        """Append bytes; at the last one make an exam of an upload whose digest is right."""
        upload["data"] += data
        if len(upload["data"]) == upload["length"] and not upload["exam"]:
            assert hashlib.sha256(upload["data"]).hexdigest() == upload["meta"].sha256
            upload["exam"] = f"e{len(self.exams)}"
            self.exams.append(upload)

    def view(self, number: int) -> dict[str, Any]:
        """Return an exam as the service shows it."""
        upload = self.exams[number]
        meta: ExamMeta = upload["meta"]
        upload["asked"] = upload.get("asked", 0) + 1
        done = upload["asked"] > self.answers_after
        state = "refused" if self.refusal else "answered" if done else "reading"
        answer = {
            "predicted": "normal", "probabilities": {"normal": 0.9, "covid-19": 0.1}, "model": "net@01",
            "seconds": 0.01,
        }  # fmt: skip
        names = ("kind", "point", "pseudonym", "modality", "rows", "columns", "slices", "bits", "profile")
        return {
            **{name: getattr(meta, name) for name in names},
            "id": upload["exam"], "state": state, "reason": self.refusal, "clinic": "hill",
            "payload_bytes": meta.payload_bytes, "source_bytes": meta.source_bytes,
            "received": "2026-11-23T00:00:00Z", "answer": answer if done else None, "pair": meta.pair,
            "certified": [{"metric": "accuracy", "margin": 0.05, "loss": 0.01, "upper": 0.03}],
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _reply(self, status: int, body: Any = None, **headers: str) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _troubled(self) -> bool:
        self.service.requests.append((self.command, urlsplit(self.path).path))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.close_connection = True
            self._reply(401, {"title": "Unauthorized", "status": 401, "detail": "no such token"})
            return True
        if self.service.troubles:
            status, headers = self.service.troubles.pop(0)
            self.close_connection = True
            self._reply(status, {"title": "Trouble", "status": status, "detail": "as asked"}, **headers)
            return True
        return False

    def _state(self, upload: dict[str, Any]) -> dict[str, str]:
        exam = {EXAM_HEADER: upload["exam"]} if upload["exam"] else {}
        return {"Tus_Resumable": "1.0.0", "Upload_Offset": str(len(upload["data"])), **exam}

    def _receive(self, upload: dict[str, Any]) -> bool:
        left = int(self.headers["Content-Length"] or 0)
        while left:
            piece = self.rfile.read1(min(left, 4096))  # type: ignore[attr-defined]
            if not piece:
                return False  # the line broke; what came is kept
            with self.service.lock:
                self.service.write(upload, piece)
            left -= len(piece)
        return True

    def do_POST(self) -> None:
        """Make an upload, with its bytes if it brings any."""
        if self._troubled():
            return
        name, value = self.headers["Upload-Metadata"].split(" ")
        assert name == "exam"
        meta = ExamMeta.model_validate_json(base64.b64decode(value))
        length = int(self.headers["Upload-Length"])
        assert length == meta.payload_bytes
        number = f"u{len(self.service.uploads)}"
        upload = {"meta": meta, "length": length, "data": bytearray(), "exam": ""}
        self.service.uploads[number] = upload
        if self._receive(upload):
            where = {"Location": f"{UPLOADS}/{number}", **self._state(upload)}
            if self.service.answers_at_once and self.headers["Prefer"] and upload["exam"]:
                self.service.waits.append(self.headers["Prefer"])
                view = self.service.view(len(self.service.exams) - 1)
                self._reply(201, view, Preference_Applied=self.headers["Prefer"], **where)
            else:
                self._reply(201, None, **where)

    def do_HEAD(self) -> None:
        """Say how much is there."""
        if self._troubled():
            return
        upload = self.service.uploads.get(self.path.rpartition("/")[2])
        self._reply(404) if upload is None else self._reply(200, None, **self._state(upload))

    def do_PATCH(self) -> None:
        """Go on at the offset."""
        if self._troubled():
            return
        upload = self.service.uploads[self.path.rpartition("/")[2]]
        if int(self.headers["Upload-Offset"]) != len(upload["data"]):
            self.close_connection = True
            self._reply(409)
        elif self._receive(upload):
            self._reply(204, None, **self._state(upload))

    def do_GET(self) -> None:
        """Give the profile, or an exam."""
        if self._troubled():
            return
        path = urlsplit(self.path).path
        if path == PROFILE:
            document, share = self.service.profile, self.service.sentinel_share
            tag = f'"{document["id"]}-{share:g}"'
            self.service.tags.append(self.headers["If-None-Match"])
            if self.service.tags[-1] == tag:
                self._reply(304, None, ETag=tag)
                return
            view = {"id": document["id"], "profile": document, "links": [], "sentinel_share": share}
            self._reply(200, view, ETag=tag)
        elif path.startswith(f"{API}/exams/e"):
            self._reply(200, self.service.view(int(path.rpartition("/e")[2])))
        else:
            self._reply(404)


class Line:
    """A proxy in front of a port: counts the bytes at its sockets, and cuts when told to.

    ``cuts`` holds numbers of bytes going up, counted over all connections, after which the connection is
    reset without a word. ``pause_s`` is waited before each 4 kB going up.
    """

    def __init__(self, port: int) -> None:
        self._to, self.up, self.down, self.connections = port, 0, 0, 0
        self.cuts: list[int] = []
        self.pause_s = 0.0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self._to))
            for pair in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, upwards: bool) -> None:
        try:
            while data := source.recv(4096):
                if upwards and self.cuts and self.up + len(data) > self.cuts[0]:
                    data = data[: self.cuts.pop(0) - self.up]
                    self.up += len(data)
                    target.sendall(data)
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                time.sleep(self.pause_s if upwards else 0.0)
                target.sendall(data)
                if upwards:
                    self.up += len(data)
                else:
                    self.down += len(data)
        except OSError:
            pass
        for one in (target, source):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        """Take no more connections."""
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Profile], Service]]:
    """Give what starts a service for a profile."""
    servers = []

    def start(profile: Profile) -> Service:
        service = Service(profile.to_dict())
        handler = type("Handler", (_Handler,), {"service": service})
        service.handler = handler
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return service

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def service(serve: Callable[[Profile], Service], profile: Profile) -> Service:
    """Give a service of the small profile."""
    return serve(profile)


@pytest.fixture
def lines() -> Iterator[Callable[[str], Line]]:
    """Give what puts a counting, cutting line in front of a service."""
    made: list[Line] = []

    def start(url: str) -> Line:
        made.append(Line(int(url.rpartition(":")[2])))
        return made[-1]

    yield start
    for line in made:
        line.close()

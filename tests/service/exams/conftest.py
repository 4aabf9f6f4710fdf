"""Exams to send, and the ways to send them; the service itself comes from the folder above."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import httpx
import numpy as np
import psutil
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.hashing import bytes_digest
from bitdose.image import Image, container
from bitdose.service import clock
from bitdose.service.accounts.accounts import add_account
from bitdose.service.db.database import make_engine, sessions
from bitdose.service.db.migrate import upgrade
from bitdose.service.db.tables import ExamRow
from bitdose.wire import EXAM_HEADER, TUS_VERSION, UPLOADS, ExamKind, ExamMeta, Role, pack_streams

TUS = {"Tus-Resumable": TUS_VERSION}
STREAM = {"Content-Type": "application/offset+octet-stream"}


@dataclass(frozen=True)
class Parcel:
    """An exam as it is sent."""

    meta: ExamMeta
    payload: bytes

    def saying(self, **changes: Any) -> Parcel:
        """Return the same payload with other words about it."""
        return Parcel(ExamMeta.model_validate(self.meta.model_dump() | changes), self.payload)

    def holding(self, payload: bytes, **changes: Any) -> Parcel:
        """Return another payload, rightly described."""
        said = {"sha256": bytes_digest(payload), "payload_bytes": len(payload)}
        return Parcel(ExamMeta.model_validate(self.meta.model_dump() | said | changes), payload)


def make_image(seed: int = 0, *, rows: int = 500, columns: int = 520, bits: int = 8) -> Image:
    """Draw something like a radiograph: soft shapes and grain."""
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.uniform(0.15, 0.85, (9, 9)), (columns, rows), interpolation=cv2.INTER_CUBIC)
    grainy = np.clip(soft + rng.normal(0, 0.02, (rows, columns)), 0, 1)
    return Image((grainy * ((1 << bits) - 1)).astype(container(bits)), bits)


def _parcel(image: Image, kind: ExamKind, payload: bytes, **said: Any) -> Parcel:
    meta = {
        "kind": kind,
        "pseudonym": uuid4().hex[:16],
        "modality": "DX",
        "rows": image.height,
        "columns": image.width,
        "slices": image.n_slices,
        "bits": image.bits,
        "photometric": image.photometric,
        "sha256": bytes_digest(payload),
        "payload_bytes": len(payload),
        "source_bytes": image.raw_bytes,
    }
    return Parcel(ExamMeta.model_validate(meta | said), payload)


def make_coded(image: Image, point: str = "jpeg:q30@256", **said: Any) -> Parcel:
    """Code an image as a clinic does."""
    streams = encode_point(image, Point.parse(point))
    return _parcel(image, ExamKind.CODED, pack_streams(streams.data), point=point, **said)


def make_pristine(image: Image, **said: Any) -> Parcel:
    """Wrap an image as the file that a clinic holds."""
    _, data = cv2.imencode(".png", image.pixels)
    return _parcel(image, ExamKind.PRISTINE, bytes(data), **said)


def creation(parcel: Parcel) -> dict[str, str]:
    """Return the headers that open an upload."""
    said = base64.b64encode(parcel.meta.model_dump_json().encode()).decode()
    return TUS | {"Upload-Length": str(parcel.meta.payload_bytes), "Upload-Metadata": f"exam {said}"}


@pytest.fixture(scope="session")
def draw() -> Callable[..., Image]:
    """Give ``draw(seed, rows=, columns=, bits=)``."""
    return make_image


@pytest.fixture(scope="session")
def coded() -> Callable[..., Parcel]:
    """Give ``coded(image, point, **said)``."""
    return make_coded


@pytest.fixture(scope="session")
def pristine() -> Callable[..., Parcel]:
    """Give ``pristine(image, **said)``."""
    return make_pristine


@pytest.fixture(scope="session")
def opening() -> Callable[[Parcel], dict[str, str]]:
    """Give the headers that open an upload."""
    return creation


@pytest.fixture(scope="session")
def send() -> Callable[[httpx.Client, Parcel], str]:
    """Give ``send(client, parcel)``: the exam's id."""

    def put(client: httpx.Client, parcel: Parcel) -> str:
        answer = client.post(UPLOADS, headers=creation(parcel) | STREAM, content=parcel.payload)
        assert answer.status_code == 201, answer.text
        return answer.headers[EXAM_HEADER]

    return put


@pytest.fixture(params=["sqlite", "postgresql"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Give an engine with empty tables, one of SQLite and one of PostgreSQL."""
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'tables.sqlite'}")
    else:
        engine = make_engine(request.getfixturevalue("postgres"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    upgrade(engine)
    with sessions(engine).begin() as session:
        add_account(
            session,
            name="north-1",
            role=Role.CLINIC,
            clinic="north",
            password="four plain words",
            now=clock.now(),
        )
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def enqueue() -> Callable[..., str]:
    """Give ``enqueue(engine, parcel, blob=)``: an exam that waits in the queue."""

    def put(engine: Engine, parcel: Parcel, *, blob: str = "", **values: Any) -> str:
        name = uuid4().hex
        row = {
            "id": name,
            "account_id": 1,
            "clinic": "north",
            "meta": parcel.meta.model_dump(mode="json"),
            "kind": parcel.meta.kind,
            "pair": parcel.meta.pair,
            "sha256": parcel.meta.sha256,
            "blob": blob,
            "state": "queued",
            "received": clock.now(),
            "attempts": 0,
        }
        with sessions(engine).begin() as session:
            session.add(ExamRow(**(row | values)))
        return name

    return put


@pytest.fixture
def read_all(app: FastAPI) -> Callable[[], int]:
    """Give ``read_all()``: a worker in this process reads what waits."""
    from bitdose.service.exams.worker import Reader, load_classifier, new_name

    context = app.state.context

    def go() -> int:
        classifier = load_classifier(context.settings, context.profile)
        reader = Reader(context.engine, context.store, context.profiles, classifier, new_name())
        total = 0
        while taken := reader.read_some(16):
            total += taken
        return total

    return go


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Give ``eventually(check, seconds)``: wait until a check holds."""

    def wait(check: Callable[[], bool], seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def deidentified_dicom() -> Callable[..., bytes]:
    """Give ``deidentified_dicom(image, **elements)``: the bytes of a DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def make(image: Image, **elements: Any) -> bytes:
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", generate_uid()
        data.Modality, data.PatientIdentityRemoved = "DX", "YES"
        data.Rows, data.Columns = image.height, image.width
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = 8 * image.pixels.itemsize
        data.BitsStored, data.HighBit, data.PixelRepresentation = image.bits, image.bits - 1, 0
        data.PixelData = image.pixels.tobytes()
        for name, value in elements.items():
            setattr(data, name, value)
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        out = io.BytesIO()
        data.save_as(out, enforce_file_format=True)
        return out.getvalue()

    return make


@pytest.fixture
def lives() -> Callable[[psutil.Process], bool]:
    """Give ``lives(process)``: it may end while it is asked."""

    def ask(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return ask

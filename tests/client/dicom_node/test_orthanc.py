"""With a real archive, both ways: Orthanc sends to the clinic's node, and takes what the clinic pushes.

Needs the distribution's packages ``orthanc`` and ``orthanc-dicomweb``; skipped where they are absent.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from bitdose.client.deidentify.pseudonyms import Pseudonyms
from bitdose.client.dicom_node.listen import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS, Node, listening
from bitdose.client.dicom_node.push import Pusher
from bitdose.client.dicom_node.stow import store
from bitdose.client.sending.connection import RefusedError, Server, connect
from bitdose.client.sending.intake import Intake, Taken
from bitdose.client.sending.outbox import NAME, Outbox
from bitdose.client.sending.prepare import coded_exam, open_exam
from bitdose.codecs.point import Point
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError
from bitdose.profile.document import Profile
from bitdose.wire import ExamMeta

PLUGINS = Path("/usr/share/orthanc/plugins")
RADIOGRAPH_CLASS = "1.2.840.10008.5.1.4.1.1.1"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Archive(NamedTuple):
    """A running Orthanc: its REST root and its DICOM port; it knows the clinic's node under a port."""

    url: str
    dicom_port: int
    node_port: int


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Start Orthanc with DICOMweb on loopback."""
    program = shutil.which("Orthanc")
    if program is None or not list(PLUGINS.glob("*DicomWeb*")):
        pytest.skip("no Orthanc with DICOMweb here: apt-get install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom, node = _free_port(), _free_port(), _free_port()
    settings = {
        "Name": "test", "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC",
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True,
        "DicomCheckModalityHost": False, "Plugins": [str(PLUGINS)], "DicomWeb": {"Enable": True},
        "DicomModalities": {"clinic": ["BITDOSE", "127.0.0.1", node]},
        "OverwriteInstances": True, "StorageCompression": False,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{http}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/system", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            pytest.skip(f"Orthanc does not start: {(folder / 'log').read_text()[-300:]}")
        yield Archive(url, dicom, node)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _intake(folder: Path, profile: Profile) -> tuple[Outbox, Intake]:
    outbox = Outbox(folder)
    return outbox, Intake(outbox, Pseudonyms(folder), profile, server="https://s")


def _fields(meta: ExamMeta) -> dict[str, Any]:
    return meta.model_dump(exclude={"pseudonym", "source_bytes"})


def test_an_archive_sends_to_the_clinics_node(
    orthanc: Archive, tmp_path: Path, profile: Profile, radiograph: Callable[..., bytes]
) -> None:
    """Orthanc stores three images on the node by C-STORE: all are in the queue, coded as from the files."""
    files = [radiograph(SOPInstanceUID=f"1.2.3.{n}", side=96 + 32 * n) for n in range(3)]
    names = [httpx.post(f"{orthanc.url}/instances", content=f, trust_env=False).json()["ID"] for f in files]
    outbox, intake = _intake(tmp_path, profile)
    heard: list[Taken] = []
    node = Node(port=orthanc.node_port, callers=("ORTHANC",))
    with listening(node, intake, on_taken=heard.append):
        sent = httpx.post(
            f"{orthanc.url}/modalities/clinic/store", json=names, trust_env=False, timeout=60
        ).json()
    assert sent["FailedInstancesCount"] == 0
    assert len(heard) == len(outbox.items()) == 3
    expected = [_fields(coded_exam(open_exam(f), profile, pseudonym="a" * 16).meta) for f in files]
    found = [_fields(item.meta) for item in outbox.items()]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert b"Doe" not in (tmp_path / NAME).read_bytes()


def test_the_archive_takes_what_the_clinic_pushes(
    orthanc: Archive, tmp_path: Path, radiograph: Callable[..., bytes]
) -> None:
    """Pushed by STOW-RS and read back: JPEG 2000, lossy attributes, no patient, pixels near the original."""
    data = radiograph(side=256, InstitutionName="Hillside")
    (tmp_path / "a.dcm").write_bytes(data)
    with connect(Server(f"{orthanc.url}/dicom-web", "")) as client:
        pusher = Pusher(client, point=Point.parse("jpeg2000:10x"), pseudonyms=Pseudonyms(tmp_path))
        before, after = pusher.push(tmp_path / "a.dcm")
    assert after < before / 4
    stored = [
        name
        for name in httpx.get(f"{orthanc.url}/instances", trust_env=False).json()
        if httpx.get(f"{orthanc.url}/instances/{name}/file", trust_env=False).content.find(b"Hillside") < 0
    ]
    files = [httpx.get(f"{orthanc.url}/instances/{n}/file", trust_env=False).content for n in stored]
    coded = [f for f in files if pydicom.dcmread(io.BytesIO(f)).get("LossyImageCompression") == "01"]
    (back,) = coded
    dataset = pydicom.dcmread(io.BytesIO(back))
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.JPEG2000
    assert (dataset.PatientIdentityRemoved, dataset.PatientBirthDate) == ("YES", "")
    assert Pseudonyms(tmp_path).who(str(dataset.PatientID)) is not None
    assert not [word for word in (b"Doe", b"4711", b"19500102", b"20240301") if word in back]
    pixels, original = read_bytes(back).image.pixels, read_bytes(data).image.pixels
    assert np.abs(pixels.astype(int) - original.astype(int)).mean() < 0.02 * 4095


def test_pushed_as_it_is_it_comes_back_as_it_was(
    orthanc: Archive, tmp_path: Path, radiograph: Callable[..., bytes]
) -> None:
    """With the patient left in and no point, the archive gives back the very file."""
    data = radiograph(SOPInstanceUID="1.2.3.77")
    (tmp_path / "a.dcm").write_bytes(data)
    with connect(Server(f"{orthanc.url}/dicom-web", "")) as client:
        Pusher(client).push(tmp_path / "a.dcm")
    found = httpx.post(
        f"{orthanc.url}/tools/find", trust_env=False,
        json={"Level": "Instance", "Query": {"SOPInstanceUID": "1.2.3.77"}},
    ).json()  # fmt: skip
    assert httpx.get(f"{orthanc.url}/instances/{found[0]}/file", trust_env=False).content == data


def test_what_an_archive_refuses_is_said(orthanc: Archive, tmp_path: Path) -> None:
    """Bytes that are no DICOM are refused by the archive with a reason, and by the clinic before that."""
    with connect(Server(f"{orthanc.url}/dicom-web", "")) as client:
        with pytest.raises(RefusedError):
            store(client, b"no DICOM")
        (tmp_path / "a.txt").write_bytes(b"no DICOM")
        with pytest.raises(CaseError, match="DICOM objects only"):
            Pusher(client).push(tmp_path / "a.txt")


def _store(port: int, data: bytes, *, title: str = "BITDOSE", own: str = "XRAY-1") -> Any:
    """Send one object; return the status, or None where the node does not talk to us."""
    entity = AE(ae_title=own)
    entity.add_requested_context(RADIOGRAPH_CLASS)
    association = entity.associate("127.0.0.1", port, ae_title=title)
    if not association.is_established:
        return None
    status = association.send_c_store(pydicom.dcmread(io.BytesIO(data)))
    association.release()
    return status


def test_the_node_answers_by_what_became_of_the_object(
    tmp_path: Path, profile: Profile, radiograph: Callable[..., bytes]
) -> None:
    """Taken: 0000, again too; outside the profile: C000 with the reason; a disk that fails: A700."""
    outbox, intake = _intake(tmp_path, profile)
    refused: list[str] = []
    with listening(Node(port=0), intake, on_refused=refused.append) as port:
        assert _store(port, radiograph()).Status == SUCCESS
        assert _store(port, radiograph()).Status == SUCCESS
        outside = _store(port, radiograph(Modality="CT"))
        assert (outside.Status, outside.ErrorComment[:28]) == (
            CANNOT_UNDERSTAND,
            "outside-profile: modality CT",
        )
        (tmp_path / NAME).unlink()
        (tmp_path / NAME).mkdir()
        assert _store(port, radiograph(SOPInstanceUID="1.2.9")).Status == OUT_OF_RESOURCES
    assert len(refused) == 2
    assert not [line for line in refused if "Doe" in line]
    assert outbox is not None


def test_the_node_talks_to_those_that_it_knows(
    tmp_path: Path, profile: Profile, radiograph: Callable[..., bytes]
) -> None:
    """A wrong title, and a caller that is not on the list, get no association."""
    _, intake = _intake(tmp_path, profile)
    with listening(Node(port=0, callers=("XRAY-1",)), intake) as port:
        assert _store(port, radiograph(), title="OTHER") is None
        assert _store(port, radiograph(), own="STRANGER") is None
        assert _store(port, radiograph()).Status == SUCCESS

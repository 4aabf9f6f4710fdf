"""What the browser sends is what the Python client sends: the same bytes, so the same pixels and answers."""

from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError
from bitdose.models.load import ModelRef
from bitdose.wire import pack_streams

ROOT = Path(__file__).resolve().parents[3]


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BROWSER = _benchmark("browser")
POINTS = ("jpeg:q30@256", "jpeg:q75+optimize@300x200", "jpeg:q50+444", "jpeg2000:10x@256", "jpeg2000:40x")


@pytest.fixture
def code(browser: Any, server: str, assets: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Give ``code(data, point)``: what the browser's worker makes of a file."""
    page = browser.new_page()
    page.goto(f"{server}/login")

    return BROWSER.worker_of(page)


def _file(pixels: np.ndarray, name: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    PillowImage.fromarray(pixels).save(out, name, **options)
    return out.getvalue()


def _noise(shape: tuple[int, ...], dtype: type = np.uint8, *, flat: bool = True) -> np.ndarray:
    """Draw grain over a ramp, or grain alone."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0.1, 0.9, shape[1])[None, :, None] * np.ones(shape if len(shape) > 2 else (*shape, 1))
    values = ramp + rng.normal(0, 0.05, ramp.shape) if flat else rng.random(ramp.shape)
    return (np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype).reshape(shape)


def _dicom(rows: int = 90, columns: int = 70, frames: int = 1, **attributes: Any) -> bytes:
    """Write a signed 12-bit image with rescale and window, of a patient whose name must not leave."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    values = np.random.default_rng(3).integers(-1024, 1024, (frames, rows, columns)).astype(np.int16)
    fields = {
        "SOPClassUID": CTImageStorage, "PatientName": "Doe^Jane", "PatientID": "MRN-4711", "Modality": "CT",
        "Rows": rows, "Columns": columns, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
        "PixelRepresentation": 1, "SamplesPerPixel": 1, "NumberOfFrames": frames,
        "PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": "1.5", "RescaleIntercept": "-10",
        "WindowCenter": ["40", "80"], "WindowWidth": ["400", "90"],
        "PixelData": (values & 0xFFF).astype("<u2").tobytes(),
    }  # fmt: skip
    for name, value in (fields | attributes).items():
        setattr(dataset, name, value)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
FILES = {
    "grey png": _file(_noise((300, 420))),
    "colour png": _file(_noise((257, 301, 3))),
    "16-bit png": _file(_noise((300, 280), np.uint16)),
    "palette png": _file(np.asarray(PillowImage.fromarray(_noise((64, 64, 3))).quantize(16))),
    "grain": _file(_noise((129, 131), flat=False)),
    "grey jpeg": _file(_noise((211, 333)), "JPEG", quality=80),
    "colour jpeg": _file(_noise((211, 333, 3)), "JPEG", quality=90),
    "turned jpeg": _file(_noise((120, 200, 3)), "JPEG", exif=TURNED),
    "dicom": _dicom(),
    "dicom as stored": _dicom(PixelRepresentation=0, RescaleSlope="1", RescaleIntercept="0",
                              WindowCenter=None, WindowWidth=None, PhotometricInterpretation="MONOCHROME2"),
    "dicom frames": _dicom(45, 70, 2),
}  # fmt: skip


def test_the_payload_is_the_python_clients(code: Callable[..., dict[str, Any]]) -> None:
    """Reading, Lanczos-4, JPEG and JPEG 2000 give the same bytes at every kind of point: difference 0."""
    for name, point in itertools.product(FILES, POINTS):
        image = read_bytes(FILES[name]).image
        found = code(FILES[name], point)
        if image.photometric == "RGB" and image.bits > 8 and point.startswith("jpeg2000"):
            assert found["error"]["key"] == "deep-colour"
            continue
        expected = pack_streams(encode_point(image, Point.parse(point)).data)
        assert base64.b64decode(found["payload"]) == expected, (name, point)
        said = {key: found["meta"][key] for key in ("rows", "columns", "slices", "bits", "photometric")}
        assert list(said.values()) == [
            image.height,
            image.width,
            image.n_slices,
            image.bits,
            image.photometric,
        ]


def test_pixels_and_answers_do_not_differ(code: Callable[..., dict[str, Any]]) -> None:
    """Decoded as the service decodes them and read by its classifier, both clients' streams say the same."""
    found = BROWSER.compare(code, FILES, POINTS, ModelRef("phantom").load())
    for codec, difference in found.items():
        print(f"{codec}: {difference}")
        assert difference.streams >= 18
        assert (difference.levels, difference.probability) == (0, 0), f"{codec}: {difference}"
        assert difference.equal == difference.streams


def test_a_difference_is_seen_and_stated() -> None:
    """The comparison itself finds what is not equal, and says how large it is."""

    def other(data: bytes, _point: str) -> dict[str, Any]:
        image = read_bytes(data).image
        payload = pack_streams(encode_point(image, Point.parse("jpeg:q10@64")).data)
        meta = {"point": "jpeg:q30@64", "rows": image.height, "columns": image.width, "bits": image.bits}
        meta |= {"photometric": image.photometric, "sha256": "0" * 64, "payload_bytes": 1, "source_bytes": 1}
        return {"meta": meta, "payload": base64.b64encode(payload).decode()}

    files = {"grain": FILES["grain"]}
    found = BROWSER.compare(other, files, ["jpeg:q30@64"], ModelRef("phantom").load())["jpeg"]
    assert (found.streams, found.equal) == (1, 0)
    assert found.levels > 0.05
    assert str(found).startswith("0 of 1 streams equal; largest difference: ")


def test_the_page_says_what_was_measured() -> None:
    """The tables in docs/how-to/web.md are filled in: no stream differed."""
    text = BROWSER.PAGE.read_text("utf-8")
    table = text.split("<!-- made: browser difference -->")[1].split("<!-- end -->")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[3:] if "|" in line
    ]
    assert {row[0] for row in rows} == {"jpeg", "jpeg2000"}
    for row in rows:
        assert row[2] == row[3] != "0"
    assert "<!-- made: browser weight -->\n| gzipped | |" in text


def test_every_quality_gives_pillows_stream(code: Callable[..., dict[str, Any]]) -> None:
    """From 1 to 100 the quantisation tables and every bit of the JPEG are Pillow's."""
    image = read_bytes(FILES["colour png"]).image
    for quality in range(1, 101, 9):
        point = f"jpeg:q{quality}@64"
        expected = pack_streams(encode_point(image, Point.parse(point)).data)
        assert base64.b64decode(code(FILES["colour png"], point)["payload"]) == expected


def test_real_images_give_the_python_clients_bytes(code: Callable[..., dict[str, Any]], shared: Path) -> None:
    """X-rays and DICOM files of many makers: equal bytes or a refusal, never other pixels."""
    rasters = sorted(
        path for path in (shared / "data/cxr/test").rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")
    )
    equal, refused = 0, []
    for path in [*rasters[::25], *sorted((shared / "data/dicom").glob("*.dcm"))]:
        data, point = path.read_bytes(), "jpeg2000:20x@256"
        found = code(data, point)
        if "error" in found:
            assert found["error"]["key"] in ("dicom-kind", "format", "damaged"), path.name
            refused.append(path.name)
            continue
        image = read_bytes(data).image
        assert base64.b64decode(found["payload"]) == pack_streams(
            encode_point(image, Point.parse(point)).data
        ), path.name
        equal += 1
    assert equal >= 18
    assert not [name for name in refused if not name.endswith(".dcm")]


def test_no_attribute_of_a_dicom_file_leaves(code: Callable[..., dict[str, Any]]) -> None:
    """Name and number of the patient are nowhere in what is sent, coded or not."""
    found = code(FILES["dicom"], "jpeg:q30@64", pristine=True)
    sent = (
        base64.b64decode(found["payload"]) + base64.b64decode(found["whole"]) + repr(found["meta"]).encode()
    )
    assert b"Doe" in FILES["dicom"]
    assert not [word for word in (b"Doe", b"Jane", b"4711") if word in sent]
    assert found["meta"]["modality"] == "CT"


def test_the_pristine_image_is_lossless(code: Callable[..., dict[str, Any]]) -> None:
    """The PNG for the sentinel holds the very samples that the Python client reads from the file."""
    for name in ("grey png", "colour jpeg", "16-bit png"):
        found = code(FILES[name], "jpeg:q30@64", pristine=True)
        assert read_bytes(base64.b64decode(found["whole"])).image == read_bytes(FILES[name]).image


def test_burnt_in_text_is_warned_of(code: Callable[..., dict[str, Any]]) -> None:
    """By the attribute, or for kinds of images on which devices write names."""
    assert code(_dicom(BurnedInAnnotation="YES"), "jpeg:q30@64")["burntIn"]
    assert code(_dicom(Modality="US"), "jpeg:q30@64")["burntIn"]
    assert not code(_dicom(Modality="US", BurnedInAnnotation="NO"), "jpeg:q30@64")["burntIn"]
    assert not code(FILES["dicom"], "jpeg:q30@64")["burntIn"]


BOMB = FILES["grey png"][:16] + (60_000).to_bytes(4, "big") * 2 + FILES["grey png"][24:]
REFUSALS = [
    (b"", "jpeg:q30", "format"),
    (b"GIF89a", "jpeg:q30", "format"),
    (FILES["grey png"][:500], "jpeg:q30", "damaged"),
    (FILES["grey jpeg"][:300], "jpeg:q30", "damaged"),
    (FILES["dicom"][:700], "jpeg:q30", "damaged"),
    (BOMB, "jpeg:q30", "too-large"),
    (_dicom(PhotometricInterpretation="PALETTE COLOR"), "jpeg:q30", "dicom-kind"),
    (FILES["grey png"], "jpeg2000:38dB@256", "point"),
    (FILES["grey png"], "jpeg:q30+progressive", "point"),
    (FILES["grey png"], "jpeg:q30@256:area", "point"),
]


def test_what_a_browser_cannot_do_is_refused(code: Callable[..., dict[str, Any]]) -> None:
    """Damaged, unknown, huge, or beyond it: a reason that pages have a sentence for, never another image."""
    for data, point, key in REFUSALS:
        assert code(data, point)["error"]["key"] == key, (data[:8], point)


def test_the_test_files_are_read_by_the_python_client() -> None:
    """The files above are sound, so that equality means something."""
    for data in FILES.values():
        read_bytes(data)
    with pytest.raises(CaseError):
        read_bytes(FILES["dicom"][:700])

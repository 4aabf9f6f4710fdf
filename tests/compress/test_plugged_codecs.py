"""Codecs of other packages are taken to the end: studied, certified, enforced and put into DICOM."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pydicom
import pytest

from bitdose.cli.app import run
from bitdose.codecs.base import CODECS
from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.data.dicom_frames import decode_frames
from bitdose.errors import UsageError
from bitdose.hashing import bytes_digest
from bitdose.image import Image
from bitdose.profile.document import Profile, load_profile
from bitdose.report.figures.figure_data import quality_curves
from bitdose.results.summarize import summarize
from bitdose.study.store import read_run
from bitdose.testing import check_codec, textured_image

JPEGLS = Path(__file__).resolve().parent / "jpegls" / "bitdose_jpegls.py"
POINTS = {"webp": "webp:q100,webp:q90,webp:q70", "jpegls": "jpegls:1near,jpegls:2near,jpegls:4near"}
TITLES = {"webp": "WebP of quality", "jpegls": "JPEG-LS with errors up to"}
STRONG = {"webp": "webp:q20", "jpegls": "jpegls:30near"}


@pytest.fixture(scope="module", autouse=True)
def _plugged(example_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have two packages installed: the example of the documents, and one that is made here."""
    site = tmp_path_factory.mktemp("jpegls-site")
    shutil.copy(JPEGLS, site)
    info = site / "bitdose_jpegls-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bitdose-jpegls\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[bitdose.codecs]\njpegls = bitdose_jpegls:JpegLs\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(example_site))
        patch.syspath_prepend(str(site))
        CODECS.__dict__.pop("targets", None)
        yield
    CODECS.__dict__.pop("targets", None)
    for name in ("bitdose_webp", "bitdose_jpegls"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module", params=list(POINTS))
def certified(
    request: pytest.FixtureRequest,
    many_textures: Path,
    texture_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Profile]:
    """Give codec, run folder and signed profile of a study of one of them."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    call = ["study", str(many_textures), "--model", str(texture_model), "--points", POINTS[name]]
    call += ["--margin", "accuracy=0.25", "--out", str(folder / "run"), "--workers", "1", "--no-ssim"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITDOSE_KEY", str(folder / "key.pem"))
        assert run([*call, "--no-images"]) == 0
        assert run(["decide", str(folder / "run"), "--modality", "DX", "--no-report"]) == 0
    return name, folder / "run", load_profile(folder / "run" / "profile.json")


def test_a_plugged_codec_keeps_the_contract() -> None:
    """Abilities included; the example package's test is on its own page."""
    check_codec(CODECS.get("jpegls"))


def test_it_is_certified_and_told_by_its_title(certified: tuple[str, Path, Profile]) -> None:
    """A study certifies one of its points, the profile is signed, and the report names codec and axis."""
    name, folder, profile = certified
    assert profile.point in POINTS[name].split(",")
    assert (profile.codec.name, profile.codec.knob) == (name, CODECS.get(name).quality_parameters[0].unit)
    page = (folder / "report.html").read_text()
    assert f"{TITLES[name]} {profile.codec.value:g}" in page
    (figure,) = quality_curves(summarize(read_run(folder), draws=20), "file")
    assert figure.title.startswith(TITLES[name].split()[0])
    assert figure.x_title == CODECS.get(name).quality_parameters[0].meaning


def _exam(image: Image, point: str, said: str) -> tuple[Any, bytes]:
    from bitdose.wire import ExamKind, ExamMeta, pack_streams

    payload = pack_streams(encode_point(image, Point(point)).data)
    meta = {
        "kind": ExamKind.CODED, "pseudonym": uuid4().hex[:16], "modality": "DX", "rows": image.height,
        "columns": image.width, "slices": 1, "bits": 8, "photometric": image.photometric, "point": said,
        "sha256": bytes_digest(payload), "payload_bytes": len(payload), "source_bytes": image.raw_bytes,
    }  # fmt: skip
    return ExamMeta.model_validate(meta), payload


def test_the_service_enforces_it(certified: tuple[str, Path, Profile], many_textures: Path) -> None:
    """Its point is admitted; stated strength, hidden strength, size and damage are refused with a reason."""
    pytest.importorskip("pydantic")
    from bitdose.service.exams.admission import meta_refusal, payload_refusal

    name, _, profile = certified
    for path in sorted(many_textures.rglob("*.png"))[::10]:
        image = Image(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        meta, payload = _exam(image, profile.point, profile.point)
        assert meta_refusal(meta, profile) == payload_refusal(meta, payload, profile) == ""
        meta, payload = _exam(image, STRONG[name], STRONG[name])
        assert "compressed harder than the profile's" in meta_refusal(meta, profile)
        meta, payload = _exam(image, STRONG[name], profile.point)
        assert f"compressed harder than the profile's {profile.point}: its" in payload_refusal(
            meta, payload, profile
        )
        meta, payload = _exam(image, profile.point, profile.point)
        assert payload_refusal(meta, payload[:-9], profile) != ""
        other = meta.model_copy(update={"rows": image.height + 1})
        assert "a stream is 96x96" in payload_refusal(other, payload, profile)


@pytest.mark.parametrize("quality", [30, 50, 75, 90])
def test_webp_finds_what_is_20_qualities_below(quality: int) -> None:
    """As the example says: whatever the image, never its own stream, always one 20 qualities below."""
    codec, strong = Point(f"webp:q{quality}").build_codec(), Point(f"webp:q{quality - 20}").build_codec()
    flat = Image(np.zeros((40, 60), np.uint8))
    for seed in range(4):
        for colour in (False, True):
            size = 64 + 48 * seed, 200 - 30 * seed
            image = textured_image(*size, rng=np.random.default_rng([quality, seed]), colour=colour)
            assert codec.too_strong(codec.encode(image)) == codec.too_strong(codec.encode(flat)) == ""
            assert "its quantiser is" in codec.too_strong(strong.encode(image))


def test_a_codec_that_cannot_tell_is_refused_by_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the two methods the service takes none of a codec's streams, and says which codec."""
    pytest.importorskip("pydantic")
    from bitdose.errors import BitdoseError
    from bitdose.service.exams import admission

    monkeypatch.delattr(CODECS.get("jpegls"), "too_strong")
    with pytest.raises(BitdoseError, match="codec jpegls: the service cannot tell how strongly"):
        admission._enforceable(Point("jpegls:2near"))


def test_a_codec_without_a_syntax_is_refused_by_dicom(
    compress: Callable[..., Any], make_dicom: Callable[..., bytes], texture: Callable[..., Any]
) -> None:
    """DICOM holds no WebP: one line names the codec and those that it knows."""
    with pytest.raises(UsageError) as refused:
        compress(make_dicom(texture(70, 90, 8)), "webp:q50")
    said = "point 'webp:q50': no DICOM transfer syntax is known for codec 'webp'; known for "
    assert str(refused.value) == said + "jpeg, jpeg2000, jpegls"


def test_dicom_holds_a_codec_with_a_syntax(
    compress: Callable[..., Any],
    make_dicom: Callable[..., bytes],
    texture: Callable[..., Any],
    gdcm_pixels: Callable[[Path], bytes],
    tmp_path: Path,
) -> None:
    """JPEG-LS, grey, colour and of 12 bits: pydicom and GDCM read the object to the codec's own pixels."""
    for pixels in (texture(70, 90, 8), texture(64, 48, 8, colour=True), texture(60, 50, 12)):
        bits = 12 if pixels.dtype == np.uint16 else 8
        made = compress(make_dicom(pixels, BitsStored=bits), "jpegls:3near")
        assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.81"
        assert made.LossyImageCompressionMethod == "ISO_14495_1"
        stored = decode_frames(made)
        file = tmp_path / "made.dcm"
        made.save_as(file)
        assert gdcm_pixels(file) == np.ascontiguousarray(stored).tobytes()
        codec = Point("jpegls:3near").build_codec()
        (stream,) = pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1)
        assert np.array_equal(codec.decode(stream).pixels, stored)
        if bits == 8:
            assert np.abs(stored.astype(int) - pixels).max() <= codec.quality


def test_the_command_lists_where_a_codec_can_go(capsys: pytest.CaptureFixture[str]) -> None:
    """``bitdose codecs --json`` says of each whether service, DICOM and browser take it."""
    assert run(["codecs", "--json"]) == 0
    found = {
        row["codec"]: (row["service"], row["dicom"][-3:], row["browser"])
        for row in json.loads(capsys.readouterr().out)
    }
    assert found["jpeg"] == (True, ".50", True)
    assert found["jpeg2000"] == (True, ".91", True)
    assert found["webp"] == (True, "", False)
    assert found["jpegls"] == (True, ".81", False)

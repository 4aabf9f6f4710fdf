"""What a profile asks of an upload: accepted are its point, milder ones and the pristine file."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.jpeg import Jpeg
from bitdose.image import Image
from bitdose.profile.document import Profile
from bitdose.service.exams.admission import meta_refusal, payload_refusal
from bitdose.wire import pack_streams, unpack_streams

Make = Callable[..., Any]


def refusal(parcel: Any, profile: Profile, **limits: int) -> str:
    """Look at an exam as the service does."""
    return meta_refusal(parcel.meta, profile, **limits) or payload_refusal(
        parcel.meta, parcel.payload, profile, **limits
    )


@pytest.fixture(scope="session")
def image(draw: Make) -> Image:
    """Give an image within the profile's limits."""
    return draw(1)


@pytest.fixture(scope="session")
def jpeg2000(make_service_profile: Make) -> Profile:
    """Give a profile of JPEG 2000 at 20:1."""
    return make_service_profile("jpeg2000:20x@256")


@pytest.mark.parametrize("point", ["jpeg:q30@256", "jpeg:q31@256", "jpeg:q90@256", "jpeg:q30", "jpeg:q75"])
def test_the_point_and_milder_ones_are_accepted(
    point: str, image: Image, coded: Make, profile: Profile
) -> None:
    """An exam at the profile's point, a milder one, or one that was not downsized is read."""
    assert refusal(coded(image, point), profile) == ""


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("jpeg:q29@256", "compressed harder than the profile's jpeg:q30@256"),
        ("jpeg:q29", "compressed harder"),
        ("jpeg:q30@128", "the profile holds for jpeg:q30@256"),
        ("jpeg:q30@256:area", "the profile holds for"),
        ("jpeg2000:2x@256", "the profile holds for"),
    ],
)
def test_other_points_are_refused_by_their_name(
    point: str, reason: str, image: Image, coded: Make, profile: Profile
) -> None:
    """A stronger point, another size, kernel or codec is refused before a byte of it is sent."""
    assert reason in meta_refusal(coded(image, point).meta, profile)


@pytest.mark.parametrize("point", ["jpeg:q29@256", "jpeg:q5@256"])
def test_a_jpeg_cannot_hide_its_strength(point: str, image: Image, coded: Make, profile: Profile) -> None:
    """A stream coded harder than its sender says is found by its quantisation tables."""
    lying = coded(image, point).saying(point="jpeg:q30@256")
    assert "quantisation steps are up to" in refusal(lying, profile)


@pytest.mark.parametrize("share", [1.25, 1.5, 2, 8])
def test_a_jpeg2000_cannot_hide_its_strength(
    share: float, draw: Make, coded: Make, jpeg2000: Profile
) -> None:
    """A stream cut shorter than the profile's ratio is found by its length."""
    for seed in range(3):
        lying = coded(draw(seed), f"jpeg2000:{20 * share:g}x@256").saying(point="jpeg2000:20x@256")
        assert "and that of jpeg2000:20x 20:1" in refusal(lying, jpeg2000)


def test_simple_images_may_be_short(coded: Make, jpeg2000: Profile, draw: Make) -> None:
    """Flat, half flat and smooth images need fewer bytes than the ratio gives, and are read."""
    flat = np.zeros((500, 520), np.uint8)
    half = np.vstack([draw(2).pixels[:250], flat[:250]])
    ramp = np.tile(np.linspace(0, 255, 520).astype(np.uint8), (500, 1))
    found = [refusal(coded(Image(pixels), "jpeg2000:20x@256"), jpeg2000) for pixels in (flat, half, ramp)]
    assert found == ["", "", ""]


def test_deep_images_are_coded_at_their_codecs_depth(coded: Make, draw: Make, profile: Profile) -> None:
    """Twelve and sixteen bits become eight in JPEG and sixteen in JPEG 2000, and are read."""
    assert refusal(coded(draw(3, bits=12)), profile) == ""
    assert refusal(coded(draw(3, bits=16)), profile) == ""


def test_chroma_may_not_be_coarser(make_service_profile: Make, draw: Make) -> None:
    """A profile of full colour refuses a stream whose colour is sampled at every second sample."""
    pixels = np.stack([draw(seed, rows=64, columns=64).pixels for seed in range(3)], -1)
    full, half = (Jpeg(30, "q", (option,)) for option in ("444", "420"))
    rgb = Image(pixels, 8, "RGB")
    assert "coarsely" in full.too_strong(half.encode(rgb))
    assert half.too_strong(full.encode(rgb)) == ""


def _stream(parcel: Any) -> bytes:
    (data,) = unpack_streams(parcel.payload)
    return data


@pytest.mark.parametrize("profile_name", ["jpeg:q30@256", "jpeg2000:20x@256"])
@pytest.mark.parametrize("harm", ["trailing", "cut", "zip", "empty", "two", "garbage"])
def test_streams_that_are_not_one_whole_image_are_refused(
    harm: str, profile_name: str, image: Image, coded: Make, make_service_profile: Make
) -> None:
    """Bytes behind the end, a missing end, a second stream or none, and noise are refused."""
    good = coded(image, profile_name)
    data = _stream(good)
    payload = {
        "trailing": pack_streams([data + b"\0"]),
        "cut": pack_streams([data[: len(data) // 2]]),
        "zip": pack_streams([data]) + b"PK\x05\x06" + bytes(18),
        "empty": pack_streams([b""]),
        "two": pack_streams([data, data]),
        "garbage": pack_streams([bytes(range(256)) * 8]),
    }[harm]
    assert refusal(good.holding(payload), make_service_profile(profile_name)) != ""


def test_a_jpeg_with_foreign_segments_is_refused(image: Image, coded: Make, profile: Profile) -> None:
    """Comments and EXIF, which can hold a name, are refused."""
    good = coded(image)
    data = _stream(good)
    for marker in (b"\xff\xfe", b"\xff\xe1"):
        note = marker + (10).to_bytes(2, "big") + b"Jane Doe"
        found = refusal(good.holding(pack_streams([data[:2] + note + data[2:]])), profile)
        assert "has no place there" in found
        assert "Jane" not in found


def test_a_progressive_jpeg_needs_all_its_scans(image: Image, coded: Make, profile: Profile) -> None:
    """A progressive stream without its last scans has fine tables and coarse pixels; it is refused."""
    good = coded(image)
    out = io.BytesIO()
    small = PillowImage.fromarray(image.pixels).resize((256, 256))
    small.save(out, "JPEG", quality=30, progressive=True)
    whole = out.getvalue()
    assert refusal(good.holding(pack_streams([whole])), profile) == ""
    fewer = whole[: whole.rfind(b"\xff\xda")] + b"\xff\xd9"
    PillowImage.open(io.BytesIO(fewer)).load()  # a decoder sees nothing wrong
    assert "scans are missing" in refusal(good.holding(pack_streams([fewer])), profile)


def test_a_stream_of_another_size_is_refused_by_its_header(
    image: Image, coded: Make, profile: Profile
) -> None:
    """A header of 60000x60000 is refused without decoding it, as is any size but the point's."""
    good = coded(image)
    data = bytearray(_stream(good))
    at = data.find(b"\xff\xc0") + 5
    data[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    assert "60000x60000" in refusal(good.holding(pack_streams([bytes(data)])), profile)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"modality": "MG"}, "modality MG"),
        ({"rows": 100}, "height 100"),
        ({"columns": 9000}, "width 9000"),
        ({"bits": 10}, "bits 10"),
        ({"photometric": "RGB"}, "photometric RGB"),
        ({"slices": 3}, "slices 3"),
        ({"rows": 65_535, "columns": 65_535}, "pixels; at most"),
    ],
)
def test_what_was_not_studied_is_refused(
    *, said: dict[str, Any], reason: str, image: Image, coded: Make, pristine: Make, profile: Profile
) -> None:
    """Modality, size, depth, colour and slices must be the study's, coded or pristine."""
    for parcel in (coded(image), pristine(image)):
        assert reason in meta_refusal(parcel.saying(**said).meta, profile)


def test_a_pristine_file_is_accepted(
    image: Image, pristine: Make, profile: Profile, deidentified_dicom: Make, draw: Make
) -> None:
    """A PNG, and a DICOM file that says it is de-identified, are read."""
    assert refusal(pristine(image), profile) == ""
    deep = draw(4, bits=12)
    data = deidentified_dicom(deep)
    assert refusal(pristine(deep).holding(data, bits=12), profile) == ""


def test_a_dicom_file_with_a_patient_is_refused(
    image: Image, pristine: Make, profile: Profile, deidentified_dicom: Make
) -> None:
    """Without the mark of de-identification it is refused, and the reason names nobody."""
    data = deidentified_dicom(image, PatientName="Doe^Jane", PatientIdentityRemoved="NO")
    found = refusal(pristine(image).holding(data), profile)
    assert "de-identified" in found
    assert "Doe" not in found


@pytest.mark.parametrize("element", ["explicit", "implicit"])
def test_a_deflated_dicom_file_is_refused_before_it_inflates(
    element: str, image: Image, pristine: Make, profile: Profile, deidentified_dicom: Make
) -> None:
    """A file of 200 kB whose header would inflate to 200 MB is refused by its transfer syntax."""
    data = deidentified_dicom(image)
    at = data.find(b"\x02\x00\x10\x00")
    uid = b"1.2.840.10008.1.2.1.99"
    said = b"UI" + len(uid).to_bytes(2, "little") if element == "explicit" else len(uid).to_bytes(4, "little")
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = b"".join([*(squeeze.compress(bytes(1_000_000)) for _ in range(200)), squeeze.flush()])
    bomb = data[:at] + b"\x02\x00\x10\x00" + said + uid + body
    assert len(bomb) < 250_000
    tracemalloc.start()
    found = refusal(pristine(image).holding(bomb), profile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "deflated" in found
    assert peak < 20_000_000


def test_a_preamble_of_its_own_is_refused(
    image: Image, pristine: Make, profile: Profile, deidentified_dicom: Make
) -> None:
    """A DICOM file that is a Windows program too is refused."""
    data = b"MZ" + deidentified_dicom(image)[2:]
    assert "DICOM" in refusal(pristine(image).holding(data), profile)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "JPEG2000"])
def test_a_file_that_goes_on_behind_its_end_is_refused(
    kind: str, image: Image, pristine: Make, profile: Profile
) -> None:
    """A picture with an archive behind it is refused in every format with an end; without, it is read."""
    out = io.BytesIO()
    pixels = PillowImage.fromarray(image.pixels)
    pixels.save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    said = {"photometric": "RGB"} if kind == "WEBP" else {}
    parcel = pristine(image).holding(out.getvalue(), **said)
    assert payload_refusal(parcel.meta, parcel.payload, profile) == ""
    longer = parcel.holding(out.getvalue() + b"PK\x05\x06" + bytes(18))
    assert "end is not where" in payload_refusal(longer.meta, longer.payload, profile)


def test_a_file_of_another_size_than_stated_is_refused(
    image: Image, pristine: Make, profile: Profile
) -> None:
    """What the sender says must be so."""
    assert "the sender says 501x520x1" in refusal(pristine(image).saying(rows=501), profile)


def test_a_decompression_bomb_is_refused_by_its_header(
    image: Image, pristine: Make, profile: Profile
) -> None:
    """A small file of very many pixels is refused before they are decoded."""
    out = io.BytesIO()
    PillowImage.new("1", (12_000, 12_000)).save(out, "PNG")
    assert len(out.getvalue()) < 50_000
    found = refusal(pristine(image).holding(out.getvalue()), profile, max_pixels=10_000_000)
    assert "144000000 pixels" in found


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"not an image at all", bytes(132) + b"DICM"])
def test_a_damaged_file_is_refused(data: bytes, image: Image, pristine: Make, profile: Profile) -> None:
    """Noise and the beginnings of files are refused with a reason and no exception."""
    assert payload_refusal(pristine(image).meta, data, profile) != ""


def test_noise_in_a_stream_never_raises(image: Image, coded: Make, make_service_profile: Make) -> None:
    """Streams with bytes changed at random are accepted or refused, and nothing else happens."""
    rng = np.random.default_rng(3)
    for name in ("jpeg:q30@256", "jpeg2000:20x@256"):
        good, rules = coded(image, name), make_service_profile(name)
        for _ in range(60):
            data = bytearray(_stream(good))
            for at in rng.integers(0, min(len(data), 700), 3):
                data[at] = rng.integers(0, 256)
            assert isinstance(refusal(good.holding(pack_streams([bytes(data)])), rules), str)

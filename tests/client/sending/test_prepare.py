"""What leaves the clinic is what the study measured, and nothing outside the profile leaves at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitdose.client.deidentify.pseudonyms import Pseudonyms
from bitdose.client.sending.intake import Intake, is_drawn
from bitdose.client.sending.outbox import Outbox
from bitdose.client.sending.prepare import coded_exam, open_exam
from bitdose.codecs.coding import decode_streams, encode_point
from bitdose.codecs.point import Point
from bitdose.data.read import read_bytes
from bitdose.errors import CaseError
from bitdose.hashing import bytes_digest
from bitdose.profile.document import Profile
from bitdose.wire import ExamKind, unpack_streams


def test_the_payload_is_the_studys_own_stream(png: Callable[..., bytes], profile: Profile) -> None:
    """The streams are, byte for byte, those that a study codes, and the metadata describe the original."""
    data = png()
    exam = coded_exam(open_exam(data), profile, pseudonym="a" * 16)
    image = read_bytes(data).image
    assert unpack_streams(exam.payload) == encode_point(image, Point.parse("jpeg:q30@64")).data
    meta = exam.meta
    assert (meta.rows, meta.columns, meta.slices, meta.bits) == (128, 128, 1, 8)
    assert (meta.kind, meta.point, meta.profile) == (ExamKind.CODED, "jpeg:q30@64", profile.id)
    assert (meta.sha256, meta.payload_bytes) == (bytes_digest(exam.payload), len(exam.payload))
    assert (meta.source_bytes, meta.client[:8]) == (len(data), "bitdose ")


def test_a_dicom_exam_carries_pixels_and_modality_alone(
    radiograph: Callable[..., bytes], profile: Profile
) -> None:
    """Neither payload nor metadata hold a word of the header but its modality."""
    exam = coded_exam(open_exam(radiograph()), profile, pseudonym="a" * 16)
    sent = exam.payload + exam.meta.model_dump_json().encode()
    assert not [word for word in (b"Doe", b"4711", b"20240301", b"1.2.4") if word in sent]
    assert (exam.meta.modality, exam.meta.bits) == ("CR", 12)


def test_a_volume_has_a_stream_per_slice(
    new_profile: Callable[..., Profile], shared: Path, tmp_path: Path
) -> None:
    """A real multi-frame MR becomes one stream per frame, which decode to its size and depth."""
    data = (shared / "data" / "dicom" / "emri_small.dcm").read_bytes()
    exam = coded_exam(open_exam(data), new_profile(tmp_path, "jpeg2000:10x"), pseudonym="a" * 16)
    streams = unpack_streams(exam.payload)
    assert len(streams) == exam.meta.slices == 10
    image = read_bytes(data).image
    point = Point.parse("jpeg2000:10x")
    coded = encode_point(image, point)
    assert decode_streams(image, point, coded).image.pixels.shape == image.pixels.shape


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"height": [200, 400]}, "height 128"),
        ({"bits": [12]}, "bits 8"),
        ({"photometric": ["RGB"]}, "photometric MONOCHROME2"),
    ],
)
def test_an_exam_outside_the_profile_is_not_coded(
    limits: dict[str, Any],
    said: str,
    png: Callable[..., bytes],
    new_profile: Callable[..., Profile],
    tmp_path: Path,
) -> None:
    """Each limit of the profile refuses what lies beyond it, and says which limit."""
    with pytest.raises(CaseError, match=f"outside-profile: {said}"):
        coded_exam(open_exam(png()), new_profile(tmp_path, **limits), pseudonym="a" * 16)


def test_another_modality_is_refused(
    radiograph: Callable[..., bytes], new_profile: Callable[..., Profile], tmp_path: Path
) -> None:
    """A CT does not pass where CR was certified."""
    with pytest.raises(CaseError, match="modality CT"):
        coded_exam(open_exam(radiograph(Modality="CT")), new_profile(tmp_path), pseudonym="a" * 16)


def _intake(folder: Path, profile: Profile, share: float) -> tuple[Outbox, Intake]:
    outbox = Outbox(folder)
    return outbox, Intake(outbox, Pseudonyms(folder), profile, server="https://s", sentinel_share=share)


def test_the_sentinels_half_follows_its_exam(
    tmp_path: Path, png: Callable[..., bytes], profile: Profile
) -> None:
    """With a share of 1 each exam has a pristine half: same pair, same pseudonym, behind all coded ones."""
    outbox, intake = _intake(tmp_path, profile, 1.0)
    taken = [intake.add(png(seed), f"{seed}.png") for seed in range(3)]
    assert all(one.has_pair for one in taken)
    items = outbox.items()
    assert len(items) == 6
    for coded, pristine in zip(items[::2], items[1::2], strict=True):
        assert (coded.meta.kind, pristine.meta.kind) == (ExamKind.CODED, ExamKind.PRISTINE)
        assert (coded.meta.pair, coded.meta.pseudonym) == (pristine.meta.pair, pristine.meta.pseudonym)
        assert pristine.meta.point == ""
    order = []
    while item := outbox.next_waiting("https://s"):
        order.append(item.meta.kind)
        outbox.arrived(item, "e", due=0.0)
    assert order == [ExamKind.CODED] * 3 + [ExamKind.PRISTINE] * 3


def test_the_share_is_a_share(png: Callable[..., bytes]) -> None:
    """Of 2,000 digests a share of 0.1 draws 200, give or take five standard errors, always the same ones."""
    digests = [bytes_digest(str(n).encode()) for n in range(2000)]
    drawn = [is_drawn(one, 0.1) for one in digests]
    assert 133 <= sum(drawn) <= 267
    assert drawn == [is_drawn(one, 0.1) for one in digests]


def test_a_file_is_taken_in_once(tmp_path: Path, png: Callable[..., bytes], profile: Profile) -> None:
    """The same bytes under another name are the same exam, before and after it was answered."""
    outbox, intake = _intake(tmp_path, profile, 0.0)
    assert intake.add(png(), "a.png").is_new
    assert not intake.add(png(), "b.png").is_new
    assert intake.add(png(7), "c.png").is_new
    assert [item.source for item in outbox.items()] == ["a.png", "c.png"]

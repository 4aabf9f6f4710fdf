"""A lossy version of a DICOM image is a new object that says what was done, and keeps the rest."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.filebase import DicomBytesIO
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.compress.dicom import Uids, compress_dicom, put_streams
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image

Make = Callable[..., Any]


def test_a_lossy_version_is_a_new_object(make_dicom: Make, compress: Make, texture: Make) -> None:
    """New UIDs under 2.25, DERIVED, 01, ratio, method, source; patient and study stay."""
    made = compress(make_dicom(texture(64, 64, 12), BitsStored=12), "jpeg2000:10x")
    assert made.SOPInstanceUID.startswith("2.25.")
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.SeriesInstanceUID.startswith("2.25.")
    assert (made.StudyInstanceUID, made.PatientName, made.PatientID) == ("1.2.4", "Doe^Jane", "4711")
    assert made.ImageType[0] == "DERIVED"
    assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    stream = next(generate_frames(made.PixelData, number_of_frames=1))
    assert made.LossyImageCompressionRatio == pytest.approx(64 * 64 * 2 / len(stream), rel=0.01)
    source = made.SourceImageSequence[0]
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (made.SOPClassUID, "1.2.3")
    assert "jpeg2000:10x" in made.DerivationDescription
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.91"
    assert made.InstanceCreationDate == "20260301"


def test_codes_are_those_of_the_standard(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Derivation, purpose and equipment codes equal the library's copy of PS3.16."""
    made = compress(make_dicom(texture(64, 64, 8)), "jpeg:q50@32")
    derivations = [(item.CodeValue, item.CodeMeaning) for item in made.DerivationCodeSequence]
    expected = (codes.DCM.LossyCompression, codes.DCM.SpatialResampling)
    assert derivations == [(code.value, code.meaning) for code in expected]
    purpose = made.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert purpose.CodeValue == codes.DCM.UncompressedPredecessor.value
    role = made.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0]
    assert role.CodeValue == codes.DCM.ModifyingEquipment.value


@pytest.mark.parametrize("point", ["jpeg:q30", "jpeg:q30+444+optimize", "jpeg2000:20x", "jpeg:q60@40x30"])
@pytest.mark.parametrize("colour", [False, True])
def test_streams_are_those_of_the_codec(
    make_dicom: Make, compress: Make, texture: Make, point: str, colour: bool
) -> None:
    """Eight-bit frames hold exactly the bytes that the study's encoder gives, padded to even length."""
    pixels = np.stack([texture(64, 80, 8, colour=colour), texture(64, 80, 8, colour=colour)[::-1]])
    made = compress(make_dicom(pixels), point)
    streams = list(generate_frames(made.PixelData, number_of_frames=2))
    for stream, plane in zip(streams, pixels, strict=True):
        image = Image(plane, 8, "RGB" if colour else "MONOCHROME2")
        wanted = encode_point(image, Point.parse(point)).data[0]
        assert stream == wanted + bytes(len(wanted) % 2)
    named = {"jpeg": "YBR_FULL_422", "jpeg2000": "YBR_ICT"}[point.partition(":")[0]]
    assert made.PhotometricInterpretation == (named if colour else "MONOCHROME2")
    assert made.get("PlanarConfiguration") == (0 if colour else None)


def test_pixels_are_those_of_the_stream(make_dicom: Make, compress: Make, texture: Make) -> None:
    """What pydicom shows of a written object is what decoding its stream gives."""
    for bits, signed in ((8, False), (12, False), (12, True), (16, True)):
        made = compress(make_dicom(texture(48, 64, bits, signed=signed), BitsStored=bits), "jpeg2000:6x")
        stream = next(generate_frames(made.PixelData, number_of_frames=1))
        np.testing.assert_array_equal(made.pixel_array, imagecodecs.jpeg2k_decode(stream))
        assert (made.BitsStored, made.HighBit, made.PixelRepresentation) == (bits, bits - 1, int(signed))


def test_a_lossy_source_keeps_its_history(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Ratio and Method get one more value behind those that were there; 01 stays; the text grows."""
    first = make_dicom(
        texture(64, 64, 8),
        LossyImageCompression="01",
        LossyImageCompressionRatio="7.5",
        LossyImageCompressionMethod="ISO_14495_1",
        DerivationDescription="Scanned",
    )
    made = compress(first, "jpeg:q30")
    assert list(made.LossyImageCompressionMethod) == ["ISO_14495_1", "ISO_10918_1"]
    assert made.LossyImageCompressionRatio[0] == 7.5
    assert len(made.LossyImageCompressionRatio) == 2
    assert made.DerivationDescription.startswith("Scanned; Lossy compression ")
    purpose = made.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert purpose.CodeValue == codes.DCM.LossyCompressedPredecessor.value


def test_a_lossy_source_that_does_not_say_so_gets_its_step(compress: Make) -> None:
    """A JPEG source without ratio and method counts as a step of its own, from its own bytes."""
    source = pydicom.dcmread(str(get_testdata_file("SC_rgb_small_odd_jpeg.dcm", download=False)))
    del source.LossyImageCompressionRatio, source.LossyImageCompressionMethod
    file = io.BytesIO()
    source.save_as(file)
    made = compress(file.getvalue(), "jpeg2000:2x")
    assert list(made.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]
    assert made.LossyImageCompressionRatio[0] == pytest.approx(27 / len(source.PixelData), rel=1e-4)


def test_twice_compressed_tells_of_both(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Compressing a result again appends again and refers to the result."""
    uids = Uids()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    once = compress_dicom(make_dicom(texture(64, 64, 8)), Point.parse("jpeg:q50"), uids=uids, now=now).data
    twice = compress(once, "jpeg2000:30x")
    assert list(twice.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]
    referred = [item.ReferencedSOPInstanceUID for item in twice.SourceImageSequence]
    assert referred == ["1.2.3", pydicom.dcmread(io.BytesIO(once)).SOPInstanceUID]


def test_a_series_stays_a_series(make_dicom: Make, compress: Make, texture: Make) -> None:
    """One run gives all objects of a source series one new series; another series gets another."""
    uids, pixels = Uids(), texture(16, 16, 8)
    one, two = (
        compress(
            make_dicom(pixels, SOPInstanceUID=f"1.2.3.{n}", FrameOfReferenceUID="1.9"), "jpeg:q50", uids=uids
        )
        for n in (1, 2)
    )
    other = compress(make_dicom(pixels, SeriesInstanceUID="1.2.6"), "jpeg:q50", uids=uids)
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.FrameOfReferenceUID == "1.9"


def test_what_compression_does_not_touch_stays(compress: Make) -> None:
    """Every element of a CT slice that the tables do not name, private ones too, has its old value."""
    path = get_testdata_file("CT_small.dcm", download=False)
    old = pydicom.dcmread(path)
    new = compress(Path(path).read_bytes(), "jpeg2000:8x")
    changed = {element.keyword or element.tag for element in old if new.get(element.tag) != element}
    assert changed == {"ImageType", "InstanceCreationDate", "InstanceCreationTime", "SOPInstanceUID",
                       "SeriesInstanceUID", "PixelData"}  # fmt: skip


def test_what_is_of_the_old_samples_goes(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Icon, smallest and largest value, and signatures are dropped: they would be untrue."""
    icon = Dataset()
    icon.Rows = icon.Columns = 1
    data = make_dicom(
        texture(32, 32, 8),
        IconImageSequence=[icon],
        SmallestImagePixelValue=0,
        LargestImagePixelValue=255,
        DigitalSignaturesSequence=[Dataset()],
    )
    made = compress(data, "jpeg:q50")
    for name in ("IconImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue"):
        assert name not in made
    assert "DigitalSignaturesSequence" not in made


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_read(make_dicom: Make, compress: Make, texture: Make, syntax: str) -> None:
    """Implicit VR and big endian sources give the same streams; words of look-up tables are swapped."""
    pixels = texture(32, 32, 12)
    plain = make_dicom(pixels, BitsStored=12)
    dataset = pydicom.dcmread(io.BytesIO(plain))
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [2, 0, 16])
    words = np.array([1, 65000], "<u2" if syntax == ImplicitVRLittleEndian else ">u2")
    table.add_new("LUTData", "OW", words.tobytes())
    dataset.VOILUTSequence = [table]
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = pixels.byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    little = syntax == ImplicitVRLittleEndian
    bare = Dataset()
    bare.update(dict(dataset.items()))
    bare.file_meta = dataset.file_meta
    pydicom.dcmwrite(file, bare, implicit_vr=little, little_endian=little)
    made = compress(bytes(128) + b"DICM" + file.getvalue().removeprefix(bytes(128) + b"DICM"), "jpeg2000:5x")
    expected = compress(plain, "jpeg2000:5x")
    assert made.PixelData == expected.PixelData
    assert np.frombuffer(made.VOILUTSequence[0].LUTData, "<u2").tolist() == [1, 65000]


def test_a_palette_becomes_colour(compress: Make) -> None:
    """PALETTE COLOR is looked up first: RGB in the stream, no palette left in the object."""
    path = get_testdata_file("examples_palette.dcm", download=False)
    made = compress(Path(path).read_bytes(), "jpeg:q90")
    assert (made.PhotometricInterpretation, made.SamplesPerPixel, made.BitsAllocated) == (
        "YBR_FULL_422",
        3,
        8,
    )
    assert not [e for e in made if "Palette" in e.name]
    assert "palette applied" in made.DerivationDescription


def test_many_frames_have_an_offset_table(make_dicom: Make, compress: Make, texture: Make) -> None:
    """The Basic Offset Table names every frame; where 32 bits do not reach, the extended one does."""
    pixels = np.stack([texture(16, 16, 8)] * 5)
    made = compress(make_dicom(pixels), "jpeg:q50")
    assert made.NumberOfFrames == 5
    buffer = DicomBytesIO(made.PixelData)
    buffer.is_little_endian = True
    assert len(parse_basic_offsets(buffer)) == 5
    put_streams(made, [b"12", b"3456"], max_offset=10)
    assert np.frombuffer(made.ExtendedOffsetTable, "<u8").tolist() == [0, 10]
    assert np.frombuffer(made.ExtendedOffsetTableLengths, "<u8").tolist() == [2, 4]


@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, ("jpeg:q50", "segmentation")),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, ("jpeg:q50", "dose grid")),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, ("jpeg:q50", "CT Image: PS3.3 C.8.2.1")),
        ({"BitsStored": 1}, ("jpeg2000:5x", "1-bit samples")),
        ({"TotalPixelMatrixColumns": 9000}, ("jpeg2000:5x@16", "whole-slide")),
        ({"SOPInstanceUID": ""}, ("jpeg2000:5x", "no SOP Class or Instance UID")),
    ],
)
def test_what_must_not_be_coded_is_refused(
    make_dicom: Make, compress: Make, texture: Make, attributes: dict[str, Any], refusal: tuple[str, str]
) -> None:
    """Labels, doses, eight bits where sixteen are prescribed, tiles: one line that says why, and no name."""
    point, reason = refusal
    pixels = texture(32, 32, 12)
    if attributes.get("SOPInstanceUID") == "":
        data = make_dicom(pixels).replace(b"\x08\0\x18\0UI\x06\x001.2.3\0", b"\x08\0\x18\0UI\0\0")
    else:
        data = make_dicom(pixels & 1 if "BitsStored" in attributes else pixels, **attributes)
    with pytest.raises(CaseError, match=re.escape(reason)) as caught:
        compress(data, point)
    assert "Doe" not in str(caught.value)


def test_eight_stored_bits_of_sixteen_allocated(make_dicom: Make, compress: Make, texture: Make) -> None:
    """They become 8 allocated, but in an MR image, which must have 16 (PS3.3 C.8.3.1)."""
    pixels = texture(32, 32, 8).astype(np.uint16)
    free = compress(make_dicom(pixels, BitsStored=8), "jpeg2000:4x")
    assert (free.BitsAllocated, free.BitsStored) == (8, 8)
    bound = compress(make_dicom(pixels, BitsStored=8, SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), "jpeg2000:4x")
    assert (bound.BitsAllocated, bound.BitsStored) == (16, 8)
    np.testing.assert_array_equal(bound.pixel_array, free.pixel_array)


def test_points_that_dicom_cannot_hold_are_refused(make_dicom: Make, compress: Make, texture: Make) -> None:
    """Progressive JPEG is not process 1: the call is wrong, and the message says what to leave out."""
    with pytest.raises(UsageError, match=r"leave out '\+progressive'"):
        compress(make_dicom(texture(16, 16, 8)), "jpeg:q50+progressive")


def test_sixteen_bit_colour_is_said_to_be_beyond_the_codec(
    make_dicom: Make, compress: Make, texture: Make
) -> None:
    """Deep colour fails by JPEG 2000 with a reason, and becomes eight bits by JPEG."""
    data = make_dicom(texture(32, 32, 16, colour=True))
    with pytest.raises(CaseError, match="16-bit colour"):
        compress(data, "jpeg2000:5x")
    assert compress(data, "jpeg:q90").BitsStored == 8


def test_overlays_in_unused_bits_go_with_them(make_dicom: Make, compress: Make, texture: Make) -> None:
    """An overlay in the pixels' upper bits cannot survive a codec: it is dropped, a real plane stays."""
    source = pydicom.dcmread(io.BytesIO(make_dicom(texture(16, 16, 12), BitsStored=12)))
    for group in (0x6000, 0x6002):
        source.add_new((group, 0x0010), "US", 16)
        source.add_new((group, 0x0011), "US", 16)
    source.add_new((0x6002, 0x3000), "OW", bytes(32))
    file = io.BytesIO()
    source.save_as(file)
    made = compress(file.getvalue(), "jpeg2000:5x")
    assert (0x6000, 0x0010) not in made
    assert (0x6002, 0x3000) in made

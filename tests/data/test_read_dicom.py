"""What reading DICOM promises."""

import io
import logging
from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pydicom
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from bitdose.data.read import read_bytes, read_source
from bitdose.errors import CaseError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"
RNG = np.random.default_rng(0)
SYNTAX = "1.2.840.10008.1.2.4."
NAME = "Doe^Jane"
DAMAGED = {"emri_small_jpeg_2k_lossless_too_short.dcm": "truncated"}


def dataset_of(pixels: np.ndarray, **attributes: object) -> Dataset:
    """Return a data set of pixels: grey ``(H, W)`` or ``(L, H, W)``, or colour ``(…, 3)``."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("1.2.3")
    dataset.PatientName = dataset.PatientID = NAME
    colour = pixels.shape[-1] == 3
    grid = pixels.shape[:-1] if colour else pixels.shape
    dataset.Rows, dataset.Columns = grid[-2:]
    if len(grid) == 3:
        dataset.NumberOfFrames = grid[0]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    if "BitsStored" in attributes and "HighBit" not in attributes:
        dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def packed(dataset: Dataset, syntax: str, streams: list[bytes], **attributes: object) -> Dataset:
    """Replace native pixels by coded frames."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    """Return the file of a data set."""
    file = io.BytesIO()
    known = UID(dataset.file_meta.TransferSyntaxUID) in pydicom.uid.AllTransferSyntaxes
    encoding = {} if known else {"implicit_vr": False, "little_endian": True}
    pydicom.dcmwrite(file, dataset, enforce_file_format=known, **encoding)
    if known:
        return file.getvalue()
    return bytes(128) + b"DICM" + file.getvalue().removeprefix(bytes(128) + b"DICM")


def failure(data: bytes, **options: int) -> CaseError:
    """Return the error with which reading fails; it never names the patient."""
    with pytest.raises(CaseError) as caught:
        read_bytes(data, **options)
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


TWELVE = RNG.integers(0, 4096, (30, 50), dtype=np.uint16)
EIGHT = RNG.integers(0, 256, (30, 50), dtype=np.uint8)
SIGNED = RNG.integers(-1000, 2000, (30, 50), dtype=np.int16)
COLOUR = RNG.integers(0, 256, (30, 50, 3), dtype=np.uint8)
SMOOTH = (np.add.outer(np.arange(32), np.arange(64)) * 2).astype(np.uint8)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_unsigned_samples_stay_as_stored(syntax: UID) -> None:
    """Unsigned samples without window or rescale keep values and depth, in every native syntax."""
    pixels = TWELVE.byteswap() if syntax == ExplicitVRBigEndian else TWELVE
    dataset = dataset_of(pixels, BitsStored=12)
    dataset.file_meta.TransferSyntaxUID = syntax
    source = read_bytes(written(dataset))
    np.testing.assert_array_equal(source.image.pixels, TWELVE)
    assert (source.format, source.image.bits, source.lossy, source.mapping) == ("DICOM", 12, None, "")


def test_bits_above_bits_stored_are_cleared() -> None:
    """Overlay bits above the stored ones do not count, and a high bit above them is undone."""
    source = read_bytes(written(dataset_of(TWELVE | np.uint16(0x4000), BitsStored=12)))
    np.testing.assert_array_equal(source.image.pixels, TWELVE)
    shifted = read_bytes(written(dataset_of(TWELVE << 4, BitsStored=12, HighBit=15)))
    np.testing.assert_array_equal(shifted.image.pixels, TWELVE)


def test_signed_samples_span_their_range() -> None:
    """Signed samples without window go from minimum to maximum onto the full range."""
    source = read_bytes(written(dataset_of(SIGNED)))
    low, high = int(SIGNED.min()), int(SIGNED.max())
    expected = np.floor((SIGNED - float(low)) / (high - low) * 65535 + 0.5)
    np.testing.assert_array_equal(source.image.pixels, expected)
    assert source.mapping == f"full span {low}..{high}"


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_equals_pydicom(function: str) -> None:
    """Rescale and the first window give what pydicom gives, on the full range of the depth."""
    dataset = dataset_of(
        SIGNED & 0xFFF,
        BitsStored=13,
        RescaleSlope="2",
        RescaleIntercept="-1024",
        WindowCenter=["1000", "5"],
        WindowWidth=["2500", "5"],
        VOILUTFunction=function,
    )
    source = read_bytes(written(dataset))
    values = apply_windowing(apply_modality_lut(SIGNED & 0xFFF, dataset), dataset)
    low, high = -(2**12) * 2.0 - 1024, (2**12 - 1) * 2.0 - 1024
    expected = (values - low) / (high - low) * (2**13 - 1)
    assert np.abs(source.image.pixels - expected).max() <= 0.5001
    assert source.image.bits == 13
    suffix = "" if function == "LINEAR" else f" {function.lower()}"
    assert source.mapping == f"rescale 2x-1024; window 1000/2500{suffix}"


def test_window_of_width_one_is_a_threshold() -> None:
    """The narrowest window parts black from white; a window of no width is ignored."""
    data = written(dataset_of(EIGHT, WindowCenter="100", WindowWidth="1"))
    np.testing.assert_array_equal(read_bytes(data).image.pixels, np.where(EIGHT > 99.5, 255, 0))
    source = read_bytes(written(dataset_of(EIGHT, WindowCenter="100", WindowWidth="0", RescaleSlope="1")))
    np.testing.assert_array_equal(source.image.pixels, EIGHT)
    odd = written(dataset_of(EIGHT, WindowCenter="100", WindowWidth="10", VOILUTFunction="WAVY"))
    assert failure(odd).status == "unsupported"


def test_monochrome1_is_inverted() -> None:
    """MONOCHROME1 comes out with 0 as black, after its window."""
    source = read_bytes(written(dataset_of(TWELVE, BitsStored=12, PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(source.image.pixels, 4095 - TWELVE)
    assert source.mapping == "inverted"


def lut_item(table: np.ndarray, first: int, bits: int) -> Dataset:
    """Return a look-up table item."""
    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = table.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def test_lookup_tables() -> None:
    """Modality and VOI look-up tables are applied, values outside taking the nearest entry."""
    table = np.arange(4096, dtype=np.uint16)[::-1] // 16
    dataset = dataset_of(TWELVE, BitsStored=12, VOILUTSequence=[lut_item(table, 0, 8)])
    source = read_bytes(written(dataset))
    expected = np.floor(table[TWELVE] / 255 * 4095 + 0.5)
    np.testing.assert_array_equal(source.image.pixels, expected)
    short = lut_item(np.array([0, 1000, 4000], np.uint16), 10, 12)
    dataset = dataset_of(EIGHT, ModalityLUTSequence=[short], WindowCenter="2000", WindowWidth="4001")
    values = np.array([0, 1000, 4000])[np.clip(EIGHT.astype(int) - 10, 0, 2)]
    source = read_bytes(written(dataset))
    np.testing.assert_allclose(source.image.pixels, (values + 0.5) / 4000 * 255, atol=0.6)
    assert source.mapping == "modality lut; window 2000/4001"


def test_frames_are_a_volume_with_functional_groups() -> None:
    """Enhanced frames are slices; each is rescaled by its own group, all share one window."""
    frames = np.stack([TWELVE, TWELVE, TWELVE])
    groups = []
    for slope in (1.0, 2.0, 0.5):
        group, rescale, window = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = str(slope), "0"
        window.WindowCenter, window.WindowWidth = "2048", "4097"
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [rescale], [window]
        groups.append(group)
    source = read_bytes(written(dataset_of(frames, BitsStored=12, PerFrameFunctionalGroupsSequence=groups)))
    assert source.image.pixels.shape == (3, 30, 50)
    for plane, slope in zip(source.image.pixels, (1.0, 2.0, 0.5), strict=True):
        expected = np.clip((TWELVE * slope - 2047.5) / 4096 + 0.5, 0, 1) * 4095
        assert np.abs(plane - expected).max() <= 0.5001
    assert source.mapping == "rescale per frame; window 2048/4097"


def test_colour_meanings() -> None:
    """RGB by pixel or by plane and YBR come out as RGB; colour frames as a grey volume."""
    np.testing.assert_array_equal(read_bytes(written(dataset_of(COLOUR))).image.pixels, COLOUR)
    planes = dataset_of(COLOUR, PlanarConfiguration=1)
    planes.PixelData = COLOUR.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(read_bytes(written(planes)).image.pixels, COLOUR)
    ybr = np.asarray(Pillow.fromarray(COLOUR).convert("YCbCr"))
    source = read_bytes(written(dataset_of(ybr, PhotometricInterpretation="YBR_FULL")))
    assert np.abs(source.image.pixels.astype(int) - COLOUR).max() <= 3
    assert (source.image.photometric, source.mapping) == ("RGB", "ybr_full>rgb")
    frames = read_bytes(written(dataset_of(np.stack([COLOUR, COLOUR]))))
    grey = np.asarray(Pillow.fromarray(COLOUR).convert("L"))
    np.testing.assert_array_equal(frames.image.pixels, np.stack([grey, grey]))
    assert frames.mapping == "rgb frames>grey volume"


def test_palette() -> None:
    """A palette becomes RGB: 8 bits where its low bytes say nothing, else 16."""
    for scale, bits in ((256, 8), (257, 8), (255, 16)):
        dataset = dataset_of(EIGHT, PhotometricInterpretation="PALETTE COLOR")
        for factor, name in enumerate(("Red", "Green", "Blue"), 1):
            table = (np.arange(256) // factor * scale).astype("<u2")
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
        image = read_bytes(written(dataset)).image
        expected = apply_color_lut(EIGHT, dataset)
        assert (image.bits, image.photometric) == (bits, "RGB")
        np.testing.assert_array_equal(image.pixels, expected >> 8 if bits == 8 else expected)


def test_one_bit_segmentation() -> None:
    """A segmentation of single bits becomes 0 and 255."""
    mask = EIGHT[:, :48] > 128
    dataset = dataset_of(EIGHT[:, :48], BitsAllocated=1, BitsStored=1)
    dataset.PixelData = np.packbits(mask, bitorder="little").tobytes()
    source = read_bytes(written(dataset))
    np.testing.assert_array_equal(source.image.pixels, mask * 255)
    assert (source.image.bits, source.mapping) == (8, "1 bit>8")


LOSSLESS_STREAMS = {
    "57": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    "80": imagecodecs.jpegls_encode,
    "90": lambda pixels: imagecodecs.jpeg2k_encode(
        pixels, bitspersample=12, codecformat="j2k", reversible=True
    ),
    "201": lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}


@pytest.mark.parametrize("syntax", LOSSLESS_STREAMS)
def test_lossless_syntaxes_return_every_value(syntax: str) -> None:
    """JPEG lossless, JPEG-LS, JPEG 2000 and HTJ2K frames give the samples that went in."""
    frames = np.stack([TWELVE, TWELVE[::-1]])
    streams = [LOSSLESS_STREAMS[syntax](np.ascontiguousarray(frame)) for frame in frames]
    dataset = packed(dataset_of(frames, BitsStored=12), SYNTAX + syntax, streams)
    source = read_bytes(written(dataset))
    np.testing.assert_array_equal(source.image.pixels, frames)
    assert source.lossy is None
    dataset.LossyImageCompression = "00"
    assert read_bytes(written(dataset)).lossy is False


def test_rle() -> None:
    """RLE frames give the samples that went in."""
    dataset = dataset_of(TWELVE, BitsStored=12)
    dataset.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read_bytes(written(dataset)).image.pixels, TWELVE)


def test_lossy_syntaxes_are_called_lossy() -> None:
    """JPEG baseline, 12-bit JPEG, near-lossless JPEG-LS, and 9/7 JPEG 2000 are read and flagged."""
    file = io.BytesIO()
    Pillow.fromarray(SMOOTH).save(file, "JPEG", quality=95)
    twelve = SMOOTH.astype(np.uint16) * 16
    coded = {
        "50": (SMOOTH, 8, file.getvalue()),
        "51": (twelve, 12, imagecodecs.jpeg8_encode(twelve, level=98, bitspersample=12)),
        "81": (SMOOTH, 8, imagecodecs.jpegls_encode(SMOOTH, level=3)),
        "91": (SMOOTH, 8, imagecodecs.jpeg2k_encode(SMOOTH, level=45, codecformat="j2k", reversible=False)),
        "203": (SMOOTH, 8, imagecodecs.jpeg2k_encode(SMOOTH, level=45, codecformat="j2k", reversible=False)),
    }
    for syntax, (pixels, bits, stream) in coded.items():
        dataset = packed(dataset_of(pixels, BitsStored=bits), SYNTAX + syntax, [stream])
        source = read_bytes(written(dataset))
        assert source.lossy is True, syntax
        assert np.abs(source.image.pixels.astype(int) - pixels).mean() <= 4 << (bits - 8), syntax
    reversible = imagecodecs.jpeg2k_encode(SMOOTH, level=0, codecformat="j2k", reversible=True)
    dataset = packed(dataset_of(SMOOTH, LossyImageCompression="00"), SYNTAX + "91", [reversible])
    assert read_bytes(written(dataset)).lossy is False


def test_attribute_outweighs_a_native_syntax() -> None:
    """A native object whose attribute says 01 holds lossily coded pixels."""
    assert read_bytes(written(dataset_of(EIGHT, LossyImageCompression="01"))).lossy is True
    assert read_bytes(written(dataset_of(EIGHT, LossyImageCompression="00"))).lossy is False


def test_without_preamble() -> None:
    """A data set that begins at byte 0, with or without file meta information, is read."""
    data = written(dataset_of(EIGHT))
    np.testing.assert_array_equal(read_bytes(data[132:]).image.pixels, EIGHT)
    file = io.BytesIO()
    dataset = dataset_of(EIGHT)
    del dataset.file_meta
    pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_bytes(file.getvalue()).image.pixels, EIGHT)


def test_no_pixels() -> None:
    """An object without pixel data says so; floating-point pixel data are not read."""
    dataset = dataset_of(EIGHT)
    del dataset.PixelData
    assert failure(written(dataset)).status == "no-pixels"
    dataset.FloatPixelData = np.zeros((30, 50), np.float32).tobytes()
    assert failure(written(dataset)).status == "unsupported"


def test_unknown_transfer_syntax() -> None:
    """A transfer syntax that nobody here knows is named in the reason."""
    dataset = dataset_of(EIGHT)
    dataset.file_meta.TransferSyntaxUID = UID("1.2.3.4.5")
    error = failure(written(dataset))
    assert (error.status, "1.2.3.4.5" in error.reason) == ("unsupported", True)


@pytest.mark.parametrize("announced", [1, 2, 4])
def test_wrong_frames(announced: int) -> None:
    """Pixel data of three frames are refused when another number is announced, native or coded."""
    frames = np.stack([EIGHT] * 3)
    assert failure(written(dataset_of(frames, NumberOfFrames=announced))).status == "wrong-frames"
    streams = [imagecodecs.jpeg2k_encode(EIGHT, codecformat="j2k", reversible=True)] * 3
    coded = packed(dataset_of(frames, NumberOfFrames=announced), SYNTAX + "90", streams)
    assert failure(written(coded)).status == "wrong-frames"
    coded.PixelData = encapsulate(streams, has_bot=False)
    assert failure(written(coded)).status == "wrong-frames"
    rle = dataset_of(frames)
    rle.compress(RLELossless, generate_instance_uid=False)
    rle.NumberOfFrames = announced
    assert failure(written(rle)).status == "wrong-frames"


def test_frame_of_another_size() -> None:
    """A coded frame whose size is not rows x columns is refused."""
    for syntax, stream in (
        ("90", imagecodecs.jpeg2k_encode(EIGHT[:20], codecformat="j2k", reversible=True)),
        ("80", imagecodecs.jpegls_encode(EIGHT[:20].copy())),
    ):
        status = failure(written(packed(dataset_of(EIGHT), SYNTAX + syntax, [stream]))).status
        assert status in {"wrong-frames", "unreadable"}


def test_too_large_by_the_header() -> None:
    """Rows x columns x frames above the limit are refused before decoding."""
    assert failure(written(dataset_of(EIGHT)), max_pixels=1499).status == "too-large"


@pytest.mark.parametrize("syntax", ["native", "57", "80", "90", "201", "rle"])
def test_truncated(syntax: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """A file cut anywhere fails as its case, and neither warns, logs nor prints."""
    dataset = dataset_of(TWELVE, BitsStored=12)
    if syntax == "rle":
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif syntax != "native":
        packed(dataset, SYNTAX + syntax, [LOSSLESS_STREAMS[syntax](TWELVE)])
    data = written(dataset)
    for length in (140, 250, len(data) // 2, len(data) - 9):
        assert failure(data[:length]).status in {"truncated", "unreadable", "no-pixels"}
    if syntax not in {"native", "rle"}:
        stream = LOSSLESS_STREAMS[syntax](TWELVE)
        cut = written(packed(dataset, SYNTAX + syntax, [stream[: len(stream) // 2]]))
        assert failure(cut).status in {"truncated", "unreadable"}
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.text) == ("", "", "")


def test_patient_data_stay_out_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    """A value that pydicom complains about is neither logged nor warned of."""
    dataset = dataset_of(EIGHT)
    data = written(dataset)
    broken = data.replace(b"Doe^Jane", b"Doe\xff\\\\\\\\", 1)
    caplog.set_level(logging.DEBUG)
    assert read_bytes(broken).image.height == 30
    assert "Doe" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]


def shared_files() -> list[str]:
    """Name the public files that are on this machine."""
    return sorted(path.name for path in SHARED.glob("*.dcm")) if SHARED.is_dir() else []


def test_shared_files_are_here() -> None:
    """Without the public DICOM files, the tests against them say that they did not run."""
    if not shared_files():
        pytest.skip("shared/data/dicom is not on this machine")


@pytest.mark.parametrize("name", shared_files())
def test_shared_dicom(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Every public file reads to the shape and depth of its inventory, or is a known damaged one."""
    if name in DAMAGED:
        with pytest.raises(CaseError) as caught:
            read_source(SHARED / name)
        assert caught.value.status == DAMAGED[name]
        return
    image = read_source(SHARED / name).image
    rows = pl.read_csv(SHARED / "inventory.csv").filter(pl.col("file") == name).to_dicts()
    for row in rows:
        assert (image.height, image.width, image.n_slices) == (row["rows"], row["cols"], row["frames"])
        assert image.bits == max(8, row["bits_stored"])
        assert (image.photometric == "RGB") is not row["photometric"].startswith("MONO")
    assert int(np.ptp(image.pixels)) > 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KR.dcm",
        "693_UNCR.dcm",
        "MR2_J2KI.dcm",
        "MR2_J2KR.dcm",
        "RG1_J2KI.dcm",
        "RG3_J2KR.dcm",
        "vlut_04.dcm",
    ],
)
def test_shared_values_equal_pydicom(name: str) -> None:
    """Decoded by pydicom's own plugins and windowed by pydicom, public files agree to one grey level."""
    if not (SHARED / name).exists():
        pytest.skip("shared/data/dicom is not on this machine")
    dataset = pydicom.dcmread(SHARED / name)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(float)
    low, high = 0.0, 2.0**dataset.BitsStored - 1
    if dataset.PixelRepresentation:
        low, high = -(2.0 ** (dataset.BitsStored - 1)), 2.0 ** (dataset.BitsStored - 1) - 1
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low, high = low * slope + intercept, high * slope + intercept
    if "VOILUTSequence" in dataset:
        low, high = 0.0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    unit = (values - low) / (high - low)
    unit = 1 - unit if dataset.PhotometricInterpretation == "MONOCHROME1" else unit
    image = read_source(SHARED / name).image
    if "J2KI" in name:
        # Two builds of a lossy decoder may round apart.
        assert np.abs(image.pixels - unit * image.max_value).mean() < 1
    else:
        assert np.abs(image.pixels - unit * image.max_value).max() <= 0.5001 + 1e-6 * image.max_value

"""DICOM whose header and coded frames disagree, or whose rescale is half there, against other readers."""

import io
from collections.abc import Callable
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from bitdose.data.read import read_bytes
from bitdose.errors import CaseError

RNG = np.random.default_rng(3)
SYNTAX = "1.2.840.10008.1.2.4."
RAMP = np.add.outer(np.arange(24), np.arange(32))
COLOUR = np.stack([RAMP * 4, 255 - RAMP * 3, RAMP[::-1] * 2], -1).astype(np.uint8)
YBR = np.asarray(Pillow.fromarray(COLOUR).convert("YCbCr"))
TWELVE = RNG.integers(0, 4096, (20, 30), dtype=np.uint16)
TWELVE[0, :2] = 0, 4095


def written(pixels: np.ndarray, syntax: str = "", stream: bytes = b"", **attributes: object) -> bytes:
    """Return a DICOM file of one frame, native or of a coded stream."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(SYNTAX + syntax) if syntax else ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("1.2.3")
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = encapsulate([stream]) if stream else pixels.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OB" if stream or pixels.itemsize == 1 else "OW"
    dataset["PixelData"].is_undefined_length = bool(stream)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def by_gdcm(path: Path, data: bytes) -> np.ndarray:
    """Return the frames' samples as GDCM decodes them, of whatever colour."""
    path.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    samples = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), np.uint8)
    planar = image.GetPlanarConfiguration()
    height, width = image.GetDimension(1), image.GetDimension(0)
    if planar:
        return samples.reshape(3, height, width).transpose(1, 2, 0)
    return samples.reshape(height, width, 3)


def lossless(predictor: int) -> Callable[[np.ndarray], bytes]:
    """Return an encoder of JPEG lossless that leaves colours alone."""
    same = {"colorspace": "RGB", "outcolorspace": "RGB"}
    return lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, **same)


LOSSLESS = {
    "57": lossless(7),
    "70": lossless(1),
    "80": imagecodecs.jpegls_encode,
}


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("photometric", ["YBR_FULL", "RGB"])
def test_lossless_jpeg_means_what_the_header_says(syntax: str, photometric: str, tmp_path: Path) -> None:
    """JPEG lossless and JPEG-LS have no colour of their own: YBR_FULL is converted, RGB is not."""
    pixels = COLOUR if photometric == "RGB" else YBR
    data = written(COLOUR, syntax, LOSSLESS[syntax](pixels), PhotometricInterpretation=photometric)
    np.testing.assert_array_equal(by_gdcm(tmp_path / "x.dcm", data), pixels)
    source = read_bytes(data)
    assert np.abs(source.image.pixels.astype(int) - COLOUR).max() <= (0 if photometric == "RGB" else 3)
    assert source.mapping == ("" if photometric == "RGB" else "ybr_full>rgb")


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("reversible", [True, False])
def test_the_codestream_decides_on_colour(photometric: str, reversible: bool) -> None:
    """A JPEG 2000 frame with a colour transform of its own is RGB under any header, and converted once."""
    level = 0 if reversible else 60
    stream = imagecodecs.jpeg2k_encode(COLOUR, level, codecformat="j2k", reversible=reversible, mct=True)
    data = written(COLOUR, "90", stream, PhotometricInterpretation=photometric)
    expected = np.asarray(Pillow.open(io.BytesIO(stream))).astype(int)
    assert np.abs(read_bytes(data).image.pixels - expected).max() <= (0 if reversible else 1)


def test_untransformed_codestream_follows_the_header() -> None:
    """Without a transform in the stream, YBR_FULL of the header is what its samples are."""
    for pixels, photometric in ((YBR, "YBR_FULL"), (COLOUR, "RGB"), (COLOUR, "YBR_RCT")):
        stream = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, mct=False)
        image = read_bytes(written(COLOUR, "90", stream, PhotometricInterpretation=photometric)).image
        assert np.abs(image.pixels.astype(int) - COLOUR).max() <= 3 * (photometric == "YBR_FULL")


def test_deep_ybr_is_refused() -> None:
    """YBR of more than 8 bits is refused, native or coded: no converter here knows it."""
    deep = YBR.astype(np.uint16) * 256
    for data in (
        written(deep, PhotometricInterpretation="YBR_FULL"),
        written(deep, "80", imagecodecs.jpegls_encode(deep), PhotometricInterpretation="YBR_FULL"),
    ):
        with pytest.raises(CaseError, match="8 are read"):
            read_bytes(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("absent", ["RescaleSlope", "RescaleIntercept"])
def test_half_a_rescale(dtype: type, absent: str) -> None:
    """Where one of slope and intercept is missing, 1 and 0 are meant, as pydicom with both says."""
    pixels = (TWELVE >> (4 if dtype is np.uint8 else 0)).astype(dtype)
    whole = {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": "140", "WindowWidth": "300"}
    whole[absent] = "1" if absent == "RescaleSlope" else "0"
    bits = 8 if dtype is np.uint8 else 13
    half = {name: value for name, value in whole.items() if name != absent}
    source = read_bytes(written(pixels, BitsStored=bits, **half))
    dataset = Dataset()
    for name, value in {**whole, "BitsStored": bits, "PixelRepresentation": int(dtype is np.int16)}.items():
        setattr(dataset, name, value)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    values = apply_windowing(apply_modality_lut(pixels, dataset), dataset)
    least = -(1 << (bits - 1)) if dtype is np.int16 else 0
    low, high = apply_modality_lut(np.array([least, least + (1 << bits) - 1], float), dataset)
    unit = (values - low) / (high - low)
    assert np.abs(source.image.pixels - unit * source.image.max_value).max() <= 0.5001
    assert ("no slope in the header: 1" in source.mapping) is (absent == "RescaleSlope")


@pytest.mark.parametrize("slope", ["0", "0.0", "-0"])
def test_a_slope_of_zero_is_refused(slope: str) -> None:
    """Rescale Slope 0, in the object or in a frame's group, would blank the image."""
    with pytest.raises(CaseError, match="Rescale Slope"):
        read_bytes(written(TWELVE, RescaleSlope=slope, RescaleIntercept="5"))
    group, rescale = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = slope, "5"
    group.PixelValueTransformationSequence = [rescale]
    with pytest.raises(CaseError, match="Rescale Slope"):
        read_bytes(written(TWELVE, PerFrameFunctionalGroupsSequence=[group]))


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_samples_above_bits_stored(kind: type) -> None:
    """JPEG 2000 samples that Bits Stored cannot hold are refused, or clipped where 9/7 rounding made them."""
    low = -2048 if kind is np.int16 else 0
    inside = (TWELVE.astype(np.int32) + low).astype(kind)
    outside = inside.copy()
    outside[1, 1] = low + 4096
    kept = imagecodecs.jpeg2k_encode(inside, codecformat="j2k", reversible=True)
    image = read_bytes(written(inside, "90", kept, BitsStored=12)).image
    np.testing.assert_array_equal(image.pixels, TWELVE)
    stream = imagecodecs.jpeg2k_encode(outside, codecformat="j2k", reversible=True)
    with pytest.raises(CaseError, match="Bits Stored"):
        read_bytes(written(outside, "90", stream, BitsStored=12))
    lossy = imagecodecs.jpeg2k_encode(outside, 90, codecformat="j2k", reversible=False)
    image = read_bytes(written(outside, "91", lossy, BitsStored=12)).image
    assert image.pixels[1, 1] > 4080


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("excess", [1, 2, 10])
def test_bytes_behind_the_last_frame(syntax: UID, excess: int) -> None:
    """Less than a frame of bytes behind the pixels is left alone, in either byte order."""
    pixels = TWELVE[:, :29]
    stored = pixels.byteswap() if syntax == ExplicitVRBigEndian else pixels
    data = written(pixels, PixelData=stored.tobytes() + bytes([7]) * 2 * excess, BitsStored=12)
    if syntax == ExplicitVRBigEndian:
        from pydicom import dcmread, dcmwrite

        dataset = dcmread(io.BytesIO(data))
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dcmwrite(file, dataset, implicit_vr=False, little_endian=False)
        data = file.getvalue()
    np.testing.assert_array_equal(read_bytes(data).image.pixels, pixels)


@pytest.mark.parametrize("spelling", [" MONOCHROME1", "MONOCHROME1  ", "  MONOCHROME1 "])
def test_spaces_around_the_photometric_interpretation(spelling: str) -> None:
    """Spaces around the word are padding: the image is inverted as without them."""
    image = read_bytes(written(TWELVE, BitsStored=12, PhotometricInterpretation=spelling)).image
    np.testing.assert_array_equal(image.pixels, 4095 - TWELVE)

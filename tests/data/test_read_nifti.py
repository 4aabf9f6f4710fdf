"""What reading NIfTI promises."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bitdose.data.load import load_cases
from bitdose.data.read import read_bytes, read_source
from bitdose.errors import CaseError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
IDENTITY = np.eye(4)


def nifti(array: np.ndarray, affine: np.ndarray = IDENTITY, kind: type = nib.Nifti1Image) -> bytes:
    """Return the bytes of a NIfTI file."""
    return kind(array, affine).to_bytes()


def status_of(data: bytes, **options: int) -> str:
    """Return the status with which reading fails."""
    with pytest.raises(CaseError) as caught:
        read_bytes(data, **options)
    return caught.value.status


@pytest.fixture
def volume() -> np.ndarray:
    """Return a volume whose three axes differ in length."""
    return np.random.default_rng(1).integers(0, 256, (4, 5, 6), dtype=np.uint8)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bytes_stay_as_stored(volume: np.ndarray, kind: type, pack: type) -> None:
    """An 8-bit volume keeps its values; slices run along the last axis, rows along the second."""
    source = read_bytes(pack(nifti(volume, kind=kind)))
    assert (source.format, source.lossy, source.mapping) == ("NIFTI", False, "")
    assert source.image.bits == 8
    assert source.image.is_volume
    np.testing.assert_array_equal(source.image.pixels, volume.transpose(2, 1, 0))


def test_extension_does_not_matter(volume: np.ndarray, tmp_path: Path) -> None:
    """A gzip file is known by its content even when it is called .nii."""
    path = tmp_path / "v.nii"
    path.write_bytes(gzip.compress(nifti(volume)))
    assert read_source(path).image.n_slices == 6


def test_canonical_orientation(volume: np.ndarray) -> None:
    """A volume stored left-posterior-superior comes out as its RAS twin, by flips alone."""
    flipped = volume[::-1, ::-1].copy()
    source = read_bytes(nifti(flipped, np.diag([-1.0, -1.0, 1.0, 1.0])))
    np.testing.assert_array_equal(source.image.pixels, volume.transpose(2, 1, 0))
    swapped = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
    turned = read_bytes(nifti(volume.transpose(1, 2, 0).copy(), swapped))
    np.testing.assert_array_equal(turned.image.pixels, source.image.pixels)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_other_types_span_sixteen_bits(dtype: type) -> None:
    """All but plain bytes are mapped, minimum to maximum, onto 16 bits, and say so."""
    array = np.array([0, 100, 400, 1000], dtype).reshape(2, 2, 1)
    source = read_bytes(nifti(np.repeat(array, 2, axis=2)))
    assert source.image.bits == 16
    assert source.mapping == "0..1000>16 bits"
    assert sorted(set(source.image.pixels.ravel().tolist())) == [0, 6554, 26214, 65535]


def test_scaling_is_honoured() -> None:
    """A negative slope in the header turns bright into dark."""
    image = nib.Nifti1Image(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), IDENTITY)
    image.header.set_slope_inter(-2.0, 10.0)
    source = read_bytes(image.to_bytes())
    assert source.mapping == "-4..10>16 bits"
    assert source.image.pixels[0, 0, 0] == 65535
    assert source.image.pixels[1, 1, 1] == 0


def test_flat_image_and_trailing_axis(volume: np.ndarray) -> None:
    """Two axes are an image; a fourth of length one is dropped."""
    assert read_bytes(nifti(volume[:, :, 0].copy())).image.pixels.shape == (5, 4)
    assert read_bytes(nifti(volume[..., None].copy())).image.pixels.shape == (6, 5, 4)


def test_series_and_colour_are_refused(volume: np.ndarray) -> None:
    """A series of volumes, complex numbers and colours are not read."""
    assert status_of(nifti(np.stack([volume, volume], -1))) == "unsupported"
    assert status_of(nifti(volume.astype(np.complex64))) == "unsupported"
    colour = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert status_of(nifti(colour)) == "unsupported"


def test_values_that_are_not_finite() -> None:
    """NaN becomes the minimum and infinity the maximum of the rest, counted in the mapping."""
    array = np.array([np.nan, -1.0, 1.0, np.inf], np.float32).reshape(2, 2, 1)
    source = read_bytes(nifti(np.repeat(array, 2, axis=2)))
    assert source.mapping == "4 not finite>min or max; -1..1>16 bits"
    assert source.image.pixels[0].T.ravel().tolist() == [0, 0, 65535, 65535]
    assert status_of(nifti(np.full((2, 2, 2), np.nan, np.float32))) == "unsupported"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_truncated(volume: np.ndarray, pack: type) -> None:
    """A cut file, compressed or not, is reported as truncated."""
    data = nifti(np.random.default_rng(0).integers(0, 256, (40, 40, 9), dtype=np.uint8))
    packed = pack(data)
    assert status_of(packed[: len(packed) // 2]) == "truncated"
    assert status_of(pack(data[:400])) == "truncated"


def test_too_large_is_seen_in_the_header() -> None:
    """A volume above the limit is refused before it is inflated."""
    assert status_of(gzip.compress(nifti(np.zeros((50, 50, 50), np.uint8))), max_pixels=1000) == "too-large"


def test_other_gzip_content() -> None:
    """A gzip file that holds no NIfTI is no image."""
    assert status_of(gzip.compress(b"hello" * 200)) == "unreadable"


def test_shared_brain() -> None:
    """Each brain stack has 8 slices of 256 x 256 and the values that nibabel gives."""
    if not (SHARED / "brain").is_dir():
        pytest.skip("shared/data/brain is not on this machine")
    for case in load_cases(SHARED / "brain", split="calibration").cases:
        source = read_source(case.path)
        assert source.image.pixels.shape == (8, 256, 256)
        np.testing.assert_array_equal(source.image.pixels, np.asanyarray(nib.load(case.path).dataobj).T)
        assert source.file_bytes == case.columns["bytes"]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("version", [1, 2])
def test_an_offset_of_zero_is_the_end_of_the_header(order: str, version: int) -> None:
    """Older writers leave vox_offset 0: the voxels follow the header, whatever version and byte order."""
    data = np.arange(60, dtype=np.int16).reshape(5, 4, 3) * 100
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    plain = bytearray(kind(data, np.eye(4), header).to_bytes())
    place, width = (108, 4) if version == 1 else (168, 8)
    expected = read_bytes(bytes(plain)).image
    plain[place : place + width] = bytes(width)
    assert read_bytes(bytes(plain)).image == expected


def test_voxels_far_behind_the_header_are_refused_before_they_are_inflated() -> None:
    """A vox_offset of gigabytes in a small gzip file is one line, not gigabytes of memory."""
    plain = bytearray(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.eye(4)).to_bytes())
    plain[108:112] = np.array(2e9, "<f4").tobytes()
    with pytest.raises(CaseError, match="begin at byte"):
        read_bytes(gzip.compress(bytes(plain)))


def test_a_gzip_file_of_many_members_is_read_from_its_first_byte() -> None:
    """Members shorter than the header do not hide the format."""
    plain = nib.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(5, 4, 3), np.eye(4)).to_bytes()
    pieces = [gzip.compress(plain[at : at + 100]) for at in range(0, len(plain), 100)]
    assert read_bytes(b"".join(pieces)).image == read_bytes(plain).image

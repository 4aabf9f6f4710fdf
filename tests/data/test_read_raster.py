"""What reading raster files promises."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from bitdose.data.load import load_cases
from bitdose.data.raster import orient
from bitdose.data.read import read_bytes, read_source
from bitdose.errors import CaseError, UsageError
from bitdose.hashing import file_digest

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
RNG = np.random.default_rng(0)
GREY = cv2.GaussianBlur(RNG.integers(0, 256, (40, 60), dtype=np.uint8), (5, 5), 0)
COLOUR = cv2.GaussianBlur(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8), (5, 5), 0)
DEEP = RNG.integers(0, 65536, (40, 60), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (40, 60, 3), dtype=np.uint16)
ORIENTATION = 0x0112


def saved(image: np.ndarray | Pillow.Image, kind: str, **options: object) -> bytes:
    """Return the file that Pillow writes."""
    file = io.BytesIO()
    (image if isinstance(image, Pillow.Image) else Pillow.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> Pillow.Image:
    """Open a file with Pillow."""
    return Pillow.open(io.BytesIO(data))


def status_of(data: bytes, **options: int) -> str:
    """Return the status with which reading fails."""
    with pytest.raises(CaseError) as caught:
        read_bytes(data, **options)
    return caught.value.status


def constant_png(side: int, bits: int = 1) -> bytes:
    """Return a black PNG of any size, row by row, so that it costs little to make."""
    packer, rows = zlib.compressobj(9), []
    line = bytes(1 + -(-side * bits // 8))
    rows = [packer.compress(line) for _ in range(side)] + [packer.flush()]

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b"")


CODED = {
    "PNG": (saved(GREY, "PNG"), False),
    "JPEG": (saved(GREY, "JPEG", quality=70), True),
    "TIFF": (saved(GREY, "TIFF", compression="tiff_lzw"), False),
    "JPEG2000": (saved(GREY, "JPEG2000", irreversible=True, quality_layers=[20]), True),
    "WEBP": (saved(COLOUR, "WEBP", quality=60), True),
    "BMP": (saved(GREY, "BMP"), False),
}


@pytest.mark.parametrize("kind", CODED)
def test_eight_bits_equal_pillow(kind: str) -> None:
    """Eight-bit files of every format give Pillow's pixels, with format and lossiness named."""
    data, lossy = CODED[kind]
    source = read_bytes(data)
    np.testing.assert_array_equal(source.image.pixels, np.asarray(by_pillow(data)))
    assert (source.format, source.lossy, source.image.bits, source.mapping) == (kind, lossy, 8, "")


def test_source_describes_its_file(tmp_path: Path) -> None:
    """Size and digest are the file's, whatever its name says that it is."""
    path = tmp_path / "scan.jpg"
    path.write_bytes(saved(GREY, "PNG"))
    source = read_source(path)
    assert (source.format, source.file_bytes, source.digest) == (
        "PNG",
        path.stat().st_size,
        file_digest(path),
    )
    np.testing.assert_array_equal(source.image.pixels, GREY)


@pytest.mark.parametrize("data", [saved(COLOUR, "PNG"), saved(COLOUR, "JPEG"), saved(COLOUR, "TIFF")])
def test_grey_equals_pillow(data: bytes) -> None:
    """Asked for grey, a colour file gives exactly Pillow's convert("L"), and says so."""
    source = read_bytes(data, color="grey")
    np.testing.assert_array_equal(source.image.pixels, np.asarray(by_pillow(data).convert("L")))
    assert source.mapping == "rgb>grey"


def test_unknown_color_word() -> None:
    """A colour option that is neither keep nor grey is a wrong call."""
    with pytest.raises(UsageError, match="expected one of keep, grey"):
        read_bytes(b"x", color="gray")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "kind", "mapping"),
    [
        ("1", "PNG", "1 bit>8"),
        ("P", "PNG", "palette>rgb"),
        ("LA", "PNG", "alpha dropped"),
        ("RGBA", "PNG", "alpha dropped"),
        ("RGBA", "WEBP", "alpha dropped"),
        ("CMYK", "JPEG", "cmyk>rgb"),
        ("CMYK", "TIFF", "cmyk>rgb"),
        ("1", "TIFF", "1 bit>8"),
        ("P", "BMP", "palette>rgb"),
    ],
)
def test_other_meanings(mode: str, kind: str, mapping: str) -> None:
    """One bit becomes eight, alpha is dropped unblended, palette and CMYK become RGB: all named."""
    alpha = Pillow.fromarray(GREY)
    image = Pillow.fromarray(COLOUR)
    if mode in {"LA", "RGBA"}:
        image = image.convert(mode[:-1])
        image.putalpha(alpha)
    data = saved(image.convert(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
    source = read_bytes(data)
    expected = by_pillow(data).convert("L" if mode in {"1", "LA"} else "RGB")
    np.testing.assert_array_equal(source.image.pixels, np.asarray(expected))
    assert source.mapping == mapping


@pytest.mark.parametrize("pixels", [DEEP, DEEP_COLOUR], ids=["grey", "rgb"])
@pytest.mark.parametrize("kind", ["png", "tif", "jp2"])
def test_sixteen_bits_are_kept(pixels: np.ndarray, kind: str) -> None:
    """16-bit grey and RGB keep every bit in PNG, TIFF and lossless JPEG 2000."""
    if kind == "jp2":
        data = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="jp2")
    else:
        data = cv2.imencode(f".{kind}", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
    source = read_bytes(data)
    assert source.image.bits == 16
    assert source.lossy is (None if kind == "jp2" else False)
    np.testing.assert_array_equal(source.image.pixels, pixels)


def test_deep_alpha_is_dropped() -> None:
    """A 16-bit PNG with alpha gives its 16-bit colours."""
    data = imagecodecs.png_encode(np.dstack([DEEP_COLOUR, DEEP]))
    source = read_bytes(data)
    assert source.mapping == "alpha dropped"
    np.testing.assert_array_equal(source.image.pixels, DEEP_COLOUR)


@pytest.mark.parametrize("bits", [10, 12])
def test_jpeg2000_depth(bits: int) -> None:
    """A bare codestream of 10 or 12 bits keeps its depth as well as its values."""
    pixels = DEEP >> (16 - bits)
    source = read_bytes(
        imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, codecformat="j2k", reversible=True)
    )
    assert (source.format, source.image.bits) == ("JPEG2000", bits)
    np.testing.assert_array_equal(source.image.pixels, pixels)


def test_lossless_and_deep_jpeg() -> None:
    """Lossless JPEG is read and not called lossy; 12-bit JPEG is read in its depth."""
    source = read_bytes(imagecodecs.ljpeg_encode(DEEP))
    assert (source.format, source.lossy, source.image.bits) == ("JPEG", False, 16)
    np.testing.assert_array_equal(source.image.pixels, DEEP)
    smooth = cv2.GaussianBlur(DEEP >> 4, (9, 9), 0)
    twelve = read_bytes(imagecodecs.jpeg8_encode(smooth, level=95, bitspersample=12))
    assert (twelve.lossy, twelve.image.bits) == (True, 12)
    assert np.abs(twelve.image.pixels.astype(int) - smooth).mean() < 20


@pytest.mark.parametrize(
    ("data", "lossy"),
    [
        (saved(COLOUR, "WEBP", lossless=True), False),
        (saved(COLOUR, "WEBP", quality=50), True),
        (saved(Pillow.fromarray(COLOUR).convert("RGBA"), "WEBP", quality=50, exif=Pillow.Exif()), True),
        (saved(GREY, "JPEG2000", irreversible=False), None),
        (saved(COLOUR, "TIFF", compression="jpeg"), True),
        (saved(COLOUR, "TIFF", compression="tiff_adobe_deflate"), False),
        (saved(COLOUR, "JPEG", progressive=True), True),
    ],
)
def test_lossy_by_the_coding(data: bytes, lossy: bool | None) -> None:
    """Lossiness follows the coding inside the file; a 5/3 JPEG 2000 stream leaves it open."""
    assert read_bytes(data).lossy is lossy


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """The EXIF orientation is applied as Pillow does, in JPEG, PNG, TIFF and 16-bit TIFF."""
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    for kind in ("JPEG", "PNG", "TIFF"):
        data = saved(COLOUR, kind, exif=exif)
        source = read_bytes(data)
        upright = by_pillow(data)
        upright.load()
        np.testing.assert_array_equal(source.image.pixels, np.asarray(ImageOps.exif_transpose(upright)))
        assert source.mapping == ("" if orientation == 1 else f"exif orientation {orientation}")
    deep = deep_tiff(DEEP_COLOUR, orientation)
    np.testing.assert_array_equal(read_bytes(deep).image.pixels, orient(DEEP_COLOUR, orientation))


def deep_tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """Return an uncompressed 16-bit RGB TIFF with an orientation tag, written by hand."""
    height, width = pixels.shape[:2]
    body = pixels.astype("<u2").tobytes()
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 14),
        (274, 3, 1, orientation),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, len(body)),
    ]
    head = b"II\x2a\0" + struct.pack("<I", 14 + len(body)) + struct.pack("<3H", 16, 16, 16)
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return head + body + struct.pack("<H", len(entries)) + table + bytes(4)


def test_tiff_pages_are_a_volume() -> None:
    """Grey pages of one size are slices; colour pages become grey; unlike pages are refused."""
    pages = [Pillow.fromarray(GREY), Pillow.fromarray(GREY[::-1].copy())]
    volume = read_bytes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    np.testing.assert_array_equal(volume.image.pixels, np.stack([GREY, GREY[::-1]]))
    assert volume.image.is_volume
    colour = [Pillow.fromarray(COLOUR)] * 2
    source = read_bytes(saved(colour[0], "TIFF", save_all=True, append_images=colour[1:]))
    assert source.mapping == "rgb pages>grey volume"
    assert source.image.pixels.shape == (2, *GREY.shape)
    unlike = saved(pages[0], "TIFF", save_all=True, append_images=[Pillow.fromarray(GREY[:9].copy())])
    assert status_of(unlike) == "unsupported"


def test_wide_tiff_samples() -> None:
    """Floating-point samples are mapped, minimum to maximum, onto 16 bits."""
    source = read_bytes(saved(np.array([[-1.0, 0.0, 3.0]], np.float32), "TIFF"))
    assert source.image.pixels.tolist() == [[0, 16384, 65535]]
    assert source.mapping == "-1..3>16 bits"
    assert status_of(saved(np.array([[np.nan, 1.0]], np.float32), "TIFF")) == "unsupported"


def test_animation_gives_its_first_frame() -> None:
    """Of several frames the first is read, and the mapping says so."""
    data = saved(COLOUR, "WEBP", save_all=True, append_images=[Pillow.fromarray(255 - COLOUR)], lossless=True)
    source = read_bytes(data)
    np.testing.assert_array_equal(source.image.pixels, COLOUR)
    assert (source.mapping, source.lossy) == ("first frame of 2", False)


@pytest.mark.parametrize("kind", CODED)
def test_one_pixel(kind: str) -> None:
    """An image of one pixel is an image."""
    image = read_bytes(saved(np.full((1, 1, 3), 77, np.uint8), kind)).image
    assert (image.height, image.width) == (1, 1)


DEEP_FILES = {
    "deep PNG": saved(DEEP, "PNG"),
    "deep RGB TIFF": cv2.imencode(".tif", DEEP_COLOUR)[1].tobytes(),
    "deep JPEG2000": imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True, codecformat="j2k"),
    "lossless JPEG": imagecodecs.ljpeg_encode(DEEP),
    "12-bit JPEG": imagecodecs.jpeg8_encode(DEEP >> 4, level=90, bitspersample=12),
}


@pytest.mark.parametrize("kind", [*CODED, *DEEP_FILES])
def test_truncated(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A file cut anywhere fails as its case alone, prints nothing, and never gives half an image."""
    data = DEEP_FILES[kind] if kind in DEEP_FILES else CODED[kind][0]
    for length in (13, 40, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        assert status_of(data[:length]) in {"truncated", "unreadable"}
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("kind", CODED)
def test_damaged_bytes_never_escape(kind: str) -> None:
    """Random damage gives an image or a CaseError, and nothing else."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        data = bytearray(CODED[kind][0])
        for at in rng.integers(0, min(len(data), 400), 4):
            data[at] = rng.integers(0, 256)
        try:
            read_bytes(bytes(data), max_pixels=10**7)
        except CaseError as error:
            assert error.reason  # noqa: PT017  either outcome is right


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", "empty-file"),
        (b"\0", "unreadable"),
        (b"GIF89a" + bytes(50), "unreadable"),
        (bytes(9999), "unreadable"),
    ],
)
def test_unknown_content(data: bytes, status: str, tmp_path: Path) -> None:
    """An empty file, or one of no known format, is told apart from a damaged one."""
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(CaseError) as caught:
        read_source(tmp_path / "x.png")
    assert caught.value.status == status


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A path that cannot be opened is that case's failure."""
    with pytest.raises(CaseError, match="cannot be opened"):
        read_source(tmp_path)


def test_very_large_image_is_read_or_refused() -> None:
    """20,000 x 20,000 pixels are refused under a lower limit by the header, and read by default."""
    data = constant_png(20_000)
    assert status_of(data, max_pixels=2**28) == "too-large"
    image = read_bytes(data).image
    assert image.pixels.shape == (20_000, 20_000)
    limit = Pillow.MAX_IMAGE_PIXELS
    assert limit is not None
    assert limit < image.pixels.size


@pytest.mark.parametrize("bits", [2, 4])
def test_shallow_png(bits: int) -> None:
    """Grey PNG of 2 or 4 bits fills 8 bits."""
    assert read_bytes(constant_png(5, bits)).image.bits == 8


def test_shared_radiographs() -> None:
    """Radiographs of every format and mode in the public set equal Pillow's decoding."""
    if not (SHARED / "cxr").is_dir():
        pytest.skip("shared/data/cxr is not on this machine")
    seen: set[tuple[object, object]] = set()
    for case in load_cases(SHARED / "cxr", split="all").cases:
        kind = (case.columns["format"], case.columns["mode"])
        if kind in seen:
            continue
        seen.add(kind)
        source = read_source(case.path, color="grey")
        upright = ImageOps.exif_transpose(Pillow.open(case.path))
        np.testing.assert_array_equal(source.image.pixels, np.asarray(upright.convert("RGB").convert("L")))
        assert (source.file_bytes, source.format) == (case.columns["bytes"], kind[0])
    assert len(seen) > 1


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1)], ids=["BGR", "GBR", "RBG"])
def test_jpeg2000_channels_come_in_the_order_of_their_definition(order: tuple[int, int, int]) -> None:
    """A channel definition says which colour each channel is; no order is taken for RGB but RGB."""
    out = io.BytesIO()
    Pillow.fromarray(COLOUR).save(out, "JPEG2000", irreversible=False, mct=0)
    plain = out.getvalue()
    at = plain.index(b"jp2h") - 4
    size = int.from_bytes(plain[at : at + 4], "big")
    entries = b"".join(struct.pack(">3H", channel, 0, order.index(channel) + 1) for channel in range(3))
    definition = struct.pack(">I4sH", 10 + len(entries), b"cdef", 3) + entries
    header = struct.pack(">I", size + len(definition)) + plain[at + 4 : at + size] + definition
    source = read_bytes(plain[:at] + header + plain[at + size :])
    np.testing.assert_array_equal(source.image.pixels, COLOUR[..., order])

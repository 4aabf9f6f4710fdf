"""JPEG 2000 (ISO/IEC 15444-1) by OpenJPEG: Pillow encodes, imagecodecs decodes.

Chains are coded by loops in C where those are at work (``bitdose.native``): the same bytes and the same
pixels, in a fraction of the time.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count
from typing import Any, ClassVar, cast

import numpy as np

from bitdose.codecs.base import BrowserSupport, Codec, DicomSyntax, QualityParameter, StreamHeader
from bitdose.codecs.bit_depth import with_precision
from bitdose.codecs.codestream import count_layers, parse_layers
from bitdose.codecs.jpeg2000_stream import read_jpeg2000_stream
from bitdose.errors import CaseError
from bitdose.image import Image, Photometric
from bitdose.native.encoder import RatesEncoder
from bitdose.native.layers import LayeredDecoder

_TEMPLATE_SIDE = 64  # from here on a header depends on an image's size in nothing but the size
_SIZES_AT = 8  # in a codestream: the image's width and height, and 8 bytes on the tile's
_MODES = {"x": "rates", "dB": "dB"}
_SHORTEST = 0.9  # OpenJPEG stops at a coding pass: 0.92 of the bytes was the least seen for a full stream
_LONGER = 1.1  # the same image coded again came out at most 1.07 as long, one cut by 1.25 from 1.12


@dataclass(frozen=True)
class Jpeg2000:
    """Lossy JPEG 2000 with the 9/7 wavelet: a raw codestream, one tile, five decompositions.

    Colour goes through the irreversible component transform. Samples of 9 to 15 bits are
    written as 16-bit components with their values unchanged. Deep colour (RGB of more than 8 bits)
    is beyond the encoder and raises ``CaseError``.

    Parameters
    ----------
    quality : float
        By ``x``: raw bytes of the image it codes over bytes of the stream, 1 and up (so after
        downsizing the ratio is of the small image). By ``dB``: PSNR, with the image's largest
        possible sample as the peak.
    unit : {"x", "dB"}
        Which of the two.

    Examples
    --------
    >>> ramp = Image(np.arange(4096, dtype=np.uint8).reshape(64, 64))
    >>> stream = Jpeg2000(8).encode(ramp)
    >>> len(stream) <= 4096 / 8 + 100
    True
    """

    quality: float
    unit: str = "x"
    options: tuple[str, ...] = ()

    title: ClassVar[str] = "JPEG 2000"
    quality_parameters: ClassVar[tuple[QualityParameter, ...]] = (
        QualityParameter(
            "x",
            1,
            10_000,
            "up",
            integer=False,
            meaning="ratio of raw to coded bytes",
            axis_title="Ratio asked for",
            phrase="at {}:1",
        ),
        QualityParameter(
            "dB", 1, 100, "down", integer=False, meaning="PSNR", axis_title="PSNR asked for (dB)"
        ),
    )
    option_names: ClassVar[tuple[str, ...]] = ()
    max_bits: ClassVar[int] = 16
    suffix: ClassVar[str] = ".j2k"
    # JPEG 2000, 1 to 16 bits, PS3.5 8.2.4 and A.4.4; always the irreversible wavelet, so .90 never applies.
    dicom: ClassVar[DicomSyntax] = DicomSyntax(
        "1.2.840.10008.1.2.4.91", "ISO_15444_1", "YBR_ICT", with_depth=with_precision
    )
    browser: ClassVar[BrowserSupport] = BrowserSupport(("x",))

    def encode(self, image: Image) -> bytes:
        """Code one plane with one quality layer."""
        return _encode(image, self.unit, [self.quality])

    def decode(self, data: bytes) -> Image:
        """Decode a codestream to 8 or 16 bits."""
        import imagecodecs

        pixels = imagecodecs.jpeg2k_decode(data, numthreads=1)
        bits = 8 * pixels.dtype.itemsize
        return Image(pixels, bits, "RGB" if pixels.ndim == 3 else "MONOCHROME2")  # noqa: PLR2004

    @classmethod
    def encode_chain(cls, image: Image, chain: Sequence[Codec]) -> list[bytes]:
        """Code one plane once, with a quality layer per codec, and cut a stream for each.

        Not bit-identical to an encode of its own per rate, and slightly below it, the more so the
        smaller the image: ``benchmarks/layered.py`` prints by how much.
        """
        members = [codec for codec in chain if isinstance(codec, Jpeg2000)]
        units = {codec.unit for codec in members}
        if len(members) != len(chain) or len(units) != 1:
            raise ValueError("a chain is JPEG 2000 of one unit")
        unit = units.pop()
        # Layers build up from the strongest rate; equal qualities share a layer.
        qualities = sorted({codec.quality for codec in members}, reverse=unit == "x")
        layered = parse_layers(_encode(image, unit, qualities, plt=True))
        return [layered.first_layers(qualities.index(codec.quality) + 1) for codec in members]

    @classmethod
    def encode_each(cls, image: Image, chain: Sequence[Codec]) -> list[bytes] | None:
        """Code one plane once, and return the streams that :meth:`encode` of each codec gives.

        None where the encoder in C is not at work.
        """
        return _encode_by_loops(image, chain) if _loops_agree(image.pixels.dtype, image.photometric) else None

    @classmethod
    def chain_decoder(cls, streams: Sequence[bytes]) -> Callable[[bytes], Image]:
        """Return what decodes streams of one plane: one of its own, or several of a chain.

        It gives what :meth:`decode` gives, and takes streams that this process has just coded, no
        stranger's. From short streams to long ones nothing is decoded twice.
        """
        try:
            decode = _Decode(streams)
        except ValueError:
            return cls(1).decode
        return decode if _loops_agree(decode.dtype, "MONOCHROME2") else cls(1).decode

    @classmethod
    def inspect(cls, data: bytes) -> StreamHeader:
        """Read a codestream's main header and follow its tile-parts to its end."""
        return read_jpeg2000_stream(data)

    def too_strong(self, data: bytes) -> str:
        """Hold a stream's length against the ratio; of a PSNR nothing can be told without the original.

        A simple image needs fewer bytes than the ratio gives. So the decoded image of a short stream is coded
        again: of a stream that was cut shorter than the ratio more would have fitted, and it gets longer.
        """
        if self.unit != "x":
            return ""
        header = read_jpeg2000_stream(data)
        raw_bytes = header.height * header.width * header.components * (header.bits + 7) // 8
        if len(data) >= _SHORTEST * raw_bytes / self.quality:
            return ""
        if len(self.encode(self.decode(data))) <= _LONGER * len(data):
            return ""
        said = f"jpeg2000:{self.quality:g}x {self.quality:g}:1"
        return f"its ratio is {raw_bytes / len(data):.3g}:1, and that of {said}"

    @classmethod
    def library(cls) -> str:
        """Name and version of the library builds."""
        import imagecodecs
        import PIL
        from PIL import features

        encoder = f"openjpeg {features.version_codec('jpg_2000')} (Pillow {PIL.__version__})"
        return f"{encoder}; decoded by {imagecodecs.jpeg2k_version()}"


def _encode_by_loops(image: Image, chain: Sequence[Codec]) -> list[bytes] | None:
    try:
        encoder = RatesEncoder(
            image.pixels, _header(image.pixels.shape, image.pixels.dtype, image.photometric)
        )
    except ValueError:  # a form that Pillow gives small images, or no library
        return None
    peak_db = _peak_db(image)
    streams = []
    for codec in cast("Sequence[Jpeg2000]", chain):
        if codec.unit == "dB":
            streams.append(encoder.encode_at_psnr(codec.quality + peak_db))
        elif codec.quality > 1:
            streams.append(encoder.encode_at_ratio(codec.quality))
        else:  # all there is: no choice of passes
            streams.append(codec.encode(image))
    return streams


class _Decode:
    """Decodes streams of one plane by the loops in C.

    Raises
    ------
    ValueError
        If their form is another: colour, or what Pillow gives small images; or no library is there.
    """

    def __init__(self, streams: Sequence[bytes]) -> None:
        by_length = sorted(set(streams), key=len)
        n_layers = [count_layers(data) for data in by_length]
        is_layered = n_layers[-1] > 1
        self._decoder = LayeredDecoder(*(by_length[-1:] if is_layered else by_length))
        self._layers = dict(zip(by_length, n_layers if is_layered else count(1), strict=False))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._decoder.dtype

    def __call__(self, data: bytes) -> Image:
        pixels = self._decoder.decode(self._layers[data])
        return Image(pixels, 8 * pixels.dtype.itemsize)


@lru_cache(maxsize=64)
def _header(shape: tuple[int, ...], dtype: np.dtype[Any], photometric: Photometric) -> bytes:
    """Return a stream whose main header is what OpenJPEG writes for such an image."""
    height, width, *rest = shape
    small = (min(height, _TEMPLATE_SIDE), min(width, _TEMPLATE_SIDE), *rest)
    data = bytearray(_template(small, dtype, photometric))
    for at in (_SIZES_AT, _SIZES_AT + 16):
        struct.pack_into(">II", data, at, width, height)
    return bytes(data)


@lru_cache(maxsize=64)
def _template(shape: tuple[int, ...], dtype: np.dtype[Any], photometric: Photometric) -> bytes:
    return _encode(Image(np.zeros(shape, dtype), 8 * dtype.itemsize, photometric), "x", [100.0])


@cache
def _loops_agree(dtype: np.dtype[Any], photometric: Photometric) -> bool:
    """Whether the loops in C give what OpenJPEG gives here, of noise beside a ramp.

    A build of OpenJPEG that joins products with sums, as compilers for other processors do, rounds
    otherwise; another version may choose otherwise.
    """
    rng, full = np.random.default_rng(0), np.iinfo(dtype).max
    shape = (70, 131, 3) if photometric == "RGB" else (70, 131)
    pixels = np.linspace(0, full, math.prod(shape)).reshape(shape) + rng.normal(0, full / 50, shape)
    pixels[:, :60] = rng.integers(0, full + 1, pixels[:, :60].shape)
    image = Image(np.clip(pixels, 0, full).astype(dtype), 8 * dtype.itemsize, photometric)
    chain = [Jpeg2000(60), Jpeg2000(10), Jpeg2000(3), Jpeg2000(35, "dB")]
    streams = [codec.encode(image) for codec in chain]
    if _encode_by_loops(image, chain) != streams:
        return False
    if photometric == "RGB":
        return True
    for same_plane in (streams, Jpeg2000.encode_chain(image, chain[:3])):
        decode = _Decode(same_plane)
        if any(decode(data) != chain[0].decode(data) for data in same_plane):
            return False
    return True


def _peak_db(image: Image) -> float:
    """Return what to add to a PSNR for OpenJPEG, whose peak is the container's, 255 or 65535."""
    return 20 * math.log10(np.iinfo(image.pixels.dtype).max / image.max_value)


def _encode(image: Image, unit: str, layers: list[float], **settings: Any) -> bytes:
    from PIL import Image as PillowImage

    if image.photometric == "RGB" and image.bits > 8:  # noqa: PLR2004
        raise CaseError("codec-limit", f"Pillow writes no JPEG 2000 of {image.bits}-bit colour")
    if unit == "dB":
        layers = [psnr_db + _peak_db(image) for psnr_db in layers]
    out = io.BytesIO()
    try:
        PillowImage.fromarray(image.pixels).save(
            out,
            "JPEG2000",
            quality_mode=_MODES[unit],
            quality_layers=layers,
            irreversible=True,
            mct=int(image.photometric == "RGB"),
            no_jp2=True,
            **settings,
        )
    except OSError as error:
        message = f"OpenJPEG refused {image.width}x{image.height}: {error}"
        raise CaseError("codec-limit", message) from error
    return out.getvalue()

"""The codec contract: array -> bytes -> array, and nothing else.

A codec is a frozen dataclass whose fields are its configuration: ``quality`` (the value of its
quality parameter), ``unit`` (which parameter, where it has several) and ``options``. Two codecs are
equal when their fields are.

- **In**: an :class:`~bitdose.image.Image` that is one plane, ``(H, W)`` or ``(H, W, 3)``, with
  at most ``max_bits`` bits. Slices, deeper samples and resizing are the business of
  ``coding.py``, which wraps every codec.
- **Out of** ``encode``: one self-contained stream, decodable without the image or the codec
  object. The same image and codec give the same bytes, in any process.
- **Out of** ``decode``: an image of the same shape and photometric meaning, with 8 bits for
  ``uint8`` and the stream's depth (or 16) for ``uint16``.
- **Not changed**: the pixels given; no global state; no file, clock or log is touched.
- **Failure**: a limit of the format (size, depth) raises
  :class:`~bitdose.errors.CaseError` with status ``codec-limit``.

**Optional abilities.** A codec that has none of them is studied and certified like any other; each one
adds a place where it can be used, and whoever needs it asks the codec, never for its name:

======================  ==========================================  ===================================
protocol                what the codec says                         without it
======================  ==========================================  ===================================
`TitledCodec`           its name in a sentence                      reports say its name in a point
`EnforceableCodec`      whether a stranger's stream is whole, and   the service refuses its streams
                        not stronger than the codec's own
`DicomCodec`            its transfer syntax                         DICOM objects are refused
`BrowserCodec`          which of its points the web pages code      clinics send by ``bitdose send``
`FlooredCodec`          the rate that it cannot go below            reports do not speak of one
`EachCodec`             streams of several strengths made           each is made by itself
                        together, byte for byte the same
`ChainCodec`            one encode that serves several strengths    each is made by itself
`ChainDecoder`          a quicker way to decode these               each is decoded by itself
======================  ==========================================  ===================================

``bitdose.testing.check_codec`` checks all of this for any codec, abilities included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from bitdose.errors import BitdoseError
from bitdose.image import Image
from bitdose.registry import Registry

_WIDE_RANGE = 200


class QualityParameter(NamedTuple):
    """One way to set a codec's strength, and how it is written in a point.

    Parameters
    ----------
    unit : str
        The letters: ``q`` is written before the number (``q30``), all others after (``40x``).
    low, high : float
        Limits, inclusive.
    stronger : {"up", "down"}
        Which way compression gets stronger.
    integer : bool
        Whether only whole numbers are allowed.
    meaning : str
        For the list of codecs.
    axis_title : str, optional
        For a figure's axis; the meaning where it is left out.
    phrase : str, optional
        How a sentence says a value, with ``{}`` for the number: ``of quality {}``. Left out, the sentence
        says ``at`` and the text of the point.
    """

    unit: str
    low: float
    high: float
    stronger: str
    integer: bool
    meaning: str
    axis_title: str = ""
    phrase: str = ""

    @property
    def leads(self) -> bool:
        """Whether the unit is written before the number."""
        return self.unit == "q"

    @property
    def is_wide(self) -> bool:
        """Whether the range spans so much that values are spread, and drawn, by their logarithm."""
        return self.low > 0 and self.high / self.low > _WIDE_RANGE

    def text(self, quality: float) -> str:
        """Write a quality as a point does."""
        number = np.format_float_positional(quality, trim="-")  # every digit, no exponent
        return self.unit + number if self.leads else number + self.unit

    def words(self, quality: float) -> str:
        """Write a quality as a sentence does.

        Examples
        --------
        >>> QualityParameter("q", 1, 100, "down", True, "IJG quality", phrase="of quality {}").words(30)
        'of quality 30'
        >>> QualityParameter("dB", 1, 100, "down", False, "PSNR").words(38.5)
        'at 38.5dB'
        """
        return self.phrase.format(f"{quality:g}") if self.phrase else f"at {self.text(quality)}"

    def strength(self, quality: float) -> float:
        """Order within a chain: larger is stronger."""
        return quality if self.stronger == "up" else -quality


@runtime_checkable
class Codec(Protocol):
    """What every codec offers; see the contract at the top of this file."""

    quality_parameters: ClassVar[tuple[QualityParameter, ...]]
    option_names: ClassVar[tuple[str, ...]]
    max_bits: ClassVar[int]
    suffix: ClassVar[str]

    def __init__(self, quality: float, unit: str = ..., options: tuple[str, ...] = ...) -> None:
        """Take the configuration; limits are checked by the point that builds the codec."""

    def encode(self, image: Image) -> bytes:
        """Code one plane."""
        ...

    def decode(self, data: bytes) -> Image:
        """Decode what :meth:`encode` gave."""
        ...

    @classmethod
    def library(cls) -> str:
        """Name and version of the library build that does the work."""
        ...


class StreamHeader(NamedTuple):
    """What a stream says of itself: size in samples, number of components, bits per sample."""

    height: int
    width: int
    components: int
    bits: int


class DicomSyntax(NamedTuple):
    """How a codec's streams stand in a DICOM object, one fragment for each frame.

    Parameters
    ----------
    uid : str
        Transfer Syntax UID.
    method : str
        Lossy Image Compression Method (0028,2114), PS3.3 C.7.6.1.1.5.1.
    colour : str
        Photometric Interpretation of three components.
    with_depth : callable, optional
        ``with_depth(stream, bits, signed=...)`` is given a stream of samples that were shifted up to fill 8
        or 16 bits, and makes it say that they have ``bits`` bits and a sign: its pixels are then the stored
        values as they were. None for a codec whose streams hold 8 bits: stored values are mapped to these.
    refused : tuple of str
        Options of the codec that the transfer syntax does not allow.
    """

    uid: str
    method: str
    colour: str
    with_depth: Callable[..., bytes] | None = None
    refused: tuple[str, ...] = ()

    @property
    def keeps_depth(self) -> bool:
        """Whether streams hold Bits Stored and sign as they are; if not, samples become 8 bits, unsigned."""
        return self.with_depth is not None


class BrowserSupport(NamedTuple):
    """Which points of a codec the web pages' own encoder codes, to the same bytes.

    Parameters
    ----------
    units : tuple of str
        Units of the quality parameters that it takes.
    options : tuple of str
        Options that it takes.
    """

    units: tuple[str, ...]
    options: tuple[str, ...] = ()


class RateFloor(NamedTuple):
    """The lowest rate that a codec can reach on grey images, in bits per pixel, and what sets it."""

    rate_bpp: float
    set_by: str


@runtime_checkable
class TitledCodec(Codec, Protocol):
    """A codec with a name for sentences: ``JPEG 2000`` for ``jpeg2000``."""

    title: ClassVar[str]


@runtime_checkable
class EnforceableCodec(Codec, Protocol):
    """A codec that tells of a stranger's stream whether it obeys a point.

    Both methods are given bytes that anybody may have sent, and raise
    :class:`~bitdose.errors.BitdoseError` for what they refuse; a decoder's own exceptions may come through,
    the caller takes them for a damaged stream. No message may hold bytes of the stream as text.
    """

    @classmethod
    def inspect(cls, data: bytes) -> StreamHeader:
        """Read a stream's header, without decoding a pixel.

        Refuses what is not one whole stream of the codec and nothing else: bytes before its beginning or
        behind its end, parts that are missing, notes that an encoder here does not write (they can hold a
        name).
        """
        ...

    def too_strong(self, data: bytes) -> str:
        """Say why a stream is compressed more strongly than this codec compresses; empty where it is not.

        It is called with a stream of the size that was expected, and may decode it. Streams of this codec and
        of any weaker one are never too strong. Where the stream alone does not tell, nothing is said: the
        point that the sender states is then all that can be held against the profile. Coded data that end
        before the image does are refused here if :meth:`decode` would not notice.
        """
        ...


@runtime_checkable
class DicomCodec(Codec, Protocol):
    """A codec whose streams DICOM has a transfer syntax for."""

    dicom: ClassVar[DicomSyntax]


@runtime_checkable
class BrowserCodec(Codec, Protocol):
    """A codec that the web pages can code with: their scripts have an encoder that gives the same bytes."""

    browser: ClassVar[BrowserSupport]


@runtime_checkable
class FlooredCodec(Codec, Protocol):
    """A codec that cannot go below a rate, whatever its quality."""

    def rate_floor(self) -> RateFloor | None:
        """Return the floor of this codec with its options; None where these leave none."""
        ...


@runtime_checkable
class ChainCodec(Codec, Protocol):
    """A codec whose one encode can serve a whole chain."""

    @classmethod
    def encode_chain(cls, image: Image, chain: Sequence[Codec]) -> list[bytes]:
        """Code one plane once and return a stream for each codec of the chain, in its order."""
        ...


@runtime_checkable
class EachCodec(Codec, Protocol):
    """A codec that codes one plane at many qualities in less time than one by one, to the same bytes."""

    @classmethod
    def encode_each(cls, image: Image, chain: Sequence[Codec]) -> list[bytes] | None:
        """Return the stream of each codec of the chain, in its order: what its own :meth:`encode` gives.

        None, at once, for an image that takes no less time this way.
        """
        ...


@runtime_checkable
class ChainDecoder(Codec, Protocol):
    """A codec that decodes what this process has just coded in less time than a stranger's streams."""

    @classmethod
    def chain_decoder(cls, streams: Sequence[bytes]) -> Callable[[bytes], Image]:
        """Return what decodes streams of one plane: one, or several of a chain.

        It is called with one of them, from short ones to long ones, and gives what :meth:`decode` gives.
        """
        ...


CODECS: Registry[type[Codec]] = Registry(
    "codec",
    "bitdose.codecs",
    {"jpeg": "bitdose.codecs.jpeg:Jpeg", "jpeg2000": "bitdose.codecs.jpeg2000:Jpeg2000"},
)


def title_of(name: str) -> str:
    """Return what a codec is called in a sentence: its title, or its name where it has none or is not here.

    Examples
    --------
    >>> title_of("jpeg2000"), title_of("another-lab's")
    ('JPEG 2000', "another-lab's")
    """
    try:
        return str(getattr(CODECS.get(name), "title", name))
    except BitdoseError:
        return name

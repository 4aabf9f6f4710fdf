"""The codec contract: array -> bytes -> array, and nothing else.

A codec is a frozen dataclass whose fields are its configuration: ``quality`` (its knob),
``unit`` (which knob, where it has several) and ``options``. Two codecs are equal when
their fields are.

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

``encode_each`` may be added by a codec that makes the streams of several strengths in less time than
one by one, ``encode_chain`` by one whose one encode can serve several strengths, and ``chain_decoder``
by one that decodes their streams in less time than one by one.
``bitdose.testing.check_codec`` checks all of this for any codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from bitdose.image import Image
from bitdose.registry import Registry


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
    """

    unit: str
    low: float
    high: float
    stronger: str
    integer: bool
    meaning: str

    @property
    def leads(self) -> bool:
        """Whether the unit is written before the number."""
        return self.unit == "q"

    def text(self, quality: float) -> str:
        """Write a quality as a point does."""
        number = np.format_float_positional(quality, trim="-")  # every digit, no exponent
        return self.unit + number if self.leads else number + self.unit

    def strength(self, quality: float) -> float:
        """Order within a chain: larger is stronger."""
        return quality if self.stronger == "up" else -quality


@runtime_checkable
class Codec(Protocol):
    """What every codec offers; see the contract at the top of this file."""

    knobs: ClassVar[tuple[QualityParameter, ...]]
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

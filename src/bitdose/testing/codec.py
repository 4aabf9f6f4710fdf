"""The contract of a codec (``bitdose/codecs/base.py``), checked on any codec.

A package that adds a codec calls :func:`check_codec` in its tests; ours pass it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np

from bitdose.codecs.base import ChainCodec, ChainDecoder, Codec, EachCodec, QualityParameter
from bitdose.errors import CaseError
from bitdose.hashing import rng_for
from bitdose.image import Image, container
from bitdose.metrics.fidelity import psnr_db
from bitdose.testing.codec_abilities import check_abilities
from bitdose.testing.failure import expect
from bitdose.testing.images import textured_image

_SHAPES = ((1, 1), (1, 7), (7, 1), (17, 33), (64, 48))
_DEPTHS = (1, 8, 12, 16)
_WORD_BITS = 16
_BYTE_BITS = 8
_N_LEVELS = 6
_SIDE = 256
_CHAIN_SIDE = 512
_FLAT_COLOUR = (200, 40, 90)
_COLOUR_TOLERANCE = 12
_FAITHFUL_DB = 30.0
# What a stream weighs besides its pixels: tables, headers, packet headers of empty layers.
_OVERHEAD_BYTES = 128


def check_codec(
    codec: type[Codec],
    *,
    bytes_tolerance: float = 0.02,
    db_tolerance: float = 0.5,
    chain_bytes_tolerance: float = 0.1,
    chain_db_tolerance: float = 0.3,
) -> None:
    """Check that a codec keeps its contract.

    Shape, photometric meaning and depth survive, for grey and RGB and odd sizes; bytes are
    deterministic, decodable by any object of the class, and the input is not changed; options
    are accepted; a stronger quality gives neither clearly more bytes nor clearly more fidelity;
    the streams of ``encode_each``, where there is one, are those of ``encode``; those of
    ``encode_chain``, where there is one, stand on their own and come close to an encode each; and
    ``chain_decoder``, where there is one, decodes both as ``decode`` does. Of the other optional abilities:
    ``inspect`` tells a whole stream from a harmed one, ``too_strong`` refuses none of its own or weaker
    streams and does refuse the strongest; what is said of DICOM, of browsers and of a floor holds.

    Parameters
    ----------
    codec : type of Codec
        The class, as its entry point names it.
    bytes_tolerance : float
        By what part a stronger setting may exceed a weaker one's bytes (and 128 bytes).
    db_tolerance : float
        By how many dB of PSNR a stronger setting may exceed a weaker one.
    chain_bytes_tolerance, chain_db_tolerance : float
        By what part in bytes (and 128 bytes), and by how many dB, a stream of ``encode_chain``
        may differ from an encode of its own, on 512x512 samples.

    Raises
    ------
    CheckFailedError
        With the first promise that is broken.

    Examples
    --------
    >>> from bitdose.codecs.jpeg import Jpeg
    >>> check_codec(Jpeg)
    """
    _check_class(codec)
    for parameter in codec.quality_parameters:
        for quality in (parameter.low, parameter.high):
            _check_round_trips(codec, codec(quality, parameter.unit))
    parameter = codec.quality_parameters[0]
    middle = _levels(parameter)[_N_LEVELS // 2]
    for option in codec.option_names:
        _check_round_trips(codec, codec(middle, parameter.unit, (option,)))
    _check_bytes(codec, parameter)
    for parameter in codec.quality_parameters:
        _check_strength(codec, parameter, bytes_tolerance, db_tolerance)
        if hasattr(codec, "encode_each"):
            _check_each(cast("type[EachCodec]", codec), parameter)
        if hasattr(codec, "encode_chain"):
            chain_kind = cast("type[ChainCodec]", codec)
            _check_chain(chain_kind, parameter, chain_bytes_tolerance, chain_db_tolerance)
    for parameter in codec.quality_parameters:
        _check_scale(codec(_levels(parameter)[0], parameter.unit), codec.max_bits)
    check_abilities(codec, {parameter: _levels(parameter) for parameter in codec.quality_parameters})


def _check_class(codec: type[Codec]) -> None:
    parameters = codec.quality_parameters
    expect(
        parameters and all(isinstance(k, QualityParameter) for k in parameters),
        "quality_parameters is a tuple of at least one QualityParameter",
        parameters,
    )
    expect(
        all(k.low < k.high and k.stronger in {"up", "down"} for k in parameters),
        "quality parameters have a range",
        parameters,
    )
    options = codec.option_names
    expect(all(isinstance(option, str) for option in options), "option_names is a tuple of text", options)
    expect(1 <= codec.max_bits <= _WORD_BITS, "max_bits is 1 to 16", codec.max_bits)
    expect(codec.suffix.startswith("."), "suffix begins with a dot", repr(codec.suffix))
    library = codec.library()
    expect(isinstance(library, str) and library, "library() gives name and version as text", repr(library))
    low, high = (codec(quality, parameters[0].unit) for quality in (parameters[0].low, parameters[0].high))
    expect(
        low == codec(parameters[0].low, parameters[0].unit) != high, "codecs are equal when their fields are"
    )


def _check_round_trips(kind: type[Codec], codec: Codec) -> None:
    for image in _images(kind.max_bits):
        what = f"{codec} on {image.pixels.shape} {image.photometric} of {image.bits} bits"
        before = image.pixels.copy()
        try:
            data = codec.encode(image)
        except CaseError as error:
            allowed = error.status == "codec-limit" and image.bits > _BYTE_BITS and image.photometric == "RGB"
            expect(allowed, f"{what}: encode takes it (only deep colour may be a 'codec-limit')", error)
            continue
        expect(np.array_equal(image.pixels, before), f"{what}: encode does not change its input")
        expect(isinstance(data, bytes) and data, f"{what}: encode gives bytes", type(data).__name__)
        _expect_kept(image, codec.decode(data), what)


def _expect_kept(image: Image, decoded: Image, what: str) -> None:
    came, wanted = decoded.pixels.shape, image.pixels.shape
    expect(came == wanted, f"{what}: decode gives the shape {wanted}", came)
    kinds = decoded.photometric, image.photometric
    expect(kinds[0] == kinds[1], f"{what}: decode gives {kinds[1]}", kinds[0])
    if image.bits <= _BYTE_BITS:
        expect(decoded.bits == _BYTE_BITS, f"{what}: decode gives 8 bits", decoded.bits)
    else:
        kept = image.bits <= decoded.bits <= _WORD_BITS
        expect(kept, f"{what}: decode gives {image.bits} to 16 bits", decoded.bits)


def _check_bytes(kind: type[Codec], parameter: QualityParameter) -> None:
    weak, *_, strong = _levels(parameter)
    codec = kind(weak, parameter.unit)
    image, other = (_texture(64, colour=colour) for colour in (False, True))
    first = codec.encode(image)
    codec.encode(other)
    expect(
        codec.encode(image) == first, f"{codec}: the same image gives the same bytes, whatever came before"
    )
    fresh = kind(weak, parameter.unit)
    expect(fresh.encode(image) == first, f"{codec}: a fresh object gives the same bytes")
    stranger = kind(strong, parameter.unit)
    same = stranger.decode(first) == codec.decode(first)
    expect(same, f"{codec}: decode needs nothing but the bytes")


def _check_scale(weakest: Codec, max_bits: int) -> None:
    flat = np.full((32, 32, 3), _FLAT_COLOUR, np.uint8)
    colour = weakest.decode(weakest.encode(Image(flat, 8, "RGB"))).pixels.mean(axis=(0, 1))
    near = np.abs(colour - _FLAT_COLOUR).max() <= _COLOUR_TOLERANCE
    expect(near, f"{weakest}: channels stay red, green, blue, {_FLAT_COLOUR}", colour.round().tolist())
    for bits in (depth for depth in _DEPTHS if _BYTE_BITS <= depth <= max_bits):
        image = _texture(_SIDE, bits=bits)
        fidelity = _fidelity(image, weakest.decode(weakest.encode(image)))
        promise = f"{weakest}: {bits}-bit samples keep their scale (at least {_FAITHFUL_DB:g} dB)"
        expect(fidelity >= _FAITHFUL_DB, promise, f"{fidelity:.1f} dB")


def _check_strength(
    kind: type[Codec], parameter: QualityParameter, bytes_tolerance: float, db_tolerance: float
) -> None:
    image = _texture(_SIDE)
    codecs = [kind(level, parameter.unit) for level in _levels(parameter)]
    streams = [codec.encode(image) for codec in codecs]
    sizes = [len(data) for data in streams]
    fidelity = [_fidelity(image, codec.decode(data)) for codec, data in zip(codecs, streams, strict=True)]
    trail = f"{', '.join(parameter.text(level) for level in _levels(parameter))}: {{}}"
    fewer = all(b <= a * (1 + bytes_tolerance) + _OVERHEAD_BYTES for a, b in pairwise(sizes))
    came = trail.format(f"{sizes} bytes")
    expect(fewer and sizes[-1] < sizes[0], f"a stronger {parameter.unit} gives fewer bytes", came)
    lower = all(b <= a + db_tolerance for a, b in pairwise(fidelity))
    came = trail.format(f"{np.round(fidelity, 1).tolist()} dB")
    expect(lower and fidelity[-1] < fidelity[0], f"a weaker {parameter.unit} gives higher fidelity", came)


def _check_each(kind: type[EachCodec], parameter: QualityParameter) -> None:
    codecs = [kind(level, parameter.unit) for level in _levels(parameter)]
    for image in (_texture(_SIDE), _texture(_SIDE, colour=True)):
        streams = kind.encode_each(image, codecs)
        if streams is None:
            continue
        expect(len(streams) == len(codecs), f"encode_each gives {len(codecs)} streams", len(streams))
        for codec, data in zip(codecs, streams, strict=True):
            own = codec.encode(image)
            expect(data == own, f"encode_each gives {codec}'s own {len(own)} bytes", f"{len(data)} bytes")
        if hasattr(kind, "chain_decoder"):
            _check_chain_decoder(cast("type[ChainDecoder]", kind), codecs[0], streams)


def _check_chain(
    kind: type[ChainCodec], parameter: QualityParameter, bytes_tolerance: float, db_tolerance: float
) -> None:
    image = _texture(_CHAIN_SIDE)
    codecs = [kind(level, parameter.unit) for level in _levels(parameter)]
    codecs = [*codecs[1:], codecs[0]]  # an order of its own, to be kept
    streams = kind.encode_chain(image, codecs)
    expect(len(streams) == len(codecs), f"encode_chain gives {len(codecs)} streams", len(streams))
    for codec, data in zip(codecs, streams, strict=True):
        alone, decoded = codec.encode(image), codec.decode(data)
        _expect_kept(image, decoded, f"encode_chain for {codec}")
        excess = abs(len(data) - len(alone)) - _OVERHEAD_BYTES
        promise = f"encode_chain comes within {bytes_tolerance:.0%} of {codec}'s own bytes, {len(alone)}"
        expect(excess <= bytes_tolerance * len(alone), promise, len(data))
        wanted, came = _fidelity(image, codec.decode(alone)), _fidelity(image, decoded)
        promise = f"encode_chain comes within {db_tolerance:g} dB of {codec}'s own {wanted:.2f} dB"
        expect(abs(came - wanted) <= db_tolerance or came == wanted, promise, f"{came:.2f}")
    if hasattr(kind, "chain_decoder"):
        _check_chain_decoder(cast("type[ChainDecoder]", kind), codecs[0], streams)


def _check_chain_decoder(kind: type[ChainDecoder], codec: Codec, streams: list[bytes]) -> None:
    decode = kind.chain_decoder(streams)
    for data in sorted(streams, key=len):
        expect(
            decode(data) == codec.decode(data), "chain_decoder gives what decode gives", f"{len(data)} bytes"
        )


def _levels(parameter: QualityParameter) -> list[float]:
    """Return settings from weak to strong over a parameter's range, ends included."""
    spread: Any = np.geomspace if parameter.is_wide else np.linspace
    values = spread(parameter.low, parameter.high, _N_LEVELS).round(0 if parameter.integer else 3).tolist()
    levels = sorted({int(value) if parameter.integer else float(value) for value in values})
    return sorted(levels, key=parameter.strength)


def _images(max_bits: int) -> Iterator[Image]:
    rng = rng_for("check_codec")
    for bits in (depth for depth in _DEPTHS if depth <= max_bits):
        for height, width in _SHAPES:
            for tail in ((), (3,)):
                values = rng.integers(0, 1 << bits, (height, width, *tail)).astype(container(bits))
                yield Image(values, bits, "RGB" if tail else "MONOCHROME2")


def _texture(side: int, *, bits: int = _BYTE_BITS, colour: bool = False) -> Image:
    return textured_image(side, side + 8, rng=rng_for("texture", side, bits), bits=bits, colour=colour)


def _fidelity(image: Image, decoded: Image) -> float:
    clipped = np.minimum(decoded.pixels, image.max_value)
    return psnr_db(image.pixels, clipped, peak=image.max_value)

"""What the public checks promise: whoever breaks a promise is told which one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitdose.codecs.base import (
    BrowserSupport,
    Codec,
    DicomSyntax,
    QualityParameter,
    RateFloor,
    StreamHeader,
)
from bitdose.codecs.bit_depth import with_precision
from bitdose.codecs.jpeg import Jpeg
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.errors import BitdoseError
from bitdose.image import Image
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.models.load import ModelRef
from bitdose.testing import CheckFailedError, check_classifier, check_codec, textured_image
from bitdose.testing.codec_abilities import check_abilities

_COUNT = itertools.count()
_DECODE = Jpeg(50).decode


def _encode_scribbling(codec: Jpeg, image: Image) -> bytes:
    data = Jpeg.encode(codec, image)
    image.pixels[...] = 0
    return data


def _decode_as_colour(_: Jpeg, data: bytes) -> Image:
    pixels = _DECODE(data).pixels
    return Image(pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1), 8, "RGB")


def _decode_swapped(_: Jpeg, data: bytes) -> Image:
    decoded = _DECODE(data)
    return decoded.with_pixels(decoded.pixels[..., ::-1]) if decoded.photometric == "RGB" else decoded


def _decode_cropped(_: Jpeg, data: bytes) -> Image:
    decoded = _DECODE(data)
    return decoded.with_pixels(decoded.pixels[: max(1, decoded.height - 1)])


def _decode_by_quality(codec: Jpeg, data: bytes) -> Image:
    decoded = _DECODE(data)
    return decoded if codec.quality > 50 else decoded.with_pixels(255 - decoded.pixels)


def _encode_counting(codec: Jpeg, image: Image) -> bytes:
    return Jpeg.encode(codec, image) + str(next(_COUNT)).encode()


def _encode_at_one_quality(_: Jpeg, image: Image) -> bytes:
    return Jpeg(50).encode(image)


def _encode_backwards(codec: Jpeg, image: Image) -> bytes:
    return Jpeg(101 - codec.quality).encode(image)


def _encode_refusing_options(codec: Jpeg, image: Image) -> bytes:
    if codec.options:
        raise ValueError(codec.options)
    return Jpeg.encode(codec, image)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ({"encode": _encode_scribbling}, "does not change its input"),
        ({"encode": _encode_counting}, "the same bytes"),
        ({"encode": _encode_at_one_quality}, "a stronger q gives fewer bytes"),
        ({"encode": _encode_backwards}, "a stronger q gives fewer bytes"),
        ({"encode": lambda c, i: bytearray(Jpeg.encode(c, i))}, "encode gives bytes; got bytearray"),
        ({"decode": _decode_as_colour}, r"\(1, 1\) MONOCHROME2 of 1 bits: decode gives the shape"),
        ({"decode": _decode_cropped}, r"decode gives the shape \(7, 1\); got \(6, 1\)"),
        ({"decode": _decode_swapped}, "channels stay red, green, blue"),
        ({"decode": _decode_by_quality}, "decode needs nothing but the bytes"),
        ({"library": classmethod(lambda _: None)}, r"library\(\) gives name and version"),
        ({"quality_parameters": ()}, "at least one QualityParameter"),
        (
            {"quality_parameters": (QualityParameter("q", 1, 100, "up", integer=True, meaning=""),)},
            "a stronger q gives fewer bytes",
        ),
        ({"max_bits": 24}, "max_bits is 1 to 16; got 24"),
        ({"suffix": "jpg"}, "suffix begins with a dot; got 'jpg'"),
    ],
)
def test_a_codec_that_breaks_a_promise_is_told_which(broken: dict[str, Any], promise: str) -> None:
    """The error names the promise, and what came instead."""
    with pytest.raises(CheckFailedError, match=promise):
        check_codec(type("Broken", (Jpeg,), broken))


def _refusing_all(_: Jpeg, data: bytes) -> str:
    return "too strong"


def _inspect_loosely(data: bytes) -> StreamHeader:
    return Jpeg.inspect(data[: data.rfind(b"\xff\xd9") + 2])


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ({"title": ""}, "title is text, not empty"),
        (
            {"inspect": classmethod(lambda _, data: StreamHeader(96, 104, 3, 8))},
            "inspect gives height, width",
        ),
        ({"inspect": staticmethod(_inspect_loosely)}, "inspect refuses a byte behind a stream"),
        ({"too_strong": _refusing_all}, "its own stream is not too strong; got too strong"),
        ({"too_strong": lambda _, data: ""}, "too_strong refuses the strongest stream"),
        ({"dicom": DicomSyntax("JPEG", "ISO_10918_1", "RGB")}, "dicom.uid is a UID; got 'JPEG'"),
        ({"dicom": DicomSyntax("1.2.3", "jpeg", "RGB")}, "term of .0028,2114.; got 'jpeg'"),
        ({"dicom": DicomSyntax("1.2.3", "ISO", "RGB", refused=("fast",))}, "dicom.refused names options"),
        ({"dicom": DicomSyntax("1.2.3", "ISO", "RGB", with_depth=with_precision)}, "holds 16 bits; got 8"),
        ({"browser": BrowserSupport(("x",))}, "browser names units of"),
        ({"browser": BrowserSupport(("q",), ("fast",))}, "browser names options of"),
        ({"rate_floor": lambda _: RateFloor(3.0, "tables")}, "no stream goes below rate_floor"),
    ],
)
def test_an_ability_that_breaks_its_promise_is_told(broken: dict[str, Any], promise: str) -> None:
    """What a codec says beyond coding is held against its streams and its own lists."""
    with pytest.raises(CheckFailedError, match=promise):
        check_codec(type("Broken", (Jpeg,), broken))


def test_a_depth_that_is_not_kept_is_found() -> None:
    """A stream that is said to be of 12 bits must decode to 12 bits."""
    loose = Jpeg2000.dicom._replace(with_depth=lambda stream, bits, signed: stream)
    with pytest.raises(CheckFailedError, match="with_depth has a stream give 12-bit samples"):
        check_abilities(
            type("Broken", (Jpeg2000,), {"dicom": loose}), {Jpeg2000.quality_parameters[0]: [2, 8, 40]}
        )


def test_options_are_tried(texture: Image) -> None:
    """An option that is announced must work; the codec's own error comes through."""
    refusing = type("Broken", (Jpeg,), {"encode": _encode_refusing_options})
    with pytest.raises(ValueError, match="optimize"):
        check_codec(refusing)


def _first_for_all(image: Image, chain: list[Codec]) -> list[bytes]:
    return [chain[0].encode(image)] * len(chain)


@pytest.mark.parametrize(
    ("encode_chain", "promise"),
    [
        (lambda _, image, chain: Jpeg2000.encode_chain(image, chain)[:-1], "encode_chain gives 6 streams"),
        (lambda _, image, chain: Jpeg2000.encode_chain(image, chain)[::-1], "encode_chain comes within"),
        (lambda _, image, chain: _first_for_all(image, chain), "encode_chain comes within 10%"),
    ],
)
def test_a_chain_is_held_against_encodes_of_their_own(
    encode_chain: Callable[..., list[bytes]], promise: str
) -> None:
    """Missing streams, another order or other strengths are found."""
    broken = type("Broken", (Jpeg2000,), {"encode_chain": classmethod(encode_chain)})
    with pytest.raises(CheckFailedError, match=promise):
        check_codec(broken)


def _decoder_of_the_first(streams: list[bytes]) -> Callable[[bytes], Image]:
    return lambda _: Jpeg2000(1).decode(streams[0])


def test_a_chains_decoder_is_held_against_decode() -> None:
    """One that gives another stream's image is found."""
    broken = type("Broken", (Jpeg2000,), {"chain_decoder": staticmethod(_decoder_of_the_first)})
    with pytest.raises(CheckFailedError, match="chain_decoder gives what decode gives"):
        check_codec(broken)


def test_a_failed_check_is_one_of_our_errors() -> None:
    """The command line turns it into one line and exit code 1, as it does with every other."""
    assert issubclass(CheckFailedError, BitdoseError)
    assert CheckFailedError.exit_code == 1


@pytest.mark.parametrize(("height", "width", "bits", "colour"), [(1, 1, 8, True), (5, 9, 12, False)])
def test_texture_spans_the_depth(height: int, width: int, bits: int, colour: bool) -> None:
    """Textures have the size, depth and meaning asked for, and are functions of their generator."""
    drawn = [
        textured_image(height, width, rng=np.random.default_rng(1), bits=bits, colour=colour)
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert (drawn[0].height, drawn[0].width, drawn[0].bits) == (height, width, bits)
    assert (drawn[0].photometric == "RGB") == colour
    if height * width > 1:
        assert drawn[0].pixels.max() == (1 << bits) - 1


def _means(batch: Any) -> Any:
    means = batch.mean(axis=(1, 2, 3))
    return np.stack([1 - means, means], axis=1)


def _scribble(batch: Any) -> Any:
    batch += 1
    return _means(np.clip(batch, 0, 1))


class _Raw:
    """A classifier that is no ``CallableClassifier``: its answers are not put right for it."""

    name = "raw"
    spec = InputSpec(labels=("dark", "bright"), layout="NHWC", channels=3)

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.predict = function


@pytest.mark.parametrize(
    ("function", "promise"),
    [
        (lambda x: _means(x)[:, :1], r"shape \(5, 2\); got \(5, 1\)"),
        (lambda x: _means(x).tolist(), r"shape \(5, 2\); got list"),
        (lambda x: _means(x[:1]), r"shape \(5, 2\); got \(1, 2\)"),
        (lambda x: np.rint(_means(x)).astype(int), "probabilities are floats; got int64"),
        (lambda x: 2 * _means(x), r"in \[0, 1\] or NaN"),
        (lambda x: np.where([True, False], np.nan, _means(x)), "NaN as a whole"),
        (lambda x: _means(x - x.mean(axis=0) + 0.5), "the same answer alone and in a batch"),
        (lambda x: _means(x) * np.linspace(1, 0.9, len(x))[:, None], "alone and in a batch"),
        (_scribble, "the input is not changed"),
    ],
)
def test_a_classifier_that_breaks_a_promise_is_told_which(
    function: Callable[[Any], Any], promise: str
) -> None:
    """The error names the promise, and what came instead."""
    with pytest.raises(CheckFailedError, match=promise):
        check_classifier(_Raw(function))


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(labels=("dark", "bright"), layout="NHWC", channels=3, size=(9, 7)),
        InputSpec(labels=("dark", "bright"), channels=1, size=(8, 8)),
    ],
)
def test_a_classifier_that_keeps_its_promises_passes(spec: InputSpec) -> None:
    """Any layout, size and number of channels, and answers of NaN in whole rows, are accepted."""
    check_classifier(CallableClassifier(_means, spec))
    check_classifier(CallableClassifier(lambda x: np.full((len(x), 2), np.nan), spec))


def test_a_volume_classifier_is_checked_on_volumes() -> None:
    """A layout with a ``D`` gets volumes."""
    spec = InputSpec(labels=("dark", "bright"), layout="NCDHW")
    shapes = []

    def means(batch: Any) -> Any:
        shapes.append(batch.shape[1:])
        return _means(batch[:, 0])

    check_classifier(CallableClassifier(means, spec))
    assert set(shapes) == {(1, 8, 64, 64)}


def test_an_onnx_classifier_passes(texture_model: Path) -> None:
    """The contract holds for a model file as it is loaded for a study."""
    check_classifier(ModelRef(str(texture_model)).load())

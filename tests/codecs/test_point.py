"""What an operating point's text form promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitdose.codecs.jpeg import Jpeg
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.codecs.point import Point, Resize
from bitdose.errors import UsageError

CANONICAL = [
    "pristine",
    "jpeg:q1",
    "jpeg:q100",
    "jpeg:q30+optimize",
    "jpeg:q30+optimize+progressive+444",
    "jpeg:q30@256",
    "jpeg:q30+420@1x65535",
    "jpeg2000:40x",
    "jpeg2000:1x",
    "jpeg2000:10000x",
    "jpeg2000:2.5x@256",
    "jpeg2000:1234.567x",
    "jpeg2000:38dB@320x256:area:linear",
    "jpeg2000:38.25dB",
    "jpeg:q75@256:lanczos4:none",
    "jpeg:q75@256:area",
    "jpeg:q75@256:lanczos3:bicubic",
    "jpeg:q75@256:bilinear:none",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_a_point_parses_and_prints_back_to_itself(text: str) -> None:
    """The text form loses nothing: every digit, option, size and kernel comes back."""
    point = Point.parse(text)
    assert str(point) == text
    assert Point.parse(str(point)) == point


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("jpeg:q30@256x256", "jpeg:q30@256"),
        ("jpeg:q30@256:lanczos4", "jpeg:q30@256"),
        ("jpeg:q30@256:lanczos4:lanczos4", "jpeg:q30@256"),
        ("jpeg:q030", "jpeg:q30"),
        ("jpeg:q30.0", "jpeg:q30"),
        ("jpeg2000:40.50x", "jpeg2000:40.5x"),
        ("jpeg:q30+progressive+optimize", "jpeg:q30+optimize+progressive"),
        ("jpeg:q30+optimize+optimize", "jpeg:q30+optimize"),
    ],
)
def test_two_spellings_of_one_point_are_one_point(text: str, canonical: str) -> None:
    """Defaults, zeros and the order of options do not make a point another one."""
    assert Point.parse(text) == Point.parse(canonical)
    assert str(Point.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected CODEC:QUALITY"),
        ("jpeg", "expected CODEC:QUALITY"),
        ("jpeg:q30@", "expected CODEC:QUALITY"),
        ("JPEG:q30", "expected CODEC:QUALITY"),
        ("jpeg:q30@256:area:linear:area", "expected CODEC:QUALITY"),
        ("jpg2000:40x", "unknown codec 'jpg2000': did you mean 'jpeg2000'"),
        ("jpeg:40x", "quality '40x' of jpeg: expected q1..q100"),
        ("jpeg:30", "quality '30' of jpeg"),
        ("jpeg:q0", "whole number from q1 to q100, got q0"),
        ("jpeg:q101", "whole number from q1 to q100, got q101"),
        ("jpeg:q30.5", "whole number from q1 to q100, got q30.5"),
        ("jpeg2000:0.5x", "a number from 1x to 10000x, got 0.5x"),
        ("jpeg2000:101dB", "a number from 1dB to 100dB, got 101dB"),
        ("jpeg:q30+optimise", "jpeg has no option 'optimise'; known: optimize, progressive, 444, 420"),
        ("jpeg2000:40x+444", "jpeg2000 has no option '444'; known: none"),
        ("jpeg:q30@0", "expected sides of 1 to 65535, got 0"),
        ("jpeg:q30@256x65536", "expected sides of 1 to 65535, got 256x65536"),
        ("jpeg:q30@256:lanczos5", "unknown kernel 'lanczos5': known: lanczos4"),
        ("jpeg:q30@256:none", "unknown kernel 'none'"),
        ("jpeg:q30@256:area:cubic", "unknown kernel 'cubic'"),
    ],
)
def test_a_wrong_point_names_the_part_that_is_wrong(text: str, says: str) -> None:
    """The error is a usage error that says which part, what was expected and what came."""
    with pytest.raises(UsageError) as caught:
        Point.parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("pristine", "pristine"),
        ("jpeg:q30", "jpeg"),
        ("jpeg:q30+optimize@256", "jpeg+optimize@256"),
        ("jpeg2000:40x@320x256:area:linear", "jpeg2000@320x256:area:linear"),
        ("jpeg2000:38dB@256", "jpeg2000:dB@256"),
    ],
)
def test_a_chain_is_named_after_all_but_the_quality(text: str, chain: str) -> None:
    """Points of one chain share its name; a codec's first quality parameter goes without saying."""
    point = Point.parse(text)
    assert point.chain == chain
    if not point.is_pristine:
        assert replace(point, quality=50).chain == chain


@pytest.mark.parametrize(
    "mild_to_strong",
    [
        ["pristine"],
        ["jpeg:q100", "jpeg:q75", "jpeg:q1"],
        ["jpeg2000:2x", "jpeg2000:2.5x", "jpeg2000:300x"],
        ["jpeg2000:60dB", "jpeg2000:38.5dB", "jpeg2000:20dB"],
    ],
)
def test_strength_orders_a_chain_from_mild_to_strong(mild_to_strong: list[str]) -> None:
    """Strength rises as JPEG's quality or a PSNR falls and as a ratio rises."""
    strengths = [Point.parse(text).strength for text in mild_to_strong]
    assert strengths == sorted(set(strengths))


def test_a_point_builds_its_codec() -> None:
    """The codec's configuration is the point's; size and kernels are not its business."""
    assert Point.parse("jpeg:q30+444@256").build_codec() == Jpeg(30, "q", ("444",))
    assert Point.parse("jpeg2000:38dB").build_codec() == Jpeg2000(38, "dB")
    assert Point.parse("jpeg:q30@320x256:area:none").resize == Resize(320, 256, "area", "none")


def test_pristine_has_no_codec() -> None:
    """The untouched source cannot be coded; asking for its codec is a usage error."""
    with pytest.raises(UsageError, match="'pristine' has no codec"):
        Point().build_codec()


def test_options_that_contradict_each_other_are_refused() -> None:
    """Two chroma options in one point are an error, not a silent choice."""
    with pytest.raises(UsageError, match="444 and 420 contradict"):
        Point.parse("jpeg:q30+444+420")

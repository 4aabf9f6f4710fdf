"""A point from its text, applied to one image: what a study makes of it, without a study."""

from __future__ import annotations

import base64
import io
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.coded_page import html_of
from bitdose.codecs.coding import code_points, encode_point
from bitdose.codecs.point import Point, Resize
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image, stack


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("jpeg:q30@256", ("jpeg", 30, "q", (), Resize(256, 256))),
        ("jpeg:q30+444+optimize", ("jpeg", 30, "q", ("optimize", "444"), None)),
        ("jpeg2000:38dB@320x256:area:none", ("jpeg2000", 38, "dB", (), Resize(320, 256, "area", "none"))),
        ("pristine", ("pristine", None, "", (), None)),
    ],
)
def test_a_point_is_made_of_its_text(text: str, fields: tuple[object, ...]) -> None:
    """Text, fields and ``parse`` give equal points, which print, copy and pickle to the same."""
    point = Point(text)
    assert point == Point(*fields) == Point.parse(text) == Point(str(point))
    assert hash(point) == hash(Point.parse(text))
    assert eval(repr(point)) == point
    assert pickle.loads(pickle.dumps(point)) == replace(point) == point


@pytest.mark.parametrize("text", ["jpeg", "jpeg:q300", "webq:q30", ""])
def test_a_text_that_is_no_point_is_refused(text: str) -> None:
    """The error is that of ``parse``."""
    with pytest.raises(UsageError) as made:
        Point(text)
    with pytest.raises(UsageError) as parsed:
        Point.parse(text)
    assert str(made.value) == str(parsed.value)


@pytest.mark.parametrize("text", ["jpeg:q30", "jpeg:q30@64", "jpeg2000:20x@64x48:area:none", "jpeg2000:8x"])
def test_apply_makes_what_a_study_makes(text: str, texture: Image, colour_texture: Image) -> None:
    """Stream, image and bytes are those of the study and of the sender, of grey, colour and slices."""
    slices = stack([texture, texture.with_pixels(texture.pixels[::-1])], volume=True)
    for image in (texture, colour_texture, slices):
        coded = Point(text).apply(image)
        ((_, studied),) = code_points(image, [Point(text)])
        assert (coded.image, coded.n_bytes) == (studied.image, studied.coded_bytes)
        assert coded.streams == encode_point(image, Point(text)).data
        assert coded.n_bytes == sum(map(len, coded.streams))
        assert coded.ratio_pixels == pytest.approx(image.raw_bytes / coded.n_bytes)
        assert coded.original is image
    assert Point(text).apply(texture).stream == encode_point(texture, Point(text)).data[0]


def test_an_array_is_taken_as_an_image(texture: Image) -> None:
    """An array of pixels gives what its image gives."""
    point = Point("jpeg:q30@64")
    assert point.apply(texture.pixels).stream == point.apply(texture).stream


def test_pristine_is_the_image_as_it_is(texture: Image) -> None:
    """It has its raw bytes, a ratio of 1 and no stream."""
    coded = Point("pristine").apply(texture)
    assert (coded.image, coded.n_bytes, coded.ratio_pixels, coded.streams) == (texture, 512 * 512, 1.0, ())
    with pytest.raises(UsageError, match="stream: expected one, pristine has 0"):
        _ = coded.stream


def test_a_volume_has_a_stream_for_each_slice(texture: Image) -> None:
    """Asking for the one stream of two slices is an error that says what to take."""
    coded = Point("jpeg:q30").apply(stack([texture, texture], volume=True))
    with pytest.raises(UsageError, match="jpeg:q30 has 2; take 'streams'"):
        _ = coded.stream


def test_a_limit_of_the_codec_is_said() -> None:
    """What a format cannot hold raises the error that a study would write into its row."""
    with pytest.raises(CaseError, match="codec-limit"):
        Point("jpeg2000:8x").apply(np.zeros((32, 32, 3), np.uint16))


def test_a_notebook_shows_the_image_beside_its_original(texture: Image) -> None:
    """Two inline PNGs, at most 512 samples a side, with bytes, ratio and the research-use sentence."""
    wide = np.hstack([texture.pixels] * 3).astype(np.uint16) << 4
    coded = Point("jpeg2000:40x@256").apply(Image(wide, 12))
    page = coded._repr_html_()
    pngs = [base64.b64decode(text) for text in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    assert [PillowImage.open(io.BytesIO(png)).size for png in pngs] == [(512, 171)] * 2
    assert f"{coded.n_bytes:,} bytes, {coded.ratio_pixels:.1f}:1 of the raw pixels" in page
    assert "Research use only, not a medical device" in page
    assert page.index("original") < page.index("jpeg2000:40x@256")


def test_a_notebook_is_shown_text_and_no_markup(texture: Image) -> None:
    """What stands in a name is escaped, in text and attributes; without an original there is one image."""
    page = html_of('"><script>', None, texture, n_bytes=9, ratio=float("nan"))
    assert "<script" not in page
    assert page.count("data:image/png") == 1
    assert "of the raw pixels" not in page


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 4)), "expected uint8 or uint16, got float64"),
        (np.zeros((4, 4), np.int16), "expected uint8 or uint16, got int16"),
        (np.zeros(4, np.uint8), r"shape \(4,\) is no"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\) is no"),
        ("exam.png", "expected pixels, got str; read a file first"),
    ],
)
def test_what_is_no_image_is_refused(array: object, says: str) -> None:
    """One line says what was expected and what came."""
    with pytest.raises(UsageError, match=f"^array: {says}"):
        Point("jpeg:q30").apply(array)

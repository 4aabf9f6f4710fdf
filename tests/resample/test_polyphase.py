"""What resampling by whole factors promises: the library's own result, to the last bit, or none."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.hashing import rng_for
from bitdose.image import Pixels
from bitdose.native import library, resize
from bitdose.resample import polyphase
from bitdose.resample.kernels import resample, resample_many
from bitdose.resample.polyphase import bilinear_down, lanczos4_up


def _planes(height: int, width: int) -> Iterator[Pixels]:
    """Noise, black and white (where kernels overshoot), and one grey."""
    noise = rng_for("polyphase", height, width).integers(0, 256, (height, width), np.uint8)
    yield noise
    yield np.where(noise < 128, np.uint8(0), np.uint8(255))
    yield np.full_like(noise, 255)


def _opencvs(plane: Pixels, width: int, height: int) -> Pixels:
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_LANCZOS4)  # type: ignore[return-value]


def _pillows(plane: Pixels, width: int, height: int) -> Pixels:
    resized = PillowImage.fromarray(plane).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)


@pytest.fixture(params=["in C", "by filters"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resize with the compiled library, then without."""
    if request.param == "by filters":
        monkeypatch.setattr(resize, "load", lambda: None)
    elif library.load() is None:
        pytest.skip("installed without a C compiler")


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("sides", [(256, 256), (1, 1), (1, 9), (3, 2), (17, 40), (90, 33)])
@pytest.mark.parametrize("factors", [(4, 4), (1, 2), (2, 1), (4, 8), (8, 1), (16, 2)])
def test_lanczos4_by_whole_factors_is_opencvs(sides: tuple[int, int], factors: tuple[int, int]) -> None:
    """Each way by a factor of its own, images smaller than the kernel too: what ``cv2.resize`` gives."""
    height, width = sides[0] * factors[0], sides[1] * factors[1]
    for plane in _planes(*sides):
        np.testing.assert_array_equal(lanczos4_up(plane, width, height), _opencvs(plane, width, height))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("sides", [(256, 256), (2, 2), (3, 2), (17, 40), (80, 40), (33, 90)])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_bilinear_by_whole_factors_is_pillows(sides: tuple[int, int], factor: int) -> None:
    """Flat, square and up to twice as high as wide: what ``PIL.Image.resize`` gives."""
    for plane in _planes(sides[0] * factor, sides[1] * factor):
        np.testing.assert_array_equal(bilinear_down(plane, *sides[::-1]), _pillows(plane, *sides[::-1]))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("wide", "rows"), [(2000, 300), (40, 5000)])
def test_large_images_go_in_bands_without_a_seam(wide: int, rows: int) -> None:
    """An image of several bands, the last one shorter, is one image."""
    (plane, *_) = _planes(rows, wide)
    np.testing.assert_array_equal(lanczos4_up(plane, 2 * wide, 4 * rows), _opencvs(plane, 2 * wide, 4 * rows))
    large = lanczos4_up(plane, 8 * wide, 2 * rows)
    assert large is not None
    if large.shape[0] <= large.shape[1]:
        found = bilinear_down(large, 4 * wide, rows)
        np.testing.assert_array_equal(found, _pillows(large, 4 * wide, rows))


@pytest.mark.parametrize(
    ("plane", "size"),
    [
        (np.zeros((8, 8), np.uint16), (16, 16)),
        (np.zeros((8, 8, 3), np.uint8), (16, 16)),
        (np.zeros((8, 8), np.float32), (16, 16)),
        (np.zeros((8, 8), np.uint8), (16, 17)),
        (np.zeros((8, 8), np.uint8), (4, 4)),
        (np.zeros((8, 8), np.uint8), (8 * 3, 8)),
        (np.zeros((8, 8), np.uint8), (8 * 32, 8)),
    ],
)
def test_all_other_enlarging_is_left_to_opencv(plane: Pixels, size: tuple[int, int]) -> None:
    """Deep samples, colour, floats, factors of 3 and 32 are not taken."""
    assert lanczos4_up(plane, *size) is None


@pytest.mark.parametrize(
    ("plane", "size"),
    [
        (np.zeros((16, 16), np.uint16), (4, 4)),
        (np.zeros((16, 16, 3), np.uint8), (4, 4)),
        (np.zeros((16, 16), np.uint8), (4, 8)),
        (np.zeros((24, 24), np.uint8), (8, 8)),
        (np.zeros((17, 16), np.uint8), (4, 4)),
        (np.zeros((8, 8), np.uint8), (1, 2)),
        (np.zeros((8, 8), np.uint8), (16, 16)),
        (np.zeros((48, 16), np.uint8), (4, 12)),
    ],
)
def test_all_other_shrinking_is_left_to_pillow(plane: Pixels, size: tuple[int, int]) -> None:
    """Deep samples, colour, unlike or other factors and tall images, whose columns Pillow takes first."""
    assert bilinear_down(plane, *size) is None


def test_a_library_that_computes_otherwise_is_used_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the check of a factor fails, ``resample`` gives what the library gives."""
    monkeypatch.setattr(polyphase, "_TIE_UP", 0.6)
    monkeypatch.setattr(resize, "load", lambda: None)
    monkeypatch.setattr(polyphase, "_PILLOW_BITS", 3)
    for cached in (polyphase._lanczos4_agrees, polyphase._bilinear_agrees, polyphase._border_taps):
        cached.cache_clear()
    try:
        (plane, *_) = _planes(32, 32)
        assert lanczos4_up(plane, 64, 64) is None
        assert bilinear_down(plane, 16, 16) is None
        np.testing.assert_array_equal(resample(plane, 64, 64, kernel="lanczos4"), _opencvs(plane, 64, 64))
        (several, *_) = resample_many([plane, plane], 16, 16, kernel="bilinear")
        np.testing.assert_array_equal(several, _pillows(plane, 16, 16))
    finally:
        for cached in (polyphase._lanczos4_agrees, polyphase._bilinear_agrees, polyphase._border_taps):
            cached.cache_clear()


def test_loops_in_c_that_compute_otherwise_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they fail the check, the library's own function is used, as with the filters."""
    monkeypatch.setattr(
        resize, "lanczos4_up", lambda plane, *_: np.zeros([4 * n for n in plane.shape], np.uint8)
    )
    monkeypatch.setattr(
        resize, "bilinear_quarter", lambda plane, _: np.zeros([n // 4 for n in plane.shape], np.uint8)
    )
    cached = (polyphase._lanczos4_agrees, polyphase._bilinear_agrees)
    for check in cached:
        check.cache_clear()
    try:
        (plane, *_) = _planes(32, 32)
        assert lanczos4_up(plane, 128, 128) is None
        assert bilinear_down(plane, 8, 8) is None
    finally:
        for check in cached:
            check.cache_clear()

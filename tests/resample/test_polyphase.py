"""What resampling in C by whole factors promises: the library's own result, to the last bit, or none."""

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


compiled = pytest.mark.skipif(library.load() is None, reason="installed without a C compiler")


@compiled
@pytest.mark.parametrize("sides", [(256, 256), (1, 1), (1, 9), (3, 2), (17, 40), (90, 33)])
@pytest.mark.parametrize("factors", [(4, 4), (1, 2), (2, 1), (4, 8), (8, 1), (16, 2)])
def test_lanczos4_by_whole_factors_is_opencvs(sides: tuple[int, int], factors: tuple[int, int]) -> None:
    """Each way by a factor of its own, images smaller than the kernel too: what ``cv2.resize`` gives."""
    height, width = sides[0] * factors[0], sides[1] * factors[1]
    for plane in _planes(*sides):
        np.testing.assert_array_equal(lanczos4_up(plane, width, height), _opencvs(plane, width, height))


@compiled
@pytest.mark.parametrize("sides", [(256, 256), (2, 2), (3, 2), (17, 40), (80, 40), (33, 90)])
def test_bilinear_to_a_quarter_is_pillows(sides: tuple[int, int]) -> None:
    """Flat, square and up to twice as high as wide: what ``PIL.Image.resize`` gives."""
    for plane in _planes(sides[0] * 4, sides[1] * 4):
        np.testing.assert_array_equal(bilinear_down(plane, *sides[::-1]), _pillows(plane, *sides[::-1]))


@compiled
@pytest.mark.parametrize(("wide", "rows"), [(1000, 300), (20, 5000)])
def test_large_images_are_resized_without_a_seam(wide: int, rows: int) -> None:
    """Many more rows, and longer ones, than are at hand at a time: what the libraries give."""
    (plane, *_) = _planes(rows, wide)
    large = lanczos4_up(plane, 8 * wide, 4 * rows)
    assert large is not None
    np.testing.assert_array_equal(large, _opencvs(plane, 8 * wide, 4 * rows))
    if rows <= 2 * 2 * wide:
        np.testing.assert_array_equal(bilinear_down(large, 2 * wide, rows), _pillows(large, 2 * wide, rows))


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
        (np.zeros((16, 16), np.uint8), (8, 8)),
        (np.zeros((64, 64), np.uint8), (8, 8)),
        (np.zeros((17, 16), np.uint8), (4, 4)),
        (np.zeros((8, 8), np.uint8), (1, 2)),
        (np.zeros((8, 8), np.uint8), (16, 16)),
        (np.zeros((48, 16), np.uint8), (4, 12)),
    ],
)
def test_all_other_shrinking_is_left_to_pillow(plane: Pixels, size: tuple[int, int]) -> None:
    """Deep samples, colour, unlike or other factors and tall images, whose columns Pillow takes first."""
    assert bilinear_down(plane, *size) is None


@pytest.fixture
def checked_anew() -> Iterator[None]:
    """Compare with the libraries again, before and after."""
    checks = (polyphase._lanczos4_agrees, polyphase._bilinear_agrees)
    for check in checks:
        check.cache_clear()
    yield
    for check in checks:
        check.cache_clear()


def _assert_the_libraries_resize() -> None:
    (plane, *_) = _planes(32, 32)
    assert lanczos4_up(plane, 128, 128) is None
    assert bilinear_down(plane, 8, 8) is None
    np.testing.assert_array_equal(resample(plane, 128, 128, kernel="lanczos4"), _opencvs(plane, 128, 128))
    for resized in resample_many([plane, plane], 8, 8, kernel="bilinear"):
        np.testing.assert_array_equal(resized, _pillows(plane, 8, 8))


@pytest.mark.usefixtures("checked_anew")
def test_without_the_loops_in_c_the_libraries_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed without a compiler, ``resample`` calls OpenCV and Pillow."""
    monkeypatch.setattr(resize, "load", lambda: None)
    _assert_the_libraries_resize()


@pytest.mark.usefixtures("checked_anew")
def test_loops_in_c_that_compute_otherwise_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they fail the check of a factor, ``resample`` gives what the library gives."""
    monkeypatch.setattr(
        resize, "lanczos4_up", lambda plane, *_: np.zeros([4 * n for n in plane.shape], np.uint8)
    )
    monkeypatch.setattr(
        resize, "bilinear_quarter", lambda plane, _: np.zeros([n // 4 for n in plane.shape], np.uint8)
    )
    _assert_the_libraries_resize()

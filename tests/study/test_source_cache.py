"""What is kept for tasks that come back: the same pixels and streams, made once, within a bound on memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from bitdose.codecs.coding import code_points
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.codecs.point import Point
from bitdose.data.base import Case
from bitdose.data.objects import cases_from
from bitdose.errors import CaseError
from bitdose.native import library
from bitdose.study.source_cache import SourceCache

CHAIN = [Point.parse(f"jpeg2000:{ratio}x") for ratio in (4, 10, 40)]


def image(folder: Path, name: str, value: int) -> Case:
    """Write a grey image of 10,000 pixels."""
    return written(folder / f"{name}.png", np.full((100, 100), value, np.uint8))


def written(path: Path, pixels: NDArray[np.uint8]) -> Case:
    """Write an image as a case."""
    PillowImage.fromarray(pixels).save(path)
    return Case(path.stem, "label", path, path.stem)


def test_what_came_first_is_read_once(tmp_path: Path) -> None:
    """The files may be gone by the second time; what came when there was no room is read anew."""
    cases = [image(tmp_path, str(n), n) for n in range(3)]
    kept = SourceCache(20_000)
    first, second, _ = [kept.read(case) for case in cases]
    for case in cases:
        case.path.unlink()
    assert kept.read(cases[0]) is first
    assert kept.read(cases[1]) is second
    with pytest.raises(CaseError):
        kept.read(cases[2])


def test_arrays_are_told_apart_by_their_pixels() -> None:
    """Two cases without a file are two sources, and each is kept."""
    first, second = cases_from((np.arange(200, dtype=np.uint8).reshape(2, 10, 10), [0, 1])).cases
    kept = SourceCache(20_000)
    assert kept.read(first) is kept.read(first)
    assert kept.read(first) != kept.read(second)


def test_without_a_budget_nothing_is_kept(tmp_path: Path) -> None:
    """A study reads each file once and holds no more than the case at work."""
    case = image(tmp_path, "a", 1)
    kept = SourceCache(0)
    assert kept.read(case) == kept.read(case)
    assert kept.read(case) is not kept.read(case)
    assert kept.streams(case) is None


def test_what_is_kept_goes_by_colour_too(tmp_path: Path) -> None:
    """A colour file asked for in grey is another source."""
    case = written(tmp_path / "c.png", np.full((10, 10, 3), (200, 10, 10), np.uint8))
    kept = SourceCache(10_000)
    assert kept.read(case).image.photometric == "RGB"
    assert kept.read(case, color="grey").image.photometric == "MONOCHROME2"


@pytest.mark.parametrize(
    ("exact", "maker", "mode"), [(True, "encode_each", "exact"), (False, "encode_chain", "layered")]
)
def test_streams_made_together_are_made_once_and_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str, mode: str, *, exact: bool
) -> None:
    """Points asked for one by one have the streams made for the whole chain, and fill the room."""
    if exact and library.load() is None:
        pytest.skip("installed without a C compiler, each stream is encoded alone")
    noise = np.random.default_rng(1).integers(0, 256, (600, 600), np.uint8)
    case = written(tmp_path / "large.png", noise)
    encodes: list[int] = []
    plain = getattr(Jpeg2000, maker).__func__
    counted = classmethod(
        lambda cls, plane, codecs: encodes.append(plane.height) or plain(cls, plane, codecs)
    )
    monkeypatch.setattr(Jpeg2000, maker, counted)
    kept = SourceCache(470_000)
    source = kept.read(case)
    whole = dict(code_points(source.image, CHAIN, exact=exact))
    for point in reversed(CHAIN):
        streams = kept.streams(case)
        ((_, coded),) = code_points(source.image, [point], exact=exact, grid=CHAIN, shared=streams)
        assert (coded.mode, coded.coded_bytes) == (mode, whole[point].coded_bytes)
        assert np.array_equal(coded.image.pixels, whole[point].image.pixels)
    assert encodes.count(600) == 2  # small ones are those that each process compares with the library
    other = image(tmp_path, "b", 2)
    assert kept.read(other) is not kept.read(other)  # 360,000 pixels and about 134,000 bytes of streams


def test_an_exact_point_shares_nothing(tmp_path: Path) -> None:
    """Asked to be exact, a point is coded alone whatever the grid."""
    noise = np.random.default_rng(2).integers(0, 256, (600, 600), np.uint8)
    source = SourceCache(0).read(written(tmp_path / "x.png", noise))
    ((_, coded),) = code_points(source.image, CHAIN[:1], exact=True, grid=CHAIN)
    assert coded.mode == "exact"

"""Sources kept for a moment: the same pixels, read once, within a bound on memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.data.recent import RecentSources
from bitdose.errors import CaseError


def image(folder: Path, name: str, value: int) -> Path:
    """Write a grey image of 10,000 pixels."""
    path = folder / f"{name}.png"
    PillowImage.fromarray(np.full((100, 100), value, np.uint8)).save(path)
    return path


def test_a_source_is_read_once_while_there_is_room(tmp_path: Path) -> None:
    """The file may be gone by the second time; the oldest gives way, and is read anew."""
    paths = [image(tmp_path, str(n), n) for n in range(3)]
    sources = RecentSources(20_000)
    first = sources.read(paths[0])
    assert sources.read(paths[0]) is first
    sources.read(paths[1])
    sources.read(paths[0])
    sources.read(paths[2])  # the second was used longest ago
    for path in paths:
        path.unlink()
    assert sources.read(paths[0]) is first
    assert sources.read(paths[2]).image.pixels.max() == 2
    with pytest.raises(CaseError):
        sources.read(paths[1])


def test_without_a_budget_nothing_is_kept(tmp_path: Path) -> None:
    """A study reads each file once and holds no more than the case at work."""
    path = image(tmp_path, "a", 1)
    sources = RecentSources(0)
    assert sources.read(path) == sources.read(path)
    assert sources.read(path) is not sources.read(path)


def test_what_is_kept_goes_by_colour_too(tmp_path: Path) -> None:
    """A colour file asked for in grey is another source."""
    path = tmp_path / "c.png"
    PillowImage.fromarray(np.full((10, 10, 3), (200, 10, 10), np.uint8)).save(path)
    sources = RecentSources(10_000)
    assert sources.read(path).image.photometric == "RGB"
    assert sources.read(path, color="grey").image.photometric == "MONOCHROME2"

"""Flipped cases and their plates."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from bitdose.errors import BitdoseError
from bitdose.image import Image
from bitdose.report.figures.gallery import (
    Box,
    Panel,
    crop_box,
    gallery_cases,
    load_panels,
    points_for,
    to_display,
)
from bitdose.report.figures.gallery_image import gallery_png
from bitdose.report.findings.flips import RIGHT_TO_WRONG, flipped_cases
from bitdose.results.summary import Summary


def _panel(pixels: np.ndarray[Any, Any], point: str = "pristine", label: str = "a") -> Panel:
    return Panel(point, pixels, label, "a", 0.9, 1234, 12.0)


def test_flipped_cases_agree_with_the_flip_counts(table: pl.DataFrame, summary: Summary) -> None:
    """A case is listed exactly if some point changes its answer, harmful ones as often as counted."""
    flipped = flipped_cases(table, summary)
    wide = {}
    for row in table.filter(pl.col("status") == "ok").iter_rows(named=True):
        wide.setdefault(row["case_id"], {})[row["point"]] = row["predicted"]
    changed = {case for case, answers in wide.items() if len(set(answers.values())) > 1}
    assert {f.case_id for f in flipped} == changed
    for f in flipped:
        answers = wide[f.case_id]
        assert f.n_changed == sum(a != answers["pristine"] for a in answers.values())
        assert f.n_points == 48
        assert f.answer == answers[f.point] != f.pristine_answer


def test_harmful_and_early_flips_come_first(table: pl.DataFrame, summary: Summary) -> None:
    """Right to wrong comes before the rest, and among these the mildest rank comes first."""
    flipped = flipped_cases(table, summary)
    harmful = [f.kind == RIGHT_TO_WRONG for f in flipped]
    assert harmful == sorted(harmful, reverse=True)
    ranks = [f.rank for f in flipped if f.kind == RIGHT_TO_WRONG]
    assert ranks == sorted(ranks)
    for f in flipped:
        points = summary.chains()[f.chain]
        assert points[f.rank].point == f.point


def test_gallery_keeps_places_for_cases_that_held(table: pl.DataFrame, summary: Summary) -> None:
    """A gallery of six shows four flipped cases and two that held, of different classes."""
    flipped = flipped_cases(table, summary)
    chosen = gallery_cases(flipped, table, summary, limit=6)
    assert [flip is not None for _, flip in chosen] == [True] * 4 + [False] * 2
    assert [case for case, _ in chosen[:4]] == [f.case_id for f in flipped[:4]]
    labels = dict(table.select("case_id", "case_label").iter_rows())
    assert labels[chosen[4][0]] != labels[chosen[5][0]]


def test_points_of_a_flipped_case_bracket_its_flip(table: pl.DataFrame, summary: Summary) -> None:
    """A flipped case shows pristine, the last point before its flip, the flip, and every other chain."""
    flip = flipped_cases(table, summary)[0]
    names = [p.point for p in summary.points]
    points = points_for(flip, summary, names)
    own = [p.point for p in summary.chains()[flip.chain]]
    assert points[:3] == ["pristine", own[flip.rank - 1], flip.point]
    chains = {p.point: p.chain for p in summary.points}
    assert {chains[p] for p in points} == {"pristine", *summary.chains()}
    assert flip.point not in points_for(flip, summary, [n for n in names if n != flip.point])


def test_crop_finds_where_coding_bites() -> None:
    """The crop is the square that changed most, and never lies on the border."""
    clean = np.zeros((240, 240), np.uint8)
    coded = clean.copy()
    coded[150:170, 60:80] = 90
    coded[0:3, :] = 255
    box = crop_box([_panel(clean), _panel(coded)])
    assert box.top <= 150
    assert box.top + box.side >= 170
    assert box.left <= 60
    assert box.left + box.side >= 80


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (240, 240), (64, 48, 3), (5, 5)])
def test_crop_fits_any_image(shape: tuple[int, ...]) -> None:
    """The crop lies inside the image, whatever its shape, also where nothing changed."""
    box = crop_box([_panel(np.zeros(shape, np.uint8))] * 2)
    assert 0 <= box.top <= shape[0] - box.side
    assert 0 <= box.left <= shape[1] - box.side
    assert Pillow.open(BytesIO(gallery_png([_panel(np.zeros(shape, np.uint8))], box))).format == "PNG"


def test_crop_is_magnified_without_smoothing() -> None:
    """The magnified crop holds only grey values that are in the image."""
    rng = np.random.default_rng(0)
    pixels = rng.choice(np.array([10, 200], np.uint8), (80, 80))
    plate = Pillow.open(BytesIO(gallery_png([_panel(pixels)], Box(20, 20, 28), tile_px=280)))
    crop = np.asarray(plate)[-14 - 280 : -14, 14 : 14 + 280]
    assert set(np.unique(crop)) == {10, 200}
    assert (crop[::10, ::10, 0] == pixels[20:48, 20:48]).all()


def test_small_variant_is_cropped_at_the_same_place() -> None:
    """A variant handed on at a smaller size is cropped where its pristine image is."""
    clean = np.zeros((200, 200), np.uint8)
    small = np.zeros((50, 50), np.uint8)
    small[25:35, 10:20] = 255
    plate = Pillow.open(BytesIO(gallery_png([_panel(clean), _panel(small)], Box(100, 40, 40))))
    assert (np.asarray(plate)[-14 - 280 : -14, -14 - 280 : -14] == 255).all()


def test_deep_images_share_one_window() -> None:
    """A 12-bit case is shown on its pristine range at every point, a volume by its middle slice."""
    first = Image(np.array([[0, 1000]], np.uint16), 12)
    second = Image(np.array([[500, 4000]], np.uint16), 12)
    assert [plane.tolist() for plane in to_display([first, second])] == [[[0, 255]], [[128, 255]]]
    volume = Image(np.arange(3, dtype=np.uint8).reshape(3, 1, 1).repeat(2, 1))
    assert to_display([volume])[0].tolist() == [[1], [1]]


def test_odd_text_fits_the_plate() -> None:
    """Long, foreign or unprintable text is cut to its column and never raises."""
    odd = _panel(np.zeros((20, 20), np.uint8), "jpeg:q1" * 40, "$x_1$\n新" * 90)
    assert gallery_png([odd], Box(2, 2, 8))


def test_wrong_number_of_images_is_an_error(table: pl.DataFrame) -> None:
    """A loader that returns too few images is told so by name."""
    rows = {row["point"]: row for row in table.filter(pl.col("case_id") == "case-0001").iter_rows(named=True)}
    with pytest.raises(BitdoseError, match="expected 2 images for 'case-0001', got 0"):
        load_panels(rows, "case-0001", ["pristine", "jpeg:q1"], lambda _case, _points: [])

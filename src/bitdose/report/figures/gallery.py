"""The same case at several points, with a magnified crop and the answer at each.

Pixels come through a callable, so that this module needs neither data nor codec:
``load_variants(case_id, points)`` returns one :class:`bitdose.image.Image` per point, in the
order asked for, as the classifier's input was before its own resizing. Everything else about
a panel comes from the results table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitdose.errors import BitdoseError
from bitdose.image import Image
from bitdose.report.findings.chosen_points import nearest
from bitdose.report.findings.flips import RIGHT_TO_WRONG, FlippedCase, number, of_model, ratio
from bitdose.results.schema import OK, PRISTINE, PROBABILITY_PREFIX
from bitdose.results.summary import PointSummary, Summary

if TYPE_CHECKING:
    from polars import DataFrame

LoadVariants = Callable[[str, Sequence[str]], Sequence[Image]]

MAX_PANELS = 6
_CROP_SHARE = 6
_BORDER_SHARE = 0.08
_SMALLEST_CROP = 8


class Box(NamedTuple):
    """A square of the pristine image, in its pixels."""

    top: int
    left: int
    side: int


@dataclass(frozen=True, eq=False)
class Panel:
    """One case at one point.

    Parameters
    ----------
    point : str
        Text form of the point.
    pixels : numpy.ndarray
        ``(H, W)`` or ``(H, W, 3)`` uint8, as shown.
    predicted, true : str
        The answer and the reference standard.
    probability : float
        Of the answer, in [0, 1]; NaN where the table has none.
    coded_bytes : int
        Size of the coded stream; for pristine, of the source file.
    ratio : float
        Source file bytes / coded bytes.
    """

    point: str
    pixels: NDArray[np.uint8]
    predicted: str
    true: str
    probability: float
    coded_bytes: int
    ratio: float


def crop_box(panels: Sequence[Panel], *, tile_px: int = 280) -> Box:
    """Choose the crop: the square, away from borders, that coding changed most.

    The square that maximises the sum over panels of ``|coded - pristine|``, by an integral
    image; a side that divides ``tile_px`` so that pixels magnify evenly. The middle of the
    image where nothing changed.

    Parameters
    ----------
    panels : sequence of Panel
        Pristine first. Panels of another shape than it do not count.
    tile_px : int
        Width on which the crop will be shown.
    """
    reference = panels[0].pixels
    height, width = reference.shape[:2]
    wanted = max(_SMALLEST_CROP, min(height, width) // _CROP_SHARE)
    side = min(tile_px // max(2, tile_px // wanted), height, width)
    change = np.zeros((height, width))
    for panel in panels[1:]:
        if panel.pixels.shape == reference.shape:
            gap = np.abs(panel.pixels.astype(np.int16) - reference)
            change += gap if gap.ndim == change.ndim else gap.mean(axis=-1)
    integral = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = (
        integral[side:, side:] - integral[:-side, side:] - integral[side:, :-side] + integral[:-side, :-side]
    )
    if not change.any():
        return Box((height - side) // 2, (width - side) // 2, side)
    edges = [min(int(_BORDER_SHARE * full), (full - side) // 2) for full in (height, width)]
    inner = sums[edges[0] : sums.shape[0] - edges[0], edges[1] : sums.shape[1] - edges[1]]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return Box(int(top) + edges[0], int(left) + edges[1], side)


def gallery_cases(
    flipped: Sequence[FlippedCase], table: DataFrame, summary: Summary, *, limit: int
) -> list[tuple[str, FlippedCase | None]]:
    """Choose cases to show: flipped ones first, the earliest harmful first, then some that held.

    A third of the places is kept for cases whose answer never changed, one class after the
    other, so that the gallery does not show failures alone.
    """
    import polars as pl

    names = {f.case_id for f in flipped}
    rows = of_model(table, summary).filter(
        (pl.col("status") == OK) & (pl.col("point") == PRISTINE) & ~pl.col("case_id").is_in(list(names))
    )
    steady = rows.select(pl.col("case_id", "case_label").cast(pl.String)).sort("case_label", "case_id")
    turn = pl.int_range(pl.len()).over("case_label")
    steady = steady.with_columns(turn=turn).sort("turn", "case_label").head(limit)
    kept = min(steady.height, max(limit // 3, limit - len(flipped)))
    held = [(name, None) for name in steady["case_id"].head(kept)]
    ordered = sorted(flipped, key=lambda f: f.kind != RIGHT_TO_WRONG)
    return [*((f.case_id, f) for f in ordered[: limit - len(held)]), *held]


def points_for(
    flip: FlippedCase | None, summary: Summary, available: Sequence[str], *, limit: int = MAX_PANELS
) -> list[str]:
    """Choose the points of one case: around its first flip, and the other chains at a like ratio.

    Pristine; the last point before the flip and the flip itself; then of each other chain the
    point nearest in average file ratio. A case that held is shown at each chain's strongest.
    """
    chains = {k: [p for p in v if p.point in available] for k, v in summary.chains().items()}
    chains = {name: points for name, points in chains.items() if points}
    if flip is None:
        chosen = [points[-1].point for points in chains.values()]
    else:
        own = [p.point for p in chains.get(flip.chain, [])]
        at = own.index(flip.point) if flip.point in own else 0
        chosen = own[max(0, at - 1) : at + 1]
        average = next((p.ratio_file for p in summary.points if p.point == flip.point), math.nan)
        others: list[Sequence[PointSummary]] = [v for k, v in chains.items() if k != flip.chain]
        near = [nearest(points, average) for points in others] if average > 0 else []
        chosen += [p.point for p in near if p is not None]
    start = [PRISTINE] if PRISTINE in available else []
    return [*start, *chosen][:limit]


def load_panels(
    rows: Mapping[str, Mapping[str, Any]], case_id: str, points: Sequence[str], load_variants: LoadVariants
) -> list[Panel]:
    """Fetch the pixels of one case and join them with its rows of the table.

    Parameters
    ----------
    rows : mapping
        Point to row of the results table.
    case_id : str
        The case.
    points : sequence of str
        Points to show, pristine first.
    load_variants : callable
        ``(case_id, points)`` to one image per point.

    Raises
    ------
    BitdoseError
        If the callable returns another number of images than points.
    """
    images = list(load_variants(case_id, list(points)))
    if len(images) != len(points):
        raise BitdoseError(f"load_variants: expected {len(points)} images for {case_id!r}, got {len(images)}")
    shown = to_display(images)
    return [_panel(rows[point], point, pixels) for point, pixels in zip(points, shown, strict=True)]


def to_display(images: Sequence[Image]) -> list[NDArray[np.uint8]]:
    """Bring images to 8 bits on one common window; of a volume, the middle slice is shown.

    Images of 8 bits stay as they are. Deeper ones are windowed to the range of the first (the
    pristine one), the same for all, so that differences in grey stay true.
    """
    planes = [image.pixels[image.n_slices // 2] if image.is_volume else image.pixels for image in images]
    if not planes or all(plane.dtype == np.uint8 for plane in planes):
        return planes
    low, high = float(planes[0].min()), float(planes[0].max())
    gain = 255 / max(1.0, high - low)
    return [np.clip(np.rint((plane - low) * gain), 0, 255).astype(np.uint8) for plane in planes]


def _panel(row: Mapping[str, Any], point: str, pixels: NDArray[np.uint8]) -> Panel:
    return Panel(
        point=point,
        pixels=pixels,
        predicted=str(row["predicted"]),
        true=str(row["case_label"]),
        probability=number(row.get(f"{PROBABILITY_PREFIX}{row['predicted']}")),
        coded_bytes=int(row["bytes_coded"] or 0),
        ratio=ratio(row["bytes_file"], row["bytes_coded"]),
    )

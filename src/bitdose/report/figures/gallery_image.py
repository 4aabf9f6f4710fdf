"""Draw one case's panels as a plate: the full image, the crop under it, the answer above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitdose.report.figures.gallery import Box, Panel
from bitdose.report.figures.style import INK, MUTED, RIGHT, WRONG
from bitdose.report.findings.phrasing import bytes_text
from bitdose.results.schema import PRISTINE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

TILE_PX = 280
_GAP_PX = 14
_TEXT_PX = 82
_FRAME = "#ffb000"


def gallery_png(panels: Sequence[Panel], box: Box, *, tile_px: int = TILE_PX) -> bytes:
    """Draw one case at several points.

    Parameters
    ----------
    panels : sequence of Panel
        One column each, pristine first; ``box`` is in the pixels of the first.
    box : Box
        The square to magnify by nearest neighbour, framed in the full image.
    tile_px : int
        Width of a column.

    Returns
    -------
    bytes
        A PNG: per column the point, the answer (right or wrong in words and colour), ratio
        and bytes; the full image; the crop.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    height, width = panels[0].pixels.shape[:2]
    full_px = max(1, min(tile_px * 2, round(tile_px * height / width)))
    size = (
        len(panels) * (tile_px + _GAP_PX) + _GAP_PX,
        _TEXT_PX + full_px + tile_px + 3 * _GAP_PX,
    )
    plate = Pillow.new("RGB", size, "white")
    pen = ImageDraw.Draw(plate)
    for column, panel in enumerate(panels):
        left = _GAP_PX + column * (tile_px + _GAP_PX)
        _caption(pen, panel, left, tile_px)
        plate.paste(_full(panel, panels[0], box, (tile_px, full_px)), (left, _GAP_PX + _TEXT_PX))
        plate.paste(_crop(panel, panels[0], box, tile_px), (left, 2 * _GAP_PX + _TEXT_PX + full_px))
    data = BytesIO()
    plate.save(data, "PNG", compress_level=6)  # the hardest takes eight times as long to save a tenth
    return data.getvalue()


def _picture(pixels: NDArray[np.uint8]) -> Picture:
    from PIL import Image as Pillow

    return Pillow.fromarray(pixels).convert("RGB")


def _full(panel: Panel, reference: Panel, box: Box, size: tuple[int, int]) -> Picture:
    """Scale the image into ``size``, keep its proportions, frame the crop."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    height, width = reference.pixels.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    resample = Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.NEAREST
    picture = _picture(panel.pixels).resize(shown, resample)
    corner = [round(box.left * scale), round(box.top * scale)]
    other = [round((box.left + box.side) * scale) - 1, round((box.top + box.side) * scale) - 1]
    corners = (corner[0], corner[1], max(other[0], corner[0]), max(other[1], corner[1]))
    ImageDraw.Draw(picture).rectangle(corners, outline=_FRAME, width=2)
    tile = Pillow.new("RGB", size, "white")
    tile.paste(picture, ((size[0] - shown[0]) // 2, 0))
    return tile


def _crop(panel: Panel, reference: Panel, box: Box, tile_px: int) -> Picture:
    """Cut the box out, in the panel's own pixels, and magnify it without smoothing."""
    from PIL import Image as Pillow

    down, across = (
        own / ref for own, ref in zip(panel.pixels.shape, reference.pixels.shape[:2], strict=False)
    )
    top, left = int(box.top * down), int(box.left * across)
    rows, columns = max(1, round(box.side * down)), max(1, round(box.side * across))
    cut = panel.pixels[top : top + rows, left : left + columns]
    return _picture(np.ascontiguousarray(cut)).resize((tile_px, tile_px), Pillow.Resampling.NEAREST)


def _caption(pen: ImageDraw, panel: Panel, left: int, tile_px: int) -> None:
    right = panel.predicted == panel.true
    chance = "" if math.isnan(panel.probability) else f", p {panel.probability:.2f}"
    verdict = f" ({'right' if right else 'wrong'}{chance})"
    big, small = _font(20, bold=True), _font(17)
    answer = _cut(panel.predicted, small, tile_px - int(small.getlength(verdict))) + verdict
    size = bytes_text(panel.coded_bytes)
    if panel.point == PRISTINE:
        size += ", the source file"
    elif not math.isnan(panel.ratio):
        size += f", {panel.ratio:.1f}:1 of the file"
    pen.text((left, _GAP_PX - 2), _cut(panel.point, big, tile_px), font=big, fill=INK)
    pen.text((left, _GAP_PX + 26), answer, font=small, fill=RIGHT if right else WRONG)
    pen.text((left, _GAP_PX + 52), _cut(size, small, tile_px), font=small, fill=MUTED)


def _cut(text: str, font: FreeTypeFont, width_px: int) -> str:
    """Shorten text until it fits."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)[:200]
    if font.getlength(shown) <= width_px:
        return shown
    while shown and font.getlength(shown + "…") > width_px:
        shown = shown[:-1]
    return shown + "…"


def _font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """Return the font that matplotlib ships: the same on every machine."""
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)

"""A coded image beside its original, as a notebook shows it: inline PNGs and a line of figures."""

from __future__ import annotations

import base64
import io
import math
from html import escape

from bitdose.html_card import DISCLAIMER
from bitdose.image import Image, rescale_bits
from bitdose.resample.kernels import resample

_LONGEST_SIDE = 512


def html_of(point: str, original: Image | None, image: Image, *, n_bytes: int, ratio: float) -> str:
    """Return a fragment of HTML: the original, where it is known, beside the image, and a line of figures.

    Parameters
    ----------
    point : str
        Its text form.
    original, image : Image
        Of a volume the middle slice is shown; above 512 samples a side they are shown smaller.
    n_bytes : int
        Bytes of the streams.
    ratio : float
        Raw bytes of the original's pixels over these; NaN where it is not known.
    """
    figures = [f"{n_bytes:,} bytes"]
    if not math.isnan(ratio):
        figures.append(f"{ratio:.1f}:1 of the raw pixels")
    panels = [("original", original)] if original else []
    shown = "".join(_panel(name, one) for name, one in [*panels, (point, image)] if one)
    said = escape(f"{point}: {', '.join(figures)}. {DISCLAIMER}")
    return f'<div><div style="display:flex;gap:1em">{shown}</div><p>{said}</p></div>'


def _panel(name: str, image: Image) -> str:
    height, width = image.height, image.width
    said = escape(f"{name}, {width} x {height} pixels", quote=True)
    data = base64.b64encode(_png(image)).decode()
    return (
        f'<figure style="margin:0"><img alt="{said}" src="data:image/png;base64,{data}">'
        f"<figcaption>{said}</figcaption></figure>"
    )


def _png(image: Image) -> bytes:
    from PIL import Image as PillowImage

    slices = image.slices()
    plane = rescale_bits(slices[len(slices) // 2], 8)
    share = _LONGEST_SIDE / max(plane.height, plane.width)
    pixels = plane.pixels
    if share < 1:
        width, height = (max(1, round(share * side)) for side in (plane.width, plane.height))
        pixels = resample(pixels, width, height, kernel="area")
    out = io.BytesIO()
    PillowImage.fromarray(pixels).save(out, "PNG")
    return out.getvalue()

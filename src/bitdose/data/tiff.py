"""Pages of a TIFF and their tags (TIFF 6.0, sections 8 and 22)."""

from __future__ import annotations

from typing import Any, NamedTuple

from bitdose.data.decoded import check_pixel_count
from bitdose.errors import CaseError
from bitdose.image import Image

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANAR, _FORMAT = 274, 277, 284, 339
_REDUCED = 1
_BYTE, _WORD = 8, 16
_COLOURS = {0: "grey", 1: "grey", 2: "RGB"}
_FLOAT = 3

LOSSY_BY_COMPRESSION: dict[int, bool | None] = {
    6: True,  # JPEG of TIFF 6.0
    7: True,  # JPEG, Technical Note 2
    34892: True,  # lossy JPEG, DNG 1.4
    33003: None,  # JPEG 2000, Aperio YCbCr
    33005: None,  # JPEG 2000, Aperio RGB
    34712: None,  # JPEG 2000
    34887: None,  # LERC
    50001: None,  # WebP
}
"""Whether a compression tag means lossy coding; unlisted tags are lossless."""


class TiffPage(NamedTuple):
    """One page: its directory and decoding parameters."""

    number: int
    bits: int
    needs_depth: bool
    planar: bool
    orientation: int
    lossy: bool | None

    @property
    def orientation_step(self) -> tuple[str, ...]:
        """Step that Pillow applies by itself while decoding."""
        return (f"exif orientation {self.orientation}",) if self.orientation in range(2, 9) else ()

    def finished(self, image: Image) -> Image:
        """Restore the depth of grey samples of 9 to 15 bits, which Pillow stores as 16 bits."""
        if image.bits == _WORD and _BYTE < self.bits < _WORD:
            return Image(image.pixels, self.bits)
        return image


def tiff_pages(file: Any, max_pixels: int) -> list[TiffPage]:
    """List the full-resolution pages of an opened Pillow TIFF.

    Parameters
    ----------
    file : PIL.TiffImagePlugin.TiffImageFile
        Opened file; its current page changes.
    max_pixels : int
        Limit of pixels over all pages.

    Raises
    ------
    CaseError
        ``too-large``, by the tags.
    """
    found, n_pixels = [], 0
    for index in range(file.n_frames):
        file.seek(index)
        tags = file.tag_v2
        if index and int(tags.get(_SUBFILE, 0)) & _REDUCED:
            continue
        height, width = int(tags[_HEIGHT]), int(tags[_WIDTH])
        check_pixel_count((height, width), max_pixels)
        n_pixels += height * width
        check_pixel_count((n_pixels, 1), max_pixels)
        found.append(_page(index, tags))
    return found


def _page(index: int, tags: Any) -> TiffPage:
    bits = max(tags.get(_BITS, (1,)))
    n_samples = int(tags.get(_SAMPLES, 1))
    needs_depth = bits == _WORD and n_samples > 1
    if needs_depth and (tags.get(_PHOTOMETRIC) not in _COLOURS or max(tags.get(_FORMAT, (1,))) == _FLOAT):
        raise CaseError("unsupported", "16-bit TIFF samples that are neither grey nor RGB whole numbers")
    return TiffPage(
        number=index,
        bits=bits,
        needs_depth=needs_depth,
        planar=tags.get(_PLANAR, 1) == 2 and n_samples > 1,  # noqa: PLR2004
        orientation=int(tags.get(_ORIENTATION, 1)),
        lossy=LOSSY_BY_COMPRESSION.get(int(tags.get(_COMPRESSION, 1)), False),
    )

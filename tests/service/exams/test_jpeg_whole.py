"""A JPEG stream that was cut and closed again is told from a whole one, of any kind."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from bitdose.codecs.jpeg_whole import check_whole, with_filler
from bitdose.data.guard import decoding
from bitdose.errors import BitdoseError
from bitdose.profile.document import Profile
from bitdose.service.exams.admission import payload_refusal
from bitdose.wire import pack_streams, unpack_streams

Make = Callable[..., Any]
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 7},
    "coarse colour": {"subsampling": 2},
}


def _cut(data: bytes, share: float) -> bytes:
    """Leave a share of the last scan's data, and close the stream."""
    scan = data.rfind(b"\xff\xda")
    return data[: scan + int((len(data) - scan) * share)].rstrip(b"\xff") + b"\xff\xd9"


def _pixels(data: bytes) -> Any:
    with suppress(OSError):  # some cuts a decoder sees by itself
        return np.asarray(PillowImage.open(io.BytesIO(data)))
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", [False, True])
def test_whole_streams_pass_and_cut_ones_do_not(kind: str, draw: Make, *, colour: bool) -> None:
    """At any quality and any size, also of one block; cut anywhere, at a restart too."""
    for quality in (1, 30, 95):
        for rows, columns in ((256, 256), (250, 263), (8, 8)):
            planes = [draw(seed, rows=rows, columns=columns).pixels for seed in range(3)]
            out = io.BytesIO()
            image = PillowImage.fromarray(np.stack(planes, -1) if colour else planes[0])
            image.save(out, "JPEG", quality=quality, **KINDS[kind])
            data = out.getvalue()
            check_whole(data)
            assert len(with_filler(data)) > len(data)
            for share in (0.3, 0.6, 0.9) if rows > 8 else ():
                if np.array_equal(_pixels(_cut(data, share)), _pixels(data)):
                    continue  # a last scan of a dozen bytes: nothing was lost
                with pytest.raises(BitdoseError, match="truncated"), decoding("JPEG"):
                    check_whole(_cut(data, share))


def test_a_cut_exam_is_refused(draw: Make, coded: Make, pristine: Make, profile: Profile) -> None:
    """As a coded stream and as a pristine file, although a decoder sees nothing wrong."""
    image = draw(1)
    parcel = coded(image)
    (data,) = unpack_streams(parcel.payload)
    cut = parcel.holding(pack_streams([_cut(data, 0.5)]))
    assert PillowImage.open(io.BytesIO(_cut(data, 0.5))).convert("L").size == (256, 256)
    assert "truncated coded data" in payload_refusal(cut.meta, cut.payload, profile)
    out = io.BytesIO()
    PillowImage.fromarray(image.pixels).save(out, "JPEG", quality=95)
    whole = pristine(image).holding(out.getvalue())
    assert payload_refusal(whole.meta, whole.payload, profile) == ""
    cut = whole.holding(_cut(out.getvalue(), 0.5))
    assert "truncated coded data" in payload_refusal(cut.meta, cut.payload, profile)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda\x00\x02abc", b"\xff\xd8\xff\xe0"])
def test_markers_that_lead_nowhere_are_damage(data: bytes) -> None:
    """A stream that ends where a marker should be is refused, not walked for ever."""
    with pytest.raises(BitdoseError, match="damaged"):
        with_filler(data)

"""The optional abilities of a codec (``bitdose/codecs/base.py``), checked on any codec that has some."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import cast

import numpy as np

from bitdose.codecs.base import (
    BrowserCodec,
    Codec,
    DicomCodec,
    EnforceableCodec,
    FlooredCodec,
    QualityParameter,
    TitledCodec,
)
from bitdose.hashing import rng_for
from bitdose.image import Image
from bitdose.metrics.fidelity import psnr_db
from bitdose.testing.failure import expect
from bitdose.testing.images import textured_image

_SIDE = 96
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64
_CODE = re.compile(r"[A-Z0-9_]{1,16}")
_DEPTH = 12
_WORD_BITS = 16
_BYTE_BITS = 8
_FAITHFUL_DB = 30.0


def check_abilities(codec: type[Codec], levels: dict[QualityParameter, list[float]]) -> None:
    """Check each optional ability that a codec has.

    Parameters
    ----------
    codec : type of Codec
        The class.
    levels : dict of QualityParameter to list of float
        For each quality parameter some settings, from weak to strong.

    Raises
    ------
    CheckFailedError
        With the first promise that is broken.
    """
    parameter, (weakest, *_, strongest) = next(iter(levels.items()))
    weak, strong = (codec(quality, parameter.unit) for quality in (weakest, strongest))
    if isinstance(weak, TitledCodec):
        expect(isinstance(weak.title, str) and weak.title, "title is text, not empty", repr(weak.title))
    halves = [hasattr(codec, name) for name in ("inspect", "too_strong")]
    expect(len(set(halves)) == 1, "inspect and too_strong go together", halves)
    if isinstance(weak, EnforceableCodec):
        _check_enforceable(cast("type[EnforceableCodec]", codec), levels)
    if isinstance(weak, DicomCodec):
        _check_dicom(weak)
    if isinstance(weak, BrowserCodec):
        units = {one.unit for one in levels}
        known = set(weak.browser.units) <= units
        expect(known, f"browser names units of {sorted(units)}", weak.browser.units)
        known = set(weak.browser.options) <= set(codec.option_names)
        expect(known, f"browser names options of {codec.option_names}", weak.browser.options)
    if isinstance(strong, FlooredCodec):
        _check_floor(strong)


def _check_enforceable(kind: type[EnforceableCodec], levels: dict[QualityParameter, list[float]]) -> None:
    deep = (textured_image(_SIDE, _SIDE + 8, rng=rng_for("deep"), bits=_WORD_BITS),)
    images = [textured_image(_SIDE, _SIDE + 8, rng=rng_for("flat", c), colour=c) for c in (False, True)]
    told = False
    for image in (*images, *(deep if kind.max_bits > _BYTE_BITS else ())):
        for parameter, settings in levels.items():
            codecs = [kind(quality, parameter.unit) for quality in settings]
            streams = [codec.encode(image) for codec in codecs]
            _check_headers(kind, image, streams)
            for codec, data in zip(codecs, streams, strict=True):
                said = codec.too_strong(data)
                expect(said == "", f"{codec}: its own stream is not too strong", said)
            for weaker, stronger in pairwise(range(len(codecs))):
                said = codecs[stronger].too_strong(streams[weaker])
                promise = f"{codecs[stronger]}: the stream of {codecs[weaker]} is not too strong"
                expect(said == "", promise, said)
            told |= bool(codecs[0].too_strong(streams[-1]))
    expect(told, "too_strong refuses the strongest stream at the weakest setting, of some quality parameter")


def _check_headers(kind: type[EnforceableCodec], image: Image, streams: list[bytes]) -> None:
    components = 3 if image.photometric == "RGB" else 1
    expected = (image.height, image.width, components, image.bits)
    for data in streams:
        found = tuple(kind.inspect(data))
        expect(found == expected, f"inspect gives height, width, components and bits, {expected}", found)
    data = streams[0]
    for what, harmed in {
        "nothing": b"",
        "noise": bytes(range(256)),
        "half of a stream": data[: len(data) // 2],
        "a stream without its last byte": data[:-1],
        "a byte behind a stream": data + b"\0",
        "two streams": 2 * data,
    }.items():
        expect(not _is_read(kind, harmed), f"inspect refuses {what}", "a header")


def _is_read(kind: type[EnforceableCodec], data: bytes) -> bool:
    try:
        kind.inspect(data)
    except Exception:  # noqa: BLE001  a reader's own errors may come through
        return False
    return True


def _check_dicom(weakest: DicomCodec) -> None:
    syntax = weakest.dicom
    is_uid = _UID.fullmatch(syntax.uid) and len(syntax.uid) <= _LONGEST_UID
    expect(is_uid, "dicom.uid is a UID", repr(syntax.uid))
    expect(_CODE.fullmatch(syntax.method), "dicom.method is a term of (0028,2114)", repr(syntax.method))
    expect(_CODE.fullmatch(syntax.colour), "dicom.colour is a photometric term", repr(syntax.colour))
    known = set(syntax.refused) <= set(type(weakest).option_names)
    expect(known, f"dicom.refused names options of {type(weakest).option_names}", syntax.refused)
    if syntax.with_depth is None:
        return
    deep = weakest.max_bits == _WORD_BITS
    expect(deep, "a codec whose streams keep the depth holds 16 bits", weakest.max_bits)
    image = textured_image(_SIDE, _SIDE, rng=rng_for("depth"), bits=_DEPTH)
    filled = Image(image.pixels << (_WORD_BITS - _DEPTH), _WORD_BITS)
    decoded = weakest.decode(syntax.with_depth(weakest.encode(filled), _DEPTH, signed=False))
    fidelity = psnr_db(image.pixels, np.minimum(decoded.pixels, image.max_value), peak=image.max_value)
    promise = f"with_depth has a stream give {_DEPTH}-bit samples (at least {_FAITHFUL_DB:g} dB)"
    expect(fidelity >= _FAITHFUL_DB, promise, f"{fidelity:.1f} dB")


def _check_floor(strongest: FlooredCodec) -> None:
    floor = strongest.rate_floor()
    if floor is None:
        return
    flat = Image(np.zeros((256, 256), np.uint8))
    rate_bpp = 8 * len(strongest.encode(flat)) / flat.pixels.size
    kept = 0 < floor.rate_bpp <= rate_bpp
    expect(kept, "no stream goes below rate_floor, a flat image's neither", rate_bpp)
    expect(floor.set_by, "rate_floor says what sets it", repr(floor.set_by))

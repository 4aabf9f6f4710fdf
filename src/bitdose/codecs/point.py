"""Operating points: codec + knob + optional downsizing, in one text form.

``CODEC:KNOB[+OPTION...][@SIZE[:DOWN[:UP]]]``

======================================  ==============================================
``jpeg:q30``                            JPEG of quality 30 at full size
``jpeg:q30+optimize``                   with optimised Huffman tables
``jpeg2000:40x@256``                    down to 256x256 by Lanczos-4, 40:1, up by Lanczos-4
``jpeg2000:38dB@320x256:area:linear``   320 wide, 256 high, down by area, up by linear
``jpeg:q75@256:lanczos4:none``          handed on at the small size
``pristine``                            the source as it is
======================================  ==============================================

A point parses and prints back to itself. Defaults are left out when it prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitdose.codecs.base import CODECS, Codec, QualityParameter
from bitdose.errors import UsageError
from bitdose.resample.kernels import check_kernel

PRISTINE = "pristine"
DEFAULT_KERNEL = "lanczos4"
NO_KERNEL = "none"

_MAX_SIDE = 65_535
_SYNTAX = re.compile(
    r"(?P<codec>[a-z][a-z0-9_-]*):(?P<knob>[A-Za-z0-9.]+)(?P<options>(?:\+[a-z0-9]+)*)"
    r"(?:@(?P<size>\d+(?:x\d+)?)(?::(?P<down>[a-z0-9]+))?(?::(?P<up>[a-z0-9]+))?)?"
)
_NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Resize:
    """Downsizing before coding and what follows decoding.

    Parameters
    ----------
    width, height : int
        Samples after downsizing; the aspect ratio is not kept (the paper's scheme).
    down, up : str
        Kernels of ``resample.py``; ``up`` may be ``none``: no interpolation back.
    """

    width: int
    height: int
    down: str = DEFAULT_KERNEL
    up: str = DEFAULT_KERNEL

    def __str__(self) -> str:
        """Write it as a point does, without the ``@``."""
        size = f"{self.width}" if self.width == self.height else f"{self.width}x{self.height}"
        if self.up != DEFAULT_KERNEL:
            return f"{size}:{self.down}:{self.up}"
        return size if self.down == DEFAULT_KERNEL else f"{size}:{self.down}"


@dataclass(frozen=True)
class Point:
    """One operating point.

    Parameters
    ----------
    codec : str
        A name of the codec registry, or ``pristine``.
    quality : float or None
        The codec's knob; None for ``pristine``.
    unit : str
        Which of the codec's knobs.
    options : tuple of str
        The codec's options, in the codec's own order.
    resize : Resize or None
        Interpolative coding; None codes at full size.

    Examples
    --------
    >>> point = Point.parse("jpeg2000:40x@256")
    >>> str(point), point.chain, point.resize.down
    ('jpeg2000:40x@256', 'jpeg2000@256', 'lanczos4')
    """

    codec: str = PRISTINE
    quality: float | None = None
    unit: str = ""
    options: tuple[str, ...] = ()
    resize: Resize | None = None

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read a point's text form.

        Raises
        ------
        UsageError
            If the text is no point; the message says which part and what was expected.
        """
        if text == PRISTINE:
            return cls()
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise UsageError(
                f"point {text!r}: expected CODEC:KNOB[+OPTION][@SIZE[:DOWN[:UP]]] such as "
                "'jpeg:q30' or 'jpeg2000:40x@256', or 'pristine'"
            )
        codec = CODECS.get(match["codec"])
        knob, quality = _parse_knob(text, match["codec"], codec, match["knob"])
        options = _parse_options(text, match["codec"], codec, match["options"])
        codec(quality, knob.unit, options)  # a codec may refuse a combination
        return cls(match["codec"], quality, knob.unit, options, _parse_resize(text, match))

    def __str__(self) -> str:
        """Write the text form."""
        if self.is_pristine:
            return PRISTINE
        return f"{self.codec}:{self.knob_text()}{self._tail()}"

    @property
    def is_pristine(self) -> bool:
        """Whether this is the untouched source."""
        return self.codec == PRISTINE

    @property
    def chain(self) -> str:
        """The point without its quality: what its line in a figure is called.

        The first knob of a codec goes without saying: ``jpeg2000@256``, ``jpeg2000:dB``.
        """
        if self.is_pristine:
            return PRISTINE
        main = self.unit == CODECS.get(self.codec).knobs[0].unit
        return f"{self.codec}{'' if main else ':' + self.unit}{self._tail()}"

    @property
    def strength(self) -> float:
        """Order within the chain: larger is stronger; 0 for pristine."""
        return 0.0 if self.quality is None else self._knob().strength(self.quality)

    def knob_text(self) -> str:
        """Write the knob: ``q30``, ``40x``; empty for pristine."""
        return "" if self.quality is None else self._knob().text(self.quality)

    def build_codec(self) -> Codec:
        """Make the codec; raises ``UsageError`` for pristine, which has none."""
        if self.quality is None:
            raise UsageError("'pristine' has no codec")
        return CODECS.get(self.codec)(self.quality, self.unit, self.options)

    def _knob(self) -> QualityParameter:
        return next(knob for knob in CODECS.get(self.codec).knobs if knob.unit == self.unit)

    def _tail(self) -> str:
        size = f"@{self.resize}" if self.resize else ""
        return "".join(f"+{option}" for option in self.options) + size


def knob_of(codec_name: str, codec: type[Codec], text: str) -> tuple[QualityParameter, str]:
    """Find which knob a text such as ``q30`` or ``10x..40x/5`` sets, and return its numbers part."""
    for knob in codec.knobs:
        number = rf"(?:{knob.unit})?{_NUMBER}" if knob.leads else rf"{_NUMBER}(?:{knob.unit})?"
        first = rf"{knob.unit}{_NUMBER}" if knob.leads else rf"{_NUMBER}{knob.unit}"
        if re.fullmatch(rf"{first}(?:\.\.{number}(?:/{number})?)?", text):
            return knob, text.replace(knob.unit, "")
    known = ", ".join(f"{k.text(k.low)}..{k.text(k.high)} ({k.meaning})" for k in codec.knobs)
    raise UsageError(f"knob {text!r} of {codec_name}: expected {known}")


def _parse_knob(point: str, name: str, codec: type[Codec], text: str) -> tuple[QualityParameter, float]:
    knob, number = knob_of(name, codec, text)
    quality = float(number)
    if not knob.low <= quality <= knob.high or (knob.integer and quality != int(quality)):
        kind = "a whole number" if knob.integer else "a number"
        raise UsageError(
            f"point {point!r}: expected {kind} from {knob.text(knob.low)} to {knob.text(knob.high)}, "
            f"got {text}"
        )
    return knob, int(quality) if quality == int(quality) else quality


def _parse_options(point: str, name: str, codec: type[Codec], text: str) -> tuple[str, ...]:
    asked = text.split("+")[1:]
    for option in asked:
        if option not in codec.option_names:
            known = ", ".join(codec.option_names) or "none"
            raise UsageError(f"point {point!r}: {name} has no option {option!r}; known: {known}")
    return tuple(option for option in codec.option_names if option in asked)


def _parse_resize(point: str, match: re.Match[str]) -> Resize | None:
    if match["size"] is None:
        return None
    width, _, height = match["size"].partition("x")
    sides = int(width), int(height or width)
    if not all(1 <= side <= _MAX_SIDE for side in sides):
        raise UsageError(f"point {point!r}: expected sides of 1 to {_MAX_SIDE}, got {match['size']}")
    down = check_kernel(match["down"] or DEFAULT_KERNEL)
    up = match["up"] or DEFAULT_KERNEL
    return Resize(*sides, down, up if up == NO_KERNEL else check_kernel(up))

"""Operating points: codec + quality + optional downsizing, in one text form.

``CODEC:QUALITY[+OPTION...][@SIZE[:DOWN[:UP]]]``

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
from dataclasses import dataclass, fields
from typing import Any

from numpy.typing import NDArray

from bitdose.codecs.base import CODECS, Codec, QualityParameter
from bitdose.codecs.coded import Coded, code_image
from bitdose.codecs.resize import DEFAULT_KERNEL, NO_KERNEL, Resize
from bitdose.errors import UsageError
from bitdose.image import Image
from bitdose.resample.kernels import check_kernel

PRISTINE = "pristine"

_MAX_SIDE = 65_535
_SYNTAX = re.compile(
    r"(?P<codec>[a-z][a-z0-9_-]*):(?P<quality>[A-Za-z0-9.]+)(?P<options>(?:\+[a-z0-9]+)*)"
    r"(?:@(?P<size>\d+(?:x\d+)?)(?::(?P<down>[a-z0-9]+))?(?::(?P<up>[a-z0-9]+))?)?"
)
_NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Point:
    """One operating point, from its text form or from its fields.

    Parameters
    ----------
    codec : str
        A name of the codec registry, or ``pristine``; or, alone, the text form of a whole point, which is
        taken apart into the fields.
    quality : float or None
        The value of the codec's quality parameter; None for ``pristine``.
    unit : str
        Which of the codec's quality parameters.
    options : tuple of str
        The codec's options, in the codec's own order.
    resize : Resize or None
        Interpolative coding; None codes at full size.

    Raises
    ------
    UsageError
        If a text is no point, as :meth:`parse` says.

    Examples
    --------
    >>> point = Point("jpeg2000:40x@256")
    >>> str(point), point.chain, point.resize.down
    ('jpeg2000:40x@256', 'jpeg2000@256', 'lanczos4')
    """

    codec: str = PRISTINE
    quality: float | None = None
    unit: str = ""
    options: tuple[str, ...] = ()
    resize: Resize | None = None

    def __post_init__(self) -> None:
        """Take a text form apart."""
        if self.quality is None and self.codec != PRISTINE:
            parsed = Point.parse(self.codec)
            for one in fields(self):
                object.__setattr__(self, one.name, getattr(parsed, one.name))

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
                f"point {text!r}: expected CODEC:QUALITY[+OPTION][@SIZE[:DOWN[:UP]]] such as "
                "'jpeg:q30' or 'jpeg2000:40x@256', or 'pristine'"
            )
        codec = CODECS.get(match["codec"])
        parameter, quality = _parse_quality(text, match["codec"], codec, match["quality"])
        options = _parse_options(text, match["codec"], codec, match["options"])
        codec(quality, parameter.unit, options)  # a codec may refuse a combination
        return cls(match["codec"], quality, parameter.unit, options, _parse_resize(text, match))

    def __str__(self) -> str:
        """Write the text form."""
        if self.is_pristine:
            return PRISTINE
        return f"{self.codec}:{self.quality_text()}{self._tail()}"

    def apply(self, image: Image | NDArray[Any]) -> Coded:
        """Code one image and decode it again: exactly what a study measures and shows its classifier.

        Parameters
        ----------
        image : Image or numpy.ndarray
            ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(L, H, W)`` slices; an array is taken as
            :meth:`Image.from_array` takes it.

        Returns
        -------
        Coded
            ``image`` is what a classifier would be given, ``stream`` what would be sent, ``n_bytes`` its size
            and ``ratio_pixels`` the raw bytes of the pixels over it. Of ``pristine`` the image as it is, with
            its raw bytes and no stream.

        Raises
        ------
        UsageError
            If this is neither an image nor an array of pixels.
        CaseError
            If the image is beyond the codec.

        Examples
        --------
        >>> import numpy as np
        >>> coded = Point("jpeg:q30@8").apply(np.zeros((16, 16), np.uint8))
        >>> coded.image.pixels.shape, coded.n_bytes == len(coded.stream)
        ((16, 16), True)
        """
        return code_image(image if isinstance(image, Image) else Image.from_array(image), self)

    @property
    def is_pristine(self) -> bool:
        """Whether this is the untouched source."""
        return self.codec == PRISTINE

    @property
    def chain(self) -> str:
        """The point without its quality: what its line in a figure is called.

        The first quality parameter of a codec goes without saying: ``jpeg2000@256``, ``jpeg2000:dB``.
        """
        if self.is_pristine:
            return PRISTINE
        main = self.unit == CODECS.get(self.codec).quality_parameters[0].unit
        return f"{self.codec}{'' if main else ':' + self.unit}{self._tail()}"

    @property
    def strength(self) -> float:
        """Order within the chain: larger is stronger; 0 for pristine."""
        return 0.0 if self.quality is None else self._parameter().strength(self.quality)

    def quality_text(self) -> str:
        """Write the quality: ``q30``, ``40x``; empty for pristine."""
        return "" if self.quality is None else self._parameter().text(self.quality)

    def build_codec(self) -> Codec:
        """Make the codec; raises ``UsageError`` for pristine, which has none."""
        if self.quality is None:
            raise UsageError("'pristine' has no codec")
        return CODECS.get(self.codec)(self.quality, self.unit, self.options)

    def quality_words(self) -> str:
        """Write the quality as a sentence does: ``of quality 30``, ``at 40:1``; empty for pristine."""
        return "" if self.quality is None else self._parameter().words(self.quality)

    def _parameter(self) -> QualityParameter:
        return next(one for one in CODECS.get(self.codec).quality_parameters if one.unit == self.unit)

    def _tail(self) -> str:
        size = f"@{self.resize}" if self.resize else ""
        return "".join(f"+{option}" for option in self.options) + size


def parameter_of(codec_name: str, codec: type[Codec], text: str) -> tuple[QualityParameter, str]:
    """Find the quality parameter that ``q30`` or ``10x..40x/5`` sets, and return the text's numbers part."""
    for one in codec.quality_parameters:
        number = rf"(?:{one.unit})?{_NUMBER}" if one.leads else rf"{_NUMBER}(?:{one.unit})?"
        first = rf"{one.unit}{_NUMBER}" if one.leads else rf"{_NUMBER}{one.unit}"
        if re.fullmatch(rf"{first}(?:\.\.{number}(?:/{number})?)?", text):
            return one, text.replace(one.unit, "")
    known = ", ".join(f"{k.text(k.low)}..{k.text(k.high)} ({k.meaning})" for k in codec.quality_parameters)
    raise UsageError(f"quality {text!r} of {codec_name}: expected {known}")


def _parse_quality(point: str, name: str, codec: type[Codec], text: str) -> tuple[QualityParameter, float]:
    parameter, number = parameter_of(name, codec, text)
    quality = float(number)
    low, high = parameter.low, parameter.high
    if not low <= quality <= high or (parameter.integer and quality != int(quality)):
        kind = "a whole number" if parameter.integer else "a number"
        span = f"{parameter.text(low)} to {parameter.text(high)}"
        raise UsageError(f"point {point!r}: expected {kind} from {span}, got {text}")
    return parameter, int(quality) if quality == int(quality) else quality


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

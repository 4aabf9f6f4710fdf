"""A profile's limits, checked for each file before coding.

A profile is certified on images of certain modalities, sizes and depths, and makes no claim about
others. A limit that the profile omits is not checked, nor is the modality of a file that states none,
such as a PNG. The file format is not checked: the samples count, not their container.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bitdose.compress.record import SourceFacts
from bitdose.errors import CaseError

OUTSIDE = "outside-profile"
_RANGES = ("height", "width", "slices")


class Limits(Protocol):
    """Limits of a profile: modalities, ranges of sizes, bit depths and photometric kinds."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """DICOM modality codes; empty for no limit."""

    @property
    def height(self) -> tuple[int, int] | None:
        """Smallest and largest, in samples; None where not stated."""

    @property
    def width(self) -> tuple[int, int] | None:
        """Smallest and largest, in samples; None where not stated."""

    @property
    def slices(self) -> tuple[int, int] | None:
        """Smallest and largest number of slices; None for no limit."""

    @property
    def bits(self) -> tuple[int, ...]:
        """Certified bits per sample; empty for no limit."""

    @property
    def photometric(self) -> tuple[str, ...]:
        """``MONOCHROME2``, ``RGB`` or both; empty for no limit."""


def limit_check(limits: Limits) -> Callable[[SourceFacts], None]:
    """Return a check that raises ``CaseError`` (``outside-profile``) for a file beyond the limits.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> limits = SimpleNamespace(
    ...     modalities=("CR",), height=(256, 4096), width=None, slices=None, bits=(8, 12), photometric=()
    ... )
    >>> limit_check(limits)(SourceFacts("CR", 100, 128, 12))
    Traceback (most recent call last):
        ...
    bitdose.errors.CaseError: outside-profile: height 100: the profile holds for 256 to 4096
    """

    def check(facts: SourceFacts) -> None:
        if facts.modality:
            _among("modality", facts.modality, limits.modalities)
        _among("photometric", facts.photometric, limits.photometric)
        _among("bits", facts.bits, limits.bits)
        for name in _RANGES:
            span, value = getattr(limits, name), getattr(facts, name)
            if span and not span[0] <= value <= span[1]:
                raise CaseError(OUTSIDE, f"{name} {value}: the profile holds for {span[0]} to {span[1]}")

    return check


def _among(name: str, value: str | int, allowed: tuple[str, ...] | tuple[int, ...]) -> None:
    if allowed and value not in allowed:
        raise CaseError(OUTSIDE, f"{name} {value}: the profile holds for {', '.join(map(str, allowed))}")

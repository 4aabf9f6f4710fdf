"""Cases: what a reader gives and what a study takes.

The contract:

- a :class:`Case` is one labelled exam: a file's path, or pixels that a Python object gave
  (:class:`HeldPixels`); it names patient and split; ids are unique within a :class:`CaseSet`;
- :class:`Source` is what reading it gives: an :class:`~bitdose.image.Image` that keeps
  to the contract of ``image.py``, with the source file's format, size and digest, and
  whether its pixels had been lossily coded before;
- a case that cannot be read raises :class:`~bitdose.errors.CaseError` and nothing else;
- no message holds a patient's name, id or birth date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from bitdose.errors import CaseError
from bitdose.hashing import canonical_json
from bitdose.image import Image

Scalar = str | int | float | bool | None
Color = Literal["keep", "grey"]


class HeldPixels:
    """Pixels that came from a Python object: an image, or what fetches it each time it is read.

    Pickled for a worker process it is the pixels of this one case, or the error of fetching them; what
    fetches them stays where it is.

    Parameters
    ----------
    pixels : Image, CaseError, or callable
        The image; why there is none; or a function without arguments that returns it.
    mapping : str
        The steps from the object's values to ``pixels``, as in :class:`Source`.
    digest : str
        SHA-256 of the pixels, where it is known already.
    """

    def __init__(
        self, pixels: Image | CaseError | Callable[[], Image], *, mapping: str = "", digest: str = ""
    ) -> None:
        self._pixels, self.mapping = pixels, mapping
        self._known = digest

    def __reduce__(self) -> tuple[Callable[..., HeldPixels], tuple[Image | CaseError, str, str]]:
        """Take the pixels along rather than what fetches them."""
        digest = self.digest  # before reading: a changed case must not give a new digest
        try:
            return _arrived, (self.read(), self.mapping, digest)
        except CaseError as error:
            return _arrived, (error, self.mapping, digest)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape, bits, meaning and samples; empty where the pixels are unavailable."""
        try:
            return self._known or pixels_digest(self._fetched())
        except CaseError:
            return ""

    def read(self) -> Image:
        """Return the image.

        Raises
        ------
        CaseError
            ``unreadable`` if fetching fails, ``changed-pixels`` if it gives other pixels than before.
        """
        image = self._fetched()
        if not isinstance(self._pixels, Image) and pixels_digest(image) != self.digest:
            reason = "the data set gave other pixels than before; leave random transforms out"
            raise CaseError("changed-pixels", reason)
        return image

    def _fetched(self) -> Image:
        if isinstance(self._pixels, Image):
            return self._pixels
        if isinstance(self._pixels, CaseError):
            raise self._pixels
        try:
            return self._pixels()
        except CaseError:
            raise
        except Exception as error:  # the user's code: what it raises is not ours to know
            reason = f"{type(error).__name__} while the data set gave the case"
            raise CaseError("unreadable", reason) from error


def _arrived(pixels: Image | CaseError, mapping: str, digest: str) -> HeldPixels:
    return HeldPixels(pixels, mapping=mapping, digest=digest)


def pixels_digest(image: Image) -> str:
    """SHA-256 of an image: equal for equal images, and only for them.

    Examples
    --------
    >>> import numpy as np
    >>> pixels_digest(Image(np.zeros((1, 2), np.uint8))) == pixels_digest(Image(np.zeros((2, 1), np.uint8)))
    False
    """
    header = [list(image.pixels.shape), image.bits, image.photometric]
    state = hashlib.sha256(canonical_json(header).encode())
    state.update(image.pixels)
    return state.hexdigest()


@dataclass(frozen=True)
class Case:
    """One classified exam.

    Parameters
    ----------
    id : str
        Unique within its set (usually the path relative to the data folder).
    label : str
        The reference standard's class.
    path : pathlib.Path
        The source file; empty (``.``) where ``pixels`` are given.
    patient : str
        The unit of resampling; the case id where the data names no patient.
    split : str
        Name of its split; empty where the data has none.
    columns : mapping
        Further table columns, kept for subgroups as ``case_<name>``.
    pixels : HeldPixels, optional
        The pixels of a case that comes from a Python object rather than from a file.
    """

    id: str
    label: str
    path: Path
    patient: str
    split: str = ""
    columns: Mapping[str, Scalar] = field(default_factory=dict)
    pixels: HeldPixels | None = None


@dataclass(frozen=True)
class CaseSet:
    """The cases of one study in a fixed order, with their labels in a fixed order.

    ``patients_from`` says how each case's patient is known, such as ``column patient`` or ``DICOM header``;
    empty where any case names none and counts as a patient of its own.
    """

    name: str
    cases: tuple[Case, ...]
    labels: tuple[str, ...]
    split: str = ""
    patients_from: str = ""

    @property
    def has_patients(self) -> bool:
        """Whether each case names its patient."""
        return bool(self.patients_from)


@dataclass(frozen=True)
class Source:
    """A case's pixels as read, with what is known of their file.

    Parameters
    ----------
    image : Image
        Pixels after orientation, palette, photometric and windowing steps.
    format : str
        ``PNG``, ``JPEG``, ``TIFF``, ``JPEG2000``, ``WEBP``, ``DICOM``, ``NIFTI``, …; ``array`` for pixels of
        a Python object.
    lossy : bool or None
        Whether the file holds lossily coded pixels; None where it cannot be known.
    file_bytes : int or None
        Size of the source file; None where there is none (an array).
    digest : str
        SHA-256 of the source file, or of the array.
    mapping : str
        The steps from stored samples to ``image``, such as ``palette>rgb; alpha dropped``;
        empty where the samples are as stored.
    """

    image: Image
    format: str
    lossy: bool | None
    file_bytes: int | None
    digest: str
    mapping: str = ""

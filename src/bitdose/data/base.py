"""Cases: what a reader gives and what a study takes.

The contract:

- a :class:`Case` is one labelled exam by reference: it holds no pixels, pickles small,
  and names patient and split; ids are unique within a :class:`CaseSet`;
- :class:`Source` is what reading it gives: an :class:`~bitdose.image.Image` that keeps
  to the contract of ``image.py``, with the source file's format, size and digest, and
  whether its pixels had been lossily coded before;
- a case that cannot be read raises :class:`~bitdose.errors.CaseError` and nothing else;
- no message holds a patient's name, id or birth date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bitdose.image import Image

Scalar = str | int | float | bool | None
Color = Literal["keep", "grey"]


@dataclass(frozen=True)
class Case:
    """One classified exam, by reference.

    Parameters
    ----------
    id : str
        Unique within its set (usually the path relative to the data folder).
    label : str
        The reference standard's class.
    path : pathlib.Path
        The source file.
    patient : str
        The unit of resampling; the case id where the data names no patient.
    split : str
        Name of its split; empty where the data has none.
    columns : mapping
        Further table columns, kept for subgroups as ``case_<name>``.
    """

    id: str
    label: str
    path: Path
    patient: str
    split: str = ""
    columns: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseSet:
    """The cases of one study in a fixed order, with their labels in a fixed order."""

    name: str
    cases: tuple[Case, ...]
    labels: tuple[str, ...]
    split: str = ""
    has_patients: bool = False


@dataclass(frozen=True)
class Source:
    """A case's pixels as read, with what is known of their file.

    Parameters
    ----------
    image : Image
        Pixels after orientation, palette, photometric and windowing steps.
    format : str
        ``PNG``, ``JPEG``, ``TIFF``, ``JPEG2000``, ``WEBP``, ``DICOM``, ``NIFTI``, …
    lossy : bool or None
        Whether the file holds lossily coded pixels; None where it cannot be known.
    file_bytes : int
        Size of the source file.
    digest : str
        SHA-256 of the source file.
    mapping : str
        The steps from stored samples to ``image``, such as ``palette>rgb; alpha dropped``;
        empty where the samples are as stored.
    """

    image: Image
    format: str
    lossy: bool | None
    file_bytes: int
    digest: str
    mapping: str = ""

"""What radiologists' societies accept for human readers, and what a regulator says of mammograms.

These ratios are limits for people who read images, of the raw pixels. They say nothing of a
classifier and prove nothing: a profile shows them beside its own ratio, for human readers only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bitdose.errors import UsageError, argument


class Guideline(NamedTuple):
    """One recommended upper limit: whose, for which images, how much."""

    body: str
    modalities: tuple[str, ...]  # DICOM's codes
    region: str
    ratio: float  # raw pixel bytes / coded bytes


SOURCES = {
    "CAR": "Canadian Association of Radiologists, Standards for Irreversible Compression in Digital "
    "Diagnostic Imaging within Radiology, 2008; figures for JPEG, read in a secondary source",
    "DRG": "Deutsche Röntgengesellschaft, consensus conference, for JPEG and JPEG 2000: Loose et al. 2009, "
    "doi:10.1055/s-2008-1027847; read in its abstract",
}

GUIDELINES = (
    Guideline("CAR", ("CR", "DX"), "radiography", 30),
    Guideline("CAR", ("MG",), "mammography", 25),
    Guideline("CAR", ("CT",), "CT, body", 15),
    Guideline("CAR", ("CT",), "CT, brain", 12),
    Guideline("CAR", ("MR",), "MR", 24),
    Guideline("CAR", ("US",), "ultrasound", 12),
    Guideline("DRG", ("CR", "DX"), "radiography", 10),
    Guideline("DRG", ("MG",), "mammography", 15),
    Guideline("DRG", ("CT",), "CT, all but brain", 8),
    Guideline("DRG", ("CT",), "CT, brain", 5),
    Guideline("DRG", ("MR",), "MR", 7),
    Guideline("DRG", ("RF", "XA"), "fluoroscopy, angiography", 6),
)

MAMMOGRAPHY = "MG"
MAMMOGRAPHY_NOTE = (
    "mammography: the US FDA reads the MQSA as prohibiting lossy mammograms for primary reading, retention "
    "and transfer to the patient, and warns of what they do to automated algorithms "
    "(doi:10.2214/AJR.15.15130)"
)

MODALITIES = {
    "CR": "computed radiography",
    "CT": "computed tomography",
    "DX": "digital radiography",
    "ES": "endoscopy",
    "GM": "general microscopy",
    "IO": "intra-oral radiography",
    "MG": "mammography",
    "MR": "magnetic resonance",
    "NM": "nuclear medicine",
    "OCT": "optical coherence tomography",
    "OP": "ophthalmic photography",
    "OPT": "ophthalmic tomography",
    "PT": "positron emission tomography",
    "PX": "panoramic X-ray",
    "RF": "radio fluoroscopy",
    "SM": "slide microscopy",
    "US": "ultrasound",
    "XA": "X-ray angiography",
    "XC": "external-camera photography",
}

_ALIASES = {
    "DBT": "MG",
    "DR": "DX",
    "FFDM": "MG",
    "MAMMO": "MG",
    "MAMMOGRAM": "MG",
    "MAMMOGRAPHY": "MG",
    "MRI": "MR",
    "PET": "PT",
    "ULTRASOUND": "US",
    "X-RAY": "DX",
    "XRAY": "DX",
}


def modality_code(text: str) -> str:
    """Return DICOM's code of a modality, in any case or by an everyday name; other text in capitals.

    Examples
    --------
    >>> modality_code("mammography"), modality_code("mr"), modality_code("thermography")
    ('MG', 'MR', 'THERMOGRAPHY')
    """
    capital = text.strip().upper()
    return _ALIASES.get(capital, capital)


def check_modality(text: str) -> str:
    """Return DICOM's code of a modality that a user names; raises ``UsageError`` for an unknown one."""
    code = modality_code(text)
    if code not in MODALITIES:
        raise UsageError(
            f"{argument('modality')} {text!r}: expected DICOM's code, one of: {', '.join(MODALITIES)}"
        )
    return code


def guidelines_for(modalities: Iterable[str]) -> tuple[Guideline, ...]:
    """Return the recommendations for some modalities; for none, all of them.

    Examples
    --------
    >>> [(g.body, g.ratio) for g in guidelines_for(["MR"])]
    [('CAR', 24), ('DRG', 7)]
    """
    asked = set(modalities)
    return tuple(g for g in GUIDELINES if not asked or asked & set(g.modalities))


def compared(ratio_pixels: float | None, modalities: Iterable[str]) -> str:
    """Say in one line how a ratio of the raw pixels stands beside the recommendations.

    Examples
    --------
    >>> compared(21.04, ["MR"])
    'ratio 21.0 of the raw pixels; for human readers CAR: MR 24, DRG: MR 7 (guidance, not of classifiers)'
    """
    mine = "ratio unknown" if ratio_pixels is None else f"ratio {ratio_pixels:.1f} of the raw pixels"
    found = guidelines_for(modalities)
    if not found:
        return f"{mine}; no guideline for human readers is known here for {', '.join(modalities)}"
    theirs = ", ".join(f"{g.body}: {g.region} {g.ratio:g}" for g in found)
    return f"{mine}; for human readers {theirs} (guidance, not of classifiers)"

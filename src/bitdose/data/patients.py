"""Who a case's patient is: by a table's column, or by the header of a DICOM file.

A patient is the unit of resampling, so several images of one patient taken for several patients make
every interval too narrow. Without a column, a DICOM file's patient is the first 16 hex digits of the
SHA-256 of Issuer of Patient ID (0010,0021) and Patient ID (0010,0020) behind a fixed prefix: a pseudonym,
never the id itself. Whatever names no patient is a patient of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from bitdose.data.base import Case
from bitdose.data.guard import decoding
from bitdose.data.sniff import sniff
from bitdose.errors import CaseError, UsageError, argument
from bitdose.hashing import bytes_digest

HEADER = "DICOM header"
_LOG = logging.getLogger(__name__)
_COLUMNS = (
    "patient", "patientid", "patientkey", "patientnumber", "patientno", "patientnr", "subject", "subjectid",
    "participant", "participantid", "mrn", "pid",
)  # fmt: skip
_NONE = frozenset({"", "nan", "na", "n/a", "<na>", "nat", "none", "null"})
_NO_ID = _NONE | {"anonymous", "anonymised", "anonymized", "anon", "unknown", "removed"}
_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0*")
_DOMAIN = b"bitdose patient 1\0"
_HEX_DIGITS = 16
_HEAD_BYTES = 512
_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021


def patient_column(columns: Sequence[str], named: str, table: str) -> str:
    """Return the column that names the patients; empty where there is none.

    Parameters
    ----------
    columns : sequence of str
        The table's columns, without those of the path and the label.
    named : str
        The column that the user named; empty to look for a usual name, in any case, with or without
        ``_``, ``-`` and spaces.
    table : str
        What messages call the table.

    Raises
    ------
    UsageError
        If the named column is missing.

    Examples
    --------
    >>> patient_column(["id", "Patient_ID"], "", "cases.csv")
    'Patient_ID'
    """
    if named:
        if named not in columns:
            raise UsageError(
                f"{argument('patient_column', named)}: expected a column of {table}, got {', '.join(columns)}"
            )
        return named
    plain = {name: re.sub(r"[\s_-]", "", name).lower() for name in columns}
    usual = [name for name in columns if plain[name] in _COLUMNS]
    found = min(usual, key=lambda name: (name != "patient", _COLUMNS.index(plain[name])), default="")
    if found not in ("", "patient"):
        _LOG.info("%s: patients are named by the column %r", table, found)
    return found


def patient_text(cell: str | None) -> str:
    """Return a cell's patient; empty for one that names none, and ``12`` for ``12.0``.

    Examples
    --------
    >>> patient_text(" 12.0 "), patient_text("NaN"), patient_text("P-07")
    ('12', '', 'P-07')
    """
    text = (cell or "").strip()
    if text.lower() in _NONE:
        return ""
    whole = _WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def with_header_patients(cases: Sequence[Case], name: str) -> tuple[list[Case], str]:
    """Give cases the patients of their DICOM headers.

    Parameters
    ----------
    cases : sequence of Case
        Cases whose table, if any, names no patients.
    name : str
        What the log calls the data.

    Returns
    -------
    tuple of list of Case and str
        The cases, and ``DICOM header`` where each of them that can be read names a patient, else empty.
    """
    found = [header_patient(case.path) for case in cases]
    n_named = sum(map(bool, found))
    if n_named:
        _LOG.info("%s: %d of %d files name a patient in their DICOM header", name, n_named, len(cases))
    named = [replace(case, patient=who) if who else case for case, who in zip(cases, found, strict=True)]
    return named, HEADER if n_named and "" not in found else ""


def header_patient(path: Path) -> str | None:
    """Return the hashed patient of a DICOM file; empty without an id, None for a file that cannot be read.

    Nothing behind the patient's id is parsed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if sniff(head) != "DICOM":
                return "" if head else None
            file.seek(0)
            with decoding("DICOM"):
                found = _identity(file, bare=head[128:132] != b"DICM")
    except (OSError, CaseError):  # missing or damaged: reported when the case is read
        return None
    if found is None:
        return None
    who, issuer = found
    if who.lower() in _NO_ID:
        return ""
    return bytes_digest(_DOMAIN + f"{issuer}\0{who}".encode())[:_HEX_DIGITS]


def _identity(file: BinaryIO, *, bare: bool) -> tuple[str, str] | None:
    """Read Patient ID and its issuer; the parser stops behind them, long before the pixels.

    None where the file ends before.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import BaseTag, Tag

    passed = []

    def is_behind(tag: int, _vr: str | None, _length: int) -> bool:
        if tag > _ISSUER:
            passed.append(tag)
        return tag > _ISSUER

    tags: list[BaseTag | int] = [Tag(_PATIENT_ID), Tag(_ISSUER)]
    dataset = read_partial(file, stop_when=is_behind, force=bare, specific_tags=tags)
    if not passed:
        return None
    who, issuer = (str(dataset.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID"))
    return who, issuer

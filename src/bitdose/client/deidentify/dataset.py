"""De-identification of DICOM: the basic profile of PS3.15, with shifted dates and remapped UIDs.

The action for each attribute is defined in ``deid_rules.py``. Pixels are unchanged: burnt-in text stays, and
``burnt_in.py`` warns of it. An object without pixel data (a report, a document) is rejected, since its
contents describe the patient.

No message contains a value of the data set.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

from bitdose.client.deidentify.deid_rules import Action, action_for
from bitdose.data.dicom import check_pixel_data, parse_dicom
from bitdose.data.guard import decoding
from bitdose.hashing import bytes_digest

METHOD = "DICOM PS3.15 2026c E.1 Basic Profile; dates shifted (E.3.6)"
_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # of an object without a modality
_DAY = "%Y%m%d"
_DAY_DIGITS = 8
_DUMMY_TEXT = "REMOVED"
_DUMMIES: dict[str, Any] = {
    "TM": "000000", "DS": "0", "IS": "0", "AS": "000Y", "US": 0, "OB": b"\0\0", "UN": b"\0\0", "SQ": [],
}  # fmt: skip
_CLASS_TAGS = frozenset({0x00080016, 0x00081150, 0x00020002, 0x0008001A, 0x0040E008})


@dataclass(frozen=True)
class Identity:
    """New identity of an object's patient.

    Parameters
    ----------
    pseudonym : str
        Replacement of the patient's name and id.
    shift_days : int
        Days added to every date; equal for all objects of a patient.
    secret : bytes
        Secret key of the clinic, for a consistent remapping of UIDs.
    """

    pseudonym: str
    shift_days: int
    secret: bytes

    def __repr__(self) -> str:
        """Show the pseudonym only: the rest could re-identify the patient."""
        return f"Identity({self.pseudonym!r})"

    def uid(self, original: str) -> str:
        """Return the replacement of a UID: under ``2.25`` (PS3.5 B.2), by HMAC-SHA-256.

        Examples
        --------
        >>> one = Identity("p" * 16, 0, b"key")
        >>> one.uid("1.2.3") == one.uid("1.2.3"), one.uid("1.2.3") == one.uid("1.2.4"), one.uid("1.2.3")[:5]
        (True, False, '2.25.')
        """
        made = hmac.new(self.secret, original.encode("utf-8"), hashlib.sha256).digest()[:16]
        return f"2.25.{int.from_bytes(made, 'big')}"


def deidentify(data: bytes, identity: Identity) -> bytes:
    """Return a de-identified DICOM file.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    identity : Identity
        Identity of its patient; see :mod:`bitdose.client.deidentify.pseudonyms`.

    Returns
    -------
    bytes
        A DICOM file in the same transfer syntax, with unchanged pixel data.

    Raises
    ------
    CaseError
        If it cannot be read or has no pixel data.

    References
    ----------
    DICOM PS3.15, annex E; the three attributes that record it: PS3.3 C.12.1.1.3.1.
    """
    from pydicom import dcmwrite

    with decoding("DICOM"):
        dataset = parse_dicom(data)
        check_pixel_data(dataset, data)
        _clean(dataset, identity)
        dataset.PatientID = dataset.PatientName = identity.pseudonym
        _say_so(dataset)
        _new_file_meta(dataset, identity, bytes_digest(data))
        pixels = dataset["PixelData"]
        pixels.value = BytesIO(pixels.value)  # written from where it lies: bytes would be copied twice
        out = BytesIO()
        dcmwrite(out, dataset, enforce_file_format=True)
        return out.getvalue()


def _clean(dataset: Any, identity: Identity) -> None:
    for tag in list(dataset.keys()):
        element = dataset[tag]
        vr = str(element.VR)
        action = action_for(int(tag), vr)
        if action is Action.REMOVE:
            del dataset[tag]
        elif action is Action.EMPTY:
            element.value = [] if vr == "SQ" else None
        elif action is Action.DUMMY:
            _make_dummy(element, vr, identity)
        elif action is Action.SHIFT:
            element.value = _each(element.value, lambda one: shifted(one, identity.shift_days))
        elif action is Action.REMAP:
            element.value = _each(element.value, lambda one, tag=int(tag): _remapped(one, tag, identity))
        elif vr == "SQ":
            for item in element.value:
                _clean(item, identity)


def _make_dummy(element: Any, vr: str, identity: Identity) -> None:
    if vr == "UI":
        element.value = _each(element.value, identity.uid)
    else:
        element.value = _DUMMIES.get(vr, _DUMMY_TEXT)


def _each(value: Any, change: Any) -> Any:
    """Map a value, or each of several; empty values stay."""
    if value is None or value == "":
        return value
    if hasattr(value, "__iter__") and not isinstance(value, str):
        return [change(str(one)) for one in value]
    return change(str(value))


def shifted(text: str, days: int) -> str:
    """Shift a DICOM date, or a date-time, whose time of day is then dropped.

    Text that is not a date becomes empty.

    Examples
    --------
    >>> shifted("20240301", -1), shifted("20240301123000.5+0100", 1), shifted("spring", 1)
    ('20240229', '20240302', '')
    """
    try:
        day = datetime.strptime(text.strip().replace(".", "")[:_DAY_DIGITS], _DAY)  # noqa: DTZ007  a day has no zone
        moved = day + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}".zfill(_DAY_DIGITS)


def _remapped(uid: str, tag: int, identity: Identity) -> str:
    from pydicom.uid import UID

    registered = UID(uid).name != uid  # UIDs registered by the standard have a name
    return uid if tag in _CLASS_TAGS or registered else identity.uid(uid)


def _say_so(dataset: Any) -> None:
    from pydicom.dataset import Dataset

    items = []
    for value, meaning in _CODES:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    dataset.DeidentificationMethodCodeSequence = items
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"


def _new_file_meta(dataset: Any, identity: Identity, original: str) -> None:
    """Write a new meta group: the old one may name stations and has the old instance UID."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = _SECONDARY_CAPTURE
    if "SOPInstanceUID" not in dataset:
        dataset.SOPInstanceUID = UID(identity.uid(original))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = b"\0" * 128

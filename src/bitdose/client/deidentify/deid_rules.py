"""Actions of the basic profile: the standard's table, and a rule by value type for other attributes.

**The table** (``confidentiality.csv``) is Table E.1-1 of DICOM PS3.15, column *Basic Profile*. Where it
leaves a choice, the action keeps an object valid for any type of the attribute:

| code of the table | action | PS3.15 E.1.1 |
| --- | --- | --- |
| X | removed | removed |
| Z, X/Z | emptied | zero length |
| D, Z/D, X/D, X/Z/D | a dummy of the value type | a value without information |
| U | remapped | consistent within a set of instances |
| X/Z/U* | items stay, the UIDs in them are remapped | the same |

Dates and UIDs are an exception: DA and DT of the table are shifted, under the option *Retain Longitudinal
Temporal Information with Modified Dates* (E.3.6), but for those of group 0010 (the patient's own).

**Other attributes** are handled by value type, so that future attributes cannot leak: names, addresses,
ages and free text are emptied, short texts too unless on a list of technical ones; dates are shifted, times
emptied, UIDs remapped unless registered by the standard; bytes of unknown meaning, private elements
(E.3.10), curves and overlays are removed.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files

_FREE_TEXT = frozenset({"PN", "AE", "AS", "LT", "ST", "UT", "UC", "UR"})
_SHORT_TEXT = frozenset({"LO", "SH"})
_BYTES = frozenset({"OB", "UN"})
_DATES = frozenset({"DA", "DT"})
_PATIENT_GROUP = 0x0010
_REPEATING = {0x5000: "curves", 0x6000: "overlays"}
_REPEATING_MASK = 0xFF00
# Attributes needed to decode, scale or code the samples, and the texts of code sequences.
_TECHNICAL = frozenset(
    {
        0x00080070,  # Manufacturer
        0x00081090,  # Manufacturer's Model Name
        0x00080100,  # Code Value
        0x00080102,  # Coding Scheme Designator
        0x00080103,  # Coding Scheme Version
        0x00080104,  # Code Meaning
        0x00181020,  # Software Versions
        0x00181160,  # Filter Type
        0x00181210,  # Convolution Kernel
        0x00180024,  # Sequence Name
        0x00281054,  # Rescale Type
        0x00283004,  # Modality LUT Type
        0x00282000,  # ICC Profile
        0x7FE00010,  # Pixel Data
        0x7FE00001,  # Extended Offset Table
        0x7FE00002,  # Extended Offset Table Lengths
    }
)


class Action(StrEnum):
    """Action for one element."""

    KEEP = "keep"
    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    REMAP = "remap"
    SHIFT = "shift"


_OF_TABLE = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "X/Z": Action.EMPTY,
    "D": Action.DUMMY,
    "Z/D": Action.DUMMY,
    "X/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "U": Action.REMAP,
    "X/Z/U*": Action.KEEP,  # its items are processed like all others, and their UIDs remapped
}


@cache
def table() -> dict[int, str]:
    """Return the standard's table: tag to action code.

    Examples
    --------
    >>> table()[0x00100010], table()[0x0020000D]
    ('Z', 'U')
    """
    text = (files("bitdose.client.deidentify") / "confidentiality.csv").read_text("ascii")
    rows = (line.split(",") for line in text.splitlines() if not line.startswith("#"))
    return {int(tag, 16): action for tag, action, _ in rows}


def action_for(tag: int, vr: str) -> Action:
    """Return the action for an element.

    Parameters
    ----------
    tag : int
        Group and element as one number.
    vr : str
        Value representation of the element.

    Examples
    --------
    >>> action_for(0x00100010, "PN"), action_for(0x00080020, "DA"), action_for(0x00280010, "US")
    (<Action.EMPTY: 'empty'>, <Action.SHIFT: 'shift'>, <Action.KEEP: 'keep'>)
    """
    group = tag >> 16
    if group % 2 or group & _REPEATING_MASK in _REPEATING:
        return Action.REMOVE
    named = table().get(tag)
    if named is None:
        return _by_type(tag, vr)
    shifts = vr in _DATES and group != _PATIENT_GROUP
    return Action.SHIFT if shifts else _OF_TABLE[named]


def _by_type(tag: int, vr: str) -> Action:
    if tag in _TECHNICAL:
        return Action.KEEP
    if vr in _FREE_TEXT or vr in _SHORT_TEXT or vr == "TM":
        return Action.EMPTY
    if vr in _DATES:
        return Action.SHIFT
    if vr == "UI":
        return Action.REMAP
    return Action.REMOVE if vr in _BYTES else Action.KEEP

"""The profile: a certified point with its evidence, as a file that clients and the service obey.

The contract:

- a profile is JSON values in frozen records; the fields here are the schema, and ``docs/profile-schema.md``
  says what each means;
- reading is strict: no key may be missing, unknown or twice, and what does not hold together is refused;
- ``id`` is a digest of the content and the signature is over the content with its ``id``, both of the
  canonical JSON (keys sorted, no white space, UTF-8), so they hold however the file is laid out;
- no patient data, no case ids, no paths;
- reading one needs neither tables nor statistics nor any classifier's runtime.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitdose.errors import BitdoseError, UsageError
from bitdose.hashing import canonical_json, digest
from bitdose.html_card import DISCLAIMER, html_card
from bitdose.models.base import InputSpec
from bitdose.profile.evidence import Evidence
from bitdose.profile.strict_json import check, plain, read_json, record_of
from bitdose.profile.timestamps import timestamp

SCHEMA = "bitdose-profile/1"
EXACT, LAYERED = "exact", "layered"

_NAME, _, _VERSION = SCHEMA.partition("/")
_MAX_BYTES = 1_000_000
_ID_DIGITS = 16
_CLASSIFIER = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Coding:
    """How the point codes, and with which build it was studied.

    Parameters
    ----------
    name, knob : str
        The codec, and the unit of its quality parameter: ``jpeg`` and ``q``.
    value : float
        The quality.
    options : tuple of str
        The codec's options.
    size : str
        ``WIDTHxHEIGHT`` after downsizing; empty at full size.
    kernels : str
        Library and kernel down > library and kernel up; empty at full size.
    library : str
        The codec library's build in the study.
    mode : str
        What a client does: ``exact``, an encode of its own.
    studied_modes : tuple of str
        What the study did: ``exact``, ``layered`` (a shared encode), or both.
    mappings : tuple of str
        Bit depth mappings around the codec that occurred.
    """

    name: str
    knob: str
    value: float
    options: tuple[str, ...]
    size: str
    kernels: str
    library: str
    mode: str
    studied_modes: tuple[str, ...]
    mappings: tuple[str, ...]


@dataclass(frozen=True)
class Certified:
    """The classifier that the profile is for.

    Parameters
    ----------
    name : str
        Its name without the digest.
    digest : str
        SHA-256 of the model, or the first digits of it: 12 to 64 hexadecimal digits.
    input : InputSpec
        What it sees, and its labels.
    """

    name: str
    digest: str
    input: InputSpec

    def __post_init__(self) -> None:
        """Check the digest."""
        check(_CLASSIFIER.fullmatch(self.digest), "digest", "12 to 64 hexadecimal digits", self.digest)


@dataclass(frozen=True)
class Rate:
    """What an exam costs: ratios total over total, mean coded bytes, seconds on the rule's link."""

    ratio_file: float | None
    ratio_pixels: float | None
    mean_bytes: float
    link: str
    seconds: float | None

    def __post_init__(self) -> None:
        """Check that bytes are bytes."""
        check(self.mean_bytes > 0, "mean_bytes", "above 0", self.mean_bytes)
        for name in ("ratio_file", "ratio_pixels", "seconds"):
            value = getattr(self, name)
            check(value is None or value > 0, name, "above 0, or null", value)


@dataclass(frozen=True)
class StudiedExams:
    """The exams that were studied: a profile speaks of no others.

    Parameters
    ----------
    modalities : tuple of str
        DICOM's codes; empty where not stated.
    height, width, slices : tuple of int or None
        Smallest and largest, in samples; None where the results do not say.
    bits : tuple of int
        Bits per sample that occurred.
    photometric : tuple of str
        ``MONOCHROME2``, ``RGB`` or both.
    formats : tuple of str
        Formats of the source files.
    """

    modalities: tuple[str, ...]
    height: tuple[int, int] | None
    width: tuple[int, int] | None
    slices: tuple[int, int] | None
    bits: tuple[int, ...]
    photometric: tuple[str, ...]
    formats: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that every range is one."""
        for name in ("height", "width", "slices"):
            pair = getattr(self, name)
            check(pair is None or 1 <= pair[0] <= pair[1], name, "[smallest, largest] from 1", pair)


@dataclass(frozen=True)
class Client:
    """For which client's kernels and codec it was certified.

    Parameters
    ----------
    name : str
        ``bitdose`` for the Python client.
    version : str
        Its version.
    libraries : tuple of str
        The libraries that resize and code, each with its version.
    """

    name: str
    version: str
    libraries: tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """An Ed25519 signature over the canonical JSON of everything else.

    Parameters
    ----------
    algorithm : str
        ``ed25519``.
    public_key : str
        Base64 of the 32 bytes.
    key_id : str
        First 16 hexadecimal digits of the SHA-256 of these bytes.
    value : str
        Base64 of the 64 bytes.
    """

    algorithm: str
    public_key: str
    key_id: str
    value: str


@dataclass(frozen=True)
class Profile:
    """A certified point with its evidence; see the contract at the top of this file.

    Parameters
    ----------
    schema, id, created, expires : str
        Name and version of the schema, digest of the content, UTC timestamps.
    point, chain : str
        Text forms.
    codec, classifier, evidence, rate, limits, client
        Records of their own.
    libraries : dict of str to str
        Builds of all that ran in the study.
    disclaimer : str
        Always the same sentence.
    notes : tuple of str
        What an assessor should know.
    signature : Signature or None
        None before it is signed.
    """

    schema: str
    id: str
    created: str
    expires: str
    point: str
    chain: str
    codec: Coding
    classifier: Certified
    evidence: Evidence
    rate: Rate
    limits: StudiedExams
    client: Client
    libraries: dict[str, str]
    disclaimer: str
    notes: tuple[str, ...]
    signature: Signature | None

    def __post_init__(self) -> None:
        """Check schema, dates and disclaimer."""
        check(self.schema == SCHEMA, "schema", SCHEMA, self.schema)
        order = timestamp(self.created, "created") < timestamp(self.expires, "expires")
        check(order, "expires", f"after {self.created}", self.expires)
        check(self.disclaimer == DISCLAIMER, "disclaimer", DISCLAIMER, self.disclaimer)

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read a profile file, as :func:`load_profile` does; its signature is for ``verify`` to check."""
        return load_profile(Path(path))

    def save(self, path: str | Path) -> None:
        """Write the profile file, whole or not at all; raises ``BitdoseError`` if it cannot."""
        save_profile(self, Path(path))

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        signer = self.signature.key_id if self.signature else "nobody: not signed"
        rows = [
            ("point", self.point),
            ("classifier", f"{self.classifier.name}@{self.classifier.digest}"),
            *((m.metric, f"loss at most {m.upper:.3g}, accepted {m.limit:g}") for m in self.evidence.margins),
            ("cases, patients", f"{self.evidence.n}, {self.evidence.patients}"),
            ("margins fixed before the run", "yes" if self.evidence.preregistered else "no"),
            ("mean bytes per exam", f"{self.rate.mean_bytes:,.0f}"),
            ("expires", self.expires),
            ("signed by", signer),
        ]
        return html_card(f"Profile {self.id}", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the file's JSON values."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}

    def payload(self) -> bytes:
        """Return what is signed: the canonical JSON of all but the signature, in UTF-8."""
        content = self.to_dict()
        del content["signature"]
        return canonical_json(content).encode("utf-8")

    def content_id(self) -> str:
        """Return the digest of the content, as ``id`` should have it."""
        content = self.to_dict()
        del content["signature"], content["id"]
        return digest(content)[:_ID_DIGITS]

    def named(self) -> Profile:
        """Return the profile with the ``id`` of its content, and no signature."""
        return replace(self, id=self.content_id(), signature=None)


def profile_of(document: Any) -> Profile:
    """Read a profile from its JSON values; raises ``UsageError`` with the key that is wrong.

    Examples
    --------
    >>> profile_of({"schema": "bitdose-profile/2"})
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: profile: schema 'bitdose-profile/2' is newer than this BitDose; upgrade it
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    name, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if name == _NAME and re.fullmatch("[0-9]{1,9}", version) and int(version) > int(_VERSION):
        raise UsageError(f"profile: schema {schema!r} is newer than this BitDose; upgrade it")
    try:
        return record_of(Profile, document, "")
    except UsageError as error:
        raise UsageError(f"profile: {error.message}") from error


def read_profile(data: bytes) -> Profile:
    """Read a profile from a file's bytes.

    Raises
    ------
    UsageError
        If it is larger than 1 MB, no JSON, or no profile; one line that names the key.
    """
    if len(data) > _MAX_BYTES:
        raise UsageError(f"profile: expected at most {_MAX_BYTES:,} bytes, got more")
    return profile_of(read_json(data, what="profile"))


def load_profile(path: Path) -> Profile:
    """Read a profile file; says nothing of its signature, for which there is ``verify``.

    Raises
    ------
    UsageError
        If it is not there, or as :func:`read_profile` does.
    """
    return read_profile(profile_bytes(path))


def profile_bytes(path: Path) -> bytes:
    """Return a profile file's bytes, one more than allowed at most; raises ``UsageError`` if unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise UsageError(f"profile {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile, indented for people, whole or not at all; raises ``BitdoseError`` if it cannot."""
    text = json.dumps(profile.to_dict(), indent=2, ensure_ascii=False) + "\n"
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise BitdoseError(f"cannot write the profile {str(path)!r}: {error.strerror}") from error


def sentence(profile: Profile) -> str:
    """Say in one sentence for a physician what was certified, for what and how surely."""
    found = profile.evidence
    bounds = "; ".join(f"{m.metric} {m.upper:.3g} (accepted: {m.limit:g})" for m in found.margins)
    people = f" of {found.patients} patients" if found.clustered else ""
    return (
        f"Coded at {profile.point}, {profile.classifier.name} was shown on {found.n} cases{people} to lose "
        f"at most: {bounds}. Of 100 such studies at most {100 * found.alpha:g} would certify a point that "
        "truly loses more than was accepted."
    )

"""Is this profile one to obey? Findings, each a level and a line; nothing here reads a file or a clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from bitdose.codecs.base import CODECS
from bitdose.codecs.coding import kernel_names
from bitdose.codecs.point import Point
from bitdose.errors import BitdoseError
from bitdose.profile.document import LAYERED, Profile
from bitdose.profile.guidelines import MAMMOGRAPHY, MAMMOGRAPHY_NOTE, compared
from bitdose.profile.signing import signature_problem
from bitdose.profile.timestamps import timestamp

OK, WARNING, ERROR = "ok", "warning", "error"

_SHORTEST_DIGEST = 12
_SOON = timedelta(days=30)


class Finding(NamedTuple):
    """One thing looked at: ``ok``, ``warning`` or ``error``, what it was, and one line."""

    level: str
    check: str
    text: str


def verify(
    profile: Profile,
    *,
    now: datetime,
    trusted: Collection[str] = (),
    own_key: str = "",
    require_trusted: bool = False,
    classifier_digest: str | None = None,
    libraries: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Look at signature, signer, dates, classifier, point, codec build and modality.

    Parameters
    ----------
    profile : Profile
        As read.
    now : datetime.datetime
        With a time zone.
    trusted : collection of str
        Public keys, base64. Where there are any, another signer is an error.
    own_key : str
        The public key of this machine's user, trusted too.
    require_trusted : bool
        Whether an unknown signer is an error even with no trusted keys.
    classifier_digest : str, optional
        Digest of the classifier at hand, or ``name@digest``; None does not compare.
    libraries : mapping of str to str, optional
        Codec to library build; the default asks the codec installed here.

    Returns
    -------
    list of Finding
        A profile with an ``error`` among them must not be used.
    """
    known = {*trusted, own_key} - {""}
    found = [
        _signature(profile),
        _signer(profile, known, strict=require_trusted or bool(trusted)),
        _dates(profile, now),
        *([_classifier(profile, classifier_digest)] if classifier_digest is not None else []),
        *_codec(profile, libraries),
        *_advice(profile),
    ]
    return [finding for finding in found if finding]


def failed(findings: Collection[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(finding.level == ERROR for finding in findings)


def _signature(profile: Profile) -> Finding:
    problem = signature_problem(profile)
    return Finding(ERROR if problem else OK, "signature", problem or "the content is what was signed")


def _signer(profile: Profile, known: Collection[str], *, strict: bool) -> Finding | None:
    if profile.signature is None:
        return None
    who = f"key {profile.signature.key_id}"
    if profile.signature.public_key in known:
        return Finding(OK, "signer", f"{who} is trusted")
    text = f"{who} is not a trusted one: ask the signer for the public key and name it as trusted"
    return Finding(ERROR if strict else WARNING, "signer", text)


def _dates(profile: Profile, now: datetime) -> Finding:
    created, expires = timestamp(profile.created, "created"), timestamp(profile.expires, "expires")
    if now < created:
        return Finding(ERROR, "dates", f"not valid before {profile.created}: is this machine's clock right?")
    if now >= expires:
        return Finding(ERROR, "dates", f"expired on {profile.expires}: decide anew, on data of today")
    level = WARNING if expires - now < _SOON else OK
    return Finding(level, "dates", f"valid until {profile.expires}")


def _classifier(profile: Profile, given: str) -> Finding:
    mine, theirs = given.rpartition("@")[2].lower(), profile.classifier.digest
    length = min(len(mine), len(theirs))
    name = f"{profile.classifier.name}@{theirs[:_SHORTEST_DIGEST]}"
    if length >= _SHORTEST_DIGEST and mine[:length] == theirs[:length]:
        return Finding(OK, "classifier", f"it is {name}")
    text = f"certified for {name}, the one given is {given}: a profile holds for no other classifier"
    return Finding(ERROR, "classifier", text)


def _codec(profile: Profile, libraries: Mapping[str, str] | None) -> Iterator[Finding]:
    coding, given = profile.codec, libraries or {}
    try:
        point = Point.parse(profile.point)
        if _contradiction(profile, point):
            yield Finding(ERROR, "point", f"{profile.point} is not what the codec's fields say")
            return
        installed = given[point.codec] if point.codec in given else CODECS.get(point.codec).library()
    except BitdoseError as error:
        yield Finding(ERROR, "point", f"cannot be coded here: {error}")
        return
    yield Finding(OK, "point", f"{profile.point} can be coded here")
    if installed == coding.library:
        yield Finding(OK, "codec", f"same build as in the study: {installed}")
    else:
        text = f"studied with {coding.library}, installed here is {installed}: bytes and pixels may differ"
        yield Finding(WARNING, "codec", text)
    if LAYERED in coding.studied_modes:
        text = "studied with a shared encode; a client encodes alone, slightly better at the same rate"
        yield Finding(WARNING, "mode", text)


def _contradiction(profile: Profile, point: Point) -> bool:
    coding, resize = profile.codec, point.resize
    size = f"{resize.width}x{resize.height}" if resize else ""
    said = (coding.name, coding.knob, coding.value, coding.options, coding.size, coding.kernels)
    means = (point.codec, point.unit, point.quality, point.options, size, kernel_names(resize))
    return said != means or (profile.point, profile.chain) != (str(point), point.chain)


def _advice(profile: Profile) -> Iterator[Finding]:
    modalities = profile.limits.modalities
    if not modalities:
        text = "the profile states none: whether an exam is of the kind studied cannot be checked"
        yield Finding(WARNING, "modality", text)
    if MAMMOGRAPHY in modalities:
        yield Finding(WARNING, "modality", MAMMOGRAPHY_NOTE)
    yield Finding(OK, "guidelines", compared(profile.rate.ratio_pixels, modalities))

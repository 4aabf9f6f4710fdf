"""Profiles of the service; one is active, and every web process and worker queries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from bitdose.errors import BitdoseError, UsageError
from bitdose.profile.document import Profile, profile_of
from bitdose.profile.verify import ERROR, Finding, verify
from bitdose.service import clock
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import ProfileRow
from bitdose.service.exams.classifier import classifier_name
from bitdose.service.settings import Settings


class UnknownProfileError(BitdoseError):
    """Unknown profile id."""


class Profiles:
    """Reader of the active profile, with a cache of parsed profiles by id, a digest of the contents.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the profiles.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._parsed: dict[str, Profile] = {}

    def active(self) -> Profile | None:
        """Return the active profile; None before the first."""
        with reading(self.engine) as session:
            found = session.scalar(select(ProfileRow.id).where(ProfileRow.active.is_(True)))
        return self.get(found) if found else None

    def get(self, profile_id: str) -> Profile | None:
        """Return a profile by its id, active or not; None if unknown."""
        if profile_id not in self._parsed:
            with reading(self.engine) as session:
                row = session.get(ProfileRow, profile_id)
            if row is None:
                return None
            self._parsed[profile_id] = profile_of(row.document)
        return self._parsed[profile_id]


def check_profile(profile: Profile, settings: Settings) -> list[Finding]:
    """Verify a profile for this service: signature, signer, dates, classifier.

    Returns
    -------
    list of Finding
        Findings, including warnings for the admin.

    Raises
    ------
    UsageError
        With the first finding that forbids its use.
    """
    name = classifier_name(settings, profile) if settings.model else None
    findings = verify(profile, now=clock.now(), trusted=settings.trust, classifier_digest=name)
    wrong = [finding for finding in findings if finding.level == ERROR]
    if wrong:
        raise UsageError(f"profile: {wrong[0].check}: {wrong[0].text}")
    return findings


def add_profile(engine: Engine, document: Any, settings: Settings) -> tuple[Profile, list[Finding]]:
    """Read, verify and store a profile without activating it; an existing one stays unchanged.

    Raises
    ------
    UsageError
        If it is not a valid profile, or must not be used.
    """
    profile = profile_of(document)
    findings = check_profile(profile, settings)
    with sessions(engine).begin() as session:
        if session.get(ProfileRow, profile.id) is None:
            row = ProfileRow(id=profile.id, document=profile.to_dict(), active=False, added=clock.now())
            session.add(row)
    return profile, findings


def activate_profile(engine: Engine, profile_id: str, settings: Settings) -> Profile:
    """Activate a profile after verifying it again, since it may have expired.

    Raises
    ------
    UnknownProfileError
        If the id is unknown.
    UsageError
        If it must not be used any more.
    """
    profile = Profiles(engine).get(profile_id)
    if profile is None:
        raise UnknownProfileError(f"profile: there is none with the id {profile_id[:64]!r}")
    check_profile(profile, settings)
    with sessions(engine).begin() as session:
        _activate(session, profile_id)
    return profile


def install_profile(engine: Engine, document: Any, settings: Settings) -> None:
    """Add and activate the profile of the settings, unless it was added before."""
    with reading(engine) as session:
        known: Sequence[str] = session.scalars(select(ProfileRow.id)).all()
    if profile_of(document).id in known:
        return
    profile, _ = add_profile(engine, document, settings)
    activate_profile(engine, profile.id, settings)


def _activate(session: Session, profile_id: str) -> None:
    session.execute(update(ProfileRow).where(ProfileRow.id != profile_id).values(active=False))
    session.execute(update(ProfileRow).where(ProfileRow.id == profile_id).values(active=True))

"""Which profile the clinic obeys: the service's, the one last seen while the line is down, or a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from bitdose.client.connection import LaterError, check, over_the_line
from bitdose.compress.run import write_whole
from bitdose.decision.profile import Profile, load_profile, profile_of
from bitdose.decision.verify import ERROR, WARNING, verify
from bitdose.errors import BitdoseError
from bitdose.hashing import bytes_digest
from bitdose.wire import PROFILE, ProfileView

if TYPE_CHECKING:
    import httpx

CLIENT = "bitdose"
"""What profiles call this client: its kernels and codecs are the study's own."""


class Obeyed(NamedTuple):
    """A profile that holds, what it warns of, and the share of exams that the sentinel wants pristine too."""

    profile: Profile
    warnings: tuple[str, ...]
    sentinel_share: float = 0.0


def profile_of_file(path: Path) -> Obeyed:
    """Read a profile that the clinic was given; raises ``BitdoseError`` if it must not be used."""
    return _verified(load_profile(path), f"--profile {path}", 0.0)


def profile_of_service(client: httpx.Client, folder: Path, server: str) -> Obeyed:
    """Ask for the service's active profile; while the line is down, take the one last seen.

    Parameters
    ----------
    client : httpx.Client
        From :func:`bitdose.client.connection.connect`.
    folder : pathlib.Path
        Where the one last seen is kept.
    server : str
        The service's address.

    Raises
    ------
    BitdoseError
        If the service has none, none is known and the line is down, or it must not be used.
    """
    kept = folder / f"profile-{bytes_digest(server.encode('utf-8'))[:16]}.json"
    try:
        with over_the_line():
            data = check(client.get(PROFILE)).content
    except LaterError as error:
        if not kept.is_file():
            raise BitdoseError(
                f"--server {server}: {error}, and no profile of it is known; give --profile"
            ) from error
        return _of_view(kept.read_bytes(), server)
    found = _of_view(data, server)
    write_whole(kept, data)
    return found


def _of_view(data: bytes, server: str) -> Obeyed:
    try:
        view = ProfileView.model_validate_json(data)
    except ValidationError as error:
        raise BitdoseError(f"--server {server}: what it gives as its profile is none") from error
    return _verified(profile_of(view.profile), f"--server {server}", view.sentinel_share)


def _verified(profile: Profile, origin: str, share: float) -> Obeyed:
    if profile.client.name != CLIENT:
        raise BitdoseError(f"{origin}: its profile is for the client {profile.client.name!r}, not {CLIENT!r}")
    found = verify(profile, now=datetime.now(UTC))
    for finding in found:
        if finding.level == ERROR:
            raise BitdoseError(f"{origin}: its profile: {finding.check}: {finding.text}")
    warnings = [f"{one.check}: {one.text}" for one in found if one.level == WARNING]
    return Obeyed(profile, tuple(warnings), share)

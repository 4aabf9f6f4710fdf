"""Source of the clinic's profile: the service, the last one seen while offline, or a file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from bitdose.client.sending.connection import LaterError, check, over_the_link
from bitdose.compress.run import write_whole
from bitdose.errors import BitdoseError, argument
from bitdose.hashing import bytes_digest
from bitdose.profile.document import Profile, load_profile, profile_of
from bitdose.profile.verify import ERROR, WARNING, verify
from bitdose.wire import PROFILE, ProfileView

if TYPE_CHECKING:
    import httpx

CLIENT = "bitdose"
"""What profiles call this client: its kernels and codecs are the study's own."""
_NOT_MODIFIED = 304
_TAG = re.compile(r'(W/)?"[!#-~]+"')


class ActiveProfile(NamedTuple):
    """A verified profile, its warnings, and the sentinel's share of exams to send pristine as well."""

    profile: Profile
    warnings: tuple[str, ...]
    sentinel_share: float = 0.0


def profile_of_file(path: Path) -> ActiveProfile:
    """Read a profile that the clinic was given; raises ``BitdoseError`` if it must not be used."""
    return _verified(load_profile(path), argument("profile", path), 0.0)


def profile_of_service(client: httpx.Client, folder: Path, server: str) -> ActiveProfile:
    """Fetch the service's active profile; while offline, use the last one seen.

    The last one seen is cached with its entity tag, so that an unchanged profile is not sent again. A profile
    is verified each time, whatever its source.

    Parameters
    ----------
    client : httpx.Client
        Output of :func:`bitdose.client.sending.connection.connect`.
    folder : pathlib.Path
        Folder of the cached profile.
    server : str
        Address of the service.

    Raises
    ------
    BitdoseError
        If the service has none, none is cached while offline, or it must not be used.
    """
    path = folder / f"profile-{bytes_digest(server.encode('utf-8'))[:16]}.kept"
    tag, data = _kept(path)
    try:
        with over_the_link():
            response = client.get(PROFILE, headers={"If-None-Match": tag} if tag else {})
            if not (tag and response.status_code == _NOT_MODIFIED):
                data = check(response).content
    except LaterError as error:
        if not data:
            raise BitdoseError(
                f"{argument('server', server)}: {error.message}, and no profile of it is known; "
                f"give {argument('profile')}"
            ) from error
        return _of_view(data, server)
    found = _of_view(data, server)
    fresh = response.headers.get("ETag", "")
    if response.status_code != _NOT_MODIFIED:
        write_whole(path, f"{fresh}\n".encode() + data)
    return found


class ProfileRequest:
    """Concurrent fetch of the service's profile, in a thread.

    Parameters
    ----------
    client, folder, server
        As for :func:`profile_of_service`.
    """

    def __init__(self, client: httpx.Client, folder: Path, server: str) -> None:
        self._found: ActiveProfile | None = None
        self._error: Exception | None = None
        self._thread = Thread(target=self._ask, args=(client, folder, server), daemon=True)
        self._thread.start()

    def _ask(self, client: httpx.Client, folder: Path, server: str) -> None:
        try:
            self._found = profile_of_service(client, folder, server)
        except Exception as error:  # noqa: BLE001  raised again where the profile is needed
            self._error = error

    def result(self) -> ActiveProfile:
        """Wait for the profile; raises like :func:`profile_of_service`."""
        self._thread.join()
        if self._found is None:
            raise self._error or BitdoseError("the profile could not be fetched")
        return self._found


def _kept(path: Path) -> tuple[str, bytes]:
    """Return the cached profile and its entity tag; empty if missing or unreadable."""
    try:
        tag, _, data = path.read_bytes().partition(b"\n")
        profile_of(ProfileView.model_validate_json(data).profile)
    except (OSError, ValidationError, BitdoseError):
        return "", b""
    text = tag.decode("ascii", "ignore")
    return (text if _TAG.fullmatch(text) else ""), data


def _of_view(data: bytes, server: str) -> ActiveProfile:
    try:
        view = ProfileView.model_validate_json(data)
    except ValidationError as error:
        raise BitdoseError(f"{argument('server', server)}: the response is not a valid profile") from error
    return _verified(profile_of(view.profile), argument("server", server), view.sentinel_share)


def _verified(profile: Profile, origin: str, share: float) -> ActiveProfile:
    if profile.client.name != CLIENT:
        raise BitdoseError(f"{origin}: its profile is for the client {profile.client.name!r}, not {CLIENT!r}")
    found = verify(profile, now=datetime.now(UTC))
    for finding in found:
        if finding.level == ERROR:
            raise BitdoseError(f"{origin}: its profile: {finding.check}: {finding.text}")
    warnings = [f"{one.check}: {one.text}" for one in found if one.level == WARNING]
    return ActiveProfile(profile, tuple(warnings), share)

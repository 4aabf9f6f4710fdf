"""Which profile the clinic obeys: asked for, kept, named instead of sent again, and verified each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitdose.client.sending.connection import Server, StopError, connect
from bitdose.client.sending.profile_source import ProfileRequest, profile_of_service
from bitdose.errors import BitdoseError
from bitdose.profile.document import Profile
from bitdose.profile.signing import load_or_make_key, sign

TOKEN = "test-token"


def test_the_profile_is_kept_for_when_the_line_is_down(
    tmp_path: Path, service: Any, profile: Profile
) -> None:
    """The service's profile is asked for, and the one last seen serves while nobody answers."""
    server = Server(service.url, TOKEN)
    service.sentinel_share = 0.25
    with connect(server) as client:
        assert profile_of_service(client, tmp_path, server.name).profile == profile
        service.troubles = [(503, {})]
        kept = profile_of_service(client, tmp_path, server.name)
    assert (kept.profile, kept.sentinel_share) == (profile, 0.25)
    with (
        connect(Server("http://127.0.0.1:9", TOKEN)) as client,
        pytest.raises(BitdoseError, match="give profile"),
    ):
        profile_of_service(client, tmp_path, "http://127.0.0.1:9")


def test_a_profile_that_is_known_does_not_travel_again(
    tmp_path: Path, service: Any, profile: Profile, new_profile: Callable[..., Profile]
) -> None:
    """The next call names the profile it has; another one is taken at once; each is verified anew."""
    server = Server(service.url, TOKEN)
    with connect(server) as client:
        first = profile_of_service(client, tmp_path, server.name)
        assert profile_of_service(client, tmp_path, server.name) == first
        assert service.tags == [None, f'"{profile.id}-0"']
        other = new_profile(tmp_path, "jpeg:q70@64")
        service.profile = other.to_dict()
        assert profile_of_service(client, tmp_path, server.name).profile == other
        (kept,) = tmp_path.glob("*.kept")
        kept.write_bytes(kept.read_bytes().replace(b'"jpeg:q70@64"', b'"jpeg:q10@64"'))
        with pytest.raises(BitdoseError, match="profile"):
            profile_of_service(client, tmp_path, server.name)
        kept.write_bytes(b"nothing")
        assert profile_of_service(client, tmp_path, server.name).profile == other


def test_reading_goes_on_while_the_profile_is_asked_for(tmp_path: Path, service: Any) -> None:
    """Asking holds nobody up, and what goes wrong is said where the profile is needed."""
    server = Server(service.url, TOKEN)
    with connect(server) as client:
        service.troubles = [(401, {})]
        asked = ProfileRequest(client, tmp_path, server.name)
        with pytest.raises(StopError, match="401"):
            asked.result()
        assert ProfileRequest(client, tmp_path, server.name).result().profile.to_dict() == service.profile


def test_a_forged_profile_is_refused(tmp_path: Path, service: Any) -> None:
    """A profile whose content was changed after it was signed is not obeyed."""
    service.profile["evidence"]["margins"][0]["upper"] = 0.001
    server = Server(service.url, TOKEN)
    with connect(server) as client, pytest.raises(BitdoseError, match="signature"):
        profile_of_service(client, tmp_path, server.name)


def test_a_profile_for_another_client_is_refused(tmp_path: Path, service: Any, profile: Profile) -> None:
    """What was certified for a browser's kernel says nothing of this client's."""
    other = replace(profile, client=replace(profile.client, name="web")).named()
    service.profile = sign(other, load_or_make_key(tmp_path / "key.pem")).to_dict()
    server = Server(service.url, TOKEN)
    with connect(server) as client, pytest.raises(BitdoseError, match="for the client 'web'"):
        profile_of_service(client, tmp_path, server.name)

"""The active profile, as those get it who have to obey it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, update

from bitdose.links import LINKS, seconds
from bitdose.profile.document import Profile, profile_of
from bitdose.profile.signing import signature_problem
from bitdose.service.db.database import sessions
from bitdose.service.db.tables import ProfileRow
from bitdose.wire import PROFILE, ProfileView


@pytest.fixture
def sender(uploader: Callable[..., Any]) -> httpx.Client:
    """Give a clinic's uploader."""
    return uploader("clinic")


def test_the_document_is_the_signed_one(sender: httpx.Client, profile: Profile) -> None:
    """What a client gets reads back to the profile, signature and all."""
    view = ProfileView.model_validate(sender.get(PROFILE).json())
    assert profile_of(view.profile) == profile
    assert signature_problem(profile_of(view.profile)) == ""
    assert view.id == profile.id


def test_every_link_has_its_seconds(sender: httpx.Client, profile: Profile) -> None:
    """The seconds are those of the link's model for the study's mean bytes."""
    view = ProfileView.model_validate(sender.get(PROFILE).json())
    assert {link.link for link in view.links} == set(LINKS)
    for link in view.links:
        assert link.seconds == pytest.approx(float(seconds(LINKS[link.link], profile.rate.mean_bytes)))


def test_who_has_it_does_not_get_it_again(sender: httpx.Client) -> None:
    """The same entity tag is answered with 304 and no body: 10 kB less on a slow link."""
    first = sender.get(PROFILE)
    again = sender.get(PROFILE, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert sender.get(PROFILE, headers={"If-None-Match": '"other"'}).status_code == 200


def test_it_travels_packed(sender: httpx.Client) -> None:
    """Who reads gzip gets it in under half the bytes, and the same document; nobody else gets it packed."""
    packed = sender.get(PROFILE)
    plain = sender.get(PROFILE, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert 2 * int(packed.headers["content-length"]) < int(plain.headers["content-length"])


def test_nobody_gets_it_without_a_login(client: httpx.Client) -> None:
    """A stranger is 401."""
    assert client.get(PROFILE).status_code == 401


def test_without_an_active_profile_it_says_so(sender: httpx.Client, engine: Engine) -> None:
    """503, and what an admin has to do."""
    with sessions(engine).begin() as session:
        session.execute(update(ProfileRow).values(active=False))
    answer = sender.get(PROFILE)
    assert answer.status_code == 503
    assert "activate" in answer.json()["detail"]

"""The admin's routes: accounts, profiles, and figures worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, select

from bitdose.errors import UsageError
from bitdose.links import Link, seconds
from bitdose.profile.document import Profile
from bitdose.profile.signing import Key, load_or_make_key, sign
from bitdose.service import clock
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, AnswerRow, ExamRow, ProfileRow
from bitdose.service.exams.profiles import Profiles
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings

ADMIN = "/api/v1/admin"
PASSWORD = "four plain words here"


def test_accounts_are_made_changed_and_removed(
    login: Callable[..., httpx.Client], client: httpx.Client
) -> None:
    """A new account logs in; disabled it does not; removed it is gone. No password is ever shown."""
    admin = login("admin")
    body = {"name": "Ana", "role": "clinic", "clinic": "south", "password": "words that ana knows"}
    made = admin.post(f"{ADMIN}/accounts", json=body)
    assert (made.status_code, made.json()["name"], made.json()["clinic"]) == (201, "ana", "south")
    entry = {"name": "ana", "password": body["password"]}
    path = f"{ADMIN}/accounts/{made.json()['id']}"
    assert client.post("/api/v1/login", json=entry).status_code == 200
    assert admin.patch(path, json={"disabled": True}).json()["disabled"] is True
    assert client.get("/api/v1/me").status_code == 401
    assert client.post("/api/v1/login", json=entry).status_code == 401
    listed = admin.get(f"{ADMIN}/accounts")
    assert [each["name"] for each in listed.json()["accounts"]] == ["ana", "some-admin"]
    assert "argon2" not in listed.text
    assert admin.delete(path).status_code == 204
    assert admin.delete(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "some-admin", "role": "admin", "password": PASSWORD}, 409),
        ({"name": "ana", "role": "clinic", "password": PASSWORD}, 422),
        ({"name": "ana", "role": "king", "password": PASSWORD}, 422),
        ({"name": "ana", "role": "admin", "password": "password1234"}, 422),
        ({"name": "ana", "role": "admin", "password": PASSWORD, "id": 1}, 422),
    ],
)
def test_a_wrong_account_is_a_problem(
    login: Callable[..., httpx.Client], body: dict[str, Any], status: int
) -> None:
    """Taken names are 409, wrong values and unknown fields 422."""
    answer = login("admin").post(f"{ADMIN}/accounts", json=body)
    assert answer.status_code == status
    assert body["password"] not in answer.text


def test_the_last_admin_cannot_lock_the_door_behind(login: Callable[..., httpx.Client]) -> None:
    """Disabling or removing the only admin is refused with the reason."""
    admin = login("admin")
    mine = f"{ADMIN}/accounts/{admin.get(f'{ADMIN}/accounts').json()['accounts'][0]['id']}"
    for answer in (admin.patch(mine, json={"disabled": True}), admin.delete(mine)):
        assert (answer.status_code, "last admin" in answer.json()["detail"]) == (409, True)


def test_the_profile_of_the_settings_is_active_at_first(
    login: Callable[..., httpx.Client], profile: Profile
) -> None:
    """A new service obeys the profile that it was started with."""
    (only,) = login("admin").get(f"{ADMIN}/profiles").json()["profiles"]
    assert (only["id"], only["point"], only["active"]) == (profile.id, "jpeg:q30@256", True)


def test_a_profile_is_added_then_activated_and_stays_so(
    login: Callable[..., httpx.Client],
    make_service_profile: Callable[..., Profile],
    settings: Settings,
    engine: Engine,
) -> None:
    """One profile is active at a time, and a restart keeps the admin's choice."""
    admin, other = login("admin"), make_service_profile("jpeg2000:20x@256")
    added = admin.post(f"{ADMIN}/profiles", json=other.to_dict())
    assert (added.status_code, added.json()["active"]) == (201, False)
    done = admin.post(f"{ADMIN}/profiles/{other.id}/activate")
    assert (done.status_code, done.json()["active"]) == (200, True)
    assert create_app(settings).state.context.profile == other
    with reading(engine) as session:
        assert session.scalars(select(ProfileRow.id).where(ProfileRow.active.is_(True))).all() == [other.id]


def _wrong(profile: Profile, key: Key, case: str) -> Any:
    document = profile.to_dict()
    if case == "tampered":
        document["rate"]["mean_bytes"] += 1
    if case == "unsigned":
        document["signature"] = None
    if case == "classifier":
        other = replace(profile.classifier, digest="f" * 12)
        document = sign(replace(profile, classifier=other).named(), key).to_dict()
    if case == "expired":
        dates = {"created": "2020-01-01T00:00:00Z", "expires": "2020-02-01T00:00:00Z"}
        document = sign(replace(profile, **dates).named(), key).to_dict()
    if case == "key":
        del document["evidence"]
    return document


@pytest.mark.parametrize("case", ["tampered", "unsigned", "classifier", "expired", "key"])
def test_a_profile_that_must_not_be_used_is_not_added(
    login: Callable[..., httpx.Client], profile: Profile, key: Key, engine: Engine, case: str
) -> None:
    """Tampered, unsigned, for another classifier, expired or broken: 422 with the reason, and not kept."""
    answer = login("admin").post(f"{ADMIN}/profiles", json=_wrong(profile, key, case))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("profile: ")
    with reading(engine) as session:
        assert len(session.scalars(select(ProfileRow)).all()) == 1


def test_only_trusted_signers_where_some_are_named(
    change: Callable[..., Settings], key: Key, tmp_path: Any
) -> None:
    """With ``trust`` in the settings, a profile of another signer stops the start."""
    stranger = load_or_make_key(tmp_path / "stranger.pem")
    with pytest.raises(UsageError, match="signer"):
        create_app(change(trust=(stranger.public_key,)))
    assert create_app(change(trust=(key.public_key,))).state.context.profile is not None


def test_a_profile_for_another_classifier_stops_the_start(
    change: Callable[..., Settings], profile: Profile, key: Key, tmp_path: Any
) -> None:
    """A service never starts with a classifier that its profile was not certified for."""
    path = tmp_path / "other.json"
    path.write_text(json.dumps(_wrong(profile, key, "classifier")))
    with pytest.raises(UsageError, match="classifier"):
        create_app(change(profile=str(path)))


def test_an_unknown_profile_is_not_there(login: Callable[..., httpx.Client], engine: Engine) -> None:
    """Activating what was never added is a 404; asking for it gives None."""
    assert login("admin").post(f"{ADMIN}/profiles/{'0' * 16}/activate").status_code == 404
    assert Profiles(engine).get("0" * 16) is None


def _exam(engine: Engine, number: int, **values: Any) -> None:
    with sessions(engine).begin() as session:
        sizes = {name: values.pop(name) for name in ("source_bytes", "payload_bytes")}
        account = session.scalars(select(AccountRow.id)).first()
        answer = values.pop("answer", "")
        row = {
            "id": f"{number:032x}",
            "account_id": account,
            "meta": sizes | {"pseudonym": f"p{number // 2:07d}"},
            "kind": "coded",
            "sha256": "",
            "blob": "",
            "state": "answered",
            "received": clock.now(),
            "answered": clock.now(),
        }
        session.add(ExamRow(**row | values))
        session.flush()
        if answer:
            said = {"predicted": answer, "probabilities": {}, "model": "m@1", "seconds": 0.1}
            session.add(AnswerRow(exam_id=row["id"], **said))


def test_bytes_and_seconds_spared_are_those_of_the_coded_exams(
    login: Callable[..., httpx.Client], engine: Engine
) -> None:
    """By hand: 1.0 MB + 0.5 MB came as 10 + 20 kB; pristine, refused and old exams do not count."""
    admin = login("admin")
    _exam(engine, 1, source_bytes=1_000_000, payload_bytes=10_000)
    _exam(engine, 2, source_bytes=500_000, payload_bytes=20_000, state="queued")
    _exam(engine, 3, source_bytes=9_000_000, payload_bytes=9_000_000, kind="pristine")
    _exam(engine, 4, source_bytes=9_000_000, payload_bytes=1, state="refused")
    old = clock.now() - timedelta(days=40)
    _exam(engine, 5, source_bytes=9_000_000, payload_bytes=1, received=old)
    found = admin.get(f"{ADMIN}/stats", params={"days": 30, "link": "up=44k,rtt=750ms"}).json()
    assert (found["coded"], found["source_bytes"], found["payload_bytes"]) == (2, 1_500_000, 30_000)
    assert found["saved_bytes"] == 1_470_000
    assert found["exams"] == {"answered": 2, "queued": 1, "refused": 1}
    link = Link.parse("up=44k,rtt=750ms")
    expected = seconds(link, np.array([1e6, 5e5])).sum() - seconds(link, np.array([1e4, 2e4])).sum()
    assert found["saved_seconds"] == pytest.approx(float(expected), abs=0.1)
    assert 270 < found["saved_seconds"] < 300  # 11.8 Mbit at 44 kb/s are 267 s, and 5 % of overhead


def test_nothing_spared_is_nothing_and_an_unknown_link_a_problem(login: Callable[..., httpx.Client]) -> None:
    """Without exams all sums are 0; a link that is none is a 422."""
    admin = login("admin")
    found = admin.get(f"{ADMIN}/stats").json()
    assert (found["coded"], found["saved_bytes"], found["saved_seconds"]) == (0, 0, 0.0)
    assert admin.get(f"{ADMIN}/stats", params={"link": "pigeon"}).status_code == 422


def test_the_sentinel_is_undefined_without_pairs(login: Callable[..., httpx.Client]) -> None:
    """No pair: shares are null with the reason, and there is no alarm."""
    found = login("admin").get(f"{ADMIN}/sentinel").json()
    assert (found["pairs"], found["alarm"], found["flips"]["value"]) == (0, False, None)
    assert found["flips"]["reason"]
    assert found["certified"] > 0


def test_the_sentinel_raises_its_alarm_when_answers_flip(
    login: Callable[..., httpx.Client], engine: Engine, profile: Profile
) -> None:
    """Twelve pairs that all flip, certified at a few per cent, raise the alarm; the share is 12 of 12."""
    admin = login("admin")
    for number in range(0, 24, 2):
        both = {"source_bytes": 9, "payload_bytes": 9, "pair": f"pair{number:06d}", "profile": profile.id}
        _exam(engine, number, **both, answer="clear")
        _exam(engine, number + 1, **both, kind="pristine", answer="nodules")
    found = admin.get(f"{ADMIN}/sentinel").json()
    assert (found["pairs"], found["flips"]["value"], found["agreement"]["value"]) == (12, 1.0, 0.0)
    assert found["alarm"] is True
    assert found["low"] > found["certified"]


def test_the_audit_is_read_page_by_page(login: Callable[..., httpx.Client], client: httpx.Client) -> None:
    """Pages follow one another without gap or repetition, newest first, for one account if asked."""
    admin = login("admin")
    for _ in range(5):
        client.get("/api/v1/me")
    first = admin.get(f"{ADMIN}/audit", params={"limit": 4}).json()
    second = admin.get(f"{ADMIN}/audit", params={"limit": 4, "before": first["next"]}).json()
    ids = [entry["id"] for entry in first["entries"] + second["entries"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(set(ids)), second["next"]) == (6, None)  # a login, five questions
    mine = admin.get(f"{ADMIN}/audit", params={"account": "some-admin"}).json()["entries"]
    assert {entry["account"] for entry in mine} == {"some-admin"}
    assert admin.get(f"{ADMIN}/audit", params={"account": "a\x00b"}).status_code == 200

"""Logging in and out over HTTP: the cookie, the CSRF token, one's password and tokens."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select

from bitdose.service.accounts.accounts import change_account
from bitdose.service.db.database import reading, sessions
from bitdose.service.db.tables import AccountRow, TokenRow
from bitdose.service.http.app import create_app
from bitdose.service.http.routes import auth
from bitdose.service.settings import Settings
from bitdose.wire import Account

LOGIN, ME, TOKENS = "/api/v1/login", "/api/v1/me", "/api/v1/tokens"
PASSWORD = "four plain words here"
OTHER = "four other words here"


def test_a_login_says_who_one_is(login: Callable[..., httpx.Client]) -> None:
    """Name, role, clinic and CSRF token come with the login and again at any time."""
    client = login("clinic")
    found = Account.model_validate(client.get(ME).json())
    assert (found.name, found.role, found.clinic) == ("some-clinic", "clinic", "north")
    assert found.csrf == client.headers["X-CSRF-Token"]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: httpx.Client, account: Callable[..., AccountRow]
) -> None:
    """HttpOnly, SameSite=Strict, for the whole site, for the session's hours."""
    body = {"name": account("clinic").name, "password": PASSWORD}
    cookie = client.post(LOGIN, json=body).headers["set-cookie"]
    assert cookie.startswith("bitdose=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))


def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(
    change: Callable[..., Settings], serve: Callable[[FastAPI], str], account: Callable[..., AccountRow]
) -> None:
    """With a public https address it is a ``__Host-`` cookie: Secure, Path=/, no Domain."""
    url = serve(create_app(change(public_url="https://reads.example.org")))
    body = {"name": account("clinic").name, "password": PASSWORD}
    answer = httpx.post(url + LOGIN, json=body, headers={"Host": "reads.example.org"})
    parts = answer.headers["set-cookie"].split("; ")
    assert parts[0].startswith("__Host-bitdose=")
    assert "Secure" in parts
    assert not [part for part in parts if part.lower().startswith("domain")]


@pytest.mark.parametrize("case", ["unknown", "wrong", "disabled"])
def test_one_answer_for_whatever_is_wrong(
    client: httpx.Client, account: Callable[..., AccountRow], engine: Engine, case: str
) -> None:
    """Unknown name, wrong password, disabled account: same status, same body, no cookie."""
    row = account("clinic")
    if case == "disabled":
        with sessions(engine).begin() as session:
            change_account(session, session.merge(row), disabled=True)
    body = {"name": "nobody" if case == "unknown" else row.name, "password": PASSWORD}
    body["password"] = "wrong password here" if case == "wrong" else PASSWORD
    answer = client.post(LOGIN, json=body)
    assert (answer.status_code, answer.json()["detail"]) == (401, "name or password is wrong")
    assert "set-cookie" not in answer.headers


def test_a_login_over_a_planted_cookie_gets_a_fresh_one(
    client: httpx.Client, new_client: Callable[[], httpx.Client], account: Callable[..., AccountRow]
) -> None:
    """Whoever planted the cookie before the login is not logged in by it."""
    planted, thief = {"Cookie": "bitdose=planted-by-somebody"}, new_client()
    body = {"name": account("clinic").name, "password": PASSWORD}
    assert client.post(LOGIN, json=body, headers=planted).status_code == 200
    assert client.get(ME).status_code == 200
    assert thief.get(ME, headers=planted).status_code == 401


def test_after_logout_the_cookie_is_worth_nothing(login: Callable[..., httpx.Client]) -> None:
    """A copy of the cookie that somebody kept is refused after the logout."""
    client = login("clinic")
    kept = dict(client.cookies)
    assert client.post("/api/v1/logout").status_code == 204
    assert not client.cookies
    assert client.get(ME, headers={"Cookie": f"bitdose={kept['bitdose']}"}).status_code == 401


def test_a_new_password_ends_all_logins_and_tokens(
    login: Callable[..., httpx.Client], uploader: Callable[..., httpx.Client]
) -> None:
    """After a change every browser and uploader of the account has to come with something new."""
    here, there, machine = login("clinic"), login("clinic"), uploader("clinic")
    answer = here.put("/api/v1/password", json={"old": PASSWORD, "new": OTHER})
    assert answer.status_code == 204
    assert [client.get(ME).status_code for client in (here, there, machine)] == [401, 401, 401]
    assert here.post(LOGIN, json={"name": "some-clinic", "password": PASSWORD}).status_code == 401
    assert here.post(LOGIN, json={"name": "some-clinic", "password": OTHER}).status_code == 200


def test_a_new_password_needs_the_old_one_and_some_strength(login: Callable[..., httpx.Client]) -> None:
    """A borrowed browser cannot change the password; a weak new one is refused, and nothing ends."""
    client = login("clinic")
    assert client.put("/api/v1/password", json={"old": OTHER, "new": OTHER}).status_code == 401
    weak = client.put("/api/v1/password", json={"old": PASSWORD, "new": "password1234"})
    assert (weak.status_code, "tried first" in weak.json()["detail"]) == (422, True)
    assert client.get(ME).status_code == 200


def test_a_token_is_shown_once(login: Callable[..., httpx.Client], client: httpx.Client) -> None:
    """The list names it without its text; with the text one is its account, without a CSRF token."""
    browser = login("clinic")
    made = browser.post(TOKENS, json={"name": "uploader"}).json()
    assert made["token"] not in browser.get(TOKENS).text
    assert [each["name"] for each in browser.get(TOKENS).json()["tokens"]] == ["uploader"]
    found = client.get(ME, headers={"Authorization": f"Bearer {made['token']}"}).json()
    assert (found["name"], found["csrf"]) == ("some-clinic", "")
    assert browser.get(TOKENS).json()["tokens"][0]["used"] is not None


def test_a_token_of_another_is_not_there(login: Callable[..., httpx.Client]) -> None:
    """Revoking somebody else's token is a 404, and it goes on working."""
    one, other = login("clinic"), login("clinic", name="neighbour")
    made = one.post(TOKENS, json={"name": "uploader"}).json()
    assert other.delete(f"{TOKENS}/{made['id']}").status_code == 404
    assert len(one.get(TOKENS).json()["tokens"]) == 1
    assert one.delete(f"{TOKENS}/{made['id']}").status_code == 204
    assert one.get(TOKENS).json()["tokens"] == []


def test_a_disabled_account_is_out_at_once(uploader: Callable[..., httpx.Client], engine: Engine) -> None:
    """Its token fails with the next request, even if somebody un-revokes the row."""
    machine = uploader("clinic")
    assert machine.get(ME).status_code == 200
    with sessions(engine).begin() as session:
        change_account(session, session.scalars(select(AccountRow)).one(), disabled=True)
    with sessions(engine).begin() as session:
        session.scalars(select(TokenRow)).one().revoked = False
    assert machine.get(ME).status_code == 401


def test_old_hashes_are_made_anew_at_login(
    client: httpx.Client, account: Callable[..., AccountRow], engine: Engine
) -> None:
    """A hash of lower costs is replaced when its password is at hand."""
    import argon2

    row = account("clinic")
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with sessions(engine).begin() as session:
        session.merge(row).password = cheap
    assert client.post(LOGIN, json={"name": row.name, "password": PASSWORD}).status_code == 200
    with reading(engine) as session:
        assert session.scalar(select(AccountRow.password)) != cheap
    assert client.post(LOGIN, json={"name": row.name, "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("act", ["login", "password"])
@pytest.mark.parametrize("change", ["disabled", "password"])
def test_an_admins_change_wins_over_a_login_under_way(
    *,
    login: Callable[..., httpx.Client],
    account: Callable[..., AccountRow],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    change: str,
) -> None:
    """Disabled, or given another password, between the check and its use: nothing comes of the old one."""
    client, row = login("clinic"), account("clinic")
    check = auth.matches
    values = {"disabled": True} if change == "disabled" else {"password": "quite another text"}

    def slow(stored: str | None, password: str) -> bool:
        right = check(stored, password)
        with sessions(engine).begin() as session:
            change_account(session, session.get_one(AccountRow, row.id), **values)
        return right

    monkeypatch.setattr(auth, "matches", slow)
    if act == "login":
        answer = client.post(LOGIN, json={"name": row.name, "password": PASSWORD})
    else:
        answer = client.put("/api/v1/password", json={"old": PASSWORD, "new": OTHER})
    assert answer.status_code == 401
    assert client.get(ME).status_code == 401
    with reading(engine) as session:
        now = session.get_one(AccountRow, row.id)
        assert now.disabled is (change == "disabled")
        assert check(now.password, values.get("password", PASSWORD))


def test_a_text_with_a_zero_byte_is_a_wrong_request(
    change: Callable[..., Settings], serve: Callable[[FastAPI], str], database_url: str
) -> None:
    """PostgreSQL keeps none; both databases answer 422, and the service goes on."""
    app = create_app(change(database=database_url))
    with httpx.Client(base_url=serve(app)) as client:
        for name in ("a\x00b", "\x00"):
            answer = client.post(LOGIN, json={"name": name, "password": "x"})
            assert answer.status_code == 422
            assert "zero byte" in answer.json()["detail"]
    app.state.context.engine.dispose()

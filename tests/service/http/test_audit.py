"""The record of accesses: every request once, refused ones too, and nothing of its contents."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import Engine, event, select

from bitdose.service.db.database import reading
from bitdose.service.db.tables import AuditRow
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings

LOGIN = "/api/v1/login"


@pytest.fixture
def entries(engine: Engine) -> Callable[[], list[AuditRow]]:
    """Give the rows, oldest first."""

    def read() -> list[AuditRow]:
        with reading(engine) as session:
            return list(session.scalars(select(AuditRow).order_by(AuditRow.id)))

    return read


def test_who_did_what_and_how_it_ended(
    login: Callable[..., httpx.Client], entries: Callable[[], list[AuditRow]]
) -> None:
    """A row has account, role, address, method and route template, target, status."""
    client = login("clinic")
    made = client.post("/api/v1/tokens", json={"name": "uploader"}).json()
    client.delete(f"/api/v1/tokens/{made['id']}")
    found = [(r.account, r.role, r.address, r.action, r.target, r.status) for r in entries()]
    who = ("some-clinic", "clinic", "127.0.0.1")
    assert found == [
        (*who, "POST /api/v1/login", "", 200),
        (*who, "POST /api/v1/tokens", made["id"], 201),
        (*who, "DELETE /api/v1/tokens/{token_id}", made["id"], 204),
    ]


def test_refusals_are_recorded(
    login: Callable[..., httpx.Client], client: httpx.Client, entries: Callable[[], list[AuditRow]]
) -> None:
    """Strangers, wrong passwords, missing rights, missing CSRF tokens, foreign hosts: each leaves a row."""
    someone = login("clinic")
    client.get("/api/v1/me")
    client.post(LOGIN, json={"name": "some-clinic", "password": "not this one"})
    client.post(LOGIN, json={"name": "my password", "password": "in the wrong field"})
    someone.get("/api/v1/admin/accounts")
    someone.post("/api/v1/logout", headers={"X-CSRF-Token": "forged"})
    client.get("/api/v1/me", headers={"Host": "evil.example"})
    found = [(row.account, row.action.split("/")[-1], row.status, row.detail) for row in entries()[1:]]
    assert found == [
        ("", "me", 401, ""),
        ("", "login", 401, "as some-clinic"),
        ("", "login", 401, "as nobody known"),
        ("some-clinic", "accounts", 403, ""),
        ("some-clinic", "logout", 403, ""),
        ("", "GET (none)", 400, ""),
    ]


def test_a_row_holds_no_path_query_or_body(
    client: httpx.Client, entries: Callable[[], list[AuditRow]]
) -> None:
    """What was typed into the address bar or a form may name a patient: none of it is recorded."""
    client.get("/exams/of/Jane Doe?name=Jane")
    client.delete("/api/v1/tokens/Jane%20Doe")
    client.post(LOGIN, json={"name": "Jane Doe", "password": "Jane Doe's"})
    text = " ".join(f"{r.action} {r.target} {r.detail}" for r in entries())
    assert len(entries()) == 3
    assert "Jane" not in text


def test_probes_are_not_recorded(client: httpx.Client, entries: Callable[[], list[AuditRow]]) -> None:
    """A probe every second would bury the rest, and it shows nothing."""
    client.get("/healthz")
    client.get("/readyz")
    assert entries() == []


def test_nothing_is_shown_that_cannot_be_recorded(login: Callable[..., httpx.Client], engine: Engine) -> None:
    """Where the record fails, the answer is a 500: no access goes unrecorded."""
    admin = login("admin")

    def fail(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO audit"):
            raise OSError("disk full")

    event.listen(engine, "before_cursor_execute", fail)
    answer = admin.get("/api/v1/admin/accounts")
    assert answer.status_code == 500
    assert "some-admin" not in answer.text
    event.remove(engine, "before_cursor_execute", fail)
    assert admin.get("/api/v1/admin/accounts").status_code == 200


def test_only_a_trusted_proxy_says_where_a_request_comes_from(
    change: Callable[..., Settings],
    serve: Callable[..., str],
    server: str,
    entries: Callable[[], list[AuditRow]],
) -> None:
    """``X-Forwarded-For`` is believed from the proxies of the settings and from nobody else."""
    headers = {"X-Forwarded-For": "203.0.113.9"}
    httpx.get(f"{server}/api/v1/me", headers=headers)
    trusting = serve(create_app(change(trusted_proxies=("127.0.0.1",))))
    httpx.get(f"{trusting}/api/v1/me", headers=headers)
    assert [row.address for row in entries()] == ["127.0.0.1", "203.0.113.9"]

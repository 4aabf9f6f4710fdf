"""Errors: one form for all, and nothing in them that the request or the machine should not show."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select

from bitdose.service.db.database import reading
from bitdose.service.db.tables import AuditRow
from bitdose.service.http.openapi import with_problems
from bitdose.service.problems import MEDIA_TYPE
from bitdose.wire import Problem


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/page", 404),
        ("GET", "/api/v1/login", 405),
        ("GET", "/api/v1/me", 401),
        ("POST", "/api/v1/login", 422),
        ("GET", "/api/v1/../../etc/passwd", 404),
        ("GET", "/api/v1/%2e%2e/%2e%2e/etc/passwd", 404),
        ("BREW", "/api/v1/me", 405),
    ],
)
def test_every_error_is_a_problem(client: httpx.Client, method: str, path: str, status: int) -> None:
    """What is not there, not allowed or not understood comes as ``application/problem+json``."""
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert Problem.model_validate(answer.json()).status == status


def test_a_wrong_request_is_told_by_its_field_and_not_by_its_value(client: httpx.Client) -> None:
    """The detail names the field; what was typed into it stays out."""
    answer = client.post("/api/v1/login", json={"name": "ana", "password": ["Jane Doe"], "extra": "Jane Doe"})
    assert answer.status_code == 422
    assert "body.password" in answer.json()["detail"]
    assert "Jane" not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"name": "\\ud800", "password": "x"}']
)
def test_what_is_no_json_object_is_a_wrong_request(client: httpx.Client, body: bytes) -> None:
    """Broken JSON, other kinds and lone surrogates are refused, never a crash."""
    answer = client.post("/api/v1/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (401, 422)


def test_a_crash_shows_nothing_and_logs_its_place_only(
    app: FastAPI, serve: Callable[[FastAPI], str], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw is a 500 without its text; the log has kind and place, the audit has the 500."""

    @app.get("/crash")
    def crash() -> None:
        raise ValueError("patient Jane Doe, 1961")

    with caplog.at_level(logging.INFO):
        answer = httpx.get(serve(app) + "/crash")
    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Jane" not in answer.text + caplog.text
    assert "internal error: ValueError in" in caplog.text
    with reading(engine) as session:
        assert session.scalars(select(AuditRow.status)).all() == [500]


def test_the_schema_declares_problems_and_not_another_form(app: FastAPI) -> None:
    """Every operation may answer with a problem; FastAPI's own error form is not in the schema."""
    schema = app.openapi()
    operations = [o for path in schema["paths"].values() for o in path.values() if "responses" in o]
    assert len(operations) > 15
    assert all(MEDIA_TYPE in operation["responses"]["default"]["content"] for operation in operations)
    assert "HTTPValidationError" not in str(schema)
    assert {"login", "token"} == set(schema["components"]["securitySchemes"])


def test_every_reference_of_the_schema_leads_somewhere(app: FastAPI) -> None:
    """A client generator finds every part that the schema names."""
    schema = app.openapi()
    names = {part.split('"')[0].split("'")[0] for part in str(schema).split("#/components/schemas/")[1:]}
    assert names <= set(schema["components"]["schemas"])


def test_an_empty_schema_gets_the_problem_only() -> None:
    """A schema without paths is described all the same."""
    assert list(with_problems({})["components"]["schemas"]) == ["Problem"]

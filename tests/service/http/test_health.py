"""Probes and figures."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, update

from bitdose.service.db.database import sessions
from bitdose.service.db.tables import ProfileRow
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings


def test_a_service_with_a_profile_is_alive_and_ready(client: httpx.Client) -> None:
    """Both probes answer 200 to anybody, once a profile is active."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_without_an_active_profile_it_is_alive_but_not_ready(client: httpx.Client, engine: Engine) -> None:
    """Readiness says what is missing, as a problem with status 503."""
    with sessions(engine).begin() as session:
        session.execute(update(ProfileRow).values(active=False))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "no profile is active: an admin must add and activate one",
    )
    assert client.get("/healthz").status_code == 200


def test_a_database_that_is_gone_is_told_without_its_address(
    change: Callable[..., Settings], serve: Callable[[FastAPI], str]
) -> None:
    """A database that stops answering is a 503 whose text holds no path."""
    settings = change()
    app = create_app(settings)
    url = serve(app)
    app.state.context.engine.dispose()
    (settings.data / "bitdose.sqlite").unlink()
    (settings.data / "bitdose.sqlite").mkdir()
    answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the database does not respond")


def test_figures_count_routes_by_template(login: Callable[..., httpx.Client]) -> None:
    """Prometheus sees route templates and statuses: no id, name, address or path as typed."""
    admin = login("admin")
    admin.delete("/api/v1/tokens/" + "ab" * 16)
    admin.get("/nothing/jane-doe")
    text = admin.get("/metrics").text
    assert (
        'bitdose_requests_total{method="DELETE",route="/api/v1/tokens/{token_id}",status="404"} 1.0' in text
    )
    assert 'route="(none)",status="404"' in text
    assert 'bitdose_exams{state="queued"} 0.0' in text
    assert not {"jane-doe", "ab" * 16, "some-admin", "127.0.0.1"} & set(text.replace('"', " ").split())


def test_a_scraper_needs_an_admins_token(uploader: Callable[..., httpx.Client], client: httpx.Client) -> None:
    """The figures are an admin's: a token of one will do, a clinic's will not, nobody's neither."""
    assert uploader("admin").get("/metrics").status_code == 200
    assert uploader("clinic").get("/metrics").status_code == 403
    assert client.get("/metrics").status_code == 401

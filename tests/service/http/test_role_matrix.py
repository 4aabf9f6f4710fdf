"""Who may do what: every route of the app against one table, for every role, by login and by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from bitdose.service.http.app import ROUTERS
from bitdose.wire import Role

C, P, A = Role.CLINIC, Role.PHYSICIAN, Role.ADMIN
ALL = (C, P, A)
API = "/api/v1"
# For each route: who may with a login; who may with an API token.
TABLE: dict[str, tuple[tuple[Role, ...], tuple[Role, ...]]] = {
    "GET /metrics": ((A,), (A,)),
    f"POST {API}/logout": (ALL, ()),
    f"GET {API}/me": (ALL, ALL),
    f"PUT {API}/password": (ALL, ()),
    f"GET {API}/tokens": (ALL, ()),
    f"POST {API}/tokens": (ALL, ()),
    f"DELETE {API}/tokens/{{token_id}}": (ALL, ()),
    f"GET {API}/admin/accounts": ((A,), ()),
    f"POST {API}/admin/accounts": ((A,), ()),
    f"PATCH {API}/admin/accounts/{{account_id}}": ((A,), ()),
    f"DELETE {API}/admin/accounts/{{account_id}}": ((A,), ()),
    f"GET {API}/admin/profiles": ((A,), ()),
    f"POST {API}/admin/profiles": ((A,), ()),
    f"POST {API}/admin/profiles/{{profile_id}}/activate": ((A,), ()),
    f"GET {API}/admin/audit": ((A,), ()),
    f"GET {API}/admin/stats": ((A,), ()),
    f"GET {API}/admin/sentinel": ((A,), ()),
    f"GET {API}/profile": (ALL, ALL),
    f"POST {API}/uploads": ((C,), (C,)),
    f"HEAD {API}/uploads/{{upload_id}}": ((C,), (C,)),
    f"PATCH {API}/uploads/{{upload_id}}": ((C,), (C,)),
    f"DELETE {API}/uploads/{{upload_id}}": ((C,), (C,)),
    f"GET {API}/exams": (ALL, ALL),
    f"GET {API}/exams/{{exam_id}}": (ALL, ALL),
    f"GET {API}/exams/{{exam_id}}/image": (ALL, ALL),
    f"POST {API}/exams/{{exam_id}}/review": ((P,), (P,)),
    f"DELETE {API}/exams/{{exam_id}}": ((C, A), (C, A)),
    f"GET {API}/events": (ALL, ALL),
}
# Pages send strangers to the login; a token may look at what its role may.
PAGES: dict[str, tuple[Role, ...]] = {
    "GET /send": (C,),
    "GET /worklist": ALL,
    "GET /exams/{exam_id}": ALL,
    "GET /admin": (A,),
}
# What a stranger may see: whether the service lives, what it speaks, and the way in.
OPEN = {
    "GET /healthz",
    "GET /readyz",
    f"POST {API}/login",
    f"OPTIONS {API}/uploads",
    f"OPTIONS {API}/uploads/{{upload_id}}",
    "GET /",
    "GET /login",
    "GET /static/{name}",
    "GET /sw.js",
}
# Bodies that are right enough to get past validation, and change nothing of an allowed caller.
BODIES = {
    f"PUT {API}/password": {"old": "not my password", "new": "four other words here"},
    f"POST {API}/tokens": {"name": "t"},
    f"POST {API}/admin/accounts": {"name": "x y", "role": "admin", "password": "p"},
    f"PATCH {API}/admin/accounts/{{account_id}}": {"disabled": True},
    f"POST {API}/admin/profiles": {},
    f"POST {API}/exams/{{exam_id}}/review": {"verdict": "confirm"},
}
IDS = {"account_id": "999999", "name": "no.js"}


def _routes() -> Iterator[str]:
    for module in ROUTERS:
        for route in import_module(module).router.routes:
            assert isinstance(route, APIRoute), f"{module}: {route} is not plain; the matrix cannot see it"
            yield from (f"{method} {route.path}" for method in route.methods)


def _ask(client: httpx.Client, route: str) -> int:
    """Ask for a route with made-up ids; an event stream is left once it has begun."""
    method, path = route.split(" ")
    for name in [part.split("}")[0] for part in path.split("{")[1:]]:
        path = path.replace(f"{{{name}}}", IDS.get(name, "ab" * 16))
    with client.stream(method, path, json=BODIES.get(route)) as answer:
        return answer.status_code


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    """A new route without a row fails here, and so does a row of a route that is gone."""
    routes = list(_routes())
    assert len(routes) == len(set(routes))
    assert set(routes) == {*TABLE, *PAGES, *OPEN}


def test_the_app_serves_the_routers_and_nothing_beside_them(app: FastAPI) -> None:
    """The app's own routes are the schema's only: nothing is mounted past the table."""
    own = {path for route in app.routes if (path := getattr(route, "path", None))}
    assert own == {f"{API}/openapi.json"}


def test_strangers_get_in_nowhere(client: httpx.Client) -> None:
    """Without login or token the API answers 401 and a page sends to the login."""
    assert {route: _ask(client, route) for route in TABLE} == dict.fromkeys(TABLE, 401)
    assert {route: _ask(client, route) for route in PAGES} == dict.fromkeys(PAGES, 303)


@pytest.mark.parametrize("header", ["Bearer bdt_" + "A" * 43, "Bearer", "Basic YTpi", "bdt", ""])
def test_a_forged_token_gets_in_nowhere(login: Callable[..., httpx.Client], header: str) -> None:
    """A wrong ``Authorization`` is refused everywhere, even beside a login that is right."""
    client = login("admin")
    client.headers["Authorization"] = header
    assert {route: _ask(client, route) for route in TABLE} == dict.fromkeys(TABLE, 401)


@pytest.mark.parametrize("role", ALL)
def test_a_login_may_what_the_table_says(login: Callable[..., httpx.Client], role: Role) -> None:
    """Logged in, a role is let in where its row says so, and is told 403 everywhere else."""
    client = login(role)
    last = [f"PUT {API}/password", f"POST {API}/logout"]
    for route in [*(route for route in TABLE if route not in last), *last]:
        status = _ask(client, route)
        if role not in TABLE[route][0]:
            assert status == 403, route
        elif route == last[0]:
            assert status == 401  # the old password was wrong
        else:
            assert status not in (401, 403, 405), route
            assert status < 500, route


@pytest.mark.parametrize("role", ALL)
def test_a_token_may_what_the_table_says(uploader: Callable[..., httpx.Client], role: Role) -> None:
    """A token does its role's work with exams; accounts, tokens and profiles are out of its reach."""
    client = uploader(role)
    for route, (_, allowed) in TABLE.items():
        status = _ask(client, route)
        if role not in allowed:
            assert status == 403, route
        else:
            assert status not in (401, 403, 405), route
            assert status < 500, route


@pytest.mark.parametrize("role", ALL)
def test_a_page_is_shown_to_its_roles(login: Callable[..., httpx.Client], role: Role) -> None:
    """A page of another role is a 403; where the pages are not built, an own one is a 503."""
    client = login(role)
    for route, allowed in PAGES.items():
        assert _ask(client, route) in ((200, 503) if role in allowed else (403,)), route


@pytest.mark.parametrize("role", ALL)
@pytest.mark.parametrize("csrf", ["", "forged", None])
def test_no_change_by_cookie_without_its_csrf_token(
    login: Callable[..., httpx.Client], role: Role, csrf: str | None
) -> None:
    """Every route that changes something refuses a login whose CSRF token is absent, empty or wrong."""
    client = login(role)
    del client.headers["X-CSRF-Token"]
    if csrf is not None:
        client.headers["X-CSRF-Token"] = csrf
    changes = [route for route in TABLE if route.split(" ")[0] not in ("GET", "HEAD")]
    assert {route: _ask(client, route) for route in changes} == dict.fromkeys(changes, 403)
    assert client.get(f"{API}/me").status_code == 200

"""What the browser is told, and what is refused before any route: hosts, origins, sizes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI

from bitdose.service.http.app import create_app
from bitdose.service.http.headers import HEADERS
from bitdose.service.settings import Settings

LOGIN = "/api/v1/login"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/me", "/no/such/page", "/metrics"])
def test_every_answer_carries_the_headers(client: httpx.Client, path: str) -> None:
    """Answers, refusals and what is not there forbid the same things, and are kept by no cache."""
    answer = client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in answer.headers


def test_the_policy_allows_no_inline_code_and_no_frame(client: httpx.Client) -> None:
    """Scripts and styles come as files of ours; WebAssembly is the only thing that may be compiled."""
    policy = client.get("/healthz").headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"


def test_https_is_kept_to_by_the_browser(
    change: Callable[..., Settings], serve: Callable[[FastAPI], str]
) -> None:
    """A service with a public https address asks browsers to come by HTTPS only."""
    url = serve(create_app(change(public_url="https://reads.example.org")))
    answer = httpx.get(f"{url}/api/v1/me", headers={"Host": "reads.example.org"})
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a@127.0.0.1"])
def test_a_foreign_host_is_refused(client: httpx.Client, host: str) -> None:
    """A request for a name that is not ours gets 400: no link is ever made from such a name."""
    answer = client.get("/api/v1/me", headers={"Host": host})
    assert answer.status_code == (401 if host == "a@127.0.0.1" else 400)


def test_a_probe_may_ask_by_any_name(client: httpx.Client) -> None:
    """A load balancer asks by address: the probes show nothing that a name should protect."""
    assert client.get("/healthz", headers={"Host": "10.1.2.3:8000"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    """Even the login: nobody is logged in unknowingly under an account of another's."""
    body = {"name": "nobody", "password": "whatever it is"}
    assert client.post(LOGIN, json=body, headers=headers).status_code == 403
    assert client.post(LOGIN, json=body).status_code == 401


def test_a_change_from_our_own_page_passes(client: httpx.Client, server: str) -> None:
    """The browser's own headers for our own page are no obstacle."""
    headers = {"Origin": server, "Sec-Fetch-Site": "same-origin"}
    body = {"name": "nobody", "password": "whatever it is"}
    assert client.post(LOGIN, json=body, headers=headers).status_code == 401


def test_a_form_of_another_site_cannot_log_in(client: httpx.Client) -> None:
    """Only JSON is read: what an HTML form can send is a wrong request."""
    text = '{"name": "nobody", "password": "whatever it is"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {"Content-Type": kind} if kind else {}
        assert client.post(LOGIN, content=text, headers=headers).status_code == 422


def test_a_large_body_is_refused_by_its_announced_length(client: httpx.Client) -> None:
    """More than a profile can have is 413, before it is read."""
    answer = client.post(LOGIN, content=b"x" * 1_300_000)
    assert (answer.status_code, answer.json()["title"]) == (413, "Content Too Large")


def test_a_large_body_is_refused_while_it_comes(client: httpx.Client) -> None:
    """A chunked body without a length is cut off at the same size."""

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    answer = client.post(LOGIN, content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def _raw(server: str, request: bytes) -> bytes:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /api/v1/me HTTP/1.1\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_broken_requests_are_refused_and_the_service_stays_up(
    server: str, client: httpx.Client, request_bytes: bytes
) -> None:
    """No host, two hosts, impossible lengths, no HTTP at all: 4xx without a traceback, and life goes on."""
    answer = _raw(server, request_bytes)
    assert answer[9:10] == b"4", answer[:200]
    assert b"Traceback" not in answer
    assert client.get("/healthz").status_code == 200

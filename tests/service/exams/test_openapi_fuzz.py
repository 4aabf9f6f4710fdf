"""Requests made from the OpenAPI schema, right and wrong ones, by every role: none is answered with 5xx."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from bitdose.service.http.app import create_app
from bitdose.wire import API, EVENTS, UPLOADS, ExamMeta

Make = Callable[..., Any]
EXAMPLES = 4
BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ENDS_THE_LOGIN = f"POST {API}/logout"
SLOWS_THE_ADDRESS = f"POST {API}/login"
REAL_HALF = 2  # every second request is for something that is there


@pytest.fixture
def app(change: Make, database_url: str) -> Iterator[FastAPI]:
    """Give the app on SQLite, and on PostgreSQL, which takes fewer texts and numbers."""
    made = create_app(change(database=database_url))
    yield made
    made.state.context.engine.dispose()


class Caller:
    """Sends generated requests as one role, and logs in again where one of them ended the login."""

    def __init__(self, enter: Callable[[], httpx.Client], ids: dict[str, str]) -> None:
        self._enter, self._ids = enter, ids
        self._client = enter()
        self.failed: list[str] = []
        self.statuses: set[int] = set()
        self._count = 0

    def send(self, case: Any, label: str) -> None:
        """Send one; its ids are real ones every second time."""
        self._count += 1
        if self._count % REAL_HALF:
            case.path_parameters = {
                name: self._ids.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        given = case.as_transport_kwargs(base_url=str(self._client.base_url).rstrip("/"))
        headers = {
            k: v for k, v in given.pop("headers").items() if k.lower() not in _OURS and _is_plain(k, v)
        }
        given.pop("cookies", None)
        if "data" in given and not isinstance(given["data"], dict):
            given["content"] = given.pop("data")
        try:
            with self._client.stream(**given, headers=headers) as answer:
                status = answer.status_code
                if EVENTS not in label:
                    answer.read()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            return  # the client itself does not send it
        self.statuses.add(status)
        if status >= 500:
            self.failed.append(f"{label}: {status} for {given} {headers}"[:2000])

    def sender(self, label: str) -> Callable[[Any], None]:
        """Return what sends the cases of one operation."""

        def run(case: Any) -> None:
            self.send(case, label)

        return run

    def renew(self) -> None:
        """Log in again if need be."""
        if self._client.get(f"{API}/me").status_code == 401:
            self._client = self._enter()


_OURS = {
    "authorization",
    "x-csrf-token",
    "cookie",
    "connection",
    "content-length",
    "transfer-encoding",
    "host",
}


def _is_plain(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name + value).isascii() and (name + value).isprintable()


@pytest.mark.parametrize(
    ("database_url", "role"),
    [("sqlite", "clinic"), ("sqlite", "physician"), ("postgresql", "admin"), ("postgresql", "clinic")],
    indirect=["database_url"],
)
def test_no_generated_request_is_answered_with_5xx(
    *,
    app: FastAPI,
    login: Make,
    account: Make,
    uploader: Make,
    send: Make,
    coded: Make,
    draw: Make,
    opening: Make,
    read_all: Make,
    role: str,
) -> None:
    """Every operation of the schema, with right and wrong values, made up ids and real ones."""
    sender = uploader("clinic", name="sender")
    exam = send(sender, coded(draw(1)))
    read_all()
    place = login("clinic").post(UPLOADS, headers=opening(coded(draw(2)))).headers["location"]
    ids = {
        "exam_id": exam,
        "upload_id": place.rpartition("/")[2],
        "account_id": str(account("physician", name="bystander").id),
        "profile_id": app.state.context.profile.id,
    }
    caller = Caller(lambda: login(role), ids)
    schema = schemathesis.openapi.from_dict(app.openapi())
    found = {each.ok().label: each.ok() for each in schema.get_all_operations()}
    last = [SLOWS_THE_ADDRESS, ENDS_THE_LOGIN]
    for label in [*(label for label in found if label not in last), *last]:
        for mode in GenerationMode:
            run = given(case=found[label].as_strategy(generation_mode=mode))(caller.sender(label))
            with suppress(Unsatisfiable):  # no wrong request can be made of an operation that asks nothing
                BOUNDED(run)()
        if label not in last:
            caller.renew()
    assert not caller.failed, caller.failed[0]
    assert {200, 404, 422} <= caller.statuses  # it got somewhere


def test_no_metadata_of_an_upload_is_answered_with_5xx(
    *, app: FastAPI, login: Make, uploader: Make, coded: Make, draw: Make, opening: Make
) -> None:
    """Some fields of a right exam are replaced by whatever JSON holds; figures are still summed up after."""
    sender, parcel = uploader("clinic"), coded(draw(1))
    good = parcel.meta.model_dump(mode="json")
    anything = st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(2**31, 2**70), st.floats(), st.text(max_size=80)
    )
    texts, lengths = st.text(max_size=20), st.integers(1, 2**70)
    likely = st.fixed_dictionaries({"source_bytes": lengths, "client": texts, "profile": texts})
    wild = st.dictionaries(st.sampled_from(sorted(ExamMeta.model_fields)), anything, min_size=1, max_size=3)
    seen: set[int] = set()

    @given(changes=likely | wild)
    @settings(BOUNDED, max_examples=40)
    def run(changes: dict[str, Any]) -> None:
        text = base64.b64encode(json.dumps(good | changes).encode()).decode()
        headers = opening(parcel) | {"Upload-Metadata": f"exam {text}"}
        headers |= {"Content-Type": "application/offset+octet-stream"}
        answer = sender.post(UPLOADS, headers=headers, content=parcel.payload)
        seen.add(answer.status_code)
        assert answer.status_code < 500, (changes, answer.text)

    run()
    assert {400, 201} <= seen
    admin = login("admin")
    for what in ("stats", "sentinel", "audit"):
        assert admin.get(f"{API}/admin/{what}").status_code == 200, what

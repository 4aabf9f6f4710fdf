"""The uploader and the real service, with its classifier at work, over a line that is cut."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bitdose.client.deidentify.pseudonyms import Pseudonyms
from bitdose.client.sending.connection import Server, connect
from bitdose.client.sending.intake import Intake
from bitdose.client.sending.outbox import ItemState, Outbox
from bitdose.client.sending.profile_source import profile_of_service
from bitdose.client.sending.send import Event, Sender
from bitdose.models.load import ModelRef
from bitdose.profile.document import Profile, save_profile

uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def phantom_profile(tmp_path_factory: pytest.TempPathFactory, new_profile: Callable[..., Profile]) -> Profile:
    """Give a profile of full-size JPEG 2000 for the shipped classifier."""
    model = ModelRef("phantom").load()
    name, _, digest = model.name.partition("@")
    classifier = {"name": name, "digest": digest, "input": model.spec.to_dict()}
    return new_profile(tmp_path_factory.mktemp("phantom"), "jpeg2000:4x", classifier=classifier)


@pytest.fixture
def service(tmp_path: Path, phantom_profile: Profile) -> Iterator[tuple[str, str]]:
    """Run the real service with one worker; give its URL and a clinic's token."""
    from bitdose.service import clock
    from bitdose.service.accounts.accounts import add_account
    from bitdose.service.accounts.tokens import make_token
    from bitdose.service.db.database import sessions
    from bitdose.service.http.app import create_app
    from bitdose.service.settings import Settings
    from bitdose.wire import Role

    save_profile(phantom_profile, tmp_path / "profile.json")
    settings = Settings(
        data=tmp_path / "service", model="phantom", profile=str(tmp_path / "profile.json"), sentinel_share=1.0
    )
    app = create_app(settings, start_workers=True)
    with sessions(app.state.context.engine).begin() as session:
        words = {"password": "four plain words here", "now": clock.now()}
        account = add_account(session, name="hill", role=Role.CLINIC, clinic="hill", **words)
        session.flush()
        _, token = make_token(session, account.id, "uploader", now=clock.now())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", token
    server.should_exit = True
    thread.join(20)


def test_exams_reach_the_classifier_over_a_line_that_is_cut(
    tmp_path: Path, service: tuple[str, str], png: Callable[..., bytes], lines: Callable[..., Any]
) -> None:
    """Two exams and their pristine halves arrive once each, are answered, paired, and cost their bytes once.

    The line is slow enough for the server to have read what came before the cut.
    """
    url, token = service
    line = lines(url)
    server = Server(line.url, token)
    outbox, events = Outbox(tmp_path), list[Event]()
    with connect(server) as client:
        found = profile_of_service(client, tmp_path, server.name)
        options = {"server": server.name, "sentinel_share": found.sentinel_share}
        intake = Intake(outbox, Pseudonyms(tmp_path), found.profile, **options)
        for seed in range(2):
            intake.add(png(seed, side=512), f"{seed}.png")
        payload = sum(item.meta.payload_bytes for item in outbox.items())
        before = line.up
        line.pause_s = 0.005
        line.cuts = [before + 40_000, before + 90_000]
        Sender(outbox, server, client, say=events.append).run(idle=True, patience_s=60)
    items = outbox.items()
    assert [item.state for item in items] == [ItemState.ANSWERED] * 4
    assert len({item.exam for item in items}) == 4
    for coded, pristine in ((items[0], items[1]), (items[2], items[3])):
        assert coded.answer["answer"]["predicted"]
        assert coded.answer["pair"] == pristine.answer["pair"] is not None
        assert coded.answer["certified"][0]["metric"] == "accuracy"
    print(f"payloads {payload}, at the socket {line.up - before}, {line.connections} connections")
    assert line.up - before < payload + 30_000
    assert [event.what for event in events].count("resumed") >= 1

"""Exams as they are shown, judged, deleted and told live, to whom they concern."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image as PillowImage

from bitdose.codecs.coding import code_points
from bitdose.codecs.point import Point
from bitdose.profile.document import Profile
from bitdose.wire import API, EVENTS, EXAM_HEADER, EXAMS, UPLOADS, ExamView

Make = Callable[..., Any]


@pytest.fixture
def sender(uploader: Make) -> httpx.Client:
    """Give the uploader of the clinic ``north``."""
    return uploader("clinic")


@pytest.fixture
def exam_id(sender: httpx.Client, send: Make, coded: Make, draw: Make) -> str:
    """Give an exam that waits."""
    return send(sender, coded(draw(1)))


def pixels_of(answer: httpx.Response) -> np.ndarray:
    """Decode an image answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    return np.asarray(PillowImage.open(io.BytesIO(answer.content)))


def test_an_answer_comes_with_what_was_certified(
    sender: httpx.Client, exam_id: str, read_all: Make, profile: Profile
) -> None:
    """An answered exam shows probabilities, profile, certified losses and the disclaimer."""
    assert sender.get(f"{EXAMS}/{exam_id}").json()["state"] == "queued"
    assert read_all() == 1
    view = ExamView.model_validate(sender.get(f"{EXAMS}/{exam_id}").json())
    assert view.state == "answered"
    assert view.answer is not None
    assert sum(view.answer.probabilities.values()) == pytest.approx(1)
    assert view.profile == profile.id
    assert {loss.metric for loss in view.certified} == {"accuracy", "flips"}
    assert view.disclaimer.startswith("Research use only")
    assert view.answered is not None
    assert view.answered >= view.received


def test_a_list_is_paged_newest_first(sender: httpx.Client, send: Make, coded: Make, draw: Make) -> None:
    """Pages follow each other without gap or repetition, also when new exams come in between."""
    ids = [send(sender, coded(draw(seed))) for seed in range(5)]
    first = sender.get(EXAMS, params={"limit": 2}).json()
    send(sender, coded(draw(9)))
    second = sender.get(EXAMS, params={"limit": 2, "cursor": first["next"]}).json()
    third = sender.get(EXAMS, params={"limit": 2, "cursor": second["next"]}).json()
    seen = [exam["id"] for page in (first, second, third) for exam in page["exams"]]
    assert seen == ids[::-1]
    assert third["next"] is None


@pytest.mark.parametrize(
    "cursor", ["x", "AAAA", "%00", "9" * 200, "MjAyNi0xMy00NVQwMDowMDowMCswMDowMCBhYg=="]
)
def test_a_made_up_cursor_is_refused(sender: httpx.Client, cursor: str) -> None:
    """A cursor that no page gave is 400."""
    assert sender.get(EXAMS, params={"cursor": cursor}).status_code == 400


def test_a_list_can_be_narrowed(
    *, sender: httpx.Client, exam_id: str, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """By state and by kind."""
    read_all()
    waiting = send(sender, coded(draw(2)))
    for state, expected in (("answered", [exam_id]), ("queued", [waiting]), ("failed", [])):
        found = sender.get(EXAMS, params={"state": state}).json()["exams"]
        assert [exam["id"] for exam in found] == expected
    assert sender.get(EXAMS, params={"kind": "pristine"}).json()["exams"] == []
    assert sender.get(EXAMS, params={"state": "lost"}).status_code == 422


@pytest.mark.parametrize("name", ["x", "0" * 31, "%00", "..%2f..%2fetc", "A" * 32])
def test_what_is_no_id_is_no_exam(sender: httpx.Client, name: str) -> None:
    """Nothing but 32 hexadecimal digits reaches the tables."""
    assert sender.get(f"{EXAMS}/{name}").status_code == 404


def test_a_clinic_sees_its_own_exams_only(
    sender: httpx.Client, exam_id: str, uploader: Make, login: Make
) -> None:
    """To another clinic an exam is not there; physicians and admins see all, a colleague the clinic's."""
    other = uploader("clinic", name="south-1", clinic="south")
    for path in ("", "/image"):
        assert other.get(f"{EXAMS}/{exam_id}{path}").status_code == 404
    assert other.delete(f"{EXAMS}/{exam_id}").status_code == 404
    assert other.get(EXAMS).json()["exams"] == []
    colleague = uploader("clinic", name="north-2")
    for client in (sender, colleague, login("physician"), login("admin")):
        assert client.get(f"{EXAMS}/{exam_id}").status_code == 200
        assert len(client.get(EXAMS).json()["exams"]) == 1


def test_the_image_is_what_the_classifier_saw(sender: httpx.Client, exam_id: str, draw: Make) -> None:
    """The picture of a coded exam is decoded and interpolated back, at the original's size."""
    ((_, studied),) = code_points(draw(1), [Point.parse("jpeg:q30@256")], exact=True)
    assert np.array_equal(pixels_of(sender.get(f"{EXAMS}/{exam_id}/image")), studied.image.pixels)


def test_a_window_maps_its_samples(sender: httpx.Client, send: Make, pristine: Make, draw: Make) -> None:
    """The lower edge of a window is black and its upper white, in the image's own samples."""
    image = draw(1, bits=16)
    exam_id = send(sender, pristine(image))
    place = f"{EXAMS}/{exam_id}/image"
    shown = pixels_of(sender.get(place, params={"window": "30000,20000"}))
    expected = np.floor(np.clip((image.pixels.astype(float) - 20000) / 20000, 0, 1) * 255 + 0.5)
    assert np.array_equal(shown, expected)
    for window in ("1", "1,0", "1,-5", "nan,3", "a,b", "1,2,3"):
        assert sender.get(place, params={"window": window}).status_code == 400
    assert sender.get(place, params={"slice": 1}).status_code == 400


def test_a_physician_judges_an_answer(
    login: Make, sender: httpx.Client, exam_id: str, read_all: Make, profile: Profile
) -> None:
    """The latest verdict counts, with its author: of an answer, by a physician, with a known class."""
    doctor, place = login("physician"), f"{EXAMS}/{exam_id}/review"
    assert doctor.post(place, json={"verdict": "confirm"}).status_code == 409
    read_all()
    assert sender.post(place, json={"verdict": "confirm"}).status_code == 403
    assert login("admin").post(place, json={"verdict": "confirm"}).status_code == 403
    assert doctor.post(place, json={"verdict": "disagree", "label": "no such class"}).status_code == 422
    assert doctor.post(place, json={"verdict": "confirm", "by": "somebody else"}).status_code == 200
    label = profile.classifier.input.labels[0]
    review = doctor.post(place, json={"verdict": "disagree", "label": label}).json()["review"]
    assert (review["verdict"], review["label"], review["by"]) == ("disagree", label, "some-physician")
    assert sender.get(f"{EXAMS}/{exam_id}").json()["review"] == review


def test_a_deleted_exam_leaves_nothing(
    sender: httpx.Client, login: Make, exam_id: str, read_all: Make, app: FastAPI
) -> None:
    """Its clinic or an admin deletes it with answer, verdicts and bytes; a physician may not."""
    read_all()
    doctor = login("physician")
    doctor.post(f"{EXAMS}/{exam_id}/review", json={"verdict": "confirm"})
    assert doctor.delete(f"{EXAMS}/{exam_id}").status_code == 403
    assert sender.delete(f"{EXAMS}/{exam_id}").status_code == 204
    assert sender.get(f"{EXAMS}/{exam_id}").status_code == 404
    assert sender.delete(f"{EXAMS}/{exam_id}").status_code == 404
    assert list(app.state.context.store.names()) == []


def test_a_deleted_pristine_exam_takes_its_coded_copy_along(
    sender: httpx.Client, send: Make, pristine: Make, draw: Make, read_all: Make, *, app: FastAPI
) -> None:
    """What the service coded of it goes with it: no view, no image, no byte is left."""
    exam_id = send(sender, pristine(draw(4)))
    read_all()
    partner = sender.get(f"{EXAMS}/{exam_id}").json()["pair_id"]
    assert sender.get(f"{EXAMS}/{partner}/image").headers["cache-control"] == "no-store"
    assert sender.delete(f"{EXAMS}/{exam_id}").status_code == 204
    assert sender.get(f"{EXAMS}/{partner}").status_code == 404
    assert list(app.state.context.store.names()) == []


def test_a_pristine_exam_is_coded_for_comparison(
    sender: httpx.Client, send: Make, pristine: Make, draw: Make, read_all: Make
) -> None:
    """One that came alone gets a partner at the profile's point, and each shows the other."""
    exam_id = send(sender, pristine(draw(4)))
    assert read_all() == 1
    mine = sender.get(f"{EXAMS}/{exam_id}").json()
    partner = sender.get(f"{EXAMS}/{mine['pair_id']}").json()
    assert (mine["kind"], partner["kind"], partner["point"]) == ("pristine", "coded", "jpeg:q30@256")
    assert (mine["state"], partner["state"], partner["pair_id"]) == ("answered", "answered", exam_id)
    assert partner["pseudonym"] == mine["pseudonym"]
    assert partner["payload_bytes"] < mine["payload_bytes"] / 10
    pixels_of(sender.get(f"{EXAMS}/{partner['id']}/image"))


def test_a_pair_that_was_sent_is_not_coded_again(
    *, sender: httpx.Client, send: Make, coded: Make, pristine: Make, draw: Make, read_all: Make
) -> None:
    """A clinic's own coded exam is the partner, whichever is read first."""
    said = {"pair": "pair-00001", "pseudonym": "somebody-1"}
    original = send(sender, pristine(draw(5), **said))
    small = send(sender, coded(draw(5), **said))
    assert read_all() == 2
    assert len(sender.get(EXAMS).json()["exams"]) == 2
    assert sender.get(f"{EXAMS}/{original}").json()["pair_id"] == small
    assert sender.get(f"{EXAMS}/{small}").json()["pair_id"] == original


def test_the_sentinel_sees_the_pairs(
    *,
    sender: httpx.Client,
    send: Make,
    coded: Make,
    pristine: Make,
    draw: Make,
    read_all: Make,
    app: FastAPI,
    profile: Profile,
) -> None:
    """Pairs read under the profile are counted once each, with the answers that were given."""
    from bitdose.service.exams.pairs import load_pairs, sentinel_of

    said = {"pair": "pair-00001", "pseudonym": "somebody-1"}
    send(sender, coded(draw(5), **said))
    send(sender, pristine(draw(5), **said))
    send(sender, pristine(draw(6)))
    send(sender, coded(draw(7)))  # without a partner
    read_all()
    engine = app.state.context.engine
    pairs = load_pairs(engine, profile.id)
    assert len(pairs) == 2
    answers = {exam["id"]: exam for exam in sender.get(EXAMS).json()["exams"]}
    expected = sorted(
        (answers[e["pair_id"]]["answer"]["predicted"], e["answer"]["predicted"])
        for e in answers.values()
        if e["kind"] == "pristine"
    )
    assert sorted((pair.coded, pair.pristine) for pair in pairs) == expected
    assert sentinel_of(engine, profile, alpha=0.05).pairs == 2
    assert load_pairs(engine, "another") == []


def test_the_answer_may_come_with_the_word_of_arrival(
    sender: httpx.Client, read_all: Make, coded: Make, draw: Make, opening: Make
) -> None:
    """A POST of a whole exam that prefers to wait is answered with the exam's view, or after its time."""
    parcel = coded(draw(5))
    headers = opening(parcel) | {"Content-Type": "application/offset+octet-stream"}
    early = sender.post(UPLOADS, headers=headers | {"Prefer": "wait=0"}, content=parcel.payload)
    assert ExamView.model_validate(early.json()).state == "queued"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            sender.post, UPLOADS, headers=headers | {"Prefer": "wait=20"}, content=parcel.payload
        )
        assert read_all() == 1
        answer = asked.result(20)
    view = ExamView.model_validate(answer.json())
    assert (answer.status_code, view.state, view.id) == (201, "answered", answer.headers[EXAM_HEADER])
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert int(answer.headers["Upload-Offset"]) == len(parcel.payload)
    assert not sender.post(UPLOADS, headers=headers, content=parcel.payload).content


def test_who_waits_is_told_at_once(sender: httpx.Client, exam_id: str, read_all: Make) -> None:
    """A request that waits returns when the exam is answered, not later and not earlier."""
    threading.Timer(0.5, read_all).start()
    began = time.monotonic()
    view = sender.get(f"{EXAMS}/{exam_id}", params={"wait": 20}).json()
    assert view["state"] == "answered"
    assert 0.4 < time.monotonic() - began < 10
    began = time.monotonic()
    assert sender.get(f"{EXAMS}/{exam_id}", params={"wait": 20}).json()["state"] == "answered"
    assert time.monotonic() - began < 2


def test_waiting_ends(sender: httpx.Client, exam_id: str) -> None:
    """An exam that nobody reads is shown as it is after the seconds asked for, of which 30 are the most."""
    began = time.monotonic()
    assert sender.get(f"{EXAMS}/{exam_id}", params={"wait": 0.5}).json()["state"] == "queued"
    assert time.monotonic() - began >= 0.5
    assert sender.get(f"{EXAMS}/{exam_id}", params={"wait": 31}).status_code == 422


def read_events(client: httpx.Client, count: int, **headers: str) -> list[dict[str, Any]]:
    """Listen until so many events came; each with its cursor."""
    found: list[dict[str, Any]] = []
    with client.stream("GET", EVENTS, headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        at = ""
        for line in answer.iter_lines():
            if line.startswith("id: "):
                at = line.removeprefix("id: ")
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")) | {"cursor": at})
            if len(found) == count:
                break
    return found


def test_news_comes_live_to_whom_it_concerns(
    *, sender: httpx.Client, uploader: Make, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """A clinic that listens hears of its own exams as they are answered, and of nobody else's."""
    other = uploader("clinic", name="south-1", clinic="south")
    heard: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: heard.extend(read_events(sender, 2)))
    thread.start()
    time.sleep(0.5)
    theirs = send(other, coded(draw(1)))
    mine = {send(sender, coded(draw(seed))) for seed in (2, 3)}
    read_all()
    thread.join(10)
    assert {event["id"] for event in heard} == mine
    assert theirs not in mine
    assert all(event["state"] == "answered" and event["answer"] for event in heard)


def test_news_ends_with_the_login(
    *, login: Make, sender: httpx.Client, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """Who logs out while listening hears nothing more, though the connection is still there."""
    listener, heard = login("clinic"), []
    thread = threading.Thread(target=lambda: heard.extend(read_events(listener, 2)))
    thread.start()
    time.sleep(0.5)
    first = send(sender, coded(draw(1)))
    read_all()
    time.sleep(1)
    assert listener.post(f"{API}/logout").status_code < 300
    send(sender, coded(draw(2)))
    read_all()
    thread.join(20)
    assert not thread.is_alive()
    assert [event["id"] for event in heard] == [first]


def test_who_comes_back_hears_what_was_missed(
    sender: httpx.Client, send: Make, coded: Make, draw: Make, read_all: Make
) -> None:
    """With the last cursor the events since come first; nonsense as a cursor is no cursor."""
    first = send(sender, coded(draw(1)))
    read_all()
    (told,) = read_events(sender, 1, **{"Last-Event-ID": "0"})
    assert told["id"] == first
    second = send(sender, coded(draw(2)))
    read_all()
    later = read_events(sender, 2, **{"Last-Event-ID": told["cursor"]})
    assert second in {event["id"] for event in later}

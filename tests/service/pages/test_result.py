"""The result as a physician gets it: on a phone, on paper, read out, under the exam's own profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.hashing import bytes_digest
from bitdose.image import Image
from bitdose.profile.document import Profile, save_profile
from bitdose.profile.signing import Key, sign
from bitdose.service import clock
from bitdose.service.db.database import sessions
from bitdose.service.db.tables import AccountRow, AnswerRow, ExamRow
from bitdose.service.exams.profiles import activate_profile, add_profile
from bitdose.service.settings import Settings
from bitdose.wire import ExamMeta, pack_streams

PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "has_touch": True}

COLOURS = """() => {
  const {color, backgroundColor} = getComputedStyle(document.documentElement);
  return [color, backgroundColor];
}"""
CONTROLS = """() => [...document.querySelectorAll("button, input, select, a")]
  .filter((one) => one.checkVisibility()).length"""


@pytest.fixture
def answered(enter: Callable[..., Any], x_ray: Callable[..., Path]) -> Callable[..., Any]:
    """Give ``answered()``: a clinic's page with an exam that is answered, and the exam's path."""

    def send(**options: Any) -> tuple[Any, str]:
        page = enter("clinic", **options)
        page.set_input_files("#files", x_ray(1, side=500))
        page.wait_for_selector("#outbox li[data-state=answered] a")
        return page, page.get_attribute("#outbox a", "href")

    return send


def test_what_came_of_an_exam_is_read_out(answered: Callable[..., Any]) -> None:
    """Who listens hears the file and its answer once it is there, and not each step before."""
    page, _ = answered()
    said = page.inner_text("#said")
    assert said.startswith("x-ray-1.png: ")
    assert "%" in said
    assert page.get_attribute("#said", "role") == "status"


def test_the_answer_says_what_was_certified(answered: Callable[..., Any], url: str) -> None:
    """Loss seen, at most and accepted stand with the answer and, with the level, in the evidence."""
    page, path = answered()
    page.goto(url + path)
    page.wait_for_selector(".losses li")
    assert "accuracy: 0.7%, at most 2.1% (accepted: 5.0%)" in page.inner_text("#answer")
    assert "one-sided interval (95.0%)" in page.inner_text(".losses-table caption")
    assert "Certified for the client\nbitdose" in page.inner_text("main")


def test_an_exam_keeps_its_own_profile(
    answered: Callable[..., Any],
    url: str,
    reading_app: FastAPI,
    profile: Profile,
    make_service_profile: Callable[..., Profile],
) -> None:
    """Once another profile is active, an older exam still shows the evidence that it was read under."""
    page, path = answered()
    other = make_service_profile("jpeg2000:40x@128")
    context = reading_app.state.context
    add_profile(context.engine, other.to_dict(), context.settings)
    activate_profile(context.engine, other.id, context.settings)
    page.goto(url + path)
    page.wait_for_selector(".predicted")
    evidence = page.inner_text("section:has(#exam-facts)")
    assert profile.id in evidence
    assert other.id not in evidence
    page.goto(f"{url}/send")
    page.click("summary")
    assert other.id in page.inner_text("details")


def test_a_finger_scrolls_the_page_until_the_image_is_zoomed(
    answered: Callable[..., Any], url: str, drawn: Callable[[Any], str]
) -> None:
    """An image that fills a phone's screen is no trap: it takes the finger once it is enlarged."""
    page, path = answered(**PHONE)
    page.goto(url + path)
    page.wait_for_selector(".view")
    touch = "() => getComputedStyle(document.querySelector('.view')).touchAction"
    drawn(page)
    assert page.evaluate(touch) == "pan-y"
    page.click("#in")
    page.wait_for_selector(".view.zoomed")
    assert page.evaluate(touch) == "none"
    page.click("#reset")
    page.wait_for_selector(".view:not(.zoomed)")


def test_paper_is_white_and_holds_no_buttons(answered: Callable[..., Any], url: str) -> None:
    """Printed from the dark, the result is black on white, with image, evidence and disclaimer."""
    page, path = answered(color_scheme="dark")
    page.goto(url + path)
    page.wait_for_selector(".view")
    page.emulate_media(media="print")
    assert page.evaluate(COLOURS) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert page.evaluate(CONTROLS) == 0
    assert page.is_visible(".view")
    assert page.is_visible(".losses-table")
    assert "Research use only" in page.inner_text("footer")


def test_a_profile_for_another_client_is_not_obeyed(
    settings: Settings, profile: Profile, key: Key, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What was certified for kernels that a browser does not have takes no file, and the page says why."""
    other = replace(profile, client=replace(profile.client, name="elsewhere"), signature=None).named()
    save_profile(sign(other, key), tmp_path / "other.json")
    object.__setattr__(settings, "profile", str(tmp_path / "other.json"))
    page = request.getfixturevalue("enter")("clinic")
    page.wait_for_selector("#unsupported:not([hidden])")
    assert "certified for the client elsewhere" in page.inner_text("#unsupported")
    assert page.is_disabled("#files")


def _answered_volume(app: FastAPI, payload: bytes, **said: Any) -> str:
    """Put an exam that was answered into the service's own tables and store."""
    context, name = app.state.context, uuid4().hex
    meta = {
        "kind": "coded",
        "point": "jpeg:q90",
        "pseudonym": "a" * 16,
        "bits": 8,
        "photometric": "MONOCHROME2",
        "source_bytes": 10**5,
    }
    meta |= {"sha256": bytes_digest(payload), "payload_bytes": len(payload)} | said
    context.store.write(name, 0, payload)
    context.store.seal(name, len(payload))
    at = clock.now()
    with sessions(context.engine).begin() as session:
        account = session.scalar(select(AccountRow).where(AccountRow.name == "some-clinic"))
        assert account is not None
        row = {"id": name, "account_id": account.id, "clinic": "north", "kind": "coded", "blob": name}
        row |= {"sha256": meta["sha256"], "state": "answered", "received": at, "answered": at, "attempts": 1}
        session.add(ExamRow(**row, meta=ExamMeta.model_validate(meta).model_dump(mode="json")))
        session.flush()
        probabilities = {"clear": 0.9, "nodules": 0.1}
        answer = {"exam_id": name, "predicted": "clear", "probabilities": probabilities, "model": "m"}
        session.add(AnswerRow(**answer, seconds=0.1))
    return name


def _open_three_slices(page: Any, url: str, app: FastAPI) -> None:
    """Open an exam of three slices, each of another grey."""
    planes = np.stack([np.full((64, 64), 60 * index + 20, np.uint8) for index in range(3)])
    payload = pack_streams(encode_point(Image(planes, 8), Point.parse("jpeg:q90")).data)
    name = _answered_volume(app, payload, rows=64, columns=64, slices=3)
    page.goto(f"{url}/exams/{name}")
    page.wait_for_selector(".view")
    page.wait_for_selector("#slices:not([hidden])")


def _ask_for_slice(page: Any, number: str) -> None:
    page.fill("#slice", number)
    page.locator("#slice").dispatch_event("change")


def test_a_volume_is_walked_through(
    enter: Callable[..., Any], url: str, reading_app: FastAPI, drawn: Callable[[Any], str]
) -> None:
    """An exam of several slices has a slider for them: each is another picture, and says which it is."""
    page = enter("clinic")
    _open_three_slices(page, url, reading_app)
    shots = []
    for number in ("1", "3", "1"):
        _ask_for_slice(page, number)
        page.wait_for_selector(f".view[aria-label$=', {number} / 3']")
        shots.append(drawn(page))
        assert page.inner_text("#slice-now") == f"{number} / 3"
    assert shots[0] != shots[1]
    assert shots[0] == shots[2]


def test_a_slice_that_comes_late_does_not_replace_the_one_asked_for(
    enter: Callable[..., Any], url: str, reading_app: FastAPI, drawn: Callable[[Any], str]
) -> None:
    """The third slice is held on its way while the second is asked for, shown, and stays."""
    page, held = enter("clinic"), []
    _open_three_slices(page, url, reading_app)
    page.route("**/image?slice=2", lambda route: held.append(route))  # noqa: PLW0108 -- it is asked for its signature
    _ask_for_slice(page, "3")
    _ask_for_slice(page, "2")
    page.wait_for_selector(".view[aria-label$=', 2 / 3']")
    shown = drawn(page)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("slice=2")):
        held[0].continue_()
    page.wait_for_timeout(300)  # what must not happen takes less
    assert page.get_attribute(".view", "aria-label").endswith(", 2 / 3")
    assert drawn(page) == shown

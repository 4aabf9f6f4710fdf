"""The result as a physician gets it: on a phone, on paper, read out, under the exam's own profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from bitdose.decision.profile import Profile, save_profile
from bitdose.decision.signing import Key, sign
from bitdose.service.profiles import activate_profile, add_profile
from bitdose.service.settings import Settings

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


def test_a_finger_scrolls_the_page_until_the_image_is_zoomed(answered: Callable[..., Any], url: str) -> None:
    """An image that fills a phone's screen is no trap: it takes the finger once it is enlarged."""
    page, path = answered(**PHONE)
    page.goto(url + path)
    page.wait_for_selector(".view")
    touch = "() => getComputedStyle(document.querySelector('.view')).touchAction"
    page.wait_for_timeout(200)
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

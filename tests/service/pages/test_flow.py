"""A clinic's day in a real browser: log in, send, lose the link, close the tab, read the answer, judge it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from sqlalchemy import select

from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow, UploadRow

ANSWERED = "#outbox li[data-state=answered]"


def _rows(app: FastAPI, table: Any) -> list[Any]:
    with reading(app.state.context.engine) as session:
        return list(session.scalars(select(table)))


def test_an_x_ray_is_sent_and_answered(
    enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI
) -> None:
    """From the file to the answer: bytes before and after, the class, and nothing of the file's name sent."""
    page = enter("clinic")
    page.set_input_files("#files", x_ray(1))
    page.wait_for_selector(ANSWERED)
    text = page.inner_text("#outbox")
    assert "x-ray-1.png" in text
    assert re.search(r"\d kB → \d+\.\d kB \(\d+:1\)", text)
    (row,) = _rows(reading_app, ExamRow)
    assert (row.meta["rows"], row.meta["point"], row.state) == (1024, "jpeg:q30@256", "answered")
    assert "x-ray" not in repr(row.meta)
    page.click("#outbox a")
    page.wait_for_selector(".predicted")
    assert "Research use only" in page.inner_text("#answer")


def test_pristine_and_coded_stand_side_by_side(
    enter: Callable[..., Any], x_ray: Callable[..., Path], url: str
) -> None:
    """With the box ticked both are sent; the result shows both images, and a physician judges."""
    page = enter("clinic")
    page.check("#pristine")
    page.set_input_files("#files", x_ray(5, side=480))
    page.wait_for_selector(f"{ANSWERED} >> nth=1")
    path = page.get_attribute("#outbox li:last-child a", "href")
    page.click("#outbox li:last-child a")
    page.wait_for_selector(".view >> nth=1")
    assert page.is_hidden("#review")
    doctor = enter("physician")
    doctor.goto(url + path)
    doctor.wait_for_selector(".view >> nth=1")
    doctor.click("#disagree")
    doctor.wait_for_selector("#reviewed:has-text('some-physician')")
    assert "disagreed" in doctor.inner_text("#reviewed")


def test_an_exam_outside_the_profile_is_not_sent(
    enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI
) -> None:
    """The profile speaks of 400 pixels and more: the page says so and sends nothing."""
    page = enter("clinic")
    page.set_input_files("#files", x_ray(6, side=100))
    page.wait_for_selector("#outbox li[data-state=cannot]")
    assert "outside what the profile was certified for (100x100)" in page.inner_text("#outbox")
    assert _rows(reading_app, UploadRow) == []


def test_keys_zoom_and_the_window_changes_the_picture(
    enter: Callable[..., Any], x_ray: Callable[..., Path], drawn: Callable[[Any], str]
) -> None:
    """The viewer answers to the keyboard: what is drawn changes with zoom, window and reset."""
    page = enter("clinic")
    page.set_input_files("#files", x_ray(7, side=500, dtype=np.uint16))
    page.wait_for_selector(ANSWERED)
    page.click("#outbox a")
    page.wait_for_selector(".view")
    shots = []
    for action in ("", "+", "ArrowLeft", "0"):
        page.focus(".view")
        if action:
            page.keyboard.press(action)
        shots.append(drawn(page))
    assert shots[0] != shots[1] != shots[2]
    assert shots[3] == shots[0]
    page.fill("#window", "0.3")
    page.locator("#window").dispatch_event("change")
    assert drawn(page) != shots[0]


def test_an_admin_makes_accounts_and_sees_figures(enter: Callable[..., Any]) -> None:
    """A new account is listed and can be disabled; figures and accesses are shown."""
    page = enter("admin")
    page.fill("#new-name", "south-1")
    page.fill("#new-clinic", "south")
    page.fill("#new-password", "four other plain words")
    page.click("#new-account button")
    row = page.locator("#accounts tr", has_text="south-1")
    row.get_by_role("button").click()
    page.wait_for_selector("#accounts tr:has-text('south-1'):has-text('disabled')")
    assert "Bytes saved" in page.inner_text("#saved")
    page.click("summary")
    page.wait_for_selector("#audit tr:has-text('/api/v1/login')")

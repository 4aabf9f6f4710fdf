"""Slow and broken links in a real browser: what is on its way arrives once, coded exams before all else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from bitdose.links import LINKS
from bitdose.profile.document import Profile, save_profile
from bitdose.service.db.database import reading
from bitdose.service.db.tables import ExamRow, UploadRow
from bitdose.service.settings import Settings

ANSWERED = "#outbox li[data-state=answered]"
THIN = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 15_000}
KEPT = """async () => {
  const keys = [];
  for (const name of await caches.keys())
    keys.push(...(await (await caches.open(name)).keys()).map(({url}) => new URL(url).pathname));
  return ["/send", "/static/app-", "/static/style-", "/static/worker-"].every(
    (part) => keys.some((key) => key.startsWith(part)));
}"""
CODEC_IS_THERE = """() => performance.getEntriesByType("resource").some(
  ({name, responseEnd}) => name.includes("/static/worker-") && responseEnd > 0)"""
AT_MOST_S = {"gprs": 8.0, "3g": 5.0}


def _shaper(page: Any) -> Callable[[dict[str, Any]], None]:
    """Give what shapes a page's link; one session does it all, for another one adds to the first."""
    session = page.context.new_cdp_session(page)
    return lambda conditions: session.send("Network.emulateNetworkConditions", conditions)


def _conditions(name: str) -> dict[str, Any]:
    """Say a named link to the browser: milliseconds, and bytes per second."""
    link = LINKS[name]
    rates = {"downloadThroughput": link.down_bps / 8, "uploadThroughput": link.up_bps / 8}
    return {"offline": False, "latency": 1000 * link.rtt_s} | rates


def _rows(app: FastAPI, table: Any) -> list[Any]:
    with reading(app.state.context.engine) as session:
        return list(session.scalars(select(table)))


def _wait_for_bytes(page: Any, app: FastAPI, kind: str = "coded") -> UploadRow:
    """Wait until the service has a part of an exam, and give its upload as it was then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for row in _rows(app, UploadRow):
            if 0 < row.offset < row.length and row.meta["kind"] == kind:
                return row
        page.wait_for_timeout(50)
    pytest.fail("no part of an exam arrived")


def _at_rest(app: FastAPI) -> UploadRow:
    """Give the only upload once nothing of it has arrived for a second."""
    offset, since = -1, time.monotonic()
    while time.monotonic() < since + 1:
        (row,) = _rows(app, UploadRow)
        if row.offset != offset:
            offset, since = row.offset, time.monotonic()
        time.sleep(0.05)
    return row


def _sent(page: Any) -> list[tuple[str, int]]:
    """Give a list that fills with the method and the Upload-Offset of what the page asks for."""
    sent: list[tuple[str, int]] = []
    page.on("request", lambda r: sent.append((r.method, int(r.headers.get("upload-offset", -1)))))
    return sent


@pytest.fixture
def real_x_ray(shared: Path) -> Path:
    """Give a chest X-ray of 1024x1024; skip where there is none."""
    for path in sorted((shared / "data/cxr/test").rglob("*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is not None and image.shape == (1024, 1024):
            return path
    pytest.skip("no X-ray of 1024x1024 here")


@pytest.fixture
def big_profile(make_service_profile: Callable[..., Profile], settings: Settings) -> Profile:
    """Let the service obey a point whose payloads are large enough to be cut off."""
    profile = make_service_profile("jpeg:q90")
    save_profile(profile, Path(settings.profile).with_name("big.json"))
    object.__setattr__(settings, "profile", str(Path(settings.profile).with_name("big.json")))
    return profile


@pytest.fixture
def everything(settings: Settings) -> None:
    """Let the service ask for the uncoded image of every exam."""
    object.__setattr__(settings, "sentinel_share", 1.0)


@pytest.mark.parametrize("link", ["gprs", "3g"])
def test_a_real_x_ray_from_click_to_answer(
    enter: Callable[..., Any], real_x_ray: Path, url: str, link: str
) -> None:
    """Page, codec, exam and answer on a shaped link: 8 s from click to answer on GPRS, less on 3G."""
    page = enter("clinic")
    _shaper(page)(_conditions(link))
    page.goto(f"{url}/send")
    page.wait_for_selector("#link option", state="attached")
    page.wait_for_function(CODEC_IS_THERE)
    started = time.perf_counter()
    page.set_input_files("#files", real_x_ray)
    page.wait_for_selector(ANSWERED)
    took = time.perf_counter() - started
    print(f"{link}: {took:.1f} s")
    assert took <= AT_MOST_S[link]
    assert real_x_ray.name in page.inner_text("#outbox")


def test_a_closed_tab_goes_on_at_the_byte(
    big_profile: Profile,
    enter: Callable[..., Any],
    x_ray: Callable[..., Path],
    reading_app: FastAPI,
    url: str,
) -> None:
    """The tab is closed in mid-upload; reopened, it sends only what the service does not have.

    Where the system's buffers hold the rest as the tab is closed, nothing is left to send.
    """
    page = enter("clinic")
    _shaper(page)(THIN)
    page.set_input_files("#files", x_ray(3))
    seen = _wait_for_bytes(page, reading_app)
    page.close()
    before = _at_rest(reading_app)
    page = page.context.new_page()
    sent = _sent(page)
    page.goto(f"{url}/send")
    page.wait_for_selector(ANSWERED)
    (after,) = _rows(reading_app, UploadRow)
    assert after.id == before.id == seen.id
    assert seen.offset <= before.offset <= after.offset == after.length
    assert [offset for method, offset in sent if method == "PATCH"][:1] == [before.offset] * (
        before.offset < before.length
    )
    assert [row.state for row in _rows(reading_app, ExamRow)] == ["answered"]


def test_the_outbox_keeps_exams_while_there_is_no_link(
    enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI, url: str
) -> None:
    """Offline, exams are coded and wait; the page opens without a link; the link back, they are sent once."""
    page = enter("clinic")
    page.wait_for_function("() => navigator.serviceWorker.controller")
    page.reload()
    page.wait_for_function(KEPT)
    page.context.set_offline(True)
    page.set_input_files("#files", x_ray(4))
    page.wait_for_selector("#outbox li[data-state=waiting]")
    page.reload()
    page.wait_for_selector("#outbox li[data-state=waiting]")
    page.context.set_offline(False)
    page.wait_for_selector(ANSWERED)
    assert [row.state for row in _rows(reading_app, ExamRow)] == ["answered"]


def test_a_link_that_drops_in_mid_upload_goes_on(
    big_profile: Profile,
    enter: Callable[..., Any],
    x_ray: Callable[..., Path],
    reading_app: FastAPI,
) -> None:
    """The link is lost with half an exam sent: it waits, says so, and the same upload goes on by itself.

    How much of it arrives after the loss is the system's: its buffers may hold the rest. That an upload goes
    on at the byte where it stopped is shown by the tab that is closed.
    """
    page = enter("clinic")
    shape = _shaper(page)
    shape(THIN)
    page.set_input_files("#files", x_ray(8))
    _wait_for_bytes(page, reading_app)
    shape(THIN | {"offline": True})
    page.wait_for_selector("#outbox li[data-state=waiting]:has-text('cannot be reached')")
    (before,) = _rows(reading_app, UploadRow)
    asked = _sent(page)
    shape(THIN | {"uploadThroughput": -1})
    page.wait_for_selector(ANSWERED)
    (after,) = _rows(reading_app, UploadRow)
    assert after.id == before.id
    assert 0 < before.offset <= after.offset == after.length
    assert "HEAD" in [method for method, _ in asked]  # how much is there is asked, not taken for granted
    assert all(offset >= before.offset for method, offset in asked if method == "PATCH")
    assert [row.state for row in _rows(reading_app, ExamRow)] == ["answered"]


def test_what_waits_goes_on_from_any_page(
    enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI, url: str
) -> None:
    """An exam chosen without a link is sent from the worklist too, where somebody looks for answers."""
    page = enter("clinic")
    page.wait_for_selector("#link option", state="attached")
    page.wait_for_function(CODEC_IS_THERE)
    page.context.set_offline(True)
    page.set_input_files("#files", x_ray(9))
    page.wait_for_selector("#outbox li[data-state=waiting]")
    page.context.set_offline(False)
    page.goto(f"{url}/worklist")
    page.wait_for_selector("#exams tr:has-text('classified'):not(:has-text('being'))")
    assert "x-ray-9.png" in page.inner_text("#exams")
    assert [row.state for row in _rows(reading_app, ExamRow)] == ["answered"]


def test_an_uncoded_image_makes_way(
    enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI
) -> None:
    """An exam chosen while an uncoded image is on its way is answered before that has arrived."""
    page = enter("clinic")
    shape = _shaper(page)
    shape(THIN | {"uploadThroughput": 150_000})
    page.check("#pristine")
    page.set_input_files("#files", x_ray(10))
    _wait_for_bytes(page, reading_app, "pristine")
    page.uncheck("#pristine")
    page.set_input_files("#files", x_ray(11))
    page.wait_for_selector("#outbox li[data-state=answered]:has-text('x-ray-11')")
    (spare,) = (row for row in _rows(reading_app, UploadRow) if row.meta["kind"] == "pristine")
    assert 0 < spare.offset < spare.length
    shape(THIN | {"uploadThroughput": -1})
    page.wait_for_selector(f"{ANSWERED} >> nth=2")
    assert [row.state for row in _rows(reading_app, ExamRow)] == ["answered"] * 3


def test_the_sentinel_draws_in_the_browser_too(
    everything: None, enter: Callable[..., Any], x_ray: Callable[..., Path], reading_app: FastAPI
) -> None:
    """With a share of 1 every exam is followed by its uncoded image, as from the uploader, by itself."""
    page = enter("clinic")
    assert "100.0% of the exams" in page.inner_text("main")
    page.set_input_files("#files", x_ray(12, side=480))
    page.wait_for_selector(f"{ANSWERED} >> nth=1")
    assert {row.kind for row in _rows(reading_app, ExamRow)} == {"coded", "pristine"}

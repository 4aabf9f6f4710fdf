"""A real browser before the real service: the distribution's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI

from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "src/bitdose/service/web"
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def assets() -> dict[str, Any]:
    """Give what was built; skip where nothing was."""
    manifest = WEB / "static/assets.json"
    if not manifest.exists():
        pytest.skip("the pages are not built (make web, with npm)")
    return json.loads(manifest.read_text("utf-8"))


@pytest.fixture(scope="module")
def browser(assets: dict[str, Any]) -> Iterator[Any]:
    """Give a headless Chromium; closed after the module, since Playwright keeps a loop running."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def reading_app(settings: Settings) -> FastAPI:
    """Give the app with a classifier worker in its own process."""
    return create_app(replace(settings, workers=1, batch_seconds=0.0), start_workers=True)


@pytest.fixture
def url(reading_app: FastAPI, serve: Callable[[FastAPI], str]) -> str:
    """Give the URL of the service that answers."""
    return serve(reading_app)


@pytest.fixture
def enter(
    browser: Any, url: str, reading_app: FastAPI, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """Give ``enter("clinic")``: a page logged in as that role; what a page complains of fails the test."""
    from bitdose.service import clock
    from bitdose.service.accounts.accounts import add_account, find_account
    from bitdose.service.db.database import sessions
    from bitdose.wire import Role

    complaints: list[str] = []
    contexts: list[Any] = []

    def make(role: str, **options: Any) -> Any:
        name = f"some-{role}"
        with sessions(reading_app.state.context.engine).begin() as session:
            if find_account(session, name) is None:
                clinic = "north" if role == "clinic" else ""
                values = {"role": Role(role), "clinic": clinic, "password": "four plain words here"}
                add_account(session, name=name, now=clock.now(), **values)
        context = browser.new_context(**({"viewport": DESKTOP, "locale": "en-GB"} | options))
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{url}/login")
        page.fill("#name", name)
        page.fill("#password", "four plain words here")
        page.click("button[type=submit]")
        page.wait_for_url(lambda at: "/login" not in at)
        return page

    yield make
    for context in contexts:
        context.close()
    # A lost link is part of some tests, and the browser tells of it on its own.
    assert [text for text in complaints if "net::ERR" not in text] == []


@pytest.fixture
def drawn() -> Callable[[Any], str]:
    """Give ``drawn(page)``: what the viewer's canvas holds once it is painted, as a data URL."""

    def read(page: Any) -> str:
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return page.evaluate("() => document.querySelector('.view').toDataURL()")

    return read


@pytest.fixture
def x_ray(tmp_path: Path) -> Callable[..., Path]:
    """Give ``x_ray(seed, side=, suffix=)``: a file of something like a radiograph."""

    def draw(seed: int = 0, *, side: int = 1024, suffix: str = ".png", dtype: type = np.uint8) -> Path:
        rng = np.random.default_rng(seed)
        soft = cv2.resize(rng.uniform(0.15, 0.85, (9, 9)), (side, side), interpolation=cv2.INTER_CUBIC)
        grainy = np.clip(soft + rng.normal(0, 0.02, (side, side)), 0, 1)
        path = tmp_path / f"x-ray-{seed}{suffix}"
        cv2.imwrite(str(path), (grainy * np.iinfo(dtype).max).astype(dtype))
        return path

    return draw

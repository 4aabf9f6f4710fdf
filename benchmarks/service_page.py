"""A clinic's browser for ``service.py click``: the pages in a headless Chromium, from file to answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import browser
from service_stage import PASSWORD

from bitdose.links import Link

PATIENCE_MS = 900_000
NEWEST = "#outbox li:first-child"
SIZES = """async (kind) => {
  const opened = indexedDB.open("bitdose", 1);
  const db = await new Promise((done) => (opened.onsuccess = () => done(opened.result)));
  const asked = db.transaction("exams").objectStore("exams").getAll();
  const all = await new Promise((done) => (asked.onsuccess = () => done(asked.result)));
  const {source, meta} = all.filter(({meta}) => meta.kind === kind).sort((a, b) => b.added - a.added)[0];
  return [source, meta.payload_bytes];
}"""


class Page:
    """The page *Send* of a clinic that has logged in; its connection is open, its codec there."""

    def __init__(self, started: Any, url: str, name: str, link: Link | None = None) -> None:
        context = started.new_context(ignore_https_errors=True, locale="en-GB")
        context.set_default_timeout(PATIENCE_MS)
        self.page, self.url = context.new_page(), url
        if link is not None:
            shape(self.page, link)
        self.page.goto(f"{url}/login")
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#link option", state="attached")

    def opened(self) -> tuple[float, int, int]:
        """Open the page with nothing of it kept; returns seconds until a file can be chosen."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.clearBrowserCache")
        began = time.monotonic()
        self.page.goto(f"{self.url}/send")
        self.page.wait_for_selector("#link option", state="attached")
        return time.monotonic() - began, 0, 0

    def coded(self, path: Path) -> tuple[float, int, int]:
        """Choose a file; returns seconds until its answer is shown, and bytes of file and payload."""
        began = time.monotonic()
        self.page.set_input_files("#files", path)
        self.page.wait_for_selector(f"{NEWEST}:has-text('{path.name}')[data-state=answered]")
        return (time.monotonic() - began, *self.page.evaluate(SIZES, "coded"))

    def pristine(self, path: Path) -> tuple[float, int, int]:
        """Choose a file whose uncoded image follows; returns that one's seconds, from its first byte on."""
        spare = "#outbox li[data-key$=-pristine]:first-child"
        self.page.check("#pristine")
        self.page.set_input_files("#files", path)
        self.page.wait_for_selector(f"{spare}[data-state=sending]")
        began = time.monotonic()
        self.page.wait_for_selector(f"{spare}[data-state=answered]")
        took = time.monotonic() - began
        self.page.uncheck("#pristine")
        return (took, *self.page.evaluate(SIZES, "pristine"))


def shape(page: Any, link: Link) -> None:
    """Shape a page's link in the browser itself: Chromium's network conditions, by the DevTools protocol."""
    rates = {"downloadThroughput": link.down_bps / 8, "uploadThroughput": link.up_bps / 8}
    conditions = {"offline": False, "latency": 1000 * link.rtt_s} | rates
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", conditions)


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser, None where there is none or the pages are not built."""
    from browser import STATIC

    if not (STATIC / "assets.json").exists():
        yield None
        return
    try:
        with browser() as started:
            yield started
    except ImportError:
        yield None

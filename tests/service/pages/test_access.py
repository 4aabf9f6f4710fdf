"""Everybody can use the pages: WCAG 2.1 AA by axe, keyboard, phone, desktop, light, dark, two languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).resolve().parents[3] / "web/node_modules/axe-core/axe.min.js"
RULES = "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
CUT = """() => {
  const {scrollWidth, clientWidth} = document.querySelector(".losses-table");
  return scrollWidth > clientWidth;
}"""
ON_PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "locale": "pt-BR"}
ON_DESKTOP = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "locale": "en-GB"}


def _faults(page: Any) -> list[str]:
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(RULES)["violations"]
    return [f"{page.url}: {fault['id']}: {node['html'][:120]}" for fault in found for node in fault["nodes"]]


def _is_wider_than_the_screen(page: Any) -> bool:
    return page.evaluate("() => document.documentElement.scrollWidth > innerWidth")


@pytest.mark.parametrize("options", [ON_PHONE, ON_DESKTOP], ids=["phone", "desktop"])
def test_no_page_keeps_anybody_out(
    enter: Callable[..., Any], x_ray: Callable[..., Path], url: str, options: dict[str, Any]
) -> None:
    """Contrast, names, roles and structure hold on every page, filled; nothing is wider than the screen."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci in web)")
    clinic = enter("clinic", **options)
    clinic.check("#pristine")
    clinic.set_input_files("#files", [x_ray(1, side=480), x_ray(2, side=90)])
    clinic.wait_for_selector("#outbox li[data-state=answered] >> nth=1")
    clinic.wait_for_selector("#outbox li[data-state=cannot]")
    clinic.click("summary")
    clinic.set_viewport_size({"width": 360, "height": 740})
    assert clinic.evaluate(CUT) is False
    clinic.set_viewport_size(options["viewport"])
    faults, wide = _faults(clinic), [_is_wider_than_the_screen(clinic)]
    exam = clinic.get_attribute("#outbox a", "href")
    doctor, admin = enter("physician", **options), enter("admin", **options)
    for page, path, there in (
        (clinic, "/worklist", "#exams tr"),
        (doctor, exam, ".view >> nth=1"),
        (admin, "/admin", "#sentinel svg"),
    ):
        page.goto(url + path)
        page.wait_for_selector(there)
        if path == "/admin":
            page.click("summary")
            page.wait_for_selector("#audit tr")
        faults += _faults(page)
        wide.append(_is_wider_than_the_screen(page))
        page.set_viewport_size({"width": 320, "height": 640})  # 1280 at 400 % (WCAG 1.4.10)
        wide.append(_is_wider_than_the_screen(page))
    admin.click("#logout")
    admin.wait_for_url("**/login")
    assert faults + _faults(admin) == []
    assert not any(wide)
    assert clinic.locator("html").get_attribute("lang") == options["locale"][:2]


def test_an_exam_is_sent_by_keyboard_alone(enter: Callable[..., Any], x_ray: Callable[..., Path]) -> None:
    """Tab reaches the field for files, Space opens the chooser; then the answer's link opens the exam."""
    page = enter("clinic")
    page.wait_for_selector("#link option", state="attached")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "files":
            break
    assert page.evaluate("() => document.activeElement.id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(x_ray(3))
    page.wait_for_selector("#outbox li[data-state=answered] a")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.closest('#outbox') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/exams/*")
    page.wait_for_selector(".predicted")


def test_a_refusal_is_told_in_the_pages_language(browser: Any, url: str) -> None:
    """A wrong password on a Portuguese page: Portuguese, with the service's own words behind it."""
    context = browser.new_context(locale="pt-BR")
    page = context.new_page()
    page.goto(f"{url}/login")
    page.fill("#name", "nobody")
    page.fill("#password", "four wrong plain words")
    page.click("button[type=submit]")
    page.wait_for_selector("#notice:not(:empty)")
    assert page.inner_text("#notice").startswith("O nome, a senha ou a sessão não vale. (")
    context.close()

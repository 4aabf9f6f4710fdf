"""The pages as the server gives them: who gets which, in which language, and what they may hold."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bitdose.codecs.base import CODECS, BrowserCodec
from bitdose.codecs.point import Point
from bitdose.metrics.catalogue import METRICS
from bitdose.service.web import web_pages as pages

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "src/bitdose/service/web"
SOURCES = ROOT / "web/src"
LIMIT_BYTES = 300_000
NAMES = ("send", "worklist", "admin", "exams/abc")


@pytest.fixture
def built() -> None:
    """Skip where the pages are not built."""
    if not (WEB / "static/assets.json").exists():
        pytest.skip("the pages are not built (make web, with npm)")


def _strings(language: str) -> dict[str, str]:
    return json.loads((WEB / f"locale/{language}.json").read_text("utf-8"))


def test_the_browsers_codecs_are_those_that_say_so() -> None:
    """The scripts code exactly the codecs, units and options that a codec says browsers code."""
    found = {}
    for name in CODECS.names():
        if isinstance(codec := CODECS.get(name), BrowserCodec):
            found[name] = set(codec.browser.options)
            for one in codec.quality_parameters:
                text = one.text(one.high if one.stronger == "down" else one.low)
                assert pages._browser_codes(Point(f"{name}:{text}")) == (one.unit in codec.browser.units)
    script = (SOURCES / "codec/point.js").read_text()
    names = re.search(r"SYNTAX = /\^\(([a-z0-9|]+)\):\(\?:q", script)
    options = re.search(r"OPTIONS = (\{.*\});", script)
    assert names
    assert options
    listed = json.loads(re.sub(r"(\w+):", r'"\1":', options[1]))
    assert set(names[1].split("|")) == set(found)
    assert {name: set(words) for name, words in listed.items()} == found
    assert not pages._browser_codes(Point("jpeg:q30+progressive"))


@pytest.mark.parametrize("name", NAMES)
def test_strangers_are_sent_to_the_login(client: httpx.Client, name: str) -> None:
    """A page without a login is the login, which comes back to it."""
    answer = client.get(f"/{name}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next=%2F{name.replace('/', '%2F')}"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("role", "home", "allowed"),
    [
        ("clinic", "/send", {"send", "worklist", "exams/abc"}),
        ("physician", "/worklist", {"worklist", "exams/abc"}),
        ("admin", "/admin", {"worklist", "admin", "exams/abc"}),
    ],
)
def test_every_role_has_its_pages(
    login: Callable[..., httpx.Client], role: str, home: str, allowed: set[str]
) -> None:
    """The first page is the role's own; pages of other roles are refused with 403."""
    client = login(role)
    assert client.get("/").headers["location"] == home
    found = {name: client.get(f"/{name}").status_code for name in NAMES}
    assert found == {name: 200 if name in allowed else 403 for name in NAMES}


@pytest.mark.usefixtures("built")
def test_a_page_holds_no_inline_code(login: Callable[..., httpx.Client]) -> None:
    """No inline script, style or handler, which the security policy forbids; nothing comes from elsewhere."""
    clinic, admin = login("clinic"), login("admin")
    for text in (clinic.get("/send").text, clinic.get("/exams/abc").text, admin.get("/admin").text):
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://", text)
        assert re.findall(r"<script(?! type=\"application/json\")(?![^>]* src=\"/static/)", text) == []
        assert "Research use only, not a medical device." in text


@pytest.mark.usefixtures("built")
def test_what_an_address_says_is_text(login: Callable[..., httpx.Client]) -> None:
    """Markup in an exam's address stays text, in the page and in its data."""
    text = login("clinic").get("/exams/%3C%2Fscript%3E%3Cscript%3Ealert(1)").text
    assert "<script>alert" not in text


@pytest.mark.usefixtures("built")
def test_languages_are_asked_for_kept_or_preferred(client: httpx.Client) -> None:
    """Portuguese by the address, the cookie that this leaves, or the browser's preference; English else."""
    assert 'lang="en"' in client.get("/login").text
    assert 'lang="pt"' in client.get("/login", headers={"Accept-Language": "pt-BR,pt;q=0.9,en;q=0.8"}).text
    assert 'lang="pt"' in client.get("/login?lang=pt").text
    assert "Senha" in client.get("/login").text
    assert 'lang="pt"' in client.get("/login?lang=xx").text


@pytest.mark.usefixtures("built")
def test_built_files_are_packed_and_kept(client: httpx.Client) -> None:
    """What has a digest in its name is sent gzipped and kept for good."""
    name = json.loads((WEB / "static/assets.json").read_text("utf-8"))["app.js"]
    answer = client.get(f"/static/{name}")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = client.get(f"/static/{name}", headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content == (WEB / "static" / name).read_bytes()
    assert client.get("/sw.js").status_code == 200


@pytest.mark.usefixtures("built")
def test_a_page_is_packed_and_asks_for_one_script(login: Callable[..., httpx.Client]) -> None:
    """A page is one packed file, one style, one script; an exam's, which repeats its address, is plain."""
    client = login("clinic")
    page, plain = client.get("/send"), client.get("/send", headers={"Accept-Encoding": "identity"})
    assert page.headers["content-encoding"] == "gzip"
    assert page.text == plain.text
    assert len(re.findall(r"/static/", page.text)) == 2
    assert "content-encoding" not in client.get("/exams/abc").headers


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fpages.py", "%2e%2e/pages.py", "..%5cpages.py", "locale%2Fen.json", "%00"]
)
def test_nothing_else_is_given(client: httpx.Client, name: str) -> None:
    """Only built files have an address: a path out of the folder is a 404."""
    assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.usefixtures("built")
def test_the_pages_are_small() -> None:
    """All scripts and styles together stay below 300 kB gzipped, without the codec modules."""
    files = [path for path in (WEB / "static").iterdir() if not re.search("wasm|openjpeg|turbo", path.name)]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) < LIMIT_BYTES


def test_pages_that_are_not_built_say_so(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without built files the answer says how to get them."""
    monkeypatch.setattr(pages, "_assets", dict)
    answer = client.get("/login")
    assert answer.status_code == 503
    assert "make web" in answer.json()["detail"]


def test_every_string_is_in_every_language() -> None:
    """The languages have the same keys and the same places to fill in, and no empty string."""
    languages = {name: _strings(name) for name in pages.LANGUAGES}
    english = languages["en"]
    for name, strings in languages.items():
        assert strings.keys() == english.keys(), name
        for key, text in strings.items():
            assert text.strip(), key
            assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", english[key])), key


def test_every_metric_of_a_margin_has_a_name() -> None:
    """Whatever a profile may certify is named for people, in every language."""
    for language in pages.LANGUAGES:
        assert all(metric.page_names.get(language, "").strip() for metric in METRICS.values())


def test_every_string_that_is_used_exists_and_none_is_left_over() -> None:
    """Templates and scripts name only strings that there are; what is named by no one is not kept."""
    templates = "".join(path.read_text("utf-8") for path in (WEB / "templates").glob("*.j2"))
    scripts = "".join(path.read_text("utf-8") for path in SOURCES.rglob("*.js"))
    whole = set(re.findall(r"t\[[\"']([\w.-]+)[\"']\]", templates)) | set(
        re.findall(r"word\(\"([\w.-]+)\"", scripts)
    )
    whole |= set(re.findall(r"\"(js\.[\w.-]+)\"", scripts))
    prefixes = set(re.findall(r"t\[[\"']([\w.]+\.)[\"'] ~", templates)) | set(
        re.findall(r"`((?:js|role)\.[\w.]*)\$", scripts)
    )
    keys = _strings("en").keys()
    assert whole - keys == set()
    assert "js." in prefixes  # an item's state and a refusal name their sentence
    refusals = set(re.findall(r"Refused\(\"([\w-]+)\"", scripts)) | {"codec-failed"}
    states = set(re.findall(r"state(?::| ===) \"(\w+)\"", scripts)) - {
        "answered",
        "asking",
        "sending",
        "ended",
    }
    assert {f"js.{name}" for name in refusals | states} - keys == set()
    reached = whole | {f"js.{name}" for name in refusals | states}
    reached |= {key for key in keys for prefix in prefixes - {"js."} if key.startswith(prefix)}
    assert sorted(keys - reached - {"language", "js.coding"}) == []


def test_the_lock_file_names_no_registry() -> None:
    """What npm installs is fixed by version and digest, and by no address."""
    text = (ROOT / "web/package-lock.json").read_text("utf-8")
    assert "resolved" not in text
    assert "http" not in re.sub(r'"(funding|url)".*', "", text)
    packages = json.loads(text)["packages"]
    assert all("integrity" in entry for path, entry in packages.items() if path)

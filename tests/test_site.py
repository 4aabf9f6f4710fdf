"""The documentation builds as a site, whole and without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What a browser fetches by itself; a link is followed by a reader.
FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make site` does, with no way out to a network."""
    out = tmp_path_factory.mktemp("site")
    blocked = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env=os.environ | blocked | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_builds_strictly_and_fetches_nothing(site: Path) -> None:
    """No page is left out, no link or anchor is broken, and no page loads anything from elsewhere."""
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "tutorial.html", "glossary.html", "architecture.html"} <= {p.name for p in pages}
    fetched = {page.name: FETCHED.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert not {name: found for name, found in fetched.items() if found}


def test_the_site_has_search_two_looks_and_the_python_reference(site: Path) -> None:
    """Search knows the glossary and docstrings, the palette has light and dark, rooms list their names."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"] for entry in index["docs"]}
    assert "glossary.html#operating-point" in places
    assert "api/codecs.html#bitdose.codecs.point.Point" in places
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'data-md-color-scheme="slate"' in home
    assert "prefers-color-scheme: dark" in home


def test_docstrings_read_as_text_on_the_site(site: Path) -> None:
    """No Sphinx role is left in the Python reference."""
    for page in (site / "api").glob("*.html"):
        assert not re.search(r":(class|func|mod|meth|data):", page.read_text(encoding="utf-8")), page.name

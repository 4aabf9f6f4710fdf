"""The documents keep up with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitdose.codecs.base import CODECS
from bitdose.codecs.grid import PRESETS, expand_points
from bitdose.links import LINKS
from bitdose.resample.kernels import KERNELS
from bitdose.results.schema import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
COMMANDS = (
    "demo", "study", "fetch", "report", "decide", "compare", "search", "compress", "train", "links", "codecs",
    "points", "models",
    "data get", "data make covidx", "data make brain", "data check",
    "profile show", "profile verify", "profile key", "serve", "serve init",
    "send", "send files", "send listen", "send push", "send status", "send who",
)  # fmt: skip


@pytest.mark.parametrize(
    "page", ["cli.md", "reference.md", "architecture.md", "../CONTRIBUTING.md", "img/layers.svg"]
)
def test_generated_pages_are_what_make_docs_writes_today(page: str) -> None:
    """The command line, reference and layers in the documents equal what the code says of itself."""
    code = f"import make_reference as m; print(m.PAGES[{page!r}]() == (m.HERE / {page!r}).read_text())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "docs", check=True
    )
    assert done.stdout.strip() == "True", "run `make docs`"


def test_the_worked_certificate_is_what_its_table_gives() -> None:
    """The table of the explanation, and the numbers that its text dwells on, come from the kept results."""
    code = """if True:
        import make_figures as m
        lines = m.PAGE.read_text()
        assert m.made() == lines
        assert f"certified: `{m.decision().certified.point}`" in lines
        assert (m.changed("jpeg:q90@256"), m.changed("jpeg2000:3x@256")) == ((2, 1), (2, 0))
        print(len(m.draw()))
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "docs")
    assert done.returncode == 0, f"run `python docs/make_figures.py`\n{done.stderr}"
    assert 10_000 < int(done.stdout) < 200_000


def test_whatever_can_be_used_is_in_the_documents() -> None:
    """Every command, codec, option, preset, kernel, link and column is named in the documents."""
    text = "\n".join(page.read_text() for page in PAGES)
    options = [option for name in ("jpeg", "jpeg2000") for option in CODECS.get(name).option_names]
    for word in (
        *(f"bitdose {c}" for c in COMMANDS),
        *options,
        *PRESETS,
        *KERNELS,
        *(f"`{name}`" for name in LINKS),
        *COLUMNS,
    ):
        assert word in text, word


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of every page is a file of the repository."""
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not link.startswith(("http:", "https:")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_points_in_the_documents_parse() -> None:
    """Every value of --points that a page shows is one that the command takes."""
    shown = [p for page in PAGES for p in re.findall(r"--points ([^\s`\\]+)", page.read_text())]
    assert shown
    for text in shown:
        if not text.isupper() and not text.startswith("<"):
            assert len(expand_points(text)) > 1, text


def test_every_page_that_shows_results_says_what_they_are_not() -> None:
    """README, results and the command line page carry the research-use sentence."""
    for name in (
        "README.md",
        "docs/results.md",
        "docs/cli.md",
        "docs/tutorial.md",
        "docs/how-to/public-sets.md",
    ):
        assert "Research use only, not a medical device" in (ROOT / name).read_text(), name


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    """No output, no count of an execution and no folder of a machine is in a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work)/", path.read_text(encoding="utf-8"))

"""What the site adds to the pages of ``docs/``: the repository's own pages, and links that hold on both.

Pages link to each other as files of the repository. On the site the README is the first page, the other pages
outside ``docs/`` have a place of their own, and a link to a file that has none is shown as its text.
"""

from __future__ import annotations

import json
import os.path
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "results/README.md": "kept-results.md",
}
CARDS = {f"results/cards/{path.name}": f"cards/{path.name}" for path in (ROOT / "results/cards").glob("*.md")}
PAGES = OUTSIDE | CARDS
BOOKS = ROOT / "docs" / "notebooks"
NOTEBOOKS = {f"docs/notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in BOOKS.glob("*.ipynb")}
FROM = {place: source for source, place in {**PAGES, **NOTEBOOKS}.items()}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
DOOR = "api/index.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside ``docs/``, and the notebooks as pages."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for source, place in NOTEBOOKS.items():
        files.append(File.generated(config, place, content=notebook_page(ROOT / source)))
    return files


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: its text, and its code in fences."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    parts = [
        f"```python\n{text}\n```" if cell["cell_type"] == "code" else text
        for cell, text in zip(cells, texts, strict=True)
    ]
    note = f"*This page is the notebook `docs/notebooks/{path.name}`; the tests execute it.*\n"
    return "\n\n".join([*parts, note])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Make links those of the site, and list the front door."""
    here = page.file.src_uri
    source = FROM.get(here, f"docs/{here}")
    parts = FENCE.split(markdown)
    fences = FENCE.findall(markdown)
    parts = [LINK.sub(lambda found: _link(found, source, here), part) for part in parts]
    whole = "".join(text + fence for text, fence in zip(parts, [*fences, ""], strict=True))
    return f"{whole}\n{front_door()}" if here == DOOR else whole


def _link(found: re.Match[str], source: str, here: str) -> str:
    """Return a link of a repository's file as the site's, or its text where the site has no such page."""
    sign, text, target = found.groups()
    path, _, anchor = target.partition("#")
    if not path or re.match(r"\w+:", target):
        return found[0]
    place = _place(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
    if place is None:
        return f"{sign}{text}"
    relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
    return f"{sign}[{text}]({relative}{'#' if anchor else ''}{anchor})"


def _place(path: str) -> str | None:
    """Return where the site has a file of the repository; None where it has not."""
    page = f"{path}/README.md" if (ROOT / path).is_dir() else path
    if page in PAGES or page in NOTEBOOKS:
        return PAGES.get(page) or NOTEBOOKS[page]
    inside = path.startswith("docs/") and os.path.splitext(path)[1] in {".md", ".png", ".svg"}
    return path.removeprefix("docs/") if inside else None


def front_door() -> str:
    """Return a reference of every name at the top of the package, or where its room has it already."""
    from bitdose.door import CALLS, NAMES

    rooms = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    links, full = [], []
    for name, place in {**CALLS, **NAMES}.items():
        target = place.replace(":", ".")
        if f"::: {place.partition(':')[0]}\n" in rooms:
            links.append(f"`bitdose.{name}` is [`{target}`][{target}]")
        else:
            full.append(
                f"::: {target}\n    options:\n      heading: bitdose.{name}\n      toc_label: {name}\n"
            )
    return "\n".join([f"In full on the pages of their rooms: {', '.join(links)}.\n", *full])

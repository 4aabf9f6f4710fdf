"""The layers of the code as documents show them, from ``layers.toml`` and the modules' docstrings."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
SRC = HERE.parent / "src" / "bitdose"
MADE = re.compile(r"(<!-- made: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

_WIDTH, _ROW, _GAP, _LEFT = 760, 34, 8, 16
_INK, _LINE, _BOX, _PAPER = "#1a1a1a", "#5f6368", "#e8eef4", "#ffffff"
_LETTER = 7.4
_LOOK = 'role="img" font-family="monospace" font-size="12"'


def layers() -> list[list[str]]:
    """Return the nouns of each layer that the code has, from the bottom up."""
    rows = tomllib.loads((HERE / "layers.toml").read_text(encoding="utf-8"))["layers"]
    there = [[noun for noun in row.split() if _file(noun).is_file()] for row in rows]
    return [row for row in there if row]


def _file(noun: str) -> Path:
    package = SRC / noun / "__init__.py"
    return package if package.is_file() else SRC / f"{noun}.py"


def sentence(noun: str) -> str:
    """Return the first line of a noun's docstring, as Markdown."""
    text = ast.get_docstring(ast.parse(_file(noun).read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].replace("``", "`")


def order() -> str:
    """Return the layers in one line, from the bottom up."""
    return "; ".join(f"`{' '.join(row)}`" for row in layers())


def table() -> str:
    """Return a row per noun, the highest layer first."""
    lines = ["| layer | noun | what it is |", "|---|---|---|"]
    rows = layers()
    for number in range(len(rows), 0, -1):
        nouns = rows[number - 1]
        lines += [f"| {number} | `{noun}` | {sentence(noun)} |" for noun in nouns]
    return "\n".join(lines)


def picture() -> str:
    """Return the layers as SVG: a row of boxes per layer, the highest on top."""
    rows = layers()[::-1]
    height = len(rows) * (_ROW + _GAP) + _GAP
    said = "; ".join(" ".join(row) for row in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_LOOK}>',
        f"<title>The layers, highest first: {said}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{_PAPER}"/>',
    ]
    for number, row in enumerate(rows):
        parts += _boxes(row, _GAP + number * (_ROW + _GAP), len(rows) - number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _boxes(nouns: list[str], top: int, number: int) -> list[str]:
    """Draw one layer: its number, then its nouns in boxes of equal width."""
    middle, left = top + _ROW / 2 + 4, _LEFT + 28
    width = (_WIDTH - left - _LEFT - _GAP * (len(nouns) - 1)) / len(nouns)
    found = [f'<text x="{_LEFT}" y="{middle:g}" fill="{_LINE}">{number}</text>']
    for index, noun in enumerate(nouns):
        x = left + index * (width + _GAP)
        text = x + (width - _LETTER * len(noun)) / 2
        found.append(
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{_ROW}" rx="5" fill="{_BOX}" '
            f'stroke="{_LINE}"/>'
            f'<text x="{text:.1f}" y="{middle:g}" fill="{_INK}">{noun}</text>'
        )
    return found


KINDS: dict[str, Callable[[], str]] = {"order": order, "layers": table}


def made(page: Path, kinds: Mapping[str, Callable[[], str]] = KINDS) -> str:
    """Return a page with its made parts made anew."""
    text = page.read_text(encoding="utf-8")
    return MADE.sub(lambda part: f"{part[1]}\n{kinds[part[2]]()}\n\n{part[4]}", text)

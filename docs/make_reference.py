"""Write the pages and parts of pages that come from the code itself: ``make docs``."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layers

HERE = Path(__file__).parent
CLI_HEAD = """# Command line

Made by `make docs` from the commands' own `--help`; a test fails when it is out of date.
Exit codes: 0 done, 1 the work failed, 2 the call was wrong. Errors are one line on stderr.
Research use only, not a medical device.
"""
REFERENCE_HEAD = """# Reference: points, codecs, kernels, columns

Made by `make docs` from the code; a test fails when it is out of date.

A point is written `CODEC:QUALITY[+OPTION...][@SIZE[:DOWN[:UP]]]`, or `pristine`. `SIZE` is one side or
`WIDTHxHEIGHT`; `DOWN` and `UP` are kernels, Lanczos-4 where left out; `UP` may be `none`: handed on at
the small size. A range is written `jpeg:q10..90/10`, ends included.
"""
COLUMNS_INTRO = """One row per (case, point, classifier), in `results/*.parquet`.
A table of another lab needs the required columns only.
"""


def cli_page() -> str:
    """Return the help of the root command, of every command and of those below it."""
    os.environ["COLUMNS"] = "100"
    sections = [_help(" ".join(["bitdose", *words]), words) for words in command_words()]
    return "\n".join([CLI_HEAD, *sections])


def command_words() -> list[list[str]]:
    """Return the words of every command: the root's none, then each group before its own commands."""
    from typer.main import get_command

    from bitdose.cli.app import app
    from bitdose.cli.lazy import LazyGroup

    found: list[list[str]] = []

    def visit(command: Any, words: list[str]) -> None:
        found.append(words)
        if isinstance(command, LazyGroup):
            command.load(command.list_commands(None))
        for name, below in getattr(command, "commands", {}).items():
            visit(below, [*words, name])

    visit(get_command(app), [])
    return found


def _help(title: str, arguments: list[str]) -> str:
    from bitdose.cli.app import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run([*arguments, "--help"])
    lines = (line.rstrip() for line in out.getvalue().strip().splitlines())
    return f"## {title}\n\n```text\n" + "\n".join(lines) + "\n```\n"


def reference_page() -> str:
    """Return the tables of presets, codecs, kernels and columns."""
    from bitdose.codecs.base import CODECS
    from bitdose.codecs.grid import PRESETS
    from bitdose.resample.kernels import KERNELS
    from bitdose.results.schema import COLUMNS

    builtin = ("jpeg", "jpeg2000")
    codecs = [(name, CODECS.get(name)) for name in builtin]
    qualities = [
        (
            name,
            f"`{k.text(k.low)}` to `{k.text(k.high)}`",
            k.meaning,
            ", ".join(codec.option_names),
            codec.max_bits,
        )
        for name, codec in codecs
        for k in codec.quality_parameters
    ]
    kernels = [(name, k.library, k.constant, "yes" if k.antialiases else "no") for name, k in KERNELS.items()]
    columns = [(f"`{n}`", c.dtype, "yes" if c.required else "", c.meaning) for n, c in COLUMNS.items()]
    columns += [
        (
            "`p_<class>`",
            "double",
            "",
            "probability of each class, in the model's order; they need not sum to one",
        ),
        ("`case_<name>`", "any", "", "further columns of the table of cases"),
    ]
    return "\n".join(
        [
            REFERENCE_HEAD,
            "## Presets\n",
            _table(
                ("preset", "points"), [(f"`{k}`", ", ".join(f"`{p}`" for p in v)) for k, v in PRESETS.items()]
            ),
            "## Codecs\n",
            _table(("codec", "quality", "meaning", "options", "bits"), qualities),
            "## Kernels\n",
            _table(("kernel", "library", "its name there", "anti-aliases"), kernels),
            "## Columns of the results table\n",
            COLUMNS_INTRO,
            _table(("column", "type", "required", "meaning"), columns),
        ]
    )


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "reference.md": reference_page,
    "architecture.md": lambda: layers.made(HERE / "architecture.md"),
    "../CONTRIBUTING.md": lambda: layers.made(HERE.parent / "CONTRIBUTING.md"),
    "img/layers.svg": layers.picture,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"wrote docs/{name}")

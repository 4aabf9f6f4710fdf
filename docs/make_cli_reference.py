"""Write docs/cli.md from the commands' own help: ``make docs``."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# Command line

Made by `make docs` from the commands' own `--help`; a test fails when it is out of date.
Exit codes: 0 done, 1 the work failed, 2 the call was wrong. Errors are one line on stderr.
Research use only, not a medical device.
"""


def reference() -> str:
    """Return the page: the help of the root command and of every command."""
    os.environ["COLUMNS"] = "100"
    from bitdose.cli.app import app

    names = [str(command.name) for command in app.registered_commands]
    sections = [_section("bitdose", [])] + [_section(f"bitdose {name}", [name]) for name in names]
    return "\n".join([HEAD, *sections])


def _section(title: str, arguments: list[str]) -> str:
    from bitdose.cli.app import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run([*arguments, "--help"])
    lines = (line.rstrip() for line in out.getvalue().strip().splitlines())
    return f"## {title}\n\n```text\n" + "\n".join(lines) + "\n```\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE.name}")

"""The tutorial is executed as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> str:
    """Run lines of shell in a folder, with nothing of the user's; the first that fails ends them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "XDG_CONFIG_HOME": str(folder / "config"), "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def loosely(text: str) -> list[str]:
    """Return the lines that are shown, numbers and spaces apart."""
    lines = (re.sub(r"\d+(\.\d+)?", "#", " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if line not in {"", "…"}]


def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """Files that the tutorial shows are written, its commands run in order, and print what is shown."""
    printed, commands = "", 0
    for kind, title, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "sh":
            printed, commands = run(body, tmp_path), commands + body.count("bitdose ")
        elif title == "output":
            lines = iter(loosely(printed))
            missing = [line for line in loosely(body) if line not in lines]  # in the order that is shown
            assert not missing, printed
        elif title:
            (tmp_path / title).write_text(body, encoding="utf-8")
        elif kind == "python":
            (tmp_path / "block.py").write_text(body, encoding="utf-8")
            assert "right" in run("python block.py", tmp_path)
    assert commands == 8

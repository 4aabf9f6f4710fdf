"""What the page *Add a codec* promises to another package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitdose.codecs.base import CODECS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "docs" / "examples" / "bitdose-webp"
PAGE = ROOT / "docs" / "how-to" / "add-a-codec.md"

RUN_A_POINT = """
from bitdose.codecs.coding import code_points
from bitdose.codecs.point import Point
from bitdose.hashing import rng_for
from bitdose.testing import textured_image

image = textured_image(96, 128, rng=rng_for("webp"), bits=12)
points = [Point.parse("webp:q50@64"), Point.parse("webp:q90")]
for point, coded in code_points(image, points):
    print(point, coded.image.pixels.shape, coded.image.bits, coded.mapping, coded.coded_bytes > 0)
"""


@pytest.fixture(scope="module")
def installed(example_site: Path) -> dict[str, str]:
    """Give an environment that sees the example package."""
    known = [str(example_site), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, known))}


def _python(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_codec_is_listed(installed: dict[str, str]) -> None:
    """``bitdose codecs --json`` lists it behind the built-in ones, with quality and library build."""
    rows = json.loads(_python(installed, "-m", "bitdose", "codecs", "--json"))
    assert [row["codec"] for row in rows] == [*CODECS.names(), "webp"]
    assert rows[-1]["available"]
    assert rows[-1]["quality"] == ["q0..q100 (WebP quality)"]
    assert "libwebp" in rows[-1]["library"]


def test_an_installed_codec_keeps_the_contract(installed: dict[str, str]) -> None:
    """The page's own test function passes."""
    code = _blocks("python")[1] + "\n\ntest_webp_keeps_the_contract()\n"
    _python(installed, "-c", code)


def test_an_installed_codec_makes_points(installed: dict[str, str]) -> None:
    """Its points parse, and depth, downsizing and interpolation go around it as around any codec."""
    assert _python(installed, "-c", RUN_A_POINT).splitlines() == [
        "webp:q50@64 (96, 128) 12 linear 12>8>12 bits True",
        "webp:q90 (96, 128) 12 linear 12>8>12 bits True",
    ]


def test_the_pages_commands_run(installed: dict[str, str]) -> None:
    """Every ``bitdose`` command on the page works once the package is installed."""
    commands = re.findall(r"^\$ bitdose (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    assert commands
    for command in commands:
        assert "webp" in _python(installed, "-m", "bitdose", *command.split())


def test_the_page_shows_the_package_itself() -> None:
    """Code and project file on the page equal the files, which are short."""
    module = (PACKAGE / "bitdose_webp.py").read_text()
    assert _blocks("python")[0] == module
    assert _blocks("toml")[0] == (PACKAGE / "pyproject.toml").read_text()
    assert len(module.splitlines()) <= 140


def _blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)

"""What an installation promises: with a C compiler the wheel has the library, without it has not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "bitdose/native/_native.so"
USE = "from bitdose.native.library import load; print(load() is not None)"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a wheel is built of, without anything built."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, folder)
    left_out = shutil.ignore_patterns("__pycache__", "*.so", "static")
    shutil.copytree(ROOT / "src", folder / "src", ignore=left_out)
    return folder


def _wheel(sources: Path, into: Path, compiler: str) -> tuple[Path, str]:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into)]
    environment = os.environ | {"CC": compiler}
    done = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=True)
    (wheel,) = into.glob("*.whl")
    return wheel, done.stdout + done.stderr


def _loads(wheel: Path, folder: Path) -> bool:
    """Unpack a wheel and ask it, in a process of its own, whether it has its library."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() == "True"


def test_without_a_compiler_the_wheel_is_pure_and_says_so(sources: Path, tmp_path: Path) -> None:
    """No compiler, or one that fails: a warning, a wheel for every platform, and no library in it."""
    for number, compiler in enumerate(("no-such-compiler", "false")):
        folder = tmp_path / str(number)
        wheel, said = _wheel(sources, folder, compiler)
        assert wheel.name.endswith("-py3-none-any.whl")
        assert "no C compiler at work" in said
        assert not _loads(wheel, folder / "unpacked")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_with_a_compiler_the_wheel_holds_the_library_of_its_sources(sources: Path, tmp_path: Path) -> None:
    """For this platform and any Python, with the library, which loads."""
    wheel, said = _wheel(sources, tmp_path / "wheel", "cc")
    assert "no C compiler" not in said
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    assert LIBRARY in zipfile.ZipFile(wheel).namelist()
    assert _loads(wheel, tmp_path / "unpacked")

"""What the compiled library says of itself: which sources it is of, or why it is not here and what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import bitdose
from bitdose.cli.app import run
from bitdose.native import library
from bitdose.native.library import LIBRARY, sources_digest, state


@pytest.fixture
def opened_anew() -> Iterator[None]:
    """Look for the library again, before and after."""
    library._open.cache_clear()
    yield
    library._open.cache_clear()


@pytest.fixture(scope="module")
def uncompiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package as it is installed where there is no C compiler."""
    folder, package = tmp_path_factory.mktemp("uncompiled"), Path(bitdose.__file__).parent
    left_out = shutil.ignore_patterns(LIBRARY, "__pycache__", "static")
    shutil.copytree(package, folder / package.name, ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a few images in two classes of the demo's classifier."""
    folder = tmp_path_factory.mktemp("cases")
    for n, label in enumerate(("clear", "nodules", "clear", "nodules")):
        (folder / label).mkdir(exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (64, 64), np.uint8)
        PillowImage.fromarray(pixels).save(folder / label / f"{n}.png")
    return folder


def _bitdose(uncompiled: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bitdose", *arguments]
    environment = os.environ | {"PYTHONPATH": str(uncompiled)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)


@pytest.mark.skipif(not state().available, reason="installed without a C compiler")
def test_the_state_names_the_sources() -> None:
    """Compiled: available, without a reason, with the digest of the sources it was compiled from."""
    found = state()
    assert (found.reason, found.digest) == ("", f"{sources_digest():08x}")
    assert found.digest in found.line()


@pytest.mark.usefixtures("opened_anew")
def test_a_library_of_other_sources_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of an editable install the old library is left alone until it is compiled anew."""
    if not state().available:
        pytest.skip("installed without a C compiler")
    library._open.cache_clear()
    monkeypatch.setattr(library, "sources_digest", lambda: 0)
    assert library.load() is None
    assert "compiled from other sources" in state().reason


@pytest.mark.usefixtures("opened_anew")
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "not compiled"), (b"no library", "not for this machine")]
)
def test_a_missing_library_is_a_fact_with_its_reason(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent, or of another machine: not available, why, and what to do."""
    if content is not None:
        (tmp_path / LIBRARY).write_bytes(content)
    monkeypatch.setattr(library, "_FOLDER", tmp_path)
    found = state()
    assert (library.load(), found.available) == (None, False)
    assert reason in found.reason
    assert "install a wheel for this platform, or a C compiler" in found.line()


def test_codecs_shows_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    """`bitdose codecs` says it in its last line, and for a program beside every codec."""
    assert run(["codecs"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == state().line()
    assert run(["codecs", "--json"]) == 0
    assert all(row["native"] == state().to_dict() for row in json.loads(capsys.readouterr().out))


def test_a_study_without_the_loops_says_so_once(uncompiled: Path, cases: Path, tmp_path: Path) -> None:
    """One line on stderr whatever the number of workers, the reason in the manifest, nothing with --json."""
    study = ["study", str(cases), "--model", "phantom", "--points", "jpeg2000:10x", "--no-report"]
    study += ["--workers", "2"]
    said = _bitdose(uncompiled, *study, "--out", str(tmp_path / "a"))
    assert said.stderr.count("loops in C: not compiled") == said.stderr.count("\n") == 1
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["native"]["available"] is False
    assert manifest["native"]["slowdown_without"] == library.SLOWDOWN_WITHOUT
    quiet = _bitdose(uncompiled, *study, "--out", str(tmp_path / "b"), "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["done"] == 4

"""What a release promises: a wheel that runs where there is neither a C compiler nor Node."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "src" / "bitdose" / "service" / "web" / "static" / "assets.json"
LOOPS = "from bitdose.native.library import state; print(state().available)"

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(not BUILT.exists(), reason="the pages were not built: 'make web' needs npm"),
]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as a release is built: a source distribution, and a wheel from that."""
    pytest.importorskip("build")
    sources, into = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("release")
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py", ".gitignore"):
        shutil.copy(ROOT / name, sources)
    for name in ("src", "web"):
        left_out = shutil.ignore_patterns("__pycache__", "*.so", "node_modules")
        shutil.copytree(ROOT / name, sources / name, ignore=left_out)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(into), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return into


@pytest.fixture(scope="module")
def installed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, and return that environment's folder.

    The libraries it depends on are not installed again, which would take minutes: a ``.pth`` file names the
    folder where they lie. Python reads no ``.pth`` of that folder, so the editable BitDose beside them is not
    found; the tests check that the wheel's is the one at work.
    """
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (wheel,) = release.glob("*.whl")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


def _environment(installed: Path) -> dict[str, str]:
    """Return an environment with nothing on the path but the installation's own commands."""
    return {"PATH": str(installed / "bin"), "HOME": str(installed), "LANG": os.environ.get("LANG", "C.UTF-8")}


def _run(installed: Path, command: str, *arguments: str, said: str = "") -> str:
    done = subprocess.run(
        [str(installed / "bin" / command), *arguments],
        cwd=installed,
        env=_environment(installed),
        input=said,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_source_distribution_has_all_that_a_wheel_is_made_of(release: Path) -> None:
    """C sources, the pages' sources and the built pages; nothing compiled."""
    (packed,) = release.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "web/package-lock.json", "web/src/worker.js"} <= names
    assert {"src/bitdose/native/native.h", "src/bitdose/native/resample.c"} <= names
    assert BUILT.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.endswith(".so") or "node_modules" in name]


def test_the_wheel_is_for_this_platform_and_whole(release: Path) -> None:
    """Any Python 3 on this platform; with the compiled loops, the pages and the mark of typed packages."""
    (wheel,) = release.glob("*.whl")
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"bitdose/native/_native.so", "bitdose/py.typed", "bitdose/service/web/static/assets.json"} <= {
        *names
    }


def test_the_wheel_runs_the_demo_without_a_compiler(installed: Path) -> None:
    """No compiler and no Node on the path: the loops in C are at work, and the demo writes its report."""
    for program in ("cc", "gcc", "node", "npm"):
        assert shutil.which(program, path=_environment(installed)["PATH"]) is None
    where = _run(installed, "python", "-c", "import bitdose; print(bitdose.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    assert _run(installed, "python", "-c", LOOPS) == "True\n"
    out = installed / "demo"
    _run(installed, "bitdose", "demo", "--out", str(out), "--per-class", "2", "--workers", "1")
    assert (out / "run" / "report.html").stat().st_size > 10_000


def test_the_wheel_serves_its_pages_without_node(installed: Path) -> None:
    """The sign-in page names scripts and styles, and the service has each of them."""
    data = str(installed / "data")
    _run(
        installed,
        "bitdose",
        "serve",
        "init",
        "--name",
        "boss",
        "--data",
        data,
        said="four plain words here\n",
    )
    with _serving(installed, data) as url:
        page = _get(f"{url}/login")
        assert page.headers["content-type"].startswith("text/html")
        names = {part.partition('"')[0] for part in page.text.split('="/static/')[1:]}
        assert {Path(name).suffix for name in names} >= {".js", ".css"}
        for name in names:
            assert httpx.get(f"{url}/static/{name}").status_code == 200


@contextmanager
def _serving(installed: Path, data: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed / "bin" / "bitdose"), "serve", "--model", "phantom", "--data", data]
    environment: Mapping[str, str] = _environment(installed)
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "0"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _get(url: str) -> httpx.Response:
    """Ask until the service has started."""
    until = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url)
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)

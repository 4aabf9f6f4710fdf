"""What a build makes on the way: the loops in C and the service's pages; where it cannot, it says so."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/bitdose/native")
PAGES = Path("src/bitdose/service/web/static/assets.json")
# No product may be joined with a sum: the results are to be the libraries' own, to the last bit.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-shared",
    "-fwrapv",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
)
SECONDS = 300


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts ``_native.so`` into a wheel, and the built pages into a wheel and a source distribution."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing; say so and go on where that is not possible."""
        if version != "editable":  # there ``make web`` builds them
            self._build_pages()
        if self.target_name == "wheel":
            self._compile(build_data)

    def _build_pages(self) -> None:
        web = Path(self.root, "web")
        if Path(self.root, PAGES).exists():
            return
        npm = shutil.which("npm")
        if npm is None or not web.exists():
            self.app.display_warning("no npm at work: the service's pages are not in this build")
            return
        try:
            for command in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
                subprocess.run([npm, *command], cwd=web, check=True, timeout=SECONDS)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(f"npm failed ({error}): the service's pages are not in this build")

    def _compile(self, build_data: dict[str, Any]) -> None:
        try:
            library = compile_library(Path(self.root, SOURCES))
        except (OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(f"no C compiler at work ({error}); studies take longer without")
            return
        name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{name}"
        build_data["artifacts"].append(library.relative_to(self.root).as_posix())


def compile_library(folder: Path, *more_flags: str) -> Path:
    """Compile the sources of a folder into the library beside them.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If there is no compiler, or it does not succeed.
    """
    about = runpy.run_path(str(folder / "library.py"))  # the package cannot be imported yet
    digest, library = about["sources_digest"](folder), folder / about["LIBRARY"]
    made = library.with_name(f"{library.name}.new")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    sources = sorted(str(path) for path in folder.glob("*.c"))
    defined = f"-DBITDOSE_SOURCES={digest}u"
    command = [*compiler, *FLAGS, *more_flags, defined, *sources, "-lm", "-o", str(made)]
    subprocess.run(command, check=True, timeout=SECONDS)  # noqa: S603 -- the installer's own compiler
    made.replace(library)  # what is loaded elsewhere stays whole
    return library

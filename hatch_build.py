"""Compile the sweep's loops in C when the package is installed; without a compiler it does without them."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/bitdose/native")
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


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds ``bitdose/native/_native.so`` and makes it part of the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile; say so and go on where that is not possible."""
        folder = Path(self.root, SOURCES)
        try:
            library = compile_library(folder)
        except (OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(f"no C compiler at work ({error}); studies take longer without")
            return
        name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{name}"
        build_data["artifacts"].append(library.relative_to(self.root).as_posix())


def compile_library(folder: Path) -> Path:
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
    command = [*compiler, *FLAGS, f"-DBITDOSE_SOURCES={digest}u", *sources, "-lm", "-o", str(made)]
    subprocess.run(command, check=True, timeout=SECONDS)  # noqa: S603 -- the installer's own compiler
    made.replace(library)  # what is loaded elsewhere stays whole
    return library

"""Run the tests of the loops in C against a build with the address and undefined-behaviour sanitizers.

    python tests/native/sanitize.py [TEST …]

Copies the package without its compiled library, compiles the sources there with the sanitizers, and runs the
tests in a process of their own that finds the copy first. Any finding ends that process, and exit code 1
follows. Skips, says so, and ends with 0 where there is no compiler that has them. Python's own leaks are not
looked for; its memory comes from ``malloc``, so that a read behind a ``bytes`` object is seen too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hatch_build import compile_library  # noqa: E402

TESTS = ("tests/native/test_encoder.py", "tests/native/test_layers.py", "tests/resample/test_polyphase.py")
# Without -fwrapv, so that sums that wrap are found; a union's punning and unsigned sums are no findings.
FLAGS = ("-O1", "-g", "-fno-wrapv", "-fno-omit-frame-pointer", "-fsanitize=address,undefined")
HALTS = "-fno-sanitize-recover=all"
RUNTIMES = ("libasan.so", "libubsan.so")
LOADS = "from bitdose.native.library import state; import sys; sys.exit(state().reason or 0)"
SECONDS = 1800


def main() -> int:
    """Compile, test, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        package = Path(name, "bitdose")
        left_out = shutil.ignore_patterns("*.so", "__pycache__", "static")
        shutil.copytree(ROOT / "src" / "bitdose", package, ignore=left_out)
        try:
            runtimes = [_runtime(runtime) for runtime in RUNTIMES]
            compile_library(package / "native", *FLAGS, HALTS)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"sanitizers: skipped, no compiler that has them ({error})", file=sys.stderr)
            return 0
        environment = os.environ | {
            "PYTHONPATH": name,
            "PYTHONMALLOC": "malloc",
            "LD_PRELOAD": " ".join(runtimes),
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        subprocess.run([sys.executable, "-c", LOADS], env=environment, check=True, timeout=SECONDS)
        tests = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--capture=sys",
            *(sys.argv[1:] or TESTS),
        ]
        return subprocess.run(tests, cwd=ROOT, env=environment, timeout=SECONDS).returncode


def _runtime(name: str) -> str:
    """Return where the compiler has a sanitizer's library; raise ``OSError`` where it has none."""
    command = [*shlex.split(os.environ.get("CC", "cc")), f"-print-file-name={name}"]
    found = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    if not found.is_absolute():
        raise OSError(f"{name} is not there")
    return str(found)


if __name__ == "__main__":
    sys.exit(main())

"""What keeping freed memory and giving it back promise, asked for in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bitdose.malloc import give_back_freed_memory, keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from bitdose.malloc import keep_freed_memory

taken = sys.argv[1] == "kept" and keep_freed_memory(up_to=2**26)
for turn in range(21):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    several = [np.ones(2**20, np.uint8) for _ in range(24)]
    del several
print(int(taken), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

HELD = """
import re, sys
import numpy as np
from bitdose.malloc import give_back_freed_memory

def resident_mb():
    return int(re.search("VmRSS:[^0-9]+([0-9]+)", open("/proc/self/status").read())[1]) / 1024

taken = sys.argv[1] == "given back" and give_back_freed_memory()
large = np.ones(2**24, np.uint8)
del large  # from now on the C library takes blocks of up to 16 MB from its own pool
before = resident_mb()
several = [np.ones(2**20, np.uint8) for _ in range(64)]
last = several[-1]
del several
print(int(taken), round(resident_mb() - before))
"""


def _faults(how: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    taken, faults = map(int, done.stdout.split())
    return bool(taken), faults


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc takes the request")
def test_blocks_that_come_again_are_not_fetched_anew() -> None:
    """What frees and asks again for the same megabytes takes its page faults once."""
    taken, kept = _faults("kept")
    if not taken:
        pytest.skip("this C library does not take the request")
    _, given_back = _faults("given back")
    assert kept < given_back / 10


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc takes the request")
def test_freed_blocks_are_given_back_though_a_later_one_is_held() -> None:
    """Of 64 MB only the last is held: the process has little more than it, where it would have kept all."""
    held = {}
    for how in ("given back", "by default"):
        done = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, check=True)
        taken, held[how] = map(int, done.stdout.split())
        if how == "given back" and not taken:
            pytest.skip("this C library does not take the request")
    assert held["given back"] < 8
    assert held["by default"] > 32


def test_elsewhere_the_request_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system nothing is asked for, and nothing breaks."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
    assert give_back_freed_memory() is False
    assert keep_freed_memory(up_to=1) is False

"""What keeping freed memory promises: fewer page faults, asked for in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bitdose.malloc import keep_freed_memory

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


def test_elsewhere_the_request_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system nothing is asked for, and nothing breaks."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False
    assert keep_freed_memory(up_to=1) is False

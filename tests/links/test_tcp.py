"""The seconds of ``transmission.py`` beside real TCP and TLS 1.3 on shaped links inside this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "links.py"
NOT_PERMITTED = 3
TOLERANCE, SLACK_S = 0.15, 0.05
SIZES = {
    "up=1M,rtt=100ms": (4_000, 15_000, 60_000, 100_000),
    "up=331k,rtt=200ms,down=446k": (4_000, 15_000, 30_000),
    "up=10M,rtt=200ms": (15_000, 60_000, 300_000, 1_000_000),
}


def transfer(shaper: str) -> list[dict[str, Any]]:
    """Send exams over every link, the links at the same time; skip where the machine does not permit it."""
    running = []
    for link, sizes in SIZES.items():
        words = [word for size in sizes for word in ("--bytes", str(size))]
        words = [sys.executable, str(BENCHMARK), "--shaper", shaper, "--json", "--link", link, *words]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ended = [(*process.communicate(timeout=120), process.returncode) for process in running]
    for _, errors, code in ended:
        if code == NOT_PERMITTED:
            pytest.skip(errors.strip())
        assert code == 0, errors
    return [row for output, _, _ in ended for row in json.loads(output)]


@pytest.mark.parametrize("shaper", ["netem", "tun"])
def test_predicted_seconds_are_those_of_real_tcp(shaper: str) -> None:
    """Fresh and kept alive, from one window to seventy: within 15 % (or 50 ms) of the kernel's own TCP."""
    rows = transfer(shaper)
    assert len(rows) == 2 * sum(map(len, SIZES.values()))
    wrong = [
        row
        for row in rows
        if row["predicted_s"] != pytest.approx(row["measured_s"], rel=TOLERANCE, abs=SLACK_S)
    ]
    assert not wrong
    by_hand = {(row["link"], row["bytes"], row["connection"]): row["measured_s"] for row in rows}
    fat = "up=10M,rtt=200ms"
    waited = by_hand[fat, 300_000, "fresh"] - by_hand[fat, 300_000, "kept alive"]
    assert waited > 1.5 * 2 * 0.2, (
        "a fresh connection waits for slow start beside its two round trips of setup"
    )

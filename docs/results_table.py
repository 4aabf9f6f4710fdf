"""Print a run's numbers as the Markdown table of docs/results.md: ``python docs/results_table.py RUN``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def percent(estimate: dict[str, Any]) -> str:
    """Write an estimate in percent with its interval."""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None or low is None:
        return "–" if value is None else f"{100 * value:.1f}"
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def row(point: dict[str, Any]) -> str:
    """Write one point."""
    flips = point["flips"]
    f1 = point["macro_f1"]["value"]
    cells = [
        f"`{point['point']}`",
        f"{point['ratio_file']:.1f}",
        f"{point['ratio_pixels']:.1f}",
        f"{point['coded_bytes_per_case'] / 1e3:.1f}",
        percent(point["accuracy"]),
        percent(point["accuracy_difference"]),
        "–" if f1 is None else f"{f1:.3f}",
        f"{flips['changed']} ({flips['right_to_wrong']} / {flips['wrong_to_right']})",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Read ``RUN/summary.json`` and print the table."""
    summary = json.loads((Path(sys.argv[1]) / "summary.json").read_text())
    print(
        "| point | ratio (file) | ratio (pixels) | kB per case | accuracy, % | against pristine, points "
        "| macro F1 | flips (lost / gained) |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for point in summary["points"]:
        print(row(point))


if __name__ == "__main__":
    main()

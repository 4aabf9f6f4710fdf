"""Write the brain set's table with the labels none, II and III: ``python brain_grades.py BRAIN OUT.csv``.

Paths in the new table lead back to the set; no image is copied. A stack without tumour is
``none`` whatever the grade of its patient's tumour.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

NONE = "none"


def graded(row: dict[str, str], folder: Path, out: Path) -> dict[str, str]:
    """Return a row with its new label and its path from the new table."""
    label = row["grade"] if row["label"] == "tumour" else NONE
    path = os.path.relpath(folder / row["path"], out.parent)
    return {**row, "label": label, "path": path, "id": row["path"]}


def main() -> None:
    """Read ``BRAIN/cases.csv`` and write ``OUT.csv``."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.parent.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = [graded(row, folder, out) for row in csv.DictReader(file)]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

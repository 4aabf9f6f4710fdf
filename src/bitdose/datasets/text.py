"""Findings and arranged sets as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitdose.datasets.arrange import Arranged
from bitdose.datasets.check import Findings
from bitdose.html_card import DISCLAIMER

Counts = Mapping[str, Mapping[str, Mapping[str, int]]]

_KIB = 1024
_SHOWN = 6


def check_lines(found: Findings) -> list[str]:
    """Return the findings as text: counts beside the paper's, traits by class, warnings, problems."""
    lines = counts_table(found.counts, found.paper)
    for trait, by_label in found.traits.items():
        lines += ["", f"{trait.replace('_', ' ')} by class"]
        lines += [f"  {label:<12} {_listed(values)}" for label, values in by_label.items()]
    if found.dropped:
        lines += ["", *dropped_lines(found.dropped)]
    lines += ["", *(f"warning: {text}" for text in found.warnings)]
    lines += [f"problem: {text}" for text in found.problems]
    n_files = sum(found.statuses.values())
    verdict = f"problems: {len(found.problems)}" if found.problems else "no problem"
    return [*lines, f"files: {n_files}; {verdict}. {DISCLAIMER}"]


def arranged_lines(made: Arranged, paper: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return an arranged set as text: counts beside the paper's, exclusions, warnings."""
    lines = counts_table(made.counts(), paper)
    if made.dropped:
        lines += ["", *dropped_lines(made.dropped)]
    return [*lines, "", *(f"warning: {text}" for text in made.warnings)]


def counts_table(counts: Counts, paper: Mapping[str, Mapping[str, int]]) -> list[str]:
    r"""Return cases and patients by split and class, beside the paper's counts where available.

    Examples
    --------
    >>> print(*counts_table({"test": {"sick": {"cases": 3, "patients": 2}}}, {}), sep="\n")
    split        class          cases  patients
    test         sick               3         2
    all                             3         2
    """
    head = ["split", "class", "cases", "patients"] + (["paper"] if paper else [])
    rows: list[list[str]] = []
    stated, inferred = paper.get("stated", {}), paper.get("inferred", {})
    for split, labels in counts.items():
        for label, numbers in labels.items():
            rows.append([split or "(none)", label, str(numbers["cases"]), str(numbers["patients"]), ""])
        if paper:
            rows.append(_total(split or "(none)", "all", labels, str(stated.get(split, ""))))
    for label, number in inferred.items():
        same = {split: labels[label] for split, labels in counts.items() if label in labels}
        rows.append(_total("all", label, same, f"{number} (inferred)"))
    everything = {f"{s}/{c}": numbers for s, labels in counts.items() for c, numbers in labels.items()}
    rows.append(_total("all", "", everything, str(sum(stated.values())) if stated else ""))
    return [_row(head), *(_row(row) for row in rows)]


def dropped_lines(dropped: Mapping[str, int]) -> list[str]:
    """Return the exclusions, one reason per line."""
    return ["left out", *(f"  {number:>7}  {reason}" for reason, number in dropped.items())]


def failure_lines(failures: Sequence[tuple[int, str]]) -> list[str]:
    """Return one line per reason, with the numbers of the failed files.

    Examples
    --------
    >>> failure_lines([(1, "HTTP 404"), (2, "HTTP 410"), (5, "HTTP 404")])
    ['files 1, 5: HTTP 404', 'file 2: HTTP 410']
    """
    numbers: dict[str, list[int]] = {}
    for number, reason in failures:
        numbers.setdefault(reason, []).append(number)
    lines = []
    for reason, same in numbers.items():
        more = f" and {len(same) - _SHOWN} more" if len(same) > _SHOWN else ""
        noun = "file" if len(same) == 1 else "files"
        lines.append(f"{noun} {', '.join(map(str, same[:_SHOWN]))}{more}: {reason}")
    return lines


def bytes_text(n_bytes: int) -> str:
    """Format a number of bytes.

    Examples
    --------
    >>> bytes_text(512), bytes_text(104_857_600)
    ('512 B', '100.0 MiB')
    """
    value, unit = float(n_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"


def _total(split: str, label: str, numbers: Mapping[str, Mapping[str, int]], paper: str) -> list[str]:
    cases = sum(each["cases"] for each in numbers.values())
    patients = sum(each["patients"] for each in numbers.values())
    return [split, label, str(cases), str(patients), paper]


def _row(cells: Sequence[str]) -> str:
    split, label, cases, patients, *paper = cells
    text = f"{split:<12} {label:<12} {cases:>7} {patients:>9}"
    return f"{text}  {''.join(paper)}".rstrip()


def _listed(values: Mapping[str, int]) -> str:
    shown = [f"{value} {number}" for value, number in list(values.items())[:_SHOWN]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")

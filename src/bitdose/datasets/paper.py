"""Counts of the paper's two sets, with their sources.

``stated`` numbers are printed in Hung et al., JCIS 2026, doi 10.14209/jcis.2026.2.
``inferred`` ones are derived here: the paper gives no count per class.

- X-rays: RSNA's challenge lists 8,851 normal images and 6,012 with an opacity (9,555
  boxes), so that 15,572 leaves 709 for the COVID set and whatever the authors did besides.
- Brains: BraTS 2019's training set has 259 HGG and 76 LGG; 594 volumes leave 259 healthy
  ones. A 70/30 split by class, rounded half up, then gives exactly the paper's 415 and 179.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bitdose.errors import UsageError


@dataclass(frozen=True)
class PaperSet:
    """The numbers of one of the paper's sets.

    Parameters
    ----------
    name : str
        Name on the command line.
    labels : tuple of str
        Its classes.
    splits : mapping of str to int
        Stated number of images or volumes per split.
    inferred : mapping of str to int
        Inferred number of images or volumes per class (see the top of this module); empty if
        unknown.
    test_share : float
        Share of each class's patients that is held out.
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, int]
    inferred: Mapping[str, int]
    test_share: float


PAPER = {
    "covidx": PaperSet(
        "covidx", ("normal", "pneumonia", "covid-19"), {"train": 13_811, "test": 1_761}, {}, 0.10
    ),
    "brain": PaperSet(
        "brain",
        ("healthy", "LGG", "HGG"),
        {"train": 415, "test": 179},
        {"healthy": 259, "LGG": 76, "HGG": 259},
        0.30,
    ),
}


def paper_set(name: str) -> PaperSet:
    """Return the paper's set by name; raises ``UsageError`` for an unknown name.

    Examples
    --------
    >>> sum(paper_set("covidx").splits.values()), sum(paper_set("brain").splits.values())
    (15572, 594)
    """
    if name not in PAPER:
        raise UsageError(f"set {name!r}: the paper had {', '.join(map(repr, PAPER))}")
    return PAPER[name]


def absent_labels(name: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return the classes of the paper's set that are missing from the labels; empty for another set.

    Examples
    --------
    >>> absent_labels("brain", ["HGG", "HGG"]), absent_labels("mine", [])
    (('healthy', 'LGG'), ())
    """
    there = set(labels)
    return tuple(label for label in PAPER[name].labels if label not in there) if name in PAPER else ()


def absent_warning(name: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return a warning if classes of the paper's set have no case, else an empty list."""
    absent = ", ".join(absent_labels(name, labels))
    return (f"no case of class {absent}: a study cannot measure it; check the downloads",) if absent else ()

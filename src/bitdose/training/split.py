"""Training, validation and test splits by whole patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitdose.data.base import Case
from bitdose.data.load import ALL_SPLITS, load_cases
from bitdose.errors import UsageError, argument
from bitdose.hashing import digest

TRAINING_NAMES = ("train", "training")
VALIDATION_NAMES = ("validation", "valid", "val", "dev", "tuning")
TEST_NAMES = ("test", "testing")


@dataclass(frozen=True)
class Splits:
    """The cases of a training run.

    Parameters
    ----------
    fit, validation, test : tuple of Case
        Training cases; cases for the choice of the checkpoint; cases used once, for the model card.
    labels : tuple of str
        All labels, sorted.
    has_patients : bool
        Whether the data identify patients; if not, each case is its own patient.
    drawn : bool
        Whether ``validation`` was drawn from the training split.
    name : str
        Name of the data.
    """

    fit: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    labels: tuple[str, ...]
    has_patients: bool
    drawn: bool
    name: str

    def sizes_digest(self) -> str:
        """Return a digest of the file sizes, which detects most replaced images."""
        cases = [case for part in (self.fit, self.validation, self.test) for case in part]
        return digest([case.path.stat().st_size if case.path.is_file() else -1 for case in cases])

    def digest(self) -> str:
        """Return a digest of the splits' ids, labels and patients."""
        parts = (self.fit, self.validation, self.test)
        return digest([[[case.id, case.label, case.patient] for case in part] for part in parts])


def make_splits(
    data: Path, *, split: str | None, share: float, seed: int, classes: dict[str, str] | None = None
) -> Splits:
    """Select the training split, and hold out a share of its patients without a validation split.

    Parameters
    ----------
    data : pathlib.Path
        A folder or table, as for a study.
    split : str or None
        Split for training; None for ``train`` if there are splits.
    share : float
        Share of patients per class held out for validation.
    seed : int
        Seed of the hold-out.
    classes : dict, optional
        As for a study.

    Raises
    ------
    UsageError
        If a split is empty, has one class, lacks a label of the data, or has too few patients for
        a hold-out.
    """
    whole = load_cases(data, split=ALL_SPLITS, classes=classes)
    names = {case.split for case in whole.cases}
    chosen = split if split is not None else _training_split(names)
    train = [case for case in whole.cases if chosen in (ALL_SPLITS, case.split)]
    if not train:
        listed = ", ".join(sorted(repr(name) for name in names))
        raise UsageError(
            f"{argument('split')} {chosen!r}: expected a split with cases, the data have {listed}"
        )
    _check_classes(train, whole.labels, "the training split")
    others = [case for case in whole.cases if chosen not in (ALL_SPLITS, case.split)]
    validation = [case for case in others if case.split in VALIDATION_NAMES]
    test = [case for case in others if case.split in TEST_NAMES]
    drawn = not validation
    if drawn:
        held = held_out_patients(train, share=share, seed=seed)
        validation = [case for case in train if case.patient in held]
        train = [case for case in train if case.patient not in held]
    what = "the held-out validation (at least one patient per class stays for training)"
    _check_classes(train, whole.labels, "the remaining training cases")
    _check_classes(validation, whole.labels, what if drawn else "the validation split")
    return Splits(
        tuple(train), tuple(validation), tuple(test), whole.labels, whole.has_patients, drawn, whole.name
    )


def held_out_patients(cases: Sequence[Case], *, share: float, seed: int) -> frozenset[str]:
    """Choose patients of each class until their cases are a share of that class's, at least one.

    A patient's class is the first of its labels in alphabetical order; patients are ranked by a
    hash of seed and patient, and taken from the top. So the order of the cases does not matter,
    and added cases affect only patients at the end of the hold-out. A patient whose cases
    alone exceed twice the share is skipped while a smaller one is left.
    """
    first: dict[str, str] = {}
    for case in cases:
        first[case.patient] = min(case.label, first.get(case.patient, case.label))
    sizes = Counter(case.patient for case in cases)
    held: set[str] = set()
    for label in sorted(set(first.values())):
        ranked = sorted(
            (patient for patient, own in first.items() if own == label),
            key=lambda patient: digest([seed, "validation", patient]),
        )
        wanted = max(share * sum(sizes[patient] for patient in ranked), 1)
        held |= _taken([(patient, sizes[patient]) for patient in ranked], wanted)
    return frozenset(held)


def _taken(ranked: Sequence[tuple[str, int]], wanted: float) -> set[str]:
    """Select patients from the top until there are enough cases; at least one stays for training."""
    taken: dict[str, int] = {}
    for patient, size in ranked:
        if sum(taken.values()) >= wanted or len(taken) == len(ranked) - 1:
            break
        if sum(taken.values()) + size <= 2 * wanted:
            taken[patient] = size
    if not taken and len(ranked) > 1:
        taken = dict([min(ranked, key=lambda own: own[1])])
    return set(taken)


def _training_split(names: set[str]) -> str:
    if names == {""}:
        return ""
    usual = [name for name in TRAINING_NAMES if name in names]
    if usual:
        return usual[0]
    listed = ", ".join(sorted(repr(name) for name in names))
    raise UsageError(f"{argument('split')}: the data have no split 'train'; choose one of {listed}, or 'all'")


def _check_classes(cases: Sequence[Case], labels: Sequence[str], what: str) -> None:
    found = {case.label for case in cases}
    if len(labels) == 1:
        raise UsageError(f"{what} has one class, {labels[0]!r}: a classifier needs at least two")
    lacking = [label for label in labels if label not in found]
    if lacking:
        raise UsageError(
            f"{what} has no case of {', '.join(map(repr, lacking))}: give each class more patients, "
            f"or drop one, as by {argument('classes', {lacking[0]: ''})}"
        )

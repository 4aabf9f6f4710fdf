"""What splitting promises: whole patients, the same ones whatever the order, and no class without cases."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bitdose.data.base import Case
from bitdose.errors import UsageError
from bitdose.training.split import held_out_patients, make_splits

from .conftest import LABELS


def cases(patients: int, *, images: int = 3, name: str = "p") -> list[Case]:
    """Give so many patients of each class with several images each."""
    return [
        Case(f"{name}{label}{p}-{i}", label, Path("x"), f"{name}{label}{p}")
        for label in LABELS
        for p in range(patients)
        for i in range(images)
    ]


def write(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """Write a table of label, patient and split."""
    lines = [f"{n}.png,{label},{patient},{split}" for n, (label, patient, split) in enumerate(rows)]
    table = folder / "cases.csv"
    table.write_text("\n".join(["path,label,patient,split", *lines]))
    return table


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5, 0.9])
def test_no_patient_is_on_both_sides(table: Path, share: float) -> None:
    """Learned from, validation and test share no patient, and each has every class."""
    splits = make_splits(table, split=None, share=share, seed=0)
    parts = [{case.patient for case in part} for part in (splits.fit, splits.validation, splits.test)]
    assert not parts[0] & parts[1]
    assert not parts[2] & (parts[0] | parts[1])
    assert sum(len(part) for part in (splits.fit, splits.validation, splits.test)) == 45
    for part in (splits.fit, splits.validation, splits.test):
        assert {case.label for case in part} == set(LABELS)


def test_the_share_is_held_per_class() -> None:
    """Of each class the share of its cases is held out, to the next whole patient."""
    everyone = cases(20)
    held = held_out_patients(everyone, share=0.2, seed=0)
    for label in LABELS:
        assert sum(case.patient in held for case in everyone if case.label == label) == 12


def test_the_choice_does_not_depend_on_the_order() -> None:
    """Any order of the cases, and patients with several labels too: the same patients are held."""
    everyone = cases(12) + [
        Case(f"m{n}-{label}", label, Path("x"), f"m{n}") for n in range(6) for label in LABELS[:2]
    ]
    held = held_out_patients(everyone, share=0.3, seed=1)
    for seed in range(5):
        shuffled = random.Random(seed).sample(everyone, len(everyone))
        assert held_out_patients(shuffled, share=0.3, seed=1) == held
    assert held_out_patients(everyone, share=0.3, seed=2) != held


def test_cases_that_are_added_move_only_the_end_of_what_is_held() -> None:
    """With one more patient per class no more than one patient of each is exchanged."""
    before = held_out_patients(cases(20), share=0.2, seed=0)
    after = held_out_patients(cases(20) + cases(1, name="q"), share=0.2, seed=0)
    for label in LABELS:
        a, b = ({patient for patient in held if label in patient} for held in (before, after))
        assert len(a - b) <= 1
        assert len(b - a) <= 2


def test_a_validation_split_of_the_data_is_taken(tmp_path: Path) -> None:
    """Data that bring a validation split are not split again; its name may be one of the usual ones."""
    usual = [("train", name, "test") for name in ("val", "valid", "validation")]
    for names in (*usual, ("training", "dev", "testing")):
        rows = [(label, f"{split}{label}{p}", split) for split in names for label in "ab" for p in "12"]
        splits = make_splits(write(tmp_path, rows), split=None, share=0.15, seed=0)
        assert (len(splits.fit), len(splits.validation), len(splits.test)) == (4, 4, 4)
        assert not splits.drawn


def test_learning_from_the_validation_split_holds_some_of_it_out(tmp_path: Path) -> None:
    """``--split val`` does not validate on what it learns from."""
    rows = [
        (label, f"{split}{label}{p}", split) for split in ("train", "val") for label in "ab" for p in "1234"
    ]
    splits = make_splits(write(tmp_path, rows), split="val", share=0.3, seed=0)
    assert splits.drawn
    assert not {case.id for case in splits.fit} & {case.id for case in splits.validation}
    assert {case.split for case in splits.fit + splits.validation} == {"val"}


def test_all_takes_every_split_and_leaves_no_test(tmp_path: Path) -> None:
    """``--split all`` learns from everything: nothing is left to call a test."""
    rows = [
        (label, f"{split}{label}{p}", split) for split in ("train", "test") for label in "ab" for p in "12"
    ]
    splits = make_splits(write(tmp_path, rows), split="all", share=0.3, seed=0)
    assert (len(splits.fit) + len(splits.validation), splits.test) == (8, ())


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [("a", "1", "test"), ("b", "2", "dev")],
            "split: the data have no split 'train'; choose one of 'dev', 'test'",
        ),
        ([("a", "1", "train"), ("a", "2", "train")], "the training split has one class, 'a'"),
        ([("a", "1", "train"), ("b", "2", "test")], "the training split has no case of 'b'"),
        (
            [("a", "1", "train"), ("b", "2", "train"), ("a", "3", "val")],
            "the validation split has no case of 'b': give each class more patients, or drop one",
        ),
    ],
)
def test_what_cannot_be_split_says_why(tmp_path: Path, rows: list[tuple[str, str, str]], says: str) -> None:
    """No training split, one class, a class without cases on one side: refused with the class named."""
    with pytest.raises(UsageError, match=says):
        make_splits(write(tmp_path, rows), split=None, share=0.3, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_one_patient_with_most_cases_is_not_held_out(seed: int) -> None:
    """A patient who alone would make the validation several times its share stays to be learned from."""
    everyone = cases(4, images=1)
    everyone += [
        Case(f"big-{label}-{n}", label, Path("x"), f"big-{label}") for label in LABELS for n in range(15)
    ]
    held = held_out_patients(everyone, share=0.15, seed=seed)
    assert not {f"big-{label}" for label in LABELS} & held
    assert sum(case.patient in held for case in everyone) == 9


def test_where_all_patients_are_large_the_smallest_is_held() -> None:
    """A validation split there must be: with none that fits, the smallest patient of a class is taken."""
    everyone = [
        Case(f"{label}{p}-{n}", label, Path("x"), f"{label}{p}")
        for label in LABELS
        for p in range(2)
        for n in range(20 + p)
    ]
    assert held_out_patients(everyone, share=0.1, seed=0) == {f"{label}0" for label in LABELS}

"""What ``data make brain`` promises, on small real NIfTI volumes."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bitdose.data.load import load_cases
from bitdose.data.read import read_source
from bitdose.datasets.arrange import write_arranged
from bitdose.datasets.brain import make_brain
from bitdose.datasets.paper import paper_set
from bitdose.datasets.split import held_out
from bitdose.datasets.volume import look_at_volume
from bitdose.errors import CaseError, UsageError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def head(*, stripped: bool, seed: int = 0) -> np.ndarray:
    """Draw a ball of brain in exact zeros, or in a noisy head that reaches the lower border."""
    rng = np.random.default_rng(seed)
    axes = np.mgrid[-1:1:24j, -1:1:24j, -1:1:20j]
    radius = np.sqrt((axes**2).sum(axis=0))
    brain = np.where(radius < 0.6, 400 + rng.integers(0, 200, radius.shape), 0)
    if stripped:
        return brain.astype(np.int16)
    return (brain + np.where(radius < 0.95, 300, 0) + rng.integers(1, 9, radius.shape)).astype(np.int16)


def write(path: Path, array: np.ndarray, affine: np.ndarray = LPS) -> Path:
    """Write a NIfTI volume, compressed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(array, affine).to_filename(path)
    return path


def write_sets(folder: Path, *, healthy: int = 12, low: int = 4, high: int = 8) -> tuple[Path, Path]:
    """Write both downloads in their own layouts."""
    for number in range(healthy):
        name = f"IXI{number + 2:03d}-Guys-{700 + number:04d}-T1.nii.gz"
        write(folder / "ixi" / name, head(stripped=False, seed=number), np.eye(4))
    for grade, count in (("LGG", low), ("HGG", high)):
        for number in range(count):
            name = f"BraTS19_TCIA{number}_{grade}_1"
            for sequence in ("t1ce", "t1", "seg"):
                path = folder / "brats/Training" / grade / name / f"{name}_{sequence}.nii.gz"
                write(path, head(stripped=True, seed=100 + number))
    return folder / "ixi", folder / "brats"


def test_labels_sources_and_splits(tmp_path: Path) -> None:
    """IXI is healthy, BraTS by its folder; 30 % of each class's patients are held out."""
    made = make_brain(*write_sets(tmp_path))
    assert {
        split: {label: n["cases"] for label, n in labels.items()} for split, labels in made.counts().items()
    } == {"test": {"HGG": 2, "LGG": 1, "healthy": 4}, "train": {"HGG": 6, "LGG": 3, "healthy": 8}}
    assert {(case.label, case.columns["source"], case.columns["sequence"]) for case in made.cases} == {
        ("healthy", "ixi", "T1"),
        ("LGG", "brats2019", "T1ce"),
        ("HGG", "brats2019", "T1ce"),
    }
    assert len({case.patient for case in made.cases}) == len(made.cases) == 24


def test_the_papers_split_comes_out(tmp_path: Path) -> None:
    """259 healthy, 76 LGG and 259 HGG patients give the paper's 415 and 179."""
    paper = paper_set("brain")
    people = {f"{label}{i}": [label] for label, n in paper.inferred.items() for i in range(n)}
    n_test = len(held_out(people, paper.test_share, seed=0, name="brain"))
    assert {"train": len(people) - n_test, "test": n_test} == dict(paper.splits)


def test_what_a_volume_is_like_stands_in_the_table(tmp_path: Path) -> None:
    """Orientation, shape, spacing and skull stripping are columns; a study reads table and volumes."""
    table = write_arranged(make_brain(*write_sets(tmp_path)), tmp_path / "set")
    cases = load_cases(table, split="all").cases
    assert {(c.label == "healthy", c.columns["skull_stripped"], c.columns["orientation"]) for c in cases} == {
        (True, False, "RAS"),
        (False, True, "LPS"),
    }
    assert {case.columns["shape"] for case in cases} == {"24x24x20"}
    assert {case.columns["spacing_mm"] for case in cases} == {"1x1x1"}
    assert read_source(cases[0].path).image.is_volume


def test_skull_stripping_that_goes_with_the_class_is_said(tmp_path: Path) -> None:
    """BraTS is stripped and IXI is not: a warning; where both are stripped there is none."""
    ixi, brats = write_sets(tmp_path)
    assert any(
        "skull stripping is confounded with the class" in text for text in make_brain(ixi, brats).warnings
    )
    for path in ixi.iterdir():
        write(path, head(stripped=True))
    assert not any("skull stripping" in text for text in make_brain(ixi, brats).warnings)


def test_the_state_of_the_skull() -> None:
    """Zeros around a ball: stripped; noise: not; cropped to the brain or padded: not, or unknown."""

    def state(array: np.ndarray) -> str:
        return look_at_volume(nibabel.Nifti1Image(array, LPS).to_bytes()).skull_stripped

    ball = head(stripped=True)
    assert state(ball) == "true"
    assert state(head(stripped=False)) == "false"
    assert state(ball[7:17, 7:17, 6:14]) == "false"
    assert state(np.where(ball == 0, np.nan, ball).astype(np.float32)) == "true"
    padded = np.pad(head(stripped=False), 3)
    assert state(padded) == "unknown"


def test_damaged_volumes_are_left_out_and_healthy_ones_replaced(tmp_path: Path) -> None:
    """Empty, truncated, foreign and four-dimensional files are counted; the next IXI volume takes a place."""
    ixi, brats = write_sets(tmp_path)
    whole = make_brain(ixi, brats, healthy=6)
    taken = [case.path for case in whole.cases if case.label == "healthy"]
    taken[0].write_bytes(b"")
    taken[1].write_bytes(taken[1].read_bytes()[:900])
    spoiled = next(brats.rglob("HGG/*/*_t1ce.nii.gz"))
    spoiled.write_bytes(gzip.compress(b"no NIfTI"))
    write(next(brats.rglob("LGG/*/*_t1ce.nii.gz")), np.zeros((4, 4, 4, 2), np.int16))
    made = make_brain(ixi, brats, healthy=6)
    assert Counter(case.label for case in made.cases) == {"healthy": 6, "LGG": 3, "HGG": 7}
    assert dict(made.dropped) == {
        "IXI: volume is empty-file": 1,
        "IXI: volume is truncated": 1,
        "IXI: not needed (more than the healthy volumes asked for)": 4,
        "BraTS: volume is unreadable": 1,
        "BraTS: volume is unsupported": 1,
    }


def test_one_volume_per_patient_and_one_label(tmp_path: Path) -> None:
    """A number twice, both spellings of a file, both grades, no grade, other names: each has its reason."""
    ixi, brats = write_sets(tmp_path, healthy=3, low=2, high=2)
    write(ixi / "more" / "IXI2-HH-1-T1.nii", head(stripped=False))
    write(ixi / "IXI009-HH-1-T2.nii.gz", head(stripped=False))
    both = next(brats.rglob("HGG/*/*_t1ce.nii.gz"))
    write(brats / "LGG" / both.parent.name / both.name, head(stripped=True))
    write(brats / "elsewhere" / "BraTS19_X_1_t1ce.nii", head(stripped=True))
    made = make_brain(ixi, brats)
    assert Counter(case.label for case in made.cases) == {"healthy": 3, "LGG": 2, "HGG": 1}
    assert dict(made.dropped) == {
        "IXI: a second volume of a patient": 1,
        "IXI: NIfTI file is not named IXI<number>-…-T1": 1,
        "BraTS: patient has two labels": 2,
        "BraTS: volume lies below neither HGG nor LGG": 1,
    }


def test_how_many_healthy(tmp_path: Path) -> None:
    """A number takes a choice that the seed alone changes; all takes all; too few is said."""
    ixi, brats = write_sets(tmp_path, low=2, high=2)

    def taken(**how: int | None) -> list[str]:
        return [case.id for case in make_brain(ixi, brats, **how).cases if case.label == "healthy"]

    assert len(taken(healthy=None)) == 12
    assert len(taken(healthy=5)) == 5
    assert set(taken(healthy=5)) < set(taken(healthy=7))
    assert taken(healthy=5) == taken(healthy=5) != taken(healthy=5, seed=1)
    assert any("12 sound IXI volumes, 259 asked for" in text for text in make_brain(ixi, brats).warnings)


def test_folders_that_are_none_and_folders_that_are_empty(tmp_path: Path) -> None:
    """A wrong folder is named with its option; an empty class is a warning."""
    ixi, brats = write_sets(tmp_path, healthy=2, low=0, high=2)
    with pytest.raises(UsageError, match="brats .*expected the training data of BraTS 2019"):
        make_brain(ixi, tmp_path / "none")
    assert any("no case of class LGG" in text for text in make_brain(ixi, brats).warnings)


def test_unusual_volumes_are_read_or_refused() -> None:
    """Big-endian, NIfTI-2, scaled and trailing axes are looked at; complex and empty ones are refused."""
    array = head(stripped=True)
    scaled = nibabel.Nifti1Image(array.astype(np.float32) / 7, LPS)
    scaled.set_data_dtype(np.int16)
    big = nibabel.Nifti1Image(array, LPS, nibabel.Nifti1Header(endianness=">"))
    for image in (big, nibabel.Nifti2Image(array, LPS), scaled, nibabel.Nifti1Image(array[..., None], LPS)):
        look = look_at_volume(image.to_bytes())
        assert (look.shape, look.orientation, look.skull_stripped) == ((24, 24, 20), "LPS", "true")
    for data in (b"", b"x" * 400, nibabel.Nifti1Image(array.astype(np.complex64), LPS).to_bytes()):
        with pytest.raises(CaseError):
            look_at_volume(data)
    with pytest.raises(CaseError, match="too-large"):
        look_at_volume(big.to_bytes(), max_voxels=10)

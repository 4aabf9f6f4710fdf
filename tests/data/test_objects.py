"""Cases from Python objects: arrays, tables in memory, torch data sets, iterables."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image as PillowImage

from bitdose.data.base import Case, HeldPixels
from bitdose.data.load import load_cases
from bitdose.data.objects import cases_from
from bitdose.data.pixels import image_of
from bitdose.data.read import read_case
from bitdose.errors import CaseError, UsageError
from bitdose.image import Image

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (4, 12, 10), np.uint8)
COLOUR = RNG.integers(0, 256, (4, 12, 10, 3), np.uint8)
LABELS = ["a", "b", "a", "b"]


class Fractions(torch.utils.data.Dataset):  # type: ignore[misc]
    """A torch data set of tensors in [0, 1], as ``ToTensor`` makes them; it counts what is asked of it."""

    classes = ("normal", "pneumonia")

    def __init__(self, images: Any = COLOUR) -> None:
        self.images, self.asked = images, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.asked += 1
        return torch.from_numpy(self.images[index]).permute(2, 0, 1).float().div(255), index % 2


class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
    """A torch data set that can only be gone through."""

    def __iter__(self) -> Any:
        return iter(
            (PillowImage.fromarray(pixels), label) for pixels, label in zip(GREY, LABELS, strict=True)
        )


def pixels_of(case: Case) -> Any:
    """Give a case's samples."""
    return read_case(case).image.pixels


def test_arrays_with_labels_become_cases_that_hold_their_pixels() -> None:
    """Each is a case of its own, read without a file: no file size, its digest that of the pixels."""
    cases = cases_from((GREY, LABELS))
    assert [case.id for case in cases.cases] == ["0", "1", "2", "3"]
    assert (cases.name, cases.labels, cases.has_patients) == ("arrays", ("a", "b"), False)
    source = read_case(cases.cases[2])
    np.testing.assert_array_equal(source.image.pixels, GREY[2])
    assert (source.format, source.file_bytes, source.lossy) == ("array", None, None)
    assert source.digest != read_case(cases.cases[3]).digest
    assert cases_from(COLOUR, labels=LABELS, patients=[1, 1, 2, 2]).cases[1].patient == "1"
    assert read_case(cases_from(COLOUR, labels=LABELS).cases[0], color="grey").mapping == "rgb>grey"


def test_a_path_gives_what_load_cases_gives(texture_set: Path) -> None:
    """As text or as a ``Path``, and with the same choice of cases."""
    wanted = load_cases(texture_set, limit=5)
    assert cases_from(texture_set, limit=5) == cases_from(str(texture_set), limit=5) == wanted
    assert cases_from(load_cases(texture_set), limit=5) == wanted


@pytest.mark.parametrize("library", [pl, pd])
def test_a_frame_of_paths_is_read_like_a_table_file(
    library: Any, texture_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are relative to the current folder; patients, splits and further columns are the file's."""
    files = [f"{label}/{n}.png" for label in ("grainy", "smooth") for n in range(2)]
    columns = {
        "path": files, "label": [0, 0, 1, 1], "patient": ["p", "p", "q", None],
        "split": ["test", "test", "test", "train"], "age": [30, 40, 50, 60],
    }  # fmt: skip
    table = texture_set / "four.csv"
    pl.DataFrame(columns).write_csv(table)
    monkeypatch.chdir(texture_set)
    found = cases_from(library.DataFrame(columns), split="test")
    wanted = load_cases(table, split="test")
    table.unlink()
    assert [(c.id, c.label, c.patient, c.split, c.columns) for c in found.cases] == [
        (c.id, c.label, c.patient, c.split, c.columns) for c in wanted.cases
    ]
    assert (found.has_patients, found.labels) == (wanted.has_patients, wanted.labels)
    assert pixels_of(found.cases[1]).shape == (96, 96)
    named = cases_from(library.DataFrame(columns), split="all", names=("grainy", "smooth"))
    assert named.labels == ("grainy", "smooth")


@pytest.mark.parametrize(
    ("library", "column"),
    [(pd, list(GREY)), (pl, pl.Series(GREY)), (pl, pl.Series(list(GREY), dtype=pl.Object))],
)
def test_a_frame_may_hold_arrays(library: Any, column: Any) -> None:
    """The column of paths is then one of arrays; ids come from their column."""
    frame = library.DataFrame({"image": column, "label": LABELS, "id": ["w", "x", "y", "z"]})
    cases = cases_from(frame, path_column="image").cases
    assert [case.id for case in cases] == ["w", "x", "y", "z"]
    np.testing.assert_array_equal(pixels_of(cases[3]), GREY[3])


def test_nested_lists_of_polars_keep_their_type() -> None:
    """Bytes in a list of lists are bytes, not the whole numbers that Python makes of them."""
    frame = pl.DataFrame(
        {"path": GREY.tolist(), "label": LABELS}, schema_overrides={"path": pl.List(pl.List(pl.UInt8))}
    )
    np.testing.assert_array_equal(pixels_of(cases_from(frame).cases[1]), GREY[1])


def test_a_torch_data_set_is_fetched_case_by_case() -> None:
    """Tensors as ``ToTensor`` makes them come back to the bytes they were; ``classes`` names the labels."""
    data_set = Fractions()
    cases = cases_from(data_set).cases
    assert [case.label for case in cases] == ["normal", "pneumonia"] * 2
    asked = data_set.asked
    source = read_case(cases[1])
    assert (data_set.asked, source.mapping) == (asked + 1, "floats 0..1 > 8 bits")
    np.testing.assert_array_equal(source.image.pixels, COLOUR[1])
    part = cases_from(torch.utils.data.Subset(data_set, [3, 0]))
    assert [case.label for case in part.cases] == ["pneumonia", "normal"]


def test_only_a_cases_own_pixels_go_to_another_process() -> None:
    """Pickled, a case of a large data set is as small as its image, and reads the same."""
    case = cases_from(Fractions(np.zeros((200, 64, 64, 3), np.uint8))).cases[7]
    data = pickle.dumps(case)
    assert len(data) < 2 * 64 * 64 * 3
    arrived = pickle.loads(data)
    assert read_case(arrived) == read_case(case)


def test_a_data_set_that_changes_under_the_study_costs_the_case() -> None:
    """Random transforms, or a file that is gone: the case fails with a reason, here and in a worker."""
    data_set = Fractions(COLOUR.copy())
    changed, gone = cases_from(data_set).cases[:2]
    data_set.images[0] += 1
    data_set.images = data_set.images[:1]
    for case, status in ((changed, "changed-pixels"), (gone, "unreadable")):
        for each in (case, pickle.loads(pickle.dumps(case))):
            with pytest.raises(CaseError) as raised:
                read_case(each)
            assert raised.value.status == status


def test_an_iterable_gives_ids_labels_pixels_and_patients() -> None:
    """A generator of tuples, of ``Image`` objects too, or an iterable torch data set."""
    records = ((f"case{n}", LABELS[n], Image(GREY[n]), f"p{n // 2}") for n in range(4))
    cases = cases_from(records)
    assert [(case.id, case.label, case.patient) for case in cases.cases][::3] == [
        ("case0", "a", "p0"), ("case3", "b", "p1"),
    ]  # fmt: skip
    assert cases.has_patients
    np.testing.assert_array_equal(pixels_of(cases_from(Stream()).cases[2]), GREY[2])


@pytest.mark.parametrize(
    ("value", "bits", "shape"),
    [
        (GREY[0], 8, (12, 10)),
        (GREY[0][..., None], 8, (12, 10)),
        (GREY[0].astype(np.uint16) * 257, 16, (12, 10)),
        (GREY[0].astype(">u2"), 16, (12, 10)),
        (GREY, 8, (4, 12, 10)),
        (COLOUR[0], 8, (12, 10, 3)),
        (GREY[0] / 255, 8, (12, 10)),
        (GREY[0].astype(np.float16) / np.float16(255), 8, (12, 10)),
        (RNG.random((12, 10)), 16, (12, 10)),
        (torch.zeros(1, 12, 10), 8, (12, 10)),
        (torch.zeros(3, 12, 10, dtype=torch.uint8), 8, (12, 10, 3)),
        (torch.zeros(1, 5, 12, 10), 8, (5, 12, 10)),
        (PillowImage.fromarray(COLOUR[0]), 8, (12, 10, 3)),
        (PillowImage.fromarray(GREY[0]).convert("P"), 8, (12, 10, 3)),
        (PillowImage.fromarray(GREY[0]).convert("1"), 8, (12, 10)),
        (PillowImage.fromarray(GREY[0].astype(np.uint16)), 16, (12, 10)),
    ],
)
def test_what_programs_hold_pixels_in(value: Any, bits: int, shape: tuple[int, ...]) -> None:
    """Bytes and words as they are; floats in the bits that hold them."""
    image = image_of(value).image
    assert (image.bits, image.pixels.shape) == (bits, shape)


def test_floats_in_sixteen_bits_are_the_nearest() -> None:
    """A value x in [0, 1] becomes the whole number nearest to 65,535 x, and it is said."""
    values = RNG.random((9, 9)).astype(np.float32)
    taken = image_of(values)
    assert taken.mapping == "floats 0..1 > 16 bits"
    np.testing.assert_array_equal(taken.image.pixels, np.floor(values.astype(float) * 65535 + 0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            GREY.astype(np.int64),
            r"^cases: item 0: expected uint8, uint16, or floats from 0 to 1, got int64 \(",
        ),
        (GREY.astype(float), r"got float64 from 0 to 255|got float64 from \d+ to \d+; leave mean and std"),
        (np.full((4, 2, 2), -0.5), "got float64 from -0.5 to -0.5"),
        (np.full((4, 2, 2), np.nan), "from nan to nan"),
        (GREY > 9, "got bool"),
        (np.zeros((4, 2, 2, 2, 2), np.uint8), r"expected shape \(H, W\), .* got \(2, 2, 2, 2\)"),
        (["x.png"] * 4, "expected an array, a tensor or an image, got str"),
    ],
)
def test_other_values_are_refused(values: Any, message: str) -> None:
    """One line says what was expected and what came."""
    with pytest.raises(UsageError, match=message) as raised:
        cases_from((values, LABELS))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (GREY, {}, "an array needs labels="),
        (7, {}, "cases: expected a path, a DataFrame"),
        ((GREY, LABELS[:3]), {}, "labels: expected one for each of 4 images, got 3"),
        ((GREY, LABELS), {"patients": ["p"]}, "patients: expected one for each of 4 images, got 1"),
        ((GREY, [0, 1, 2, 0]), {"names": ("no", "yes")}, "item 2: label 2: expected a number from 0 to 1"),
        ((GREY, [0, 1, None, 0]), {}, "item 2: expected one label, a text or a whole number, got NoneType"),
        ((GREY, np.eye(4)), {}, "item 0: expected one label"),
        ((GREY, LABELS), {"split": "test"}, "the data have no splits"),
        ("data", {"labels": LABELS}, "labels: they go with an array"),
        (pl.DataFrame(), {"patients": LABELS}, "patients: they go with arrays"),
        (pl.DataFrame({"image": ["a"]}), {}, "expected a column 'path', got image"),
        (iter(()), {}, "the iterable gave none"),
        ([("a", "b", GREY[0], "p", 1)], {}, "entry 0: expected .* got 5 parts"),
        ([("a", "b", GREY[0]), ("a", "b", GREY[1])], {}, "id: expected one row per case"),
    ],
)
def test_a_source_of_another_form_is_refused(source: Any, options: dict[str, Any], message: str) -> None:
    """One line says what was expected and what came."""
    with pytest.raises(UsageError, match=message) as raised:
        cases_from(source, **options)
    assert "\n" not in str(raised.value)


def test_pixels_that_cannot_be_fetched_have_no_digest() -> None:
    """A case that fails while a study is planned fails in it too, and does not stop the plan."""

    def fail() -> Image:
        raise OSError

    held = HeldPixels(fail)
    assert held.digest == ""
    with pytest.raises(CaseError, match="OSError while the data set gave the case"):
        held.read()

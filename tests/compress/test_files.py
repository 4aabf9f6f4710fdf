"""Files and folders: which becomes which, nothing written over, failures counted."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as Pillow

from bitdose.codecs.coding import encode_point
from bitdose.codecs.point import Point
from bitdose.compress.apply import compress_bytes
from bitdose.compress.dicom import Uids
from bitdose.compress.limits import limit_check
from bitdose.compress.places import check_targets, tasks_of
from bitdose.compress.run import compress_files, write_whole
from bitdose.data.read import read_source
from bitdose.errors import BitdoseError, CaseError, UsageError

Make = Callable[..., Any]
JPEG, J2K = Point.parse("jpeg:q40"), Point.parse("jpeg2000:10x")


def png(path: Path, pixels: np.ndarray) -> Path:
    """Write a PNG, folders and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return path


def go(source: Path, out: Path, point: Point = JPEG, **options: Any) -> Any:
    """Compress whatever IN is."""
    return compress_files(tasks_of(source, out, point), point, **options)


@pytest.mark.parametrize(
    "point", ["jpeg:q40", "jpeg:q40+progressive", "jpeg2000:10x", "jpeg2000:5x@24", "jpeg:q9@20x30"]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_raster_becomes_the_studys_stream(tmp_path: Path, texture: Make, point: str, bits: int) -> None:
    """The file is exactly the stream of encode_point, which a study measures; its suffix says the codec."""
    path = png(tmp_path / "in" / "a.png", texture(40, 56, bits))
    outcome = go(path.parent, tmp_path / "out", Point.parse(point))
    (made,) = (tmp_path / "out").iterdir()
    image = read_source(path).image
    wanted = encode_point(image, Point.parse(point)).data[0]
    assert made.read_bytes() == wanted
    assert made.name == ("a.j2k" if "2000" in point else "a.jpg")
    assert (outcome.bytes_coded, outcome.bytes_pixels) == (len(wanted), 40 * 56 * bits // 8)
    assert outcome.bytes_file == path.stat().st_size
    assert read_source(made).image.height > 0


def test_the_tree_is_mirrored(tmp_path: Path, texture: Make, make_dicom: Make) -> None:
    """Folders stay, DICOM keeps its name, rasters get the codec's suffix; notes and hidden files stay out."""
    root = tmp_path / "in"
    png(root / "a" / "one.png", texture(16, 16, 8))
    (root / "b").mkdir()
    (root / "b" / "IM0001").write_bytes(make_dicom(texture(16, 16, 8)))
    (root / "notes.txt").write_text("x")
    (root / ".hidden.png").write_text("x")
    outcome = go(root, tmp_path / "out")
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["a/one.jpg"]
    assert pydicom.dcmread(tmp_path / "out" / "b" / "IM0001").LossyImageCompression == "01"
    assert (outcome.written, outcome.failures) == (2, [])


def test_a_name_that_is_no_text_is_mirrored(tmp_path: Path, texture: Make) -> None:
    """A file name of bytes that are no UTF-8 is kept byte for byte, and named in plain text."""
    good = png(tmp_path / "in" / "a.png", texture(16, 16, 8))
    os.rename(os.fsencode(good), os.fsencode(good.parent) + b"/caf\xe9.png")
    (task,) = tasks_of(tmp_path / "in", tmp_path / "out", JPEG)
    assert task.name == r"caf\xe9.png"
    compress_files([task], JPEG)
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.jpg"]


def test_names_that_would_meet_stay_whole(tmp_path: Path, texture: Make) -> None:
    """Two sources of one stem keep their full names, whatever the letters' case."""
    root = tmp_path / "in"
    for name in ("a.png", "A.tif", "b.png"):
        png(root / name, texture(16, 16, 8))
    names = {task.target.name for task in tasks_of(root, tmp_path / "out", JPEG)}
    assert names == {"a.png.jpg", "A.tif.jpg", "b.jpg"}


def test_names_that_still_meet_are_refused(tmp_path: Path, texture: Make) -> None:
    """Where even full names meet, nothing is written and the message names the place."""
    root = tmp_path / "in"
    for name in ("a.png", "a.tif", "a.png.png"):
        png(root / name, texture(16, 16, 8))
    (root / "b.png.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"would all become a\.png\.jpg"):
        tasks_of(root, tmp_path / "out", JPEG)


def test_one_file_goes_where_it_is_told(tmp_path: Path, texture: Make, make_dicom: Make) -> None:
    """OUT is the new file or a folder that gets it; a wrong suffix, IN itself, a missing IN are refused."""
    path = png(tmp_path / "a.png", texture(16, 16, 8))
    (tmp_path / "there").mkdir()
    assert tasks_of(path, tmp_path / "new.jpeg", JPEG)[0].target == tmp_path / "new.jpeg"
    assert tasks_of(path, tmp_path / "there", J2K)[0].target == tmp_path / "there" / "a.j2k"
    with pytest.raises(UsageError, match=r"ends in \.jpg"):
        tasks_of(path, tmp_path / "new.png", JPEG)
    (tmp_path / "d.dcm").write_bytes(make_dicom(texture(16, 16, 8)))
    with pytest.raises(UsageError, match="source itself"):
        tasks_of(tmp_path / "d.dcm", tmp_path / "d.dcm", JPEG)
    with pytest.raises(UsageError, match="found nothing there"):
        tasks_of(tmp_path / "no.png", tmp_path / "x.jpg", JPEG)
    with pytest.raises(UsageError, match="a point that compresses"):
        tasks_of(path, tmp_path / "x.jpg", Point.parse("pristine"))


def test_out_stands_apart_from_in(tmp_path: Path, texture: Make) -> None:
    """OUT within IN, around it, equal to it, or a file is refused at once; so is an empty IN."""
    root = tmp_path / "data" / "in"
    png(root / "a.png", texture(16, 16, 8))
    (tmp_path / "link").symlink_to(root)
    for out in (root, root / "out", tmp_path / "data", tmp_path / "link" / "x"):
        with pytest.raises(UsageError, match="apart from source"):
            tasks_of(root, out, JPEG)
    with pytest.raises(UsageError, match="found a file"):
        tasks_of(root, png(tmp_path / "file.png", texture(16, 16, 8)), JPEG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no image file"):
        tasks_of(tmp_path / "empty", tmp_path / "out", JPEG)


def test_what_is_there_is_not_written_over(tmp_path: Path, texture: Make) -> None:
    """A target that exists stops the call before it begins, unless it shall be kept or written anew."""
    png(tmp_path / "in" / "a.png", texture(16, 16, 8))
    png(tmp_path / "in" / "b.png", texture(16, 16, 8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").write_bytes(b"mine")
    tasks = tasks_of(tmp_path / "in", tmp_path / "out", JPEG)
    with pytest.raises(UsageError, match=r"1 of 2 files are already there, first .*a\.jpg"):
        check_targets(tasks, overwrite=False, resume=False)
    check_targets(tasks, overwrite=True, resume=False)
    kept = compress_files(tasks, JPEG, resume=True)
    assert (kept.written, kept.kept) == (1, 1)
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"mine"
    assert compress_files(tasks, JPEG).written == 2
    assert (tmp_path / "out" / "a.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_resumed_series_is_one_series(tmp_path: Path, texture: Make, make_dicom: Make) -> None:
    """Slices made after a stop join the series of those made before it."""
    for n in (1, 2, 3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n}.dcm").write_bytes(
            make_dicom(texture(16, 16, 8), SOPInstanceUID=f"1.2.3.{n}")
        )
    tasks = tasks_of(tmp_path / "in", tmp_path / "out", JPEG)
    compress_files(tasks[:1], JPEG)
    assert compress_files(tasks, JPEG, resume=True).kept == 1
    made = [pydicom.dcmread(task.target) for task in tasks]
    assert len({dataset.SeriesInstanceUID for dataset in made}) == 1
    assert len({dataset.SOPInstanceUID for dataset in made}) == 3


def test_what_fails_is_counted_and_the_rest_goes_on(tmp_path: Path, texture: Make, make_dicom: Make) -> None:
    """Damaged, unknown, empty files, pages, volumes, broken links, pipes: one line each, and no name."""
    root = tmp_path / "in"
    good = png(root / "good.png", texture(16, 16, 8))
    (root / "cut.png").write_bytes(good.read_bytes()[:-60])
    (root / "empty.dcm").write_bytes(b"")
    (root / "what").write_bytes(b"no image at all")
    (root / "cut.dcm").write_bytes(make_dicom(texture(64, 64, 8))[:-900])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 3), np.uint8), np.eye(4)), root / "volume.nii.gz")
    pages = [Pillow.fromarray(texture(8, 8, 8))] * 2
    pages[0].save(root / "pages.tif", save_all=True, append_images=pages[1:])
    (root / "gone.png").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.png")
    said: list[str] = []
    outcome = go(root, tmp_path / "out", on_failure=lambda name, error: said.append(f"{name}: {error}"))
    assert outcome.written == 1
    assert {name: status for name, status, _ in outcome.failures} == {
        "cut.png": "truncated",
        "empty.dcm": "empty-file",
        "what": "unreadable",
        "cut.dcm": "truncated",
        "volume.nii.gz": "unsupported",
        "pages.tif": "unsupported",
        "gone.png": "missing-file",
        "pipe.png": "missing-file",
    }
    assert len(said) == 8
    assert not [line for line in said if "Doe" in line or "\n" in line]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.jpg"]


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old file and no debris, and says why."""
    target = tmp_path / "a.jpg"
    target.write_bytes(b"old")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(BitdoseError, match=r"out=.*b\.jpg': cannot be written \(File exists\)"):
        write_whole(target / "b.jpg", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(BitdoseError, match="cannot be written"):
        write_whole(tmp_path / "folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "folder"]


def test_a_link_in_out_never_leads_back_to_the_source(tmp_path: Path, texture: Make) -> None:
    """Writing anew replaces a link in OUT, not the file that it points at."""
    source = png(tmp_path / "in" / "a.png", texture(16, 16, 8))
    before = source.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").symlink_to(source)
    go(tmp_path / "in", tmp_path / "out")
    assert source.read_bytes() == before
    assert not (tmp_path / "out" / "a.jpg").is_symlink()


@dataclass(frozen=True)
class Limits:
    """What a profile states; nothing unless it is given."""

    modalities: tuple[str, ...] = ()
    height: tuple[int, int] | None = None
    width: tuple[int, int] | None = None
    slices: tuple[int, int] | None = None
    bits: tuple[int, ...] = ()
    photometric: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(modalities=("CR", "DX")), "modality OT: the profile holds for CR, DX"),
        (Limits(height=(41, 64)), "height 40: the profile holds for 41 to 64"),
        (Limits(width=(8, 49)), "width 50"),
        (Limits(slices=(2, 9)), "slices 1"),
        (Limits(bits=(8, 16)), "bits 12: the profile holds for 8, 16"),
        (Limits(photometric=("RGB",)), "photometric MONOCHROME2"),
    ],
)
def test_a_profiles_limits_refuse_what_was_not_studied(
    texture: Make, make_dicom: Make, limits: Limits, word: str
) -> None:
    """Each limit alone refuses a 40x50 image of 12 bits, and none does where nothing is stated."""
    data = make_dicom(texture(40, 50, 12), BitsStored=12)
    given = {"uids": Uids(), "now": datetime(2026, 1, 1, tzinfo=UTC)}
    with pytest.raises(CaseError, match=f"outside-profile: {word}"):
        compress_bytes(data, JPEG, check=limit_check(limits), **given)
    assert compress_bytes(data, JPEG, check=limit_check(Limits()), **given).bytes_coded > 0


def test_limits_hold_for_rasters_too(texture: Make) -> None:
    """A raster names no modality, so none is asked of it; its size is checked."""
    file = io.BytesIO()
    Pillow.fromarray(texture(16, 16, 8)).save(file, "PNG")
    given = {"uids": Uids(), "now": datetime(2026, 1, 1, tzinfo=UTC)}
    check = limit_check(Limits(modalities=("CR",), height=(16, 16)))
    assert compress_bytes(file.getvalue(), JPEG, check=check, **given).bytes_coded > 0
    with pytest.raises(CaseError, match="height 16"):
        compress_bytes(file.getvalue(), JPEG, check=limit_check(Limits(height=(17, 99))), **given)


def test_ratios_are_totals_over_totals(tmp_path: Path, texture: Make) -> None:
    """Two files of unlike size: the ratio is of the sums; with nothing written it is NaN, in JSON null."""
    png(tmp_path / "in" / "a.png", texture(16, 16, 8))
    png(tmp_path / "in" / "b.png", texture(128, 128, 8))
    outcome = go(tmp_path / "in", tmp_path / "out")
    coded = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert outcome.ratio_pixels == pytest.approx((16 * 16 + 128 * 128) / coded)
    assert outcome.to_dict()["bytes_written"] == coded
    empty = compress_files([], JPEG)
    assert np.isnan(empty.ratio_file)
    assert empty.to_dict()["ratio_file"] is None

"""What the phantoms promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitdose.data.phantoms import LABELS, SIZE, draw_phantom, write_phantoms
from bitdose.errors import UsageError
from bitdose.hashing import rng_for


@pytest.mark.parametrize("label", LABELS)
def test_a_phantom_is_a_full_size_grey_image(label: str) -> None:
    """Every class draws 1024 x 1024 bytes that use most of the range without clipping much of it."""
    pixels = draw_phantom(label, rng=rng_for("shape", label))
    assert pixels.shape == (SIZE, SIZE) == (1024, 1024)
    assert pixels.dtype == np.uint8
    assert np.ptp(np.percentile(pixels, [5, 95])) > 80
    assert np.mean(pixels == 255) < 0.01


def test_equal_generators_draw_equal_phantoms() -> None:
    """A phantom is a function of its label and generator, whatever was drawn before."""
    first = draw_phantom("nodules", rng=rng_for(1, "nodules", 0))
    draw_phantom("reticular", rng=rng_for(9))
    assert np.array_equal(first, draw_phantom("nodules", rng=rng_for(1, "nodules", 0)))
    assert not np.array_equal(first, draw_phantom("nodules", rng=rng_for(2, "nodules", 0)))


def test_classes_differ_only_inside_the_lungs() -> None:
    """With equal generators chest and noise are the same to the bit wherever there is no lung."""
    clear, nodules, reticular = (draw_phantom(label, rng=rng_for("one chest")) for label in LABELS)
    for other in (nodules, reticular):
        same = clear == other
        assert same[:100].all()
        assert same[:, 490:534].all()
        assert 0.001 < np.mean(~same) < 0.4


def test_an_unknown_label_names_the_known_ones() -> None:
    """A label that is no phantom class is a usage error that lists the classes."""
    with pytest.raises(UsageError, match=r"'nodule'.*clear, nodules, reticular"):
        draw_phantom("nodule", rng=rng_for(0))


def test_a_written_set_is_one_folder_per_class(tmp_path: Path) -> None:
    """The files hold exactly the pixels that their names' seeds draw."""
    cv2 = pytest.importorskip("cv2")
    assert write_phantoms(tmp_path / "set", n_per_class=2, seed=7) == tmp_path / "set"
    found = sorted(str(path.relative_to(tmp_path / "set")) for path in tmp_path.rglob("*.*"))
    assert found == [f"{label}/s7-{i:04d}.png" for label in LABELS for i in range(2)]
    read = cv2.imread(str(tmp_path / "set" / "reticular" / "s7-0001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, draw_phantom("reticular", rng=rng_for(7, "reticular", 1)))


def test_writing_again_changes_nothing_and_a_larger_set_begins_with_the_smaller(tmp_path: Path) -> None:
    """Neither a second call nor the set's size changes a file that is already there."""
    write_phantoms(tmp_path, n_per_class=1, seed=3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    write_phantoms(tmp_path, n_per_class=2, seed=3)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list(tmp_path.rglob("*.png"))) == 2 * len(LABELS)


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    """Fewer than one phantom per class is a usage error that says what came."""
    with pytest.raises(UsageError, match=r"n_per_class.*got 0"):
        write_phantoms(tmp_path, n_per_class=0, seed=1)

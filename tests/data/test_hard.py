"""Inputs on which readers elsewhere went wrong, drawn by a script, with the samples that must come."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bitdose.data.read import read_source
from bitdose.errors import CaseError

HARD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "hard"
CASES = list(csv.DictReader((HARD / "cases.csv").read_text().splitlines())) if HARD.is_dir() else []
TOLERANCES = {
    "d18.dcm": 1.001 / 255,  # YBR in whole numbers is not RGB to the last level
    "t14.tif": 2.001 / 255,  # so too, and JPEG decoders round apart
    "t01g.tif": 2.6e-4,  # its samples are counted from -2000, though the least that occurs is -1999
}
PENDING = {
    "t14.tif", "j06b.jpg", "k03c.jp2",
}  # fmt: skip


def test_the_hard_inputs_are_here(shared: Path) -> None:
    """Without the shared folder, the tests against its inputs say that they did not run."""
    assert (shared / "data" / "hard" / "cases.csv").is_file()
    assert CASES


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_hard_input(
    case: dict[str, str], request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each input gives the samples that must come, to half a grey level, or is refused in one line."""
    if case["file"] in PENDING:
        request.applymarker(pytest.mark.xfail(reason=case["kind"]))
    if case["expected"] == "refuse":
        with pytest.raises(CaseError) as caught:
            read_source(HARD / case["file"])
        assert caught.value.reason
        assert "\n" not in str(caught.value)
        return
    image = read_source(HARD / case["file"]).image
    expected = np.load(HARD / case["samples"])
    tolerance = TOLERANCES.get(case["file"], 0.5001 / image.max_value)
    np.testing.assert_allclose(image.pixels / image.max_value, expected, rtol=0, atol=tolerance)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")

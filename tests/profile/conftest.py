"""A made-up run of 300 cases whose answers hardly change, decided and certified by the real functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bitdose.codecs.base import CODECS
from bitdose.codecs.coding import kernel_names
from bitdose.codecs.point import Point
from bitdose.decision.base import Decision
from bitdose.models.base import InputSpec
from bitdose.profile.document import Profile
from bitdose.profile.issue import make_profile
from bitdose.profile.signing import Key, load_or_make_key, sign
from bitdose.results.table import rows_to_table
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.search.run_results import RunResults

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
LABELS = ("normal", "covid-19")
POINTS = ("pristine", "jpeg:q80@256", "jpeg:q30@256", "jpeg2000:20x")
MODEL = "net@0123456789ab"


def _row(index: int, text: str, wrong: bool) -> dict[str, Any]:
    point, true = Point.parse(text), index % 2
    answer = 1 - true if wrong else true
    height, width = 900 + index, 1200
    coded = {"pristine": 700_000, "jpeg:q80@256": 20_000, "jpeg:q30@256": 9_000}.get(text, 60_000)
    return {
        "case_id": f"secret-{index:03d}",
        "case_label": LABELS[true],
        "case_patient": f"patient-{index // 2:03d}" if index < 20 else f"patient-{index:03d}",
        "case_split": "test",
        "case_format": "DICOM" if index % 3 else "PNG",
        "case_height": height,
        "case_width": width,
        "case_slices": 1,
        "case_bits": 12,
        "point": text,
        "codec_name": point.codec,
        "codec_chain": point.chain,
        "codec_quality": point.quality,
        "codec_strength": point.strength,
        "codec_size": "256x256" if point.resize else "",
        "codec_kernels": kernel_names(point.resize),
        "codec_mode": "" if point.is_pristine else ("layered" if point.codec == "jpeg2000" else "exact"),
        "codec_library": "" if point.is_pristine else CODECS.get(point.codec).library(),
        "codec_mapping": "linear 12>8>12 bits" if point.codec == "jpeg" else "",
        "bytes_file": 700_000,
        "bytes_pixels": 2 * height * width,
        "bytes_coded": coded + index,
        "model": MODEL,
        "p_normal": 0.9 if answer == 0 else 0.1,
        "p_covid-19": 0.9 if answer == 1 else 0.1,
        "predicted": LABELS[answer],
        "status": "ok",
    }


@dataclass(frozen=True)
class Run:
    """A run and a rule: what ``make_profile`` takes."""

    table: pl.DataFrame
    rule: Rule
    manifest: dict[str, Any]

    @property
    def results(self) -> RunResults:
        """Its table and manifest."""
        return RunResults(self.table, self.manifest)

    @property
    def decision(self) -> Decision:
        """What the rule decides on it."""
        return self.results.decide(self.rule)

    def profile(self, **options: Any) -> Profile:
        """Make its profile."""
        return make_profile(self.results, self.rule, **({"now": NOW} | options))

    def at(self, table: pl.DataFrame) -> Run:
        """Return the run with another table, whose cases its manifest knows."""
        identity = self.manifest["identity"] | {"cases": table["case_id"].n_unique()}
        return replace(self, table=table, manifest={"identity": identity})


def make_run(rule: Rule, *, points: tuple[str, ...] = POINTS, **columns: Any) -> Run:
    """Make the table with a few wrong answers, more of them at the strongest point, and decide on it."""
    rng = np.random.default_rng(11)
    wrong = rng.random(300) < 0.1
    lost = {"pristine": 0, "jpeg:q80@256": 1, "jpeg:q30@256": 2, "jpeg2000:20x": 120}
    rows = []
    for text in points:
        bad = wrong.copy()
        bad[np.flatnonzero(~wrong)[: lost[text]]] = True
        rows += [_row(index, text, bool(bad[index])) | columns for index in range(300)]
    table = rows_to_table(rows)
    spec = InputSpec(labels=LABELS, size=(256, 256))
    identity = {
        "model": MODEL,
        "input": spec.to_dict(),
        "data": "ab" * 32,
        "cases": 300,
        "points": list(points),
        "libraries": {"bitdose": "0.1.0", "opencv-python-headless": "4.12.0.88", "pillow": "12.0.0"},
    }
    return Run(table, rule, {"identity": identity})


@pytest.fixture(scope="session")
def rule() -> Rule:
    """Give two margins that a point can hold on 300 cases."""
    return Rule(read_margins(["accuracy=0.05,sensitivity[covid-19]=0.1"]))


@pytest.fixture(scope="session")
def run(rule: Rule) -> Run:
    """Give a run with a certified point."""
    return make_run(rule)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """Give a signing key of its own."""
    return load_or_make_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="session")
def signed(run: Run, key: Key) -> Profile:
    """Give the run's signed profile."""
    return sign(run.profile(modality="DX"), key)


@pytest.fixture
def saved(signed: Profile, tmp_path: Path) -> Path:
    """Give the profile as a file."""
    from bitdose.profile.document import save_profile

    save_profile(signed, tmp_path / "profile.json")
    return tmp_path / "profile.json"


@pytest.fixture(scope="session")
def make() -> Any:
    """Give the maker of runs."""
    return make_run

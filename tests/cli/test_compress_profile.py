"""``bitdose compress --profile``: the certified point, within what it was certified for, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bitdose.cli.app import run
from bitdose.codecs.jpeg import Jpeg
from bitdose.models.base import InputSpec
from bitdose.profile.document import (
    DISCLAIMER,
    SCHEMA,
    Certified,
    Client,
    Coding,
    Profile,
    Rate,
    StudiedExams,
    save_profile,
)
from bitdose.profile.evidence import Evidence, Proof
from bitdose.profile.signing import load_or_make_key, sign
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule


def write_profile(path: Path, *, days: int = 30, **limits: Any) -> Path:
    """Write a signed profile of jpeg:q30 for grey 8-bit images of 96x96, with made-up evidence."""
    now = datetime.now(UTC)
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    rule = Rule(read_margins(["accuracy=0.05"]))
    proof = Proof("accuracy", 0.05, 0.9, 0.9, 0.0, 0.02, 0.01, 0.05, "tango", 300, "case")
    stated = {
        "modalities": ("DX",), "height": (96, 96), "width": (96, 96), "slices": (1, 1), "bits": (8,),
        "photometric": ("MONOCHROME2",), "formats": ("PNG",),
    }  # fmt: skip
    profile = Profile(
        schema=SCHEMA,
        id="",
        created=(now - timedelta(days=60)).strftime(stamp),
        expires=(now + timedelta(days=days)).strftime(stamp),
        point="jpeg:q30",
        chain="jpeg",
        codec=Coding("jpeg", "q", 30.0, (), "", "", Jpeg.library(), "exact", ("exact",), ()),
        classifier=Certified("net", "0123456789ab", InputSpec(labels=("a", "b"), size=(96, 96))),
        evidence=Evidence(
            300, 300, False, ("test",), 0.05, (proof,), (), rule, rule.digest(), "ab" * 32, "cd" * 32, False,
            now.strftime(stamp),
        ),
        rate=Rate(10.0, 10.0, 900.0, "", None),
        limits=StudiedExams(**(stated | limits)),
        client=Client("bitdose", "0.1.0", ()),
        libraries={"bitdose": "0.1.0"},
        disclaimer=DISCLAIMER,
        notes=(),
        signature=None,
    )  # fmt: skip
    save_profile(sign(profile.named(), load_or_make_key(path.with_suffix(".pem"))), path)
    return path


def call(source: Path, out: Path, profile: Path) -> int:
    """Run the command."""
    return run(["compress", str(source), str(out), "--profile", str(profile)])


def test_a_profile_gives_the_point(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile that holds is obeyed: its point is applied to images of the kind it was certified on."""
    assert call(texture_set, tmp_path / "out", write_profile(tmp_path / "p.json")) == 0
    assert "12 files at jpeg:q30" in capsys.readouterr().out


def test_what_the_profile_does_not_cover_fails(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside its limits each file fails with the limit, and nothing is written for it."""
    profile = write_profile(tmp_path / "p.json", width=(512, 4096))
    assert call(texture_set, tmp_path / "out", profile) == 1
    shown = capsys.readouterr()
    assert shown.err.count("outside-profile: width 96: the profile holds for 512 to 4096") == 12
    assert "12 failed" in shown.out
    assert not (tmp_path / "out").exists()


def test_a_profile_that_does_not_hold_is_refused(
    texture_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Expired, changed after signing, or no profile at all: one line, and nothing is written."""
    expired = write_profile(tmp_path / "old.json", days=-1)
    changed = write_profile(tmp_path / "changed.json")
    document = json.loads(changed.read_text())
    document["limits"]["width"] = [1, 9999]
    changed.write_text(json.dumps(document))
    (tmp_path / "none.json").write_text("{}")
    for path, code in ((expired, 1), (changed, 1), (tmp_path / "none.json", 2), (tmp_path / "gone.json", 2)):
        assert call(texture_set, tmp_path / "out", path) == code
        error = [line for line in capsys.readouterr().err.splitlines() if "profile" in line]
        assert len(error) == 1, path.name
    assert not (tmp_path / "out").exists()

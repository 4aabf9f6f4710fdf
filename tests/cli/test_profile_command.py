"""``bitdose profile`` as a person or a program meets it, on the profile of a real small study."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bitdose.api import open_run
from bitdose.cli.profile import app
from bitdose.errors import BitdoseError
from bitdose.profile.document import load_profile, save_profile
from bitdose.profile.signing import KEY_VARIABLE, load_or_make_key
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.study.plan import make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec


def call(*arguments: object) -> tuple[int, str]:
    """Run the command as the root does; give the exit code and the line of an error."""
    try:
        code = app([str(argument) for argument in arguments], prog_name="profile", standalone_mode=False)
    except BitdoseError as error:
        return error.exit_code, str(error)
    return (code if isinstance(code, int) else 0), ""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, texture_set: Path, texture_model: Path) -> Path:
    """Study twelve images, decide with a wide margin, and save the signed profile beside its key."""
    folder = tmp_path_factory.mktemp("profile")
    spec = StudySpec(data=str(texture_set), model=str(texture_model), points=("jpeg:q95",), ssim=False)
    run_study(make_plan(spec), folder / "run", workers=1)
    made = open_run(folder / "run").profile(
        rule=Rule(read_margins(["accuracy=0.5"])), key=folder / "key.pem", modality="MG"
    )
    save_profile(made, folder / "profile.json")
    return folder


@pytest.fixture
def home(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with the profile and the key that signed it, named by the environment."""
    for name in ("profile.json", "key.pem"):
        shutil.copy2(original / name, tmp_path / name)
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "key.pem"))
    return tmp_path


def test_show_prints_a_page_for_a_person(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentence, margins, limits, guidelines for human readers, the FDA's note, signature, disclaimer."""
    assert call("show", home / "profile.json") == (0, "")
    page = capsys.readouterr().out
    for words in (
        "Coded at jpeg:q95, texture was shown on 12 cases to lose at most: accuracy",
        "margin    accepted  pristine",
        "modality MG; bits 8; colour MONOCHROME2; format PNG; height 96 to 96",
        "for human readers CAR: mammography 25, DRG: mammography 15",
        "the US FDA reads the MQSA as prohibiting lossy mammograms",
        "signed by key",
        "Research use only, not a medical device.",
    ):
        assert words in page, words


def test_show_prints_the_whole_for_a_program(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` is the profile's own JSON."""
    assert call("show", home / "profile.json", "--json") == (0, "")
    assert json.loads(capsys.readouterr().out) == load_profile(home / "profile.json").to_dict()


def test_verify_accepts_ones_own_profile_and_classifier(
    home: Path, texture_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed by one's own key, in time, with the classifier's file: exit code 0."""
    assert call("verify", home / "profile.json", "--model", texture_model) == (0, "")
    out = capsys.readouterr().out
    assert "ok       signer" in out
    assert "ok       classifier it is texture@" in out
    assert "warning  modality" in out
    assert out.endswith("valid. Research use only, not a medical device.\n")


def test_a_model_without_its_sidecar_is_known_all_the_same(
    home: Path, texture_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the model does not say its labels, the profile's input spec serves to load it."""
    shutil.copy(texture_model, home / "bare.onnx")
    assert call("verify", home / "profile.json", "--model", home / "bare.onnx") == (0, "")
    assert "ok       classifier" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "arguments", "words"),
    [
        (('"jpeg:q95"', '"jpeg:q50"'), [], "error    signature  tampered with"),
        (('"point": ', '"pint": '), [], "error    format     profile: pint: unknown key"),
        (('"bitdose-profile/1"', '"bitdose-profile/7"'), [], "newer than this BitDose; upgrade it"),
        (("{", "{{"), [], "error    format     profile: expected JSON"),
        (None, ["--now", "2099-01-01"], "error    dates      expired on"),
        (None, ["--now", "2001-01-01T00:00:00Z"], "error    dates      not valid before"),
        (None, ["--model", "phantom"], "error    classifier certified for texture@"),
    ],
)
def test_verify_finds_what_is_wrong(
    home: Path, capsys: pytest.CaptureFixture[str], edit: Any, arguments: list[str], words: str
) -> None:
    """A tampered, damaged, newer, expired or early profile, and another classifier: exit code 1."""
    path = home / "profile.json"
    if edit:
        path.write_text(path.read_text("utf-8").replace(*edit, 1), "utf-8")
    code, _ = call("verify", path, *arguments)
    out = capsys.readouterr().out
    assert words in out
    assert out.endswith("do not use this profile\n")
    assert code == 1


def test_verify_without_the_signers_key(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the signer is unknown: a warning, an error where trust is asked for, fine once named."""
    public = load_or_make_key(home / "key.pem").public_key
    monkeypatch.setenv(KEY_VARIABLE, str(home / "none.pem"))
    path = home / "profile.json"
    assert call("verify", path)[0] == 0
    assert "warning  signer" in capsys.readouterr().out
    assert call("verify", path, "--require-trusted")[0] == 1
    assert call("verify", path, "--trust", "A" * 43 + "=")[0] == 1
    assert call("verify", path, "--trust", "A" * 43 + "=", "--trust", public)[0] == 0
    assert not (home / "none.pem").exists()


def test_verify_answers_a_program(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` has one verdict and each finding with level, check and text."""
    assert call("verify", home / "profile.json", "--now", "2099-01-01", "--json")[0] == 1
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert {"level": "error", "check": "dates"}.items() <= found["findings"][2].items()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "no.json"], "profile 'no.json': No such file"),
        (["verify", "no.json"], "profile 'no.json': No such file"),
        (["verify", "profile.json", "--trust", "abc"], "--trust: expected base64 of 32 bytes"),
        (["verify", "profile.json", "--now", "tomorrow"], "--now: expected UTC such as"),
        (["verify", "profile.json", "--model", "no.onnx"], "no.onnx"),
        (["show", "key.pem"], "profile: expected JSON"),
    ],
)
def test_a_wrong_call_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """A file that is not there, a key or a day that is none: exit code 2."""
    monkeypatch.chdir(home)
    code, error = call(*arguments)
    assert code == 2
    assert words in error
    assert "\n" not in error


def test_key_is_made_once_and_then_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first call makes the key and says so on stderr; the next prints the same; a broken one fails."""
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "key.pem"))
    assert call("key") == (0, "")
    first = capsys.readouterr()
    assert "a new key was created" in first.err
    assert call("key", "--json") == (0, "")
    found = json.loads(capsys.readouterr().out)
    assert found["made"] is False
    assert found["public_key"] in first.out
    assert str(tmp_path / "key.pem") in first.out
    (tmp_path / "key.pem").write_text("broken")
    assert call("key")[0] == 2

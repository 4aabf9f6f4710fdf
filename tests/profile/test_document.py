"""The profile as a file: what is written is read back, and nothing else is read at all."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitdose.errors import BitdoseError, UsageError
from bitdose.profile.document import (
    Profile,
    load_profile,
    profile_of,
    read_profile,
    save_profile,
    sentence,
)
from bitdose.profile.signing import signature_problem

Path_ = tuple[Any, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the way to every value that holds no other, and to every empty list."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = list(inner)
    if not found:
        yield path
    for key, item in found:
        yield from leaves(item, (*path, key))


def put(document: Any, path: Path_, value: Any) -> Any:
    """Return a copy with another value at the end of a path."""
    changed = copy.deepcopy(document)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def others(value: Any) -> list[Any]:
    """Return values that might stand in place of one: nearly the same, another kind, absurd."""
    if isinstance(value, str):
        near: list[Any] = [value + "x", value[:-1], value.upper(), "é" + value]
    elif isinstance(value, bool):
        near = [not value, int(value)]
    elif isinstance(value, int | float):
        near = [math.nextafter(value, math.inf), value + 1, -value - 1, 1e308]
    else:
        near = [0, "x", {}]
    return [other for other in (*near, None, [value], 7) if other != value or type(other) is not type(value)]


def flaw_of(data: bytes) -> tuple[str, Profile | None]:
    """Say what reading or the signature finds wrong; anything but a ``UsageError`` escapes."""
    try:
        profile = read_profile(data)
    except UsageError as error:
        return str(error), None
    return signature_problem(profile), profile


def test_a_saved_profile_reads_back_equal(signed: Profile, saved: Path) -> None:
    """Writing and reading changes nothing, and the file is the JSON of ``to_dict``."""
    assert load_profile(saved) == signed
    assert json.loads(saved.read_text("utf-8")) == signed.to_dict()


def test_layout_of_the_file_does_not_matter(signed: Profile, saved: Path) -> None:
    """Another order of keys, other white space and whole numbers for 30.0 are the same signed profile."""
    document = json.loads(
        saved.read_text("utf-8"), parse_float=lambda t: int(t[:-2]) if t[-2:] == ".0" else float(t)
    )
    text = json.dumps(dict(reversed(document.items())), indent=7, ensure_ascii=True)
    assert '"value": 30,' in text
    flaw, read = flaw_of(text.encode())
    assert (flaw, read) == ("", signed)


def test_every_changed_value_is_flagged(signed: Profile) -> None:
    """Whatever value is replaced by another, reading refuses it or the signature no longer holds."""
    document = signed.to_dict()
    count = 0
    for path in leaves(document):
        if path[:2] == ("evidence", "estimates") and path[2] > 0:
            continue  # thirty records of one kind: one stands for all
        at = document
        for key in path:
            at = at[key]
        for other in others(at):
            changed = put(document, path, other)
            flaw, read = flaw_of(json.dumps(changed).encode())
            assert "\n" not in flaw
            assert flaw or read == signed, (path, other)
            assert flaw or float(other) == at, (path, other)  # 1 in place of 1.0 is no change
            count += 1
    assert count > 400


def test_every_missing_and_added_key_is_named(signed: Profile) -> None:
    """A key taken out or put in anywhere is refused by its path."""
    document = signed.to_dict()

    def objects(value: Any, path: Path_ = ()) -> Iterator[Path_]:
        if isinstance(value, dict) and path not in {
            ("libraries",),
            ("evidence", "rule"),
            ("evidence", "rule", "margins"),
        }:
            yield path
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from objects(item, (*path, key))

    for path in list(objects(document))[:14]:
        at = document
        for key in path:
            at = at[key]
        for name in at:
            rest = {key: value for key, value in at.items() if key != name}
            broken = put(document, path, rest) if path else rest
            with pytest.raises(UsageError, match=rf"profile: .*{name}: missing"):
                profile_of(broken)
        more = at | {"extra": 1}
        with pytest.raises(UsageError, match="extra: unknown key; known here: "):
            profile_of(put(document, path, more) if path else more)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_are_flagged(signed: Profile, saved: Path, seed: int) -> None:
    """A byte changed, lost or doubled, or an end cut off, is flagged, unless the content is the same."""
    data, draw = saved.read_bytes(), random.Random(seed)
    flagged = 0
    for _ in range(80):
        at = draw.randrange(len(data))
        byte = bytes([draw.randrange(256)])
        for damaged in (
            data[:at] + byte + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at] + data[at : at + 1] + data[at:],
            data[:at],
        ):
            flaw, read = flaw_of(damaged)
            assert flaw or read == signed, (at, byte)
            flagged += bool(flaw)
    assert flagged > 200  # white space alone may change unseen


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected JSON: Expecting value in line 1"),
        (b"\xff\xfe{}", "expected UTF-8"),
        (b"\xef\xbb\xbf{}", "expected JSON"),
        (b'{"schema": "\\ud800"}', "expected UTF-8"),
        (b"[1, 2]", "expected an object, got"),
        (b'{"schema": "x", "schema": "y"}', "duplicate key 'schema'"),
        (b'{"rate": NaN}', "expected finite numbers"),
        (b'{"rate": -Infinity}', "expected finite numbers"),
        (b'{"rate": 1e999}', "expected finite numbers"),
        (b'{"n": ' + b"9" * 5000 + b"}", "whole ones up to 2\\^53"),
        (b'{"n": 9007199254740993}', "whole ones up to 2\\^53"),
        (b"[" * 100_000, "a few levels"),
        (b'{"a":' * 5000, "a few levels"),
        (b" " * 1_000_001, "at most 1,000,000 bytes"),
        (b'{"schema": "bitdose-profile/2"}', "'bitdose-profile/2' is newer than this BitDose; upgrade it"),
        (b'{"schema": "other/1"}', "missing"),
        (b'{"schema": 1}', "missing"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(data: bytes, words: str) -> None:
    """Not JSON, not UTF-8, NaN, doubled keys, too deep, too large, too new: each says which."""
    with pytest.raises(UsageError, match=f"^profile: .*{words}") as caught:
        read_profile(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("point",), 3, "point: expected text, got 3"),
        (("point",), "jpeg:q30\x1b[2J", "point: expected text without control"),
        (("schema",), "bitdose-profile/0", "schema: expected bitdose-profile/1"),
        (("expires",), "2020-01-01T00:00:00Z", "expires: expected after 2026-11-22T10:00:00Z"),
        (("expires",), "2027-11-22", "expires: expected UTC such as"),
        (("created",), "2026-02-30T10:00:00Z", "created: expected UTC such as"),
        (("disclaimer",), "Safe.", "disclaimer: expected Research use only"),
        (("classifier", "digest"), "XYZ", "classifier: digest: expected 12 to 64 hexadecimal digits"),
        (("classifier", "input", "channels"), 2, "classifier.input: model input spec: channels"),
        (("classifier", "input", "layout"), ["NCHW"], "classifier.input.layout: expected text"),
        (("evidence", "n"), True, "evidence.n: expected a whole number, got True"),
        (("evidence", "patients"), 301, "evidence: patients: expected 1 to 300, got '301'"),
        (("evidence", "alpha"), 0.1, "evidence: alpha: expected the rule's 0.05"),
        (("evidence", "margins"), [], "evidence: margins: expected one for each of the rule's"),
        (("evidence", "margins", 0, "limit"), 0.2, "evidence: margins: expected one for each of the rule's"),
        (("evidence", "margins", 0, "p"), 0.3, r"evidence.margins\[0\]: p: expected 0 to alpha 0.025"),
        (("evidence", "margins", 0, "alpha"), 0.2, "evidence: margins: expected alpha up to 0.05"),
        (("evidence", "margins", 0, "loss"), 0.06, "loss: expected below the limit 0.05"),
        (("evidence", "rule", "alpha"), "x", r"evidence.rule: \[decision\]: alpha: expected a number"),
        (("evidence", "rule", "margins", "fame"), 0.1, "evidence.rule: margin: unknown metric 'fame'"),
        (("evidence", "rule_digest"), "0" * 64, "rule_digest: expected that of the rule"),
        (("evidence", "data_digest"), "abc", "data_digest: expected SHA-256"),
        (("limits", "height"), [5, 4], r"limits: height: expected \[smallest, largest\] from 1"),
        (("limits", "height"), [5], "limits.height: expected a list of 2"),
        (("limits", "bits"), ["8"], r"limits.bits\[0\]: expected a whole number, got '8'"),
        (("rate", "mean_bytes"), 0, "rate: mean_bytes: expected above 0"),
        (("rate", "ratio_file"), -1, "rate: ratio_file: expected above 0, or null"),
        (("libraries", "numpy"), 2, "libraries.numpy: expected text"),
        (("signature",), "x", "signature: expected an object"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(signed: Profile, path: Path_, value: Any, words: str) -> None:
    """Each wrong value is one line with the key, what was expected and what came."""
    with pytest.raises(UsageError, match=f"^profile: .*{words}"):
        profile_of(put(signed.to_dict(), path, value))


def test_a_file_that_is_not_there_or_cannot_be_written_says_so(signed: Profile, tmp_path: Path) -> None:
    """A missing file is a wrong call, a folder that is not there a failed write that leaves nothing."""
    with pytest.raises(UsageError, match="no-such.json': No such file"):
        load_profile(tmp_path / "no-such.json")
    with pytest.raises(UsageError, match="Is a directory"):
        load_profile(tmp_path)
    with pytest.raises(BitdoseError, match="cannot write the profile"):
        save_profile(signed, tmp_path / "no" / "profile.json")
    (tmp_path / "taken").mkdir()
    with pytest.raises(BitdoseError, match="cannot write the profile"):
        save_profile(signed, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_large_file_is_refused_and_not_read_to_its_first_end(saved: Path) -> None:
    """A profile followed by a megabyte of anything is not the profile."""
    saved.write_bytes(saved.read_bytes().ljust(1_000_000) + b"more")
    with pytest.raises(UsageError, match="at most 1,000,000 bytes, got more"):
        load_profile(saved)


def test_a_physician_can_read_what_was_certified(signed: Profile) -> None:
    """The sentence has the point, the classifier, the cases, each bound with its margin, and alpha."""
    found = sentence(signed)
    for words in (
        "jpeg:q30@256",
        "net was shown on 300 cases of 290 patients",
        "accepted: 0.05",
        "at most 5 would",
    ):
        assert words in found


def test_reading_and_verifying_loads_no_table_statistics_or_runtime(saved: Path) -> None:
    """A weak machine reads and checks a profile without polars, SciPy, ONNX Runtime, torch or OpenCV."""
    code = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from bitdose.profile.document import load_profile\n"
        "profile = load_profile(Path(sys.argv[1]))\n"
        "assert 'cryptography' not in sys.modules\n"
        "from bitdose.profile.verify import failed, verify\n"
        "assert not failed(verify(profile, now=datetime(2026, 12, 1, tzinfo=UTC)))\n"
        "print(*sorted({'polars', 'scipy', 'onnxruntime', 'torch', 'cv2', 'pyarrow', 'matplotlib',"
        " 'bitdose.decision.base'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_every_key_has_a_line_in_the_schema_page(signed: Profile) -> None:
    """The page names each key of the file by its path, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "profile-schema.md").read_text("utf-8")
    keys, parts = page.split("## Keys")[1].split("\nEach of `evidence.margins`:")
    shown = {key for line in keys.splitlines() if line.startswith("| `") for key in named(line)}
    document = signed.to_dict()
    flat = {"evidence", "codec", "classifier", "rate", "limits", "client"}
    expected = {key for key in document if key not in flat} | {
        f"{name}.{key}" for name in (*flat, "signature") for key in document[name]
    }
    assert shown == expected
    for entry, text in zip(
        ("margins", "estimates"), parts.split("\nEach of `evidence.estimates`:"), strict=True
    ):
        rows = text.split("\n## ")[0].splitlines()
        assert {k for row in rows if row.startswith("| `") for k in named(row)} == set(
            document["evidence"][entry][0]
        )
    assert set(document["classifier"]["input"]) <= {k.strip("`") for k in re.findall(r"`\w+`", page)}


def named(line: str) -> list[str]:
    """Return the keys in a table row's first cell."""
    return re.findall(r"`([\w.]+)`", line.split("|")[1])

"""What a manifest may say, and what the built-in catalogue does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitdose.datasets.catalogue import BY_HAND, FETCHED, find_manifest
from bitdose.datasets.manifest import is_safe_path, parse_manifest
from bitdose.errors import UsageError
from bitdose.hashing import file_digest

FILE = {"path": "a/b.png", "url": "https://example.org/b.png", "bytes": 3, "sha256": "AB" * 32}
# fmt: off
BAD_PATHS = [
    "../x", "/x", "a/../x", "./x", "a//x", "a\\x", "C:x", ".ssh/x", "x.part", "x.wrong", "CASES.csv",
    "provenance.json", "a/", "", "a/con", "NUL.txt", "a\nb", "a\x00", "x.", "x ", "~/" + "y" * 250, "\u202ex",
]
BAD_URLS: list[Any] = [
    "file:///etc/passwd", "ftp://a.org/x", "x", "http://", "https:///x", "http://a.org:99999/x", 7, None, [],
    ["https://a.org/x", "file:///x"], "https://a.org/a b", "https://a.org/\n", "data:,x", "//a.org/x",
]
# fmt: on
BASE = {"name": "set-1", "licence": "CC0", "files": [FILE]}


def parsed(**changes: Any) -> Any:
    """Parse the base manifest with changes."""
    return parse_manifest(json.dumps(BASE | changes).encode(), "m.json")


def test_a_manifest_is_read() -> None:
    """Names, texts, sizes and digests come out as they are; digests in lower case."""
    found = parsed(citation=["One", "Two  "], source="here")
    assert (found.name, found.licence, found.source, found.citation) == (
        "set-1",
        ("CC0",),
        ("here",),
        ("One", "Two"),
    )
    assert (found.n_bytes, found.files[0].sha256, found.files[0].number) == (3, "ab" * 32, 1)


def test_bases_shorten_urls_and_name_mirrors() -> None:
    """word:path goes through every template of the word; what no URL may hold is escaped."""
    bases = {"x": ["https://a.org/{path}", "https://b.org/flat/{name}"]}
    found = parsed(bases=bases, files=[FILE | {"url": "x:dir one/b#1.png"}])
    assert found.files[0].urls == ("https://a.org/dir%20one/b%231.png", "https://b.org/flat/b%231.png")


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_cannot_leave_the_folder_or_take_a_name_of_ours(path: str) -> None:
    """Traversal, hidden files, devices, control signs and the names of our own files are refused."""
    assert not is_safe_path(path)
    with pytest.raises(UsageError, match=r"m.json: file 1: path"):
        parsed(files=[FILE | {"path": path}])


@pytest.mark.parametrize("url", BAD_URLS)
def test_only_the_web_is_fetched_from(url: Any) -> None:
    """Anything but http and https with a host is refused, also as the second of two."""
    with pytest.raises(UsageError, match="file 1: url: expected http"):
        parsed(files=[FILE | {"url": url}])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "../x"}, "name"),
        ({"name": None}, "name"),
        ({"licence": ""}, "licence: expected what the files may be used for"),
        ({"licence": 7}, "licence: expected a text"),
        ({"citation": [1]}, "citation"),
        ({"bases": []}, "bases"),
        ({"bases": {"x": [1]}}, "bases: x"),
        ({"files": {}}, "files: expected a list"),
        ({"files": [7]}, "file 1: expected an object"),
        ({"files": [FILE | {"bytes": -1}]}, "file 1: bytes"),
        ({"files": [FILE | {"bytes": True}]}, "file 1: bytes"),
        ({"files": [FILE | {"bytes": "3"}]}, "file 1: bytes"),
        ({"files": [FILE | {"sha256": "ab"}]}, "file 1: sha256"),
        ({"files": [FILE | {"case": {"patient": "p"}}]}, "file 1: case: expected an object .* with a label"),
        ({"files": [FILE | {"case": {"label": "a", "deep": {}}}]}, "file 1: case"),
        ({"files": [FILE | {"case": {"label": "a", "path": "/x"}}]}, "path and id are the file's own"),
        ({"files": [FILE, FILE | {"path": "A/B.png"}]}, "file 2: path: the same as that of file 1"),
        ({"files": [FILE, FILE | {"path": "a/b.png/c"}]}, "file 2: path: lies below file 1"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(changes: dict[str, Any], says: str) -> None:
    """The message names the key and the number of the file, and repeats no value."""
    with pytest.raises(UsageError, match=f"manifest m.json: {says}|{says}"):
        parsed(**changes)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe{", b"[]", b"7", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """Broken, foreign and hostile documents are one line."""
    with pytest.raises(UsageError, match="manifest m.json: expected"):
        parse_manifest(data, "m.json")


def test_names_paths_and_neither(tmp_path: Path) -> None:
    """A name, a file, a name that must be got by hand, a near name, nothing at all."""
    (tmp_path / "m.json").write_text(json.dumps(BASE))
    assert find_manifest(str(tmp_path / "m.json")).name == "set-1"
    assert find_manifest("cxr-public").name == "cxr-public"
    with pytest.raises(UsageError, match="did you mean 'cxr-public'"):
        find_manifest("cxr-publik")
    for each in BY_HAND:
        with pytest.raises(UsageError, match="cannot be fetched by a program"):
            find_manifest(each.name)


def test_the_catalogue_holds_what_it_was_made_from(shared: Path) -> None:
    """Sizes and digests are those of the original files; every case of the two splits is there."""
    found = find_manifest(FETCHED[0])
    for file in found.files[::20]:
        path = shared / "data" / "cxr" / file.path
        assert (path.stat().st_size, file_digest(path)) == (file.n_bytes, file.sha256)
    cases = [dict(file.case or {}) for file in found.files]
    assert sum(case["split"] == "test" for case in cases) == 220
    assert sum(case["split"] == "calibration" for case in cases) == 91


def test_the_catalogue_leads_to_github_alone() -> None:
    """Every URL is https on one host; nothing of the machine that made the catalogue is in it."""
    found = find_manifest(FETCHED[0])
    starts = {url.split("/")[2] for file in found.files for url in file.urls}
    assert starts == {"raw.githubusercontent.com"}
    assert all(url.startswith("https://") for file in found.files for url in file.urls)
    assert len({file.sha256 for file in found.files}) == len(found.files)

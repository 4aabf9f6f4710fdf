"""What identity promises: equal things have equal digests, in any process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from bitdose.hashing import bytes_digest, canonical_json, columns_digest, digest, file_digest, rng_for


def test_equal_values_give_equal_text() -> None:
    """The order of keys and the kind of sequence do not show."""
    assert canonical_json({"b": [1, 2], "a": None}) == canonical_json({"a": None, "b": (1, 2)})
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": 1.5}), ({"a": 1}, {"a": "1"}), ([1, 2], [2, 1]), (True, 1), ("ä", "a")],
)
def test_different_values_give_different_digests(one: object, other: object) -> None:
    """Numbers, texts, booleans and orders of lists are told apart."""
    assert digest(one) != digest(other)


def test_a_digest_is_sha256_of_the_canonical_text() -> None:
    """Anyone can check a digest with standard tools."""
    assert canonical_json({"é": [True]}) == '{"é":[true]}'
    assert digest({"é": [True]}) == hashlib.sha256('{"é":[true]}'.encode()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    """Reading in chunks changes nothing, at the edges of a chunk either."""
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert file_digest(tmp_path / "file") == bytes_digest(data[:size])


def test_a_missing_file_is_the_file_systems_error(tmp_path: Path) -> None:
    """A file that is not there raises what opening it raises."""
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "nothing")


def test_a_generator_is_a_function_of_its_names() -> None:
    """The same names give the same draws in another process; other names or orders give others."""
    code = "from bitdose.hashing import rng_for; print(rng_for(7, 'a', 'b').integers(2**62))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    drawn = int(rng_for(7, "a", "b").integers(2**62))
    assert int(done.stdout) == drawn
    others = [(7, "b", "a"), (7, "ab"), ("7", "a", "b"), (8, "a", "b"), ()]
    assert len({drawn, *(int(rng_for(*names).integers(2**62)) for names in others)}) == len(others) + 1


def test_columns_given_in_pieces_have_the_digest_of_the_whole() -> None:
    """However a long table is cut, its digest is that of the mapping of whole lists."""
    whole = {"a": [0.1, None, float("nan"), 1e-7], "b": ["x", 'q"é', "", None], "c": []}
    for size in (1, 3, 10):
        pieces = [
            (name, [canonical_json(cells[i : i + size])[1:-1] for i in range(0, 4, size)])
            for name, cells in whole.items()
        ]
        assert columns_digest(pieces) == digest(whole)
    assert columns_digest([]) == digest({})

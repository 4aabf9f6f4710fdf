"""Every store keeps to one contract: durable pieces, whole blobs, names that are no paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from bitdose.errors import BitdoseError, UsageError
from bitdose.service.storage import BlobStore, open_store

Open = Callable[[], BlobStore]


@pytest.fixture(params=["folder", "memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Give the opener of one store: our own folder, and two that fsspec reaches."""
    url = {
        "folder": str(tmp_path / "store"),
        "memory": f"memory://bucket-{uuid4().hex}/exams",
        "file": f"file://{tmp_path}/bucket/exams",
    }[request.param]
    return lambda: open_store(url)


def test_pieces_become_a_blob(reopen: Open) -> None:
    """Pieces written one after another are the blob, also for another process."""
    name = uuid4().hex
    for offset, piece in ((0, b"one "), (4, b"two "), (8, b"three")):
        reopen().write(name, offset, piece)
    reopen().seal(name, 13)
    assert reopen().read(name) == b"one two three"


def test_what_was_never_counted_is_written_over(reopen: Open) -> None:
    """Pieces that a crash left behind the counted offset do not come back."""
    store, name = reopen(), uuid4().hex
    store.write(name, 0, b"abc")
    store.write(name, 3, b"LOST BYTES")  # written, then the service died before it counted them
    store.write(name, 7, b"MORE LOST BYTES")
    store.write(name, 3, b"de")
    store.write(name, 5, b"fg")
    store.seal(name, 7)
    assert store.read(name) == b"abcdefg"


def test_a_blob_is_sealed_once_and_may_be_sealed_again(reopen: Open) -> None:
    """A seal that is repeated after a crash changes nothing."""
    store, name = reopen(), uuid4().hex
    store.write(name, 0, b"abc")
    store.seal(name, 3)
    reopen().seal(name, 3)
    assert store.read(name) == b"abc"


def test_an_incomplete_blob_cannot_be_sealed(reopen: Open) -> None:
    """Bytes that are not there are said to be missing."""
    store, name = reopen(), uuid4().hex
    with pytest.raises(BitdoseError, match="not all there"):
        store.seal(name, 3)
    store.write(name, 0, b"ab")
    with pytest.raises(BitdoseError, match="not all there"):
        store.seal(name, 3)
    with pytest.raises(BitdoseError, match="gone"):
        store.read(name)


def test_deleting_forgets_pieces_and_blobs(reopen: Open) -> None:
    """A deleted blob is gone, sealed or under way, and may be deleted again."""
    store = reopen()
    sealed, open_one = uuid4().hex, uuid4().hex
    for name in (sealed, open_one):
        store.write(name, 0, b"abc")
    store.seal(sealed, 3)
    assert set(store.names()) == {sealed, open_one}
    for name in (sealed, open_one, open_one):
        store.delete(name)
    assert set(store.names()) == set()
    with pytest.raises(BitdoseError):
        store.read(sealed)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 31, "A" * 32, "a" * 32 + "\n", "a/" * 16])
def test_a_name_is_never_a_path(reopen: Open, name: str) -> None:
    """Anything but 32 hexadecimal digits is refused by every method."""
    store = reopen()
    for use in (lambda: store.write(name, 0, b""), lambda: store.seal(name, 0), lambda: store.read(name)):
        with pytest.raises(UsageError):
            use()
    with pytest.raises(UsageError):
        store.delete(name)


def test_an_unknown_store_is_refused_in_one_line() -> None:
    """A URL that nobody knows is a wrong call, with no secret of it in the message."""
    with pytest.raises(UsageError, match=r"storage nonsense://: ") as caught:
        open_store("nonsense://user:secret@host/bucket")
    assert "secret" not in str(caught.value)

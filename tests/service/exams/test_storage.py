"""Every store keeps to one contract: durable pieces, whole blobs, names that are no paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bitdose.errors import BitdoseError, UsageError
from bitdose.service import clock
from bitdose.service.accounts.accounts import add_account
from bitdose.service.accounts.tokens import make_token
from bitdose.service.db.database import sessions
from bitdose.service.exams.storage import BlobStore, open_store
from bitdose.service.http.app import create_app
from bitdose.wire import EXAM_HEADER, EXAMS, UPLOADS, Role

Make = Callable[..., Any]
Open = Callable[[], BlobStore]


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """Give the URL of a server on loopback that speaks S3's protocol."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed (pip install 'bitdose[s3]')")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(bucket_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty bucket, with what finds the server and its keys where s3fs looks for them."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket_server)
    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    name = f"exams-{uuid4().hex}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    s3fs.S3FileSystem.clear_instance_cache()
    return f"s3://{name}/bitdose"


@pytest.fixture(params=["folder", "memory", "file", "s3"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Give the opener of one store: our own folder, and three that fsspec reaches."""
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        return lambda: open_store(bucket)
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


def test_a_service_keeps_its_exams_in_a_bucket(
    *, bucket: str, change: Make, serve: Make, opening: Make, coded: Make, draw: Make
) -> None:
    """An upload in pieces, its reading, its image and its deletion work on a store that speaks S3."""
    from bitdose.service.exams.worker import Reader, load_classifier, new_name

    app = create_app(change(storage=bucket))
    context, parcel = app.state.context, coded(draw(1))
    with sessions(context.engine).begin() as session:
        values = {"role": Role.CLINIC, "clinic": "north", "password": "four plain words", "now": clock.now()}
        row = add_account(session, name="north-1", **values)
        token = make_token(session, row.id, "uploader", now=clock.now())[1]
    with httpx.Client(base_url=serve(app), headers={"Authorization": f"Bearer {token}"}) as client:
        place = client.post(UPLOADS, headers=opening(parcel)).headers["location"]
        for at in range(0, len(parcel.payload), 4000):
            headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(at)}
            headers["Content-Type"] = "application/offset+octet-stream"
            answer = client.patch(place, headers=headers, content=parcel.payload[at : at + 4000])
        exam = answer.headers[EXAM_HEADER]
        classifier = load_classifier(context.settings, context.profile)
        reader = Reader(context.engine, context.store, context.profiles, classifier, new_name())
        assert reader.read_some(4) == 1
        assert client.get(f"{EXAMS}/{exam}").json()["state"] == "answered"
        assert client.get(f"{EXAMS}/{exam}/image").content.startswith(b"\x89PNG")
        assert len(set(context.store.names())) == 1
        assert client.delete(f"{EXAMS}/{exam}").status_code == 204
        assert list(context.store.names()) == []
    context.engine.dispose()

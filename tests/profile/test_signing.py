"""Signatures hold by an independent implementation too, and the key file is the user's alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from bitdose.errors import BitdoseError, UsageError
from bitdose.profile.document import Profile, Signature
from bitdose.profile.signing import (
    Key,
    check_public_key,
    default_key_path,
    key_id,
    load_key,
    load_or_make_key,
    own_public_key,
    sign,
    signature_problem,
)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def add(a: Point, b: Point) -> Point:
    """Add on the curve, RFC 8032, 5.1.4."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar: int, point: Point) -> Point:
    """Multiply by doubling and adding."""
    found: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = add(found, point)
        point, scalar = add(point, point), scalar >> 1
    return found


def decode(data: bytes) -> Point:
    """Recover a point, RFC 8032, 5.1.3."""
    sign_bit, y = data[31] >> 7, int.from_bytes(data, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert not (x * x - square) % P
    x = P - x if x & 1 != sign_bit else x
    return x, y, 1, x * y % P


BASE = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify Ed25519 as RFC 8032, 5.1.7, writes it down, without any library."""
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(decode(signature[:32]), times(h, decode(public)))
    return s < L and not any((left[i] * right[2] - right[i] * left[2]) % P for i in (0, 1))


def test_the_reference_is_that_of_the_rfc() -> None:
    """The test's own Ed25519 holds for test 2 of RFC 8032, 7.1, and for no other message."""
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert holds(public, b"\x72", signature)
    assert not holds(public, b"\x73", signature)


def test_a_signed_file_holds_by_the_rfc_alone(saved: Path) -> None:
    """What the schema page says suffices: canonical JSON of all but the signature, and RFC 8032."""
    document = json.loads(saved.read_text("utf-8"))
    signature = document.pop("signature")
    message = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    public, value = base64.b64decode(signature["public_key"]), base64.b64decode(signature["value"])
    assert holds(public, message, value)
    assert not holds(public, message.replace(b"jpeg:q30", b"jpeg:q10"), value)
    assert signature["key_id"] == hashlib.sha256(public).hexdigest()[:16]
    name = document.pop("id")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert name == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_known_secret_gives_the_known_public_key(tmp_path: Path) -> None:
    """A key file with the secret of RFC 8032's test 2 signs as its public key."""
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = load_key(write_pem(tmp_path / "key.pem", Ed25519PrivateKey.from_private_bytes(secret)))
    public = base64.b64decode(key.public_key)
    assert public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert repr(key.private) not in repr(key)


def test_signing_is_repeatable_and_replaces_a_signature(signed: Profile, key: Key, tmp_path: Path) -> None:
    """The same profile and key give the same signature; another key's takes its place."""
    assert sign(signed, key) == signed
    other = sign(signed, load_or_make_key(tmp_path / "other.pem"))
    assert (other.id, signature_problem(other)) == (signed.id, "")
    assert other.signature != signed.signature


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "rsa"}, "not of a form known here"),
        ({"key_id": "0" * 16}, "not of a form known here"),
        ({"public_key": "AAAA"}, "not of a form known here"),
        ({"public_key": base64.b64encode(bytes(32)).decode()}, "not of a form known here"),
        ({"value": "é"}, "not of a form known here"),
        ({"value": base64.b64encode(bytes(63)).decode()}, "not of a form known here"),
        ({"value": base64.b64encode(bytes(64)).decode()}, "signature is not of this content"),
    ],
)
def test_a_changed_signature_is_found(signed: Profile, changes: dict[str, str], words: str) -> None:
    """Every field of the signature is checked."""
    assert isinstance(signed.signature, Signature)
    broken = replace(signed, signature=replace(signed.signature, **changes))
    assert words in signature_problem(broken)


def test_a_second_spelling_of_the_signature_is_refused(signed: Profile) -> None:
    """Base64 has idle bits at its end; only one spelling of them counts."""
    assert isinstance(signed.signature, Signature)
    value = signed.signature.value
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = value[:-3] + digits[digits.index(value[-3]) + 1] + "=="
    assert base64.b64decode(twin) == base64.b64decode(value)
    assert signature_problem(replace(signed, signature=replace(signed.signature, value=twin)))


def test_changed_content_and_an_absent_signature_are_found(signed: Profile, key: Key) -> None:
    """Content changed with and without its id, another's signature, and none at all."""
    assert "id is not that" in signature_problem(replace(signed, point="jpeg:q1@256"))
    forged = replace(signed, point="jpeg:q1@256").named()
    assert "signature is not of this content" in signature_problem(
        replace(forged, signature=signed.signature)
    )
    assert signature_problem(forged) == "not signed"


def test_the_key_is_made_once_and_is_the_users_alone(tmp_path: Path) -> None:
    """The first use makes file and folders with no rights for others; the second reads the same key."""
    path = tmp_path / "a" / "b" / "key.pem"
    first = load_or_make_key(path)
    second = load_or_make_key(path)
    assert (first.made, second.made) == (True, False)
    assert first.public_key == second.public_key
    assert [each.name for each in path.parent.iterdir()] == ["key.pem"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


def test_processes_that_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    """Four first uses at the same moment end with one key."""
    code = (
        "import sys, pathlib; from bitdose.profile.signing import load_or_make_key;"
        "print('ready', flush=True); sys.stdin.read();"
        "print(load_or_make_key(pathlib.Path(sys.argv[1])).public_key)"
    )
    call = [sys.executable, "-c", code, str(tmp_path / "key.pem")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(call, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.close()  # from here on they race
    answers = {process.stdout.read().strip() for process in started}
    assert [process.wait() for process in started] == [0, 0, 0, 0]
    for process in started:
        process.stdout.close()
    assert answers == {load_key(tmp_path / "key.pem").public_key}
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_the_key_stands_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BITDOSE_KEY comes first, then an absolute XDG_CONFIG_HOME, then .config of the home folder."""
    monkeypatch.setenv("BITDOSE_KEY", str(tmp_path / "mine.pem"))
    assert default_key_path() == tmp_path / "mine.pem"
    monkeypatch.delenv("BITDOSE_KEY")
    if os.name == "posix":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
        assert default_key_path() == tmp_path / "xdg" / "bitdose" / "profile-key.pem"
        monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_key_path() == tmp_path / "home" / ".config" / "bitdose" / "profile-key.pem"
        assert load_or_make_key().path == default_key_path()


def test_ones_own_public_key_is_read_and_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only checks profiles gets no key: without one, or with a broken one, the answer is empty."""
    monkeypatch.setenv("BITDOSE_KEY", str(tmp_path / "key.pem"))
    assert own_public_key() == ""
    assert not list(tmp_path.iterdir())
    key = load_or_make_key()
    assert own_public_key() == key.public_key
    key.path.write_text("broken")
    assert own_public_key() == ""


@posix
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key file of mode 0640 is no secret: the message says how to mend it."""
    path = load_or_make_key(tmp_path / "key.pem").path
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"others may read it.*chmod 600"):
        load_or_make_key(path)


def write_pem(path: Path, private: object, how: KeySerializationEncryption | None = None) -> Path:
    """Write a private key as PEM, for its owner alone."""
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())  # type: ignore[attr-defined]
    path.write_bytes(pem)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "not a private key in PEM"),
        ("half", "not a private key in PEM"),
        ("noise", "not a private key in PEM"),
        ("public", "not a private key in PEM"),
        ("locked", "it has a passphrase"),
        ("curve", "expected an Ed25519 key, got another kind"),
    ],
)
def test_a_broken_key_is_one_line_and_never_replaced(tmp_path: Path, kind: str, words: str) -> None:
    """What is no Ed25519 key is refused with the way out, and stays as it is."""
    path = write_pem(tmp_path / "key.pem", Ed25519PrivateKey.generate())
    if kind == "locked":
        write_pem(path, Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret"))
    elif kind == "curve":
        write_pem(path, generate_private_key(SECP256R1()))
    elif kind != "public":
        path.write_bytes({"empty": b"", "half": path.read_bytes()[:60], "noise": os.urandom(200)}[kind])
    else:
        path.write_bytes(path.read_bytes().replace(b"PRIVATE", b"PUBLIC"))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"signing key .*{words}.*BITDOSE_KEY") as caught:
        load_or_make_key(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_key_that_cannot_be_made_or_read_says_so(tmp_path: Path) -> None:
    """No folder can be made below a file; a folder is no key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BitdoseError, match=r"cannot make the signing key .*BITDOSE_KEY"):
        load_or_make_key(tmp_path / "file" / "key.pem")
    with pytest.raises(UsageError, match="Is a directory"):
        load_or_make_key(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        load_key(tmp_path / "no.pem")


def test_public_keys_are_checked_and_named() -> None:
    """Spaces around a public key do not matter; its name is the digest of its bytes."""
    text = base64.b64encode(bytes(range(32))).decode()
    assert check_public_key(f" {text}\n") == text
    assert key_id(text) == hashlib.sha256(bytes(range(32))).hexdigest()[:16]
    for wrong in ("", text[:-4], text + "AAAA", "ключ"):
        with pytest.raises(UsageError, match="trust: expected base64 of 32 bytes"):
            check_public_key(wrong, name="trust")

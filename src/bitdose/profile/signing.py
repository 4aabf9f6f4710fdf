"""Ed25519 signatures on profiles (RFC 8032), and the key file, made on first use.

The key is a PEM file (PKCS #8, no passphrase) that its owner alone may read. It stands where
``BITDOSE_KEY`` says, or in the user's configuration folder.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitdose.errors import BitdoseError, UsageError, command
from bitdose.profile.document import Profile, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
KEY_VARIABLE = "BITDOSE_KEY"
KEY_NAME = "profile-key.pem"

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_KEY_ID_DIGITS = 16
_MAX_PEM_BYTES = 10_000


@dataclass(frozen=True)
class Key:
    """A signing key.

    Parameters
    ----------
    private : Ed25519PrivateKey
        Never printed.
    path : pathlib.Path
        Its file.
    made : bool
        Whether this call made it.
    """

    private: Ed25519PrivateKey = field(repr=False, compare=False)
    path: Path
    made: bool = False

    @property
    def public_key(self) -> str:
        """Base64 of the public key: what others name as trusted."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode("ascii")

    @property
    def key_id(self) -> str:
        """Its short name."""
        return key_id(self.public_key)


def default_key_path() -> Path:
    """Return where the key stands; raises ``UsageError`` where the user has no home."""
    named = os.environ.get(KEY_VARIABLE)
    if named:
        return Path(named)
    variable = "APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME"
    base = os.environ.get(variable, "")
    if os.path.isabs(base):  # the standard has relative ones ignored
        return Path(base) / "bitdose" / KEY_NAME
    try:
        return Path.home() / ".config" / "bitdose" / KEY_NAME
    except RuntimeError as error:
        raise UsageError(f"no home folder for the signing key; set {KEY_VARIABLE} to a file") from error


def load_key(path: Path) -> Key:
    """Read a key file.

    Raises
    ------
    UsageError
        If it is not there, readable by others, or no Ed25519 key without passphrase.
    """
    return _key_of(_pem_bytes(path), path)


def load_or_make_key(path: Path | None = None) -> Key:
    """Read the signing key, or make it where there is none.

    Two processes that make it at the same time end with the same key.

    Parameters
    ----------
    path : pathlib.Path, optional
        The key file; the default is :func:`default_key_path`.

    Raises
    ------
    UsageError
        As :func:`load_key`, for a file that is there: a broken key is never replaced.
    BitdoseError
        If it cannot be written.
    """
    path = path or default_key_path()
    made = not path.exists() and _make(path)
    return replace(load_key(path), made=made)


def own_public_key() -> str:
    """Return the public key of this machine's user; empty where none can be read. Makes no key."""
    try:
        return load_key(default_key_path()).public_key
    except UsageError:
        return ""


def sign(profile: Profile, key: Key) -> Profile:
    """Return the profile with the ``id`` of its content and its signature."""
    named = profile.named()
    value = base64.b64encode(key.private.sign(named.payload())).decode("ascii")
    return replace(named, signature=Signature(ALGORITHM, key.public_key, key.key_id, value))


def signature_problem(profile: Profile) -> str:
    """Say what is wrong with a profile's signature; empty if the content is what was signed.

    Says nothing of whose key it is.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = profile.signature
    if found is None:
        return "not signed"
    public, value = _decoded(found.public_key, _KEY_BYTES), _decoded(found.value, _SIGNATURE_BYTES)
    known = found.algorithm == ALGORITHM and public is not None and found.key_id == key_id(found.public_key)
    if public is None or value is None or not known:
        return f"the signature is not of a form known here: {ALGORITHM}, base64, key_id of the public_key"
    if profile.id != profile.content_id():
        return "tampered with: id is not that of the content"
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(value, profile.payload())
    except InvalidSignature:
        return "tampered with: the signature is not of this content"
    return ""


def key_id(public_key: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a public key in base64."""
    raw = base64.b64decode(check_public_key(public_key))
    return hashlib.sha256(raw).hexdigest()[:_KEY_ID_DIGITS]


def check_public_key(text: str, *, name: str = "public key") -> str:
    """Return a public key's base64 if it is one; raises ``UsageError`` if not.

    Examples
    --------
    >>> check_public_key("abc", name="trust")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: trust: expected base64 of 32 bytes (see ...), got 'abc'
    """
    if _decoded(text.strip(), _KEY_BYTES) is None:
        made = command("profile key", python="bitdose.profile.signing.own_public_key()")
        hint = f"expected base64 of {_KEY_BYTES} bytes (see {made})"
        raise UsageError(f"{name}: {hint}, got {text[:60]!a}")
    return text.strip()


def _decoded(text: str, n_bytes: int) -> bytes | None:
    """Decode base64 of so many bytes in its only spelling; None for anything else."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return raw if len(raw) == n_bytes and base64.b64encode(raw).decode("ascii") == text else None


def _make(path: Path) -> bool:
    """Write a new key beside its place and move it there if nobody was faster; say whether it was moved."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_new_pem())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    except OSError as error:
        message = f"cannot make the signing key {path}: {error.strerror}; set {KEY_VARIABLE} to another file"
        raise BitdoseError(message) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return True


def _new_pem() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            pem = file.read(_MAX_PEM_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"signing key {str(path)!r}: {reason}") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"signing key {path}: others may read it; make it yours alone: chmod 600 {path}")
    return pem


def _key_of(pem: bytes, path: Path) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    hint = f"give another file in {KEY_VARIABLE}, or move this one away for a new key"
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise UsageError(f"signing key {path}: it has a passphrase; {hint}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"signing key {path}: not a private key in PEM; {hint}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"signing key {path}: expected an Ed25519 key, got another kind; {hint}")
    return Key(private, path)

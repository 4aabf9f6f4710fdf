"""Random texts, their stored digests, and comparison in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_BYTES = 32


def new_secret() -> str:
    """Return 256 random bits as text for a URL or a header."""
    return secrets.token_urlsafe(_BYTES)


def new_id() -> str:
    """Return 128 random bits in hexadecimal, an unguessable id."""
    return secrets.token_hex(16)


def fingerprint(text: str) -> str:
    """Return the SHA-256 of a secret for storage; a random secret needs no slower hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def same(left: str, right: str) -> bool:
    """Whether two texts are equal, in constant time."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))

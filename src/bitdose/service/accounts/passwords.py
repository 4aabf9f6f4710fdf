"""Passwords: rules (NIST SP 800-63B) and argon2id hashes.

The only rule of form is a length of at least 12 characters. Also rejected are common passwords, patterns,
and the account's name.
"""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bitdose.errors import UsageError

SHORTEST = 12
LONGEST = 1000

_HASHER = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)  # OWASP's first choice of argon2id
_AT_ONCE = threading.BoundedSemaphore(4)  # 46 MiB each: limited for many concurrent logins
_FEWEST_SIGNS = 5
_COMMON = """
    123456789012 1234567890123 12345678901234 123456789101 123456123456 123123123123 123412341234
    111111222222 112233445566 121212121212 987654321098 098765432109 1q2w3e4r5t6y 1q2w3e4r5t6y7u
    1qaz2wsx3edc 1qazxsw23edc 1qaz1qaz1qaz q1w2e3r4t5y6 qwertyuiop12 qwertyuiop123 qwertyuiop[]
    qwertyuiopasdf qwertyqwerty qwerty123456 qwerty12345678 asdfghjkl123 asdfghjklqwe asdfasdfasdf
    zxcvbnm12345 zxcvbnm123456 zaq12wsxcde3 abcdefghijkl abcdefghijklm abcdefgh1234 abcd12345678
    abc123abc123 abcabcabcabc a1b2c3d4e5f6 aa123456789012 password1234 password12345 password123456
    password1234567 passwordpassword password!2345 password123! p@ssw0rd1234 p@ssword1234 passw0rd1234
    passw0rd12345 mypassword12 mypassword123 newpassword1 newpassword123 password2023 password2024
    password2025 password2026 changeme1234 changemechangeme changeme12345 letmeinletmein letmein12345
    letmein123456 welcome12345 welcome123456 welcomewelcome administrator administrator1 admin1234567
    admin12345678 admin123456789 adminadmin12 adminadminadmin iloveyou1234 iloveyou12345 iloveyouforever
    iloveyousomuch sunshine1234 princess1234 football1234 baseball1234 basketball12 basketball123
    superman1234 superman12345 spiderman123 batman123456 dragon123456 monkey123456 master123456
    shadow123456 michael12345 jennifer1234 liverpool123 liverpoolfc1 manchester12 manchesterunited
    chelsea12345 arsenal12345 barcelona123 realmadrid12 corinthians1 flamengo1234 palmeiras123
    saopaulo1234 brasil123456 brasil2014br senha1234567 senha12345678 minhasenha12 minhasenha123
    mudar1234567 mudar123mudar trocarsenha1 trocarsenha123 hospital1234 hospital12345 clinica12345
    radiology123 radiologia12 radiologia123 physician123 doctor123456 medico123456 internet1234
    computer1234 computer12345 samsung12345 whatever1234 trustno1trustno1 correcthorsebatterystaple
    testtesttest test12345678 test123456789 qazwsxedcrfv qazwsxedc123 lovelovelove jesuschrist1
    christian123 secretsecret topsecret123 guestguest12 useruseruser defaultpassword default12345
    temporary123 temppassword
"""
_TAIL = "0123456789!?.*#@"
_RUNS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")


def check_password(text: str, *, name: str = "") -> None:
    """Reject a password that is short, common or a pattern.

    Parameters
    ----------
    text : str
        As typed.
    name : str
        The account's name, which the password must not resemble.

    Raises
    ------
    UsageError
        With the remedy; never quotes the password.

    Examples
    --------
    >>> check_password("short")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: password: expected 12 characters or more, got 5; a few words together are good
    """
    plain = _normal(text)
    if not SHORTEST <= len(plain) <= LONGEST:
        expected = (
            f"{SHORTEST} characters or more" if len(plain) < SHORTEST else f"at most {LONGEST} characters"
        )
        raise UsageError(f"password: expected {expected}, got {len(plain)}; a few words together are good")
    folded = plain.casefold()
    joined = "".join(folded.split())
    if not _known().isdisjoint({joined, joined.rstrip(_TAIL)}) or _is_run(folded):
        raise UsageError(
            "password: it is among those tried first; take a few words that only you put together"
        )
    if len(set(folded)) < _FEWEST_SIGNS:
        raise UsageError(f"password: expected {_FEWEST_SIGNS} different characters or more")
    if len(name) >= 3 and len(folded.replace(name.casefold(), "")) < SHORTEST // 2:  # noqa: PLR2004
        raise UsageError("password: it is little more than the account's name")


def hash_password(text: str) -> str:
    """Return the argon2id hash for storage."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(text))


def matches(stored: str | None, text: str) -> bool:
    """Whether a password matches a hash; None takes the same time, so that account names do not leak."""
    nobody = _nobody()
    with _AT_ONCE:
        try:
            same = _HASHER.verify(stored or nobody, _normal(text))
        except (VerificationError, InvalidHashError):
            return False
    return same and stored is not None


def is_stale(stored: str) -> bool:
    """Whether a hash has outdated cost parameters."""
    return _HASHER.check_needs_rehash(stored)


@cache
def _nobody() -> str:
    return _HASHER.hash("the password of nobody at all")


@cache
def _known() -> frozenset[str]:
    words = _COMMON.split()
    return frozenset(words) | frozenset(word.rstrip(_TAIL) for word in words) - {""}


def _normal(text: str) -> str:
    """Normalise the Unicode form of a password; lone surrogates are replaced."""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode("utf-8"))


def _is_run(text: str) -> bool:
    doubled = [run * 3 for run in _RUNS]
    repeated = any(text == (text[:n] * len(text))[: len(text)] for n in range(1, 4))
    return repeated or any(text in run or text in run[::-1] for run in doubled)

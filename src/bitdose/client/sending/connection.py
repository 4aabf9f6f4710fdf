"""One kept-alive HTTPS connection to the service, and what its answers mean for the sender.

Certificates are always verified. Plain HTTP is taken to this machine only, since every request carries the
token. Redirects are not followed, so the token goes to no other address.

| answer | what follows |
| --- | --- |
| 2xx | go on |
| 401, 403, 3xx, a certificate that is not trusted | :class:`StopError`: someone has to set it right |
| 404, 410, 460 | :class:`GoneError`: that upload or exam is not there (any more), or was damaged |
| 408, 409, 423, 425, 429, 5xx, no answer | :class:`LaterError`, and how long the service asks to wait |
| any other | :class:`RefusedError`: this exam will never be taken |
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import bitdose
from bitdose.errors import BitdoseError, MissingBackendError, UsageError, argument

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE = "BITDOSE_TOKEN"  # noqa: S105  the variable's name, no token
_LATER = frozenset({408, 409, 423, 425, 429})
_STOP = frozenset({401, 403, 407})
_GONE = frozenset({404, 410, 460})
_SERVER_ERRORS, _OK, _REDIRECTS = 500, 200, 300
_OTHERS_MAY_READ = 0o077
_LONGEST_DETAIL = 300
_MOST_WAIT_S = 3600.0
_CONNECT_S, _ANSWER_S, _KEEP_S = 30.0, 90.0, 600.0


class StopError(BitdoseError):
    """Nothing can be sent until someone sets it right: the token, the address, the certificate."""


class GoneError(BitdoseError):
    """What was asked for is not at the service (any more)."""


class RefusedError(BitdoseError):
    """The service will not take this exam, now or later."""


class LaterError(BitdoseError):
    """It may go well later.

    Parameters
    ----------
    message : str
        One line.
    after_s : float, optional
        What the service asks to wait, seconds.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


@dataclass(frozen=True)
class Server:
    """Where to send, as whom.

    Parameters
    ----------
    url : str
        Address of the service, without a path of its own: ``https://exams.example.org``.
    token : str
        An API token; ``repr`` does not show it.
    ca_file : pathlib.Path, optional
        Certificates to trust in place of the usual ones (PEM).

    Raises
    ------
    UsageError
        If the address is none, or plain HTTP to another machine.

    Examples
    --------
    >>> Server("http://clinic.example.org", "t")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: url 'http://clinic.example.org': plain HTTP would show the token; ...
    """

    url: str
    token: str
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError(
                f"{argument('url')} {self.url!r}: expected an address such as https://exams.example.org"
            )
        if parts.scheme == "http" and not _is_this_machine(parts.hostname):
            raise UsageError(
                f"{argument('url')} {self.url!r}: plain HTTP would show the token; give https://"
            )

    def __repr__(self) -> str:
        """Show the address alone."""
        return f"Server({self.url!r})"

    @property
    def name(self) -> str:
        """The address in one spelling, under which the queue knows it."""
        return self.url.rstrip("/")


def read_token(token_file: Path | None) -> str:
    """Return the token of a file, or of the variable ``BITDOSE_TOKEN``.

    Raises
    ------
    UsageError
        If there is none, or others may read the file.
    """
    if token_file is None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise UsageError(f"no token: give {argument('token_file')} or set {TOKEN_VARIABLE}")
        return token
    try:
        if os.name != "nt" and token_file.stat().st_mode & _OTHERS_MAY_READ:
            raise UsageError(
                f"{argument('token_file', token_file)}: others may read it; run: chmod 600 {token_file}"
            )
        token = token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{argument('token_file', token_file)}: cannot be read ({type(error).__name__})"
        ) from error
    if not token or not token.isprintable() or " " in token:
        raise UsageError(f"{argument('token_file', token_file)}: expected a token on one line")
    return token


def connect(server: Server, *, answer_s: float = _ANSWER_S) -> httpx.Client:
    """Return a client that holds one connection open; nothing is sent yet.

    Raises
    ------
    MissingBackendError
        If httpx is not installed.
    UsageError
        If the certificates cannot be read.
    """
    library = import_httpx()
    try:
        verify = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else True
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{argument('ca_file', server.ca_file)}: cannot be read as PEM certificates"
        ) from error
    client: httpx.Client = library.Client(
        base_url=server.name,
        verify=verify,
        headers={"User-Agent": f"bitdose/{bitdose.__version__}"}
        | ({"Authorization": f"Bearer {server.token}"} if server.token else {}),
        timeout=library.Timeout(answer_s, connect=_CONNECT_S),
        limits=library.Limits(max_connections=1, keepalive_expiry=_KEEP_S),
        trust_env=not _is_this_machine(urlsplit(server.url).hostname or ""),
    )
    return client


def import_httpx() -> Any:
    """Return httpx; raises MissingBackendError with the install command where it is absent."""
    try:
        import httpx
    except ImportError as error:
        raise MissingBackendError(f"sending needs httpx: pip install 'bitdose[send]' ({error})") from error
    return httpx


@contextmanager
def over_the_line() -> Iterator[None]:
    """Turn a broken line into :class:`LaterError`, and a bad certificate into :class:`StopError`."""
    library = import_httpx()
    try:
        yield
    except library.TransportError as error:
        if _is_certificate(error):
            message = (
                f"the server's certificate is not trusted; its own authority goes to {argument('ca_file')}"
            )
            raise StopError(f"{argument('url')}: {message}") from error
        raise LaterError(f"no connection ({type(error).__name__})") from error
    except library.InvalidURL as error:
        raise StopError(f"{argument('url')}: the address is none") from error


def check(response: httpx.Response) -> httpx.Response:
    """Return a good answer; raise what any other means, by the table at the top of this file."""
    status = response.status_code
    if _OK <= status < _REDIRECTS:
        return response
    said = f"the service answers {status}{_detail(response)}"
    if status in _STOP:
        raise StopError(
            f"{said}; is the token still good? '{TOKEN_VARIABLE}' or {argument('token_file')} holds it"
        )
    if _REDIRECTS <= status < 400:  # noqa: PLR2004  RFC 9110, 15.4
        raise StopError(f"{argument('url')}: {said}: a redirect; give the address that it leads to")
    if status in _GONE:
        raise GoneError(said)
    if status in _LATER or status >= _SERVER_ERRORS:
        raise LaterError(said, _retry_after(response))
    raise RefusedError(said)


def _detail(response: httpx.Response) -> str:
    """Return a problem's own words, as one printable line of bounded length."""
    try:
        problem = response.json()
    except (ValueError, UnicodeDecodeError):
        return ""
    if not isinstance(problem, dict):
        return ""
    words = str(problem.get("detail") or problem.get("title") or "")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
    return f": {line[:_LONGEST_DETAIL]}" if line else ""


def _retry_after(response: httpx.Response) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110, 10.2.3); None where there is none."""
    text = response.headers.get("Retry-After", "")
    try:
        wait = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError):
        return None
    return min(max(wait, 0.0), _MOST_WAIT_S)


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

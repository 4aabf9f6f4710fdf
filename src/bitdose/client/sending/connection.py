"""A keep-alive HTTPS connection to the service, and the meaning of its responses for the sender.

Certificates are always verified. Plain HTTP is allowed to this machine only, since every request contains
the token. Redirects are not followed, so the token never reaches another address.

| response | consequence |
| --- | --- |
| 2xx | success |
| 401, 403, 3xx, an untrusted certificate | :class:`StopError`: needs an administrator |
| 404, 410, 460 | :class:`GoneError`: the upload or exam does not exist (any more), or was damaged |
| 408, 409, 423, 425, 429, 5xx, no response | :class:`LaterError`, with the service's Retry-After |
| any other | :class:`RefusedError`: permanent rejection of this exam |
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
    """Sending is impossible until the token, address or certificate is corrected."""


class GoneError(BitdoseError):
    """The requested upload or exam does not exist at the service (any more)."""


class RefusedError(BitdoseError):
    """The service rejects this exam permanently."""


class LaterError(BitdoseError):
    """A transient failure, worth a retry.

    Parameters
    ----------
    message : str
        Reason, one line.
    after_s : float, optional
        Retry-After of the service, in seconds.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


@dataclass(frozen=True)
class Server:
    """Address and credentials of a service.

    Parameters
    ----------
    url : str
        Address of the service, without a path: ``https://exams.example.org``.
    token : str
        API token; hidden from ``repr``.
    ca_file : pathlib.Path, optional
        Trusted certificates (PEM) in place of the default ones.

    Raises
    ------
    UsageError
        If the address is invalid, or plain HTTP to another machine.

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
        """Show the address only."""
        return f"Server({self.url!r})"

    @property
    def name(self) -> str:
        """Normalised address, the key in the queue."""
        return self.url.rstrip("/")


def read_token(token_file: Path | None) -> str:
    """Return the token of a file, or of the variable ``BITDOSE_TOKEN``.

    Raises
    ------
    UsageError
        If there is none, or the file is readable by others.
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
    """Return a client with one keep-alive connection, not yet opened.

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
    """Import httpx; raises ``MissingBackendError`` with the install command if it is missing."""
    try:
        import httpx
    except ImportError as error:
        raise MissingBackendError(f"sending needs httpx: pip install 'bitdose[send]' ({error})") from error
    return httpx


@contextmanager
def over_the_link() -> Iterator[None]:
    """Translate connection errors into :class:`LaterError`, certificate errors into :class:`StopError`."""
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
    """Return a successful response; raise by the table at the top of this module otherwise."""
    status = response.status_code
    if _OK <= status < _REDIRECTS:
        return response
    said = f"the service responds with {status}{_detail(response)}"
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
    """Return the detail of a problem response, as one printable line of bounded length."""
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
    """Parse Retry-After, in seconds or as a date (RFC 9110, 10.2.3); None if missing."""
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

"""Web access: allowed addresses, timeouts, retries."""

from __future__ import annotations

import email.utils
import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from bitdose.datasets.manifest import is_web_url
from bitdose.errors import BitdoseError

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
NETWORK_ERRORS = (http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError)
_LONGEST_WAIT_S = 120.0
_LONGEST_BACKOFF_S = 60.0


class FetchError(BitdoseError):
    """A failed download of one file."""


class StoppedError(BitdoseError):
    """Interruption of a download."""


@dataclass(frozen=True)
class How:
    """Retry policy.

    Parameters
    ----------
    retries : int
        Number of retries, reset whenever bytes arrive.
    timeout_s : float
        Timeout of a silent server, in seconds.
    backoff_s : float
        First wait in seconds, doubled at each retry, up to a minute.
    """

    retries: int = 5
    timeout_s: float = 30.0
    backoff_s: float = 1.0


PATIENT = How()


class Session:
    """State shared by the downloads of one set: retry policy, stop flag, unreachable hosts.

    A machine without a network therefore fails at the first files, not at each.
    """

    def __init__(self, how: How = PATIENT) -> None:
        self.how = how
        self.stop = Event()
        self._alive: set[str] = set()
        self._silent: set[str] = set()

    def responded(self, host: str) -> None:
        """Record that a host has responded."""
        self._alive.add(host)

    def failed(self, host: str) -> None:
        """Record that all tries for a file failed; it counts against a host that never responded."""
        if host not in self._alive:
            self._silent.add(host)

    def is_silent(self, host: str) -> bool:
        """Whether a host was abandoned without any response."""
        return host in self._silent and host not in self._alive


def read_url(url: str, *, max_bytes: int, how: How = PATIENT) -> bytes:
    """Read a small document from the web with the same retry policy; raises ``FetchError``."""
    failures, host = 0, urlsplit(url).hostname
    while True:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "bitdose"})  # noqa: S310
            with web_opener().open(request, timeout=how.timeout_s) as response:
                data: bytes = response.read(max_bytes + 1)
        except urllib.error.HTTPError as error:
            with error:
                reason, wait_s = f"HTTP {error.code}", retry_after(error.headers)
            if error.code not in AGAIN:
                raise FetchError(f"manifest from {host}: {reason}") from None
        except NETWORK_ERRORS as error:
            reason, wait_s = network_reason(error), None
        else:
            if len(data) > max_bytes:
                raise FetchError(f"manifest from {host}: more than the {max_bytes} bytes expected at most")
            return data
        failures += 1
        if failures > how.retries:
            raise FetchError(f"manifest from {host}: {reason}, {how.retries} retries did not help")
        wait_before(wait_s, failures, how, Event())


def web_opener() -> urllib.request.OpenerDirector:
    """Return an opener of web addresses that follows redirects to web addresses only."""
    return urllib.request.build_opener(_WebOnly)


def network_reason(error: Exception) -> str:
    """Describe a network error in a few words.

    Raises
    ------
    FetchError
        If the server's certificate is not trusted, since a retry is futile.

    Examples
    --------
    >>> network_reason(TimeoutError())
    'no response in time'
    """
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise FetchError("the server's certificate is not trusted")
    if isinstance(error, TimeoutError) or isinstance(reason, TimeoutError):
        return "no response in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was cut"
    return f"no connection ({type(reason).__name__})"


def retry_after(headers: Any) -> float | None:
    """Return the seconds of a Retry-After header, from a number or a date; None without one.

    Examples
    --------
    >>> retry_after({"Retry-After": "7"}), retry_after({"Retry-After": "soon"})
    (7.0, None)
    """
    text = str(headers.get("Retry-After", "")).strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def wait_before(asked_s: float | None, failures: int, how: How, stop: Event) -> None:
    """Wait before the next try: as long as the server asks, else with exponential backoff.

    Raises
    ------
    FetchError
        If the server asks for more than two minutes.
    StoppedError
        If ``stop`` was set.
    """
    if asked_s is not None and asked_s > _LONGEST_WAIT_S:
        raise FetchError(f"the server asks to wait {asked_s:.0f} s; run again then")
    backoff = min(_LONGEST_BACKOFF_S, how.backoff_s * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)  # noqa: S311
    if stop.wait(backoff if asked_s is None else asked_s):
        raise StoppedError("stopped; run again to resume")


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Redirect handler for web addresses only, never from https to http."""

    def redirect_request(  # noqa: PLR0917  the library's own signature
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Reject any other target."""
        weaker = req.full_url.startswith("https:") and not newurl.startswith("https:")
        if weaker or not is_web_url(newurl):
            fp.close()
            raise FetchError("the server redirects to a forbidden address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

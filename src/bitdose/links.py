"""Seconds that bytes take on a link: TCP, TLS 1.3, slow start and the link's own rate.

``seconds = setup + RTT + stalls + (bytes + request) 8 overhead / up + answer 8 overhead / down``

The setup is two round trips and the handshake's bytes, on a fresh connection only. The round trip is the
last packet's way there and the answer's way back. A stall is the wait of slow start: the sender has used up
its window and no acknowledgement is back yet (see :func:`seconds`). ``docs/links.md`` says what was checked
against real TCP, and how close it came.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitdose.errors import UsageError

SEGMENT_BYTES = 1460
"""Payload of one TCP segment on an Ethernet-sized path."""
WINDOW_BYTES = 10 * SEGMENT_BYTES
"""What a fresh connection may send before the first acknowledgement (RFC 6928)."""
SETUP_ROUND_TRIPS = 2
"""TCP and TLS 1.3 (RFC 8446), one each, until the client may send the exam."""
HELLO_UP_BYTES, HELLO_DOWN_BYTES = 700, 3000
"""Of the handshakes: the client's hello and finish; the server's hello and a chain of two certificates."""
REQUEST_BYTES, ANSWER_BYTES = 400, 500
"""Header of the request that carries an exam, and the answer's header and class probabilities."""
OVERHEAD = 1.05
"""Bytes on the link per byte of payload: IP, TCP and TLS headers and the link's own framing."""
_MATHIS = 0.93
"""The constant of random loss and delayed acknowledgements."""

_FORM = "'up=44k,rtt=750ms[,down=64k][,loss=1%][,overhead=1.05]'"
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_FIELDS = {"up": "up_bps", "down": "down_bps", "rtt": "rtt_s", "loss": "loss", "overhead": "overhead"}
_RANGES = {
    "up": (1.0, 1e12, "1 bit/s to 1 Tbit/s, such as 44k or 1.5M"),
    "down": (1.0, 1e12, "1 bit/s to 1 Tbit/s, such as 44k or 1.5M"),
    "rtt": (1e-6, 60.0, "1 microsecond to 60 s, such as 750ms or 0.75s"),
    "loss": (0.0, 0.5, "0 to 50 %, such as 1% or 0.01"),
    "overhead": (1.0, 10.0, "1 to 10, such as 1.05"),
}


@dataclass(frozen=True)
class Link:
    """A line between the clinic and the service.

    Parameters
    ----------
    up_bps, down_bps : float
        Rates to and from the service, bit/s. The text form takes ``down`` as ``up`` where it is left out.
    rtt_s : float
        Round trip of a small packet, seconds.
    loss : float
        Share of packets lost at random on the way up, 0 to 0.5.
    overhead : float
        Bytes on the link per byte of payload, at least 1.
    name, source : str
        What it is called, and where its figures are from.

    Raises
    ------
    UsageError
        If a figure is outside its range, or no number.

    Examples
    --------
    >>> link = Link.parse("up=44k,rtt=750ms,loss=1%")
    >>> link.up_bps, link.down_bps, link.rtt_s, link.loss, str(link)
    (44000.0, 44000.0, 0.75, 0.01, 'up=44k,rtt=750ms,loss=1%')
    >>> Link.parse("gprs").down_bps
    64000.0
    """

    up_bps: float
    down_bps: float
    rtt_s: float
    loss: float = 0.0
    overhead: float = OVERHEAD
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse figures that no link has."""
        for key, (low, high, expected) in _RANGES.items():
            value = getattr(self, _FIELDS[key])
            if not low <= value <= high:
                raise UsageError(f"link {self.name or 'given'}: {key}: expected {expected}, got {value:g}")

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read a link's text form: a name of :data:`LINKS`, or its own figures.

        Raises
        ------
        UsageError
            If the text is neither; the message says which part and what was expected.
        """
        if text in LINKS:
            return LINKS[text]
        if "=" not in text:
            near = difflib.get_close_matches(text.lower(), LINKS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"unknown link {text!r}: {hint}known: {', '.join(LINKS)}; or {_FORM}")
        figures: dict[str, float] = {}
        for part in text.split(","):
            key, _, number = part.partition("=")
            if key not in _FIELDS or _FIELDS[key] in figures:
                raise UsageError(f"link {text!r}: expected {_FORM}, each once, got {part!r}")
            figures[_FIELDS[key]] = _figure(text, key, number)
        if not {"up_bps", "rtt_s"} <= figures.keys():
            raise UsageError(f"link {text!r}: expected up and rtt at least: {_FORM}")
        up_bps, rtt_s = figures.pop("up_bps"), figures.pop("rtt_s")
        return cls(up_bps, figures.pop("down_bps", up_bps), rtt_s, **figures)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Write the text form: the name of a named link, the figures of any other; defaults are left out."""
        if self.name and LINKS.get(self.name) == self:
            return self.name
        parts = [f"up={_scaled(self.up_bps)}", f"rtt={_exact(self.rtt_s, 1000, 'ms') or f'{self.rtt_s!r}s'}"]
        if self.down_bps != self.up_bps:
            parts.append(f"down={_scaled(self.down_bps)}")
        if self.loss:
            parts.append(f"loss={_exact(self.loss, 100, '%') or repr(self.loss)}")
        if self.overhead != OVERHEAD:
            parts.append(f"overhead={self.overhead!r}")
        return ",".join(parts)

    @property
    def payload_bps(self) -> float:
        """Payload bits per second going up: the rate less overhead and retransmissions, or TCP's own limit.

        With random loss p a classic TCP holds at most ``0.93 segment / (RTT sqrt(p))``: an average over long
        transfers. Short ones vary around it; a sender such as BBR is not bound by it.

        References
        ----------
        Mathis et al. 1997, ACM SIGCOMM CCR 27(3):67, doi 10.1145/263932.264023.
        """
        rate = self.up_bps * (1 - self.loss) / self.overhead
        if self.loss == 0:
            return rate
        return min(rate, _MATHIS * 8 * SEGMENT_BYTES / (self.rtt_s * math.sqrt(self.loss)))


@dataclass(frozen=True)
class LinkCost:
    """What one point costs on one link.

    Parameters
    ----------
    link : str
        The link's text form.
    n : int
        Exams.
    mean_s, median_s, p95_s : float
        Seconds per exam, each on a fresh connection; NaN with a reason where there is no exam or one
        without bytes.
    exams_per_hour : float
        One after another on one kept-alive connection.
    seconds_of_pristine : float
        Mean seconds of the same exams sent as they are; NaN where their bytes were not given.
    reason : str
        Why a figure is NaN; empty otherwise.
    """

    link: str
    n: int
    mean_s: float
    median_s: float
    p95_s: float
    exams_per_hour: float
    seconds_of_pristine: float
    reason: str = ""


def seconds(link: Link, n_bytes: ArrayLike, *, fresh: bool = True) -> NDArray[np.float64]:
    """Seconds from the first packet of an exam's connection until its answer has arrived.

    With window ``W_k = 2^k 14600`` bytes in round k and payload rate R, slow start waits
    ``max(0, RTT + segment/R - W_k/R)`` after each round that the exam's bytes outlast.

    Parameters
    ----------
    link : Link
        The line.
    n_bytes : array_like
        ``(n_cases,)`` or a scalar, coded bytes per exam, at least 0; NaN stays NaN.
    fresh : bool
        Whether the connection has to be made. On a kept-alive one that carries exam after exam there is no
        setup, and the window is already open.

    Returns
    -------
    ndarray
        Float seconds, of the shape of ``n_bytes``.

    Raises
    ------
    UsageError
        If a number of bytes is negative or infinite.

    References
    ----------
    Slow start: RFC 5681, RFC 6928; its stalls: Heidemann, Obraczka, Touch 1997, IEEE/ACM Trans Netw 5:616,
    doi 10.1109/90.649564.

    Examples
    --------
    >>> seconds(LINKS["gprs"], [10_000_000, 333_333, 6_000]).round(1).tolist()
    [1912.0, 66.6, 4.1]
    """
    coded = np.asarray(n_bytes, float)
    if np.any(coded < 0) or np.any(np.isinf(coded)):
        raise UsageError("n_bytes: expected finite numbers of bytes, 0 or more")
    sent = coded + REQUEST_BYTES
    fixed = link.rtt_s + 8 * ANSWER_BYTES * link.overhead / link.down_bps
    total = fixed + 8 * sent / link.payload_bps
    if not fresh:
        return np.asarray(total)
    hello = 8 * link.overhead * (HELLO_UP_BYTES / link.up_bps + HELLO_DOWN_BYTES / link.down_bps)
    return np.asarray(total + SETUP_ROUND_TRIPS * link.rtt_s + hello + _stalls(link, sent))


def costs(link: Link, coded_bytes: ArrayLike, *, pristine_bytes: ArrayLike | None = None) -> LinkCost:
    """Summarise the seconds per exam of one point on one link.

    Parameters
    ----------
    link : Link
        The line.
    coded_bytes : array_like
        ``(n_cases,)`` coded bytes per exam.
    pristine_bytes : array_like, optional
        ``(n_cases,)`` bytes of the same exams' source files.

    Returns
    -------
    LinkCost
        NaN with a reason where there is no exam, or one whose bytes are NaN.

    Raises
    ------
    UsageError
        If a number of bytes is negative or infinite.

    Examples
    --------
    >>> found = costs(LINKS["gprs"], [6_000, 10_000], pristine_bytes=[10_000_000, 10_000_000])
    >>> round(found.mean_s, 2), round(found.exams_per_hour), round(found.seconds_of_pristine)
    (4.45, 1488, 1912)
    """
    coded = np.asarray(coded_bytes, float).ravel()
    pristine = math.nan
    if pristine_bytes is not None and np.size(pristine_bytes):
        pristine = float(np.mean(seconds(link, pristine_bytes)))
    reason = "no exam" if coded.size == 0 else "an exam without bytes" if np.isnan(coded).any() else ""
    each, kept = seconds(link, coded), seconds(link, coded, fresh=False)
    if reason:
        return LinkCost(str(link), coded.size, math.nan, math.nan, math.nan, math.nan, pristine, reason)
    mean, median, p95 = float(np.mean(each)), float(np.median(each)), float(np.percentile(each, 95))
    return LinkCost(str(link), coded.size, mean, median, p95, 3600 / float(np.mean(kept)), pristine)


def knee_bytes(link: Link, *, share: float = 0.5, fresh: bool = True) -> float:
    """Bytes up to which at most ``share`` of an exam's seconds depend on its bytes at all.

    The default is Hockney's half-performance length: below it, the link's fixed part is the larger one and
    stronger compression buys little. At ``share=0.1`` even an exam of no bytes would save a tenth at most.

    Parameters
    ----------
    link : Link
        The line.
    share : float
        In (0, 1).
    fresh : bool
        As for :func:`seconds`.

    Returns
    -------
    float
        Whole bytes.

    Raises
    ------
    UsageError
        If ``share`` is outside (0, 1).

    References
    ----------
    Hockney 1982, Comput Phys Commun 26:285, doi 10.1016/0010-4655(82)90118-5.

    Examples
    --------
    >>> knee_bytes(LINKS["gprs"]), knee_bytes(LINKS["gprs"], share=0.1)
    (15291.0, 1699.0)
    """
    if not 0 < share < 1:
        raise UsageError(f"share: expected a number between 0 and 1, got {share:g}")
    limit = float(seconds(link, 0, fresh=fresh)) / (1 - share)
    low, high = 0, 1
    while float(seconds(link, high, fresh=fresh)) <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if float(seconds(link, middle, fresh=fresh)) <= limit else (low, middle)
    return float(low)


def _stalls(link: Link, sent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wait of slow start, seconds, for each number of bytes."""
    byte_s = 8 / link.payload_bps
    window, passed = float(WINDOW_BYTES), float(WINDOW_BYTES)
    total = np.zeros_like(sent)
    while (stall := link.rtt_s + (SEGMENT_BYTES - window) * byte_s) > 0:
        total += np.where(sent > passed, stall, 0.0)
        window *= 2
        passed += window
    return total


def _figure(text: str, key: str, number: str) -> float:
    """Read one figure with its unit; the range is the link's to check."""
    unit = {"rtt": "(ms|s)", "loss": "(%)?", "overhead": "()"}.get(key, "([kMG])?")
    match = re.fullmatch(_NUMBER + unit, number)
    if match is None:
        raise UsageError(f"link {text!r}: {key}: expected {_RANGES[key][2]}, got {number!r}")
    value = float(match[1]) / {"ms": 1000, "%": 100}.get(match[2] or "", 1) * _UNITS.get(match[2] or "", 1)
    low, high, expected = _RANGES[key]
    if not (low <= value <= high):
        raise UsageError(f"link {text!r}: {key}: expected {expected}, got {number!r}")
    return value


def _exact(value: float, scale: float, unit: str) -> str:
    """Write ``value`` in a smaller unit if it reads back to itself; otherwise nothing."""
    text = f"{value * scale:.12g}"
    return f"{text}{unit}" if float(text) / scale == value else ""


def _scaled(rate_bps: float) -> str:
    """Write a rate in the largest unit in which it reads back to itself."""
    for unit, scale in reversed(_UNITS.items()):
        text = f"{rate_bps / scale:.12g}"
        if rate_bps >= scale and float(text) * scale == rate_bps:
            return f"{text}{unit}"
    return repr(float(rate_bps))


_KZN = "rates measured in rural KwaZulu-Natal, doi 10.1089/tmj.2014.0079"
LINKS = {
    link.name: link
    for link in (
        Link(44e3, 64e3, 0.75, name="gprs", source=f"{_KZN}; RTT: as high as that at times"),
        Link(59e3, 59e3, 0.75, name="edge", source="nominal rate up; assumed: down as up, RTT as gprs"),
        Link(331e3, 446e3, 0.2, name="3g", source=f"{_KZN}; assumed: RTT"),
        Link(512e3, 512e3, 0.48, name="vsat", source="RTT: least of a geostationary orbit; assumed: rates"),
        Link(
            7e6,
            7e6,
            0.06,
            name="starlink",
            source="Africa: 7-15 Mbit/s up, its low end, 55-65 ms; assumed: down as up",
        ),
    )
}
"""The links that have a name."""

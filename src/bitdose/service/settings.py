"""Settings of a service: TOML file, overridden by ``BITDOSE_*`` variables, then by the command line."""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bitdose.errors import UsageError, argument

PREFIX = "BITDOSE_"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_RANGES = {
    "session_hours": (0.01, 720),
    "retention_days": (0, 36_500),
    "max_upload_bytes": (1, 1 << 40),
    "sentinel_share": (0, 1),
    "sentinel_alpha": (1e-6, 0.5),
    "workers": (0, 256),
    "batch_seconds": (0, 60),
    "batch_size": (1, 4096),
    "keep_alive_seconds": (1, 3600),
}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Parameters
    ----------
    data : pathlib.Path
        Folder of the default database and the default store.
    database, storage : str
        URLs; empty takes SQLite and a folder in ``data``.
    model, weights : str
        Classifier, as ``bitdose study`` takes it.
    profile : str
        Profile file; it is added and activated at the first start that sees it.
    trust : tuple of str
        Public keys that may sign profiles; empty lets any signer pass with a warning.
    public_url : str
        Public address of the service; ``https`` turns on secure cookies and HSTS.
    hosts : tuple of str
        Further host names, beside that of ``public_url``.
    session_hours : float
        Lifetime of a login.
    retention_days : float
        Retention of exams in days; 0 keeps them.
    max_upload_bytes : int
        Largest payload.
    sentinel_share : float
        Share of exams whose pristine image is requested as well, 0 to 1.
    sentinel_alpha : float
        One-sided error of the sentinel's alarm.
    workers : int
        Number of classifier processes or actors; 0 if they run elsewhere.
    workers_on : str
        ``processes`` of this machine, ``ray`` started on it, or ``ray:ADDRESS`` of a running cluster.
    batch_seconds, batch_size : float, int
        Waiting time and size of a worker's batch.
    trusted_proxies : tuple of str
        Addresses or networks whose ``X-Forwarded-*`` headers are trusted.
    keep_alive_seconds : float
        Keep-alive of an idle connection, to save a clinic's next TCP and TLS handshake.
    docs : bool
        Whether to publish the OpenAPI schema.

    Raises
    ------
    UsageError
        If a value is invalid.

    Examples
    --------
    >>> Settings(public_url="https://reads.example.org").secure_cookies
    True
    """

    data: Path = Path("bitdose-data")
    database: str = ""
    storage: str = ""
    model: str = ""
    weights: str = ""
    profile: str = ""
    trust: tuple[str, ...] = ()
    public_url: str = "http://127.0.0.1:8000"
    hosts: tuple[str, ...] = ()
    session_hours: float = 12.0
    retention_days: float = 0.0
    max_upload_bytes: int = 256_000_000
    sentinel_share: float = 0.0
    sentinel_alpha: float = 0.05
    workers: int = 1
    workers_on: str = "processes"
    batch_seconds: float = 0.05
    batch_size: int = 16
    trusted_proxies: tuple[str, ...] = ()
    keep_alive_seconds: float = 600.0
    docs: bool = False

    def __post_init__(self) -> None:
        """Validate every field."""
        url = urlsplit(self.public_url)
        _expect(
            url.scheme in ("http", "https") and url.hostname, "public_url", "http(s)://HOST", self.public_url
        )
        _expect(url.path in ("", "/"), "public_url", "no path: the service is at the root", self.public_url)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            _expect(low <= value <= high, name, f"{low:g} to {high:g}", value)
        _expect(
            self.workers_on in ("processes", "ray") or (self.ray_address or "").strip(),
            "workers_on",
            "processes, ray or ray:ADDRESS",
            self.workers_on,
        )
        for proxy in self.trusted_proxies:
            _expect(_is_network(proxy), "trusted_proxies", "addresses or networks, not '*'", proxy)

    @property
    def database_url(self) -> str:
        """URL of the database."""
        return self.database or f"sqlite:///{(self.data / 'bitdose.sqlite').as_posix()}"

    @property
    def storage_url(self) -> str:
        """URL or folder of the blob store."""
        return self.storage or str(self.data / "blobs")

    @property
    def ray_address(self) -> str | None:
        """Address of the workers' Ray cluster: empty to start one here, None for no Ray."""
        name, _, address = self.workers_on.partition(":")
        return address if name == "ray" else None

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers use HTTPS only."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Allowed names in a request's ``Host``; a local service allows all names of this machine."""
        own = urlsplit(self.public_url).hostname or ""
        local = LOOPBACK if own in LOOPBACK else ()
        return frozenset(name.lower() for name in (own, *local, *self.hosts))


def load_settings(
    path: Path | None = None, *, environ: Mapping[str, str] | None = None, **options: Any
) -> Settings:
    """Merge the settings; later sources take precedence.

    Parameters
    ----------
    path : pathlib.Path, optional
        TOML file of these keys at its top level.
    environ : mapping, optional
        ``BITDOSE_DATABASE`` and so on; lists have commas.
    options
        Options of the command line; None if not given.

    Raises
    ------
    UsageError
        If a source cannot be read, has an unknown key, or a value is not of its kind.

    Examples
    --------
    >>> load_settings(environ={"BITDOSE_WORKERS": "3"}, batch_size=8).workers
    3
    """
    values = _from_file(path) if path else {}
    given = {key: text for key, text in (environ or {}).items() if key.startswith(PREFIX)}
    names = {PREFIX + field.name.upper(): field.name for field in dataclasses.fields(Settings)}
    values |= {names[key]: text for key, text in given.items() if key in names}
    values |= {name: value for name, value in options.items() if value is not None}
    return Settings(**{name: _kind(name, value) for name, value in values.items()})


def _from_file(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{argument('config')} {str(path)!r}: {error}") from error
    known = [field.name for field in dataclasses.fields(Settings)]
    if unknown := sorted(found.keys() - set(known)):
        raise UsageError(
            f"{argument('config')}: unknown key {unknown[0]!r}; expected some of: {', '.join(known)}"
        )
    return found


def _kind(name: str, value: Any) -> Any:
    """Convert a value to the type of its field, from TOML, options or a variable's text."""
    default = next(field.default for field in dataclasses.fields(Settings) if field.name == name)
    if isinstance(default, bool):
        return _boolean(name, value)
    if isinstance(default, tuple):
        many = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
        return tuple(str(part) for part in many if part)
    if isinstance(default, int | float):
        return _number(name, value, type(default))
    return Path(value) if isinstance(default, Path) else str(value)


def _number(name: str, value: Any, kind: type[int | float]) -> float:
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{name}: expected a number, got {value!r}") from error


def _boolean(name: str, value: Any) -> bool:
    word = str(value).lower()
    _expect(word in _TRUE + _FALSE, name, "true or false", value)
    return word in _TRUE


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _expect(holds: object, name: str, expected: str, value: object) -> None:
    if not holds:
        raise UsageError(f"{name}: expected {expected}, got {value!r}")

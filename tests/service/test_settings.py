"""Settings: three sources, checked ranges, and what follows from the public address."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitdose.errors import UsageError
from bitdose.service.settings import Settings, load_settings


def test_options_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    """The command line is heard last, the file first, and None is not given."""
    file = tmp_path / "service.toml"
    file.write_text('workers = 2\nbatch_size = 3\nretention_days = 9\nhosts = ["a.example"]\n')
    environ = {
        "BITDOSE_BATCH_SIZE": "4",
        "BITDOSE_RETENTION_DAYS": "8.5",
        "BITDOSE_KEY": "not of the service",
    }
    found = load_settings(file, environ=environ, retention_days=7.0, workers=None)
    assert (found.workers, found.batch_size, found.retention_days) == (2, 4, 7.0)
    assert found.hosts == ("a.example",)


def test_variables_are_text_of_every_kind() -> None:
    """A variable's text becomes a number, a path, a list or a truth as its setting needs it."""
    environ = {
        "BITDOSE_DATA": "/srv/exams",
        "BITDOSE_DOCS": "yes",
        "BITDOSE_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "BITDOSE_SENTINEL_SHARE": "0.25",
    }
    found = load_settings(environ=environ)
    assert (found.data, found.docs, found.sentinel_share) == (Path("/srv/exams"), True, 0.25)
    assert found.trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"sentinel_share": 1.5}, "sentinel_share"),
        ({"sentinel_share": float("nan")}, "sentinel_share"),
        ({"workers": -1}, "workers"),
        ({"workers": "many"}, "workers"),
        ({"batch_size": 0}, "batch_size"),
        ({"docs": "perhaps"}, "docs"),
        ({"public_url": "ftp://x"}, "public_url"),
        ({"public_url": "https://x/below"}, "public_url"),
        ({"trusted_proxies": "*"}, "trusted_proxies"),
        ({"max_upload_bytes": 0}, "max_upload_bytes"),
    ],
)
def test_a_value_out_of_range_is_named(values: dict[str, object], name: str) -> None:
    """The error begins with the setting's name."""
    with pytest.raises(UsageError, match=rf"^{name}: expected"):
        load_settings(**values)


def test_a_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """A misspelt key is an error, not silence."""
    (tmp_path / "s.toml").write_text("retention = 3\n")
    with pytest.raises(UsageError, match="unknown key 'retention'"):
        load_settings(tmp_path / "s.toml")
    with pytest.raises(UsageError, match="^config"):
        load_settings(tmp_path / "absent.toml")


def test_https_makes_cookies_secure_and_names_the_host() -> None:
    """The public address alone says whether cookies are secure and which host names are ours."""
    public = Settings(public_url="https://Reads.example.org:8443", hosts=("inside.example",))
    assert public.secure_cookies
    assert public.allowed_hosts == {"reads.example.org", "inside.example"}
    assert not Settings().secure_cookies
    assert Settings().allowed_hosts == {"localhost", "127.0.0.1", "::1"}

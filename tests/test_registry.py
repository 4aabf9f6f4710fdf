"""What the one registry promises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bitdose.errors import MissingBackendError, UsageError
from bitdose.registry import Registry

GROUP = "bitdose.tests"
BUILTIN = {
    "json": "json:dumps",
    "path": "pathlib:Path",
    "broken": "no_such_module:Thing",
    "gone": "json:gone",
}

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Give a function that installs a distribution with the entry points given."""

    def _install(lines: str) -> None:
        info = tmp_path / "third_party-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")
        (tmp_path / "third_party_thing.py").write_text("def thing():\n    return 'mine'\n")
        monkeypatch.syspath_prepend(tmp_path)

    return _install


def _registry() -> Registry[Callable[..., object]]:
    return Registry("thing", GROUP, BUILTIN)


def test_a_name_gives_the_object_behind_it() -> None:
    """The very object, imported when asked for."""
    assert _registry().get("path") is Path


def test_targets_are_imported_at_first_use_only(install: Install) -> None:
    """Making a registry and listing its names import nothing."""
    install("thing = third_party_thing:thing")
    sys.modules.pop("third_party_thing", None)
    registry = _registry()
    assert registry.names() == ["json", "path", "broken", "gone", "thing"]
    assert "third_party_thing" not in sys.modules
    assert registry.get("thing")() == "mine"


def test_an_installed_package_adds_names_and_replaces_none(install: Install) -> None:
    """Entry points come behind the built-ins; a built-in name keeps its meaning."""
    install("thing = third_party_thing:thing\njson = third_party_thing:thing")
    registry = _registry()
    assert registry.targets["thing"] == "third_party_thing:thing"
    assert registry.targets["json"] == "json:dumps"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("jsn", "unknown thing 'jsn': did you mean 'json'? known: json, path, broken, gone"),
        ("xyzzy", "unknown thing 'xyzzy': known: json, path, broken, gone"),
        ("", "unknown thing '': known: json, path, broken, gone"),
    ],
)
def test_an_unknown_name_is_a_usage_error_with_neighbours(name: str, says: str) -> None:
    """The error says what is unknown, what is near, and what is known; never None."""
    with pytest.raises(UsageError) as caught:
        _registry().get(name)
    assert str(caught.value) == says
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "upstream"), [("broken", "no_such_module"), ("gone", "gone")])
def test_what_does_not_load_stays_listed_and_says_why(name: str, upstream: str) -> None:
    """A missing module or object is a missing backend with the upstream error, not an absence."""
    registry = _registry()
    assert name in registry.names()
    with pytest.raises(
        MissingBackendError, match=rf"thing '{name}' .* does not load: .*{upstream}"
    ) as caught:
        registry.get(name)
    assert caught.value.__cause__ is not None

"""One registry for all that can be plugged in: lazy targets, entry points, did-you-mean."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from bitdose.errors import MissingBackendError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and the objects behind them, imported at first use.

    Built-in targets are an explicit table; installed packages add theirs through one
    entry-point group. A built-in name cannot be replaced from outside.

    Parameters
    ----------
    noun : str
        What the entries are, in the singular, for error messages (``codec``).
    group : str
        The entry-point group, such as ``bitdose.codecs``.
    targets : mapping of str to str
        Name to ``"module:Name"``.

    Examples
    --------
    >>> kernels = Registry("colour", "bitdose.doctest", {"json": "json:dumps"})
    >>> kernels.names()
    ['json']
    >>> kernels.get("jsn")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: unknown colour 'jsn': did you mean 'json'? known: json
    """

    def __init__(self, noun: str, group: str, targets: Mapping[str, str]) -> None:
        self.noun = noun
        self.group = group
        self._builtin = dict(targets)

    @cached_property
    def targets(self) -> dict[str, str]:
        """Every known name and its target, built-ins first."""
        installed = {entry.name: entry.value for entry in entry_points(group=self.group)}
        return self._builtin | {k: v for k, v in installed.items() if k not in self._builtin}

    def names(self) -> list[str]:
        """Return the known names, built-ins first."""
        return list(self.targets)

    def get(self, name: str) -> T:
        """Import and return the object registered under ``name``.

        Raises
        ------
        UsageError
            If no such name is known; the message offers neighbours.
        MissingBackendError
            If its module cannot be imported; the message holds the upstream error.
        """
        target = self.targets.get(name)
        if target is None:
            raise UsageError(self._unknown(name))
        module, _, attribute = target.partition(":")
        try:
            return cast("T", getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            message = f"{self.noun} {name!r} ({target}) does not load: {error}"
            raise MissingBackendError(message) from error

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.targets, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown {self.noun} {name!r}: {hint}known: {', '.join(self.targets)}"

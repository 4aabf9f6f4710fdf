"""The names at the top of ``bitdose``, each loaded at first use.

The packages ``study``, ``search`` and ``compress`` are functions too, as in ``bitdose.study(...)``. Python
binds a package to its parent's attribute when it is first imported, so the package itself is made callable.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature

NAMES = {
    "BitdoseError": "bitdose.errors:BitdoseError",
    "CaseError": "bitdose.errors:CaseError",
    "Classifier": "bitdose.models.base:CallableClassifier",
    "Image": "bitdose.image:Image",
    "InputSpec": "bitdose.models.base:InputSpec",
    "Link": "bitdose.links:Link",
    "Point": "bitdose.codecs.point:Point",
    "Profile": "bitdose.profile.document:Profile",
    "Rule": "bitdose.rule.rule:Rule",
    "Run": "bitdose.run:Run",
    "UsageError": "bitdose.errors:UsageError",
    "load_results": "bitdose.api:load_results",
    "open_image": "bitdose.data.read:open_image",
    "open_run": "bitdose.api:open_run",
}
CALLS = {
    "compress": "bitdose.api:compress",
    "search": "bitdose.api:search",
    "study": "bitdose.api:study",
}


def open_door(package: str) -> None:
    """Give a package the names of :data:`NAMES` and :data:`CALLS`."""
    sys.modules[package].__class__ = Door


class Door(ModuleType):
    """The package: looks its names up at first use, and makes the packages of :data:`CALLS` callable."""

    def __getattr__(self, name: str) -> Any:
        """Load a name."""
        if name in CALLS:
            return import_module(f"{self.__name__}.{name}")
        if name not in NAMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _load(NAMES[name])

    def __setattr__(self, name: str, value: Any) -> None:
        """Bind a name, as importing a package does to its parent."""
        if name in CALLS and isinstance(value, ModuleType):
            value.__class__ = CallablePackage
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """List what is there and what can be loaded."""
        return sorted({*super().__dir__(), *NAMES, *CALLS})


class CallablePackage(ModuleType):
    """A package that is called as the function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function of the package's name."""
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        """The function's, so that editors and ``help`` show its arguments."""
        from inspect import signature

        return signature(self._function)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """The function's."""
        return self._function.__doc__  # type: ignore[no-any-return]

    @property
    def _function(self) -> Any:
        return _load(CALLS[self.__name__.rpartition(".")[2]])


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)

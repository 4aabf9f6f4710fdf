"""Commands that are imported when they run: help and completion of the root need their first lines only."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class LazyCommand(NamedTuple):
    """A command's name, where its function or Typer app is (``module:name``), and its help's first line."""

    name: str
    target: str
    about: str


class LazyGroup(TyperGroup):
    """A group that holds a stand-in for each of its lazy commands until one is called.

    Without it every start of the program would import all commands; ``bitdose --help`` takes half the time.
    """

    lazy: tuple[LazyCommand, ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._waiting = {one.name: one for one in self.lazy}
        for one in self.lazy:
            self.commands[one.name] = TyperCommand(one.name, help=one.about)

    def load(self, names: Iterable[str]) -> None:
        """Put the commands themselves in their stand-ins' places; other names are left alone."""
        for name in names:
            if one := self._waiting.pop(name, None):
                self.commands[name] = _command(one)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is called, or completed."""
        self.load(args[:1])
        return super().resolve_command(ctx, args)


def _command(one: LazyCommand) -> Any:
    module, _, name = one.target.partition(":")
    found = getattr(import_module(module), name)
    around = typer.Typer(rich_markup_mode=None)
    around.callback()(lambda: None)  # makes it a group, also of one command
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=one.name)
    else:
        around.command(one.name)(found)
    group = get_command(around)
    return group.commands[one.name]  # type: ignore[attr-defined]

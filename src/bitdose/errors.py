"""The exceptions of BitDose: one root, translated only at the edges.

The command line turns a :class:`BitdoseError` into one line on stderr and its
``exit_code``; the study turns a :class:`CaseError` into failed rows and goes on.

A message names arguments with :func:`argument` and commands with :func:`command`, so
that each reader meets the spelling that works for him: ``str(error)`` says
``max_failures=0.1`` where the command line shows ``--max-failures 0.1``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

# Three of the codes that Unicode keeps for use inside a program: no path and no label has them.
_START, _OR, _END = "\ufdd0", "\ufdd1", "\ufdd2"
_NAMED = re.compile(f"{_START}(.*?){_OR}(.*?){_OR}(.*?){_END}", re.DOTALL)
_NO_FLAGS: Mapping[str, str] = MappingProxyType({})


def argument(name: str, value: object = None) -> str:
    """Name an argument in the message of a :class:`BitdoseError`.

    Parameters
    ----------
    name : str
        The keyword in Python, such as ``max_failures``.
    value : object, optional
        What it is or should be set to; on the command line ``True`` is the bare flag.

    Returns
    -------
    str
        Text to put into the message; ``str(error)`` and :meth:`BitdoseError.for_command_line` spell it out.

    Examples
    --------
    >>> error = UsageError(f"the folder holds results; add {argument('resume', value=True)}")
    >>> str(error)
    'the folder holds results; add resume=True'
    >>> error.for_command_line()
    'the folder holds results; add --resume'
    """
    if value is None:
        return f"{_START}{name}{_OR}{name}{_OR}{_END}"
    if value is True:
        return f"{_START}{name}=True{_OR}{name}{_OR}{_END}"
    shown = repr(str(value)) if isinstance(value, Path) else repr(value)
    return f"{_START}{name}={shown}{_OR}{name}{_OR} {_typed(value)}{_END}"


def _typed(value: object) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, Mapping):
        return shlex.quote(",".join(f"{key}={label}" for key, label in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def command(line: str, *, python: str) -> str:
    """Name a command in the message of a :class:`BitdoseError`, and what does the same in Python.

    Parameters
    ----------
    line : str
        What follows ``bitdose``.
    python : str
        The call.

    Returns
    -------
    str
        Text to put into the message.

    Examples
    --------
    >>> error = BitdoseError(f"3 cases failed; {command('report', python='run.report()')} lists the reasons")
    >>> str(error)
    '3 cases failed; run.report() lists the reasons'
    >>> error.for_command_line()
    "3 cases failed; 'bitdose report' lists the reasons"
    """
    return f"{_START}{python}{_OR}{_OR}'bitdose {line}'{_END}"


class BitdoseError(Exception):
    """Root of every error that BitDose raises on purpose.

    The message is one line for a person: which argument, what was expected, what
    came, what to do. ``exit_code`` is 1 where the work failed and 2 where the call
    was wrong.

    Parameters
    ----------
    message : str
        May hold what :func:`argument` and :func:`command` return.
    *details : object
        Kept in ``args`` after the message.

    Attributes
    ----------
    message : str
        As it was given, to be put into the message of another error.
    """

    exit_code = 1

    def __init__(self, message: str = "", *details: Any) -> None:
        super().__init__(_NAMED.sub(r"\1", message), *details)
        self.message = message  # pickled with the instance, so it crosses processes

    def for_command_line(self, flags: Mapping[str, str] = _NO_FLAGS) -> str:
        """Return the message with flags and commands in place of keywords and calls.

        Parameters
        ----------
        flags : mapping of str to str
            How to write the arguments that are not ``--`` and the keyword with hyphens.
        """

        def spelled(found: re.Match[str]) -> str:
            name, rest = found[2], found[3]
            return (flags.get(name) or f"--{name.replace('_', '-')}") + rest if name else rest

        return _NAMED.sub(spelled, self.message)


class UsageError(BitdoseError):
    """The call was wrong: an argument, an option, a spec."""

    exit_code = 2


class MissingBackendError(BitdoseError):
    """An optional library is absent; the message holds the install command."""


class CaseError(BitdoseError):
    """One case cannot be read, coded or classified; the study goes on without it.

    Parameters
    ----------
    status : str
        Short machine-readable word for the ``status`` column, such as ``unreadable``.
    reason : str
        One line for a person, without patient data; it is written into files, so it names no argument.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type[CaseError], tuple[str, str]]:
        """Keep status and reason when the error crosses a process."""
        return type(self), (self.status, self.reason)

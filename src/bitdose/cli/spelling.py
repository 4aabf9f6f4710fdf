"""How the command line writes what Python calls otherwise, in the messages of errors."""

from __future__ import annotations

from bitdose.errors import BitdoseError

# Keywords that are neither ``--`` and the keyword with hyphens nor the bare flag.
_FLAGS = {
    "callers": "--caller",
    "margins": "--margin",
    "places": "FILES",
    "title": "--aet",
    "url": "--server",
}
_OF_COMMAND = {"compress": {"source": "IN", "out": "OUT"}}


def spelled(error: BitdoseError, *, command: str = "") -> str:
    """Return the message of an error with flags in place of keywords, as the command takes them."""
    return error.for_command_line(_FLAGS | _OF_COMMAND.get(command, {}))

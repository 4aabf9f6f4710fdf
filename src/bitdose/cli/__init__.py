"""The command line: one file per noun, heavy imports inside the commands."""

from bitdose.cli.app import main

__all__ = ["main"]

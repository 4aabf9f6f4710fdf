"""The root command, and the edge where errors become one line and an exit code."""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from bitdose.cli.commands import Commands
from bitdose.cli.spelling import spelled
from bitdose.errors import BitdoseError, UsageError
from bitdose.html_card import DISCLAIMER

ABOUT = (
    "How few bits can a diagnosis survive on? Measures what image compression does to a "
    f"classifier's predictions. {DISCLAIMER}"
)
_CLICK_ERROR = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_LOG = logging.getLogger("bitdose")
_INTERRUPTED = 130  # what click makes of Ctrl-C
_DEBUG = "BITDOSE_DEBUG"
_PLAIN = "bitdose.plain"
_ASCII_SIGNS = {
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    "×": "x",
    "≤": "<=",
    "≥": ">=",
    "±": "+/-",
    "…": "...",
}


app = typer.Typer(
    name="bitdose",
    cls=Commands,
    help=ABOUT,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from bitdose import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001  its callback acts
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
    ),
    verbose: bool = typer.Option(
        False, "--verbose", "-v", help="Say on stderr what is decided and how long it takes; tracebacks too."
    ),
) -> None:
    """Handle the options of the root command; its help is set above."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    if verbose:
        _say_more()


def _say_more() -> None:
    """Show the library's log with milliseconds since the start; it never names a patient."""
    _LOG.handlers[-1:] = [_stderr_handler("%(relativeCreated)7d ms  %(name)s: %(message)s")]
    _LOG.setLevel(logging.DEBUG)


def _stderr_handler(line: str) -> logging.Handler:
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter(line))
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with code 0, 1 (the work failed) or 2 (the call was wrong)."""
    _let_any_terminal_read()
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; errors are one line on stderr."""
    level, handlers = _LOG.level, list(_LOG.handlers)
    _LOG.addHandler(_stderr_handler("bitdose: %(message)s"))
    try:
        return _run(arguments)
    finally:
        _LOG.setLevel(level)
        _LOG.handlers[:] = handlers


def _run(arguments: list[str]) -> int:
    try:
        _check_text(arguments)
        code = app(arguments, prog_name="bitdose", standalone_mode=False)
    except BitdoseError as error:
        return _fail(spelled(error, command=(*arguments, "")[0]), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader closed the pipe: nothing to print or flush
        return 1
    except Exception as error:
        if isinstance(error, _CLICK_ERROR):
            message = error.format_message()  # type: ignore[attr-defined]
            # The bare command has already printed its help.
            return _fail(f"{message} (see 'bitdose --help')", 2) if message else 2
        if _LOG.isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        if os.environ.get(_DEBUG) == "1":
            raise
        return _fail(_unexpected(error), 1)
    return _fail("interrupted", 1) if code == _INTERRUPTED else code if isinstance(code, int) else 0


def _check_text(arguments: list[str]) -> None:
    """Reject non-UTF-8 arguments: neither Parquet nor a study file can store such a path."""
    for argument in arguments:
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            raise UsageError(f"argument {argument!a}: expected UTF-8; rename the file or folder")


def _unexpected(error: Exception) -> str:
    """Describe an unexpected error without its own text, which may contain paths or ids."""
    modules = [
        str(frame.f_globals.get("__name__", "?")) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    ours = [name for name in modules if name.partition(".")[0] == "bitdose"]
    where = f"{type(error).__name__} in {(ours or modules)[-1]}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({where}; set {_DEBUG}=1 for the traceback)"
    return f"internal error: {where} (please report it; set {_DEBUG}=1 for the traceback)"


def _let_any_terminal_read() -> None:
    """Replace characters that the output encoding lacks, such as the minus in cp1252."""
    codecs.register_error(_PLAIN, _plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAIN)


def _plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ASCII_SIGNS.get(sign, "?") for sign in text), error.end


def _fail(message: str, code: int) -> int:
    print("bitdose: " + " ".join(message.split()), file=sys.stderr)
    return code

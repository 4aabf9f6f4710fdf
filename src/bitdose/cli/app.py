"""The root command, and the edge where errors become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from bitdose.cli import demo, lists, report, study
from bitdose.errors import BitdoseError

ABOUT = (
    "How few bits can a diagnosis survive on? Measures what image compression does to a "
    "classifier's answers. Research use only, not a medical device."
)
_CLICK_ERROR = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="bitdose",
    help=ABOUT,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("study")(study.study)
app.command("report")(report.report)
app.command("codecs")(lists.codecs)
app.command("points")(lists.points)
app.command("models")(lists.models)


def _show_version(value: bool) -> None:
    if value:
        from bitdose import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Take the options of the root command; its help is set above."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with exit code 0, 1 (the work failed) or 2 (the call was wrong)."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; errors are one line on stderr."""
    try:
        code = app(arguments, prog_name="bitdose", standalone_mode=False)
    except BitdoseError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away: nothing more to say, nor to flush
        return 1
    except Exception as error:
        if not isinstance(error, _CLICK_ERROR):
            raise
        message = error.format_message()  # type: ignore[attr-defined]
        if not message:  # the bare command has printed its help
            return 2
        return _fail(f"{message} (see 'bitdose --help')", 2)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print("bitdose: " + " ".join(message.split()), file=sys.stderr)
    return code

"""``bitdose compress``: a point or a profile applied to a file, a folder or a DICOM series."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.html_card import DISCLAIMER

if TYPE_CHECKING:
    from bitdose.compress.run import CompressOutcome
    from bitdose.errors import CaseError

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def compress(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="An image or DICOM file, or a folder of them.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New file, or folder that mirrors IN.")],
    point: Annotated[str | None, typer.Option(help="Operating point: jpeg:q30, jpeg2000:20x@256, …")] = None,
    profile: Annotated[Path | None, typer.Option(help="Profile: its point, within its limits.")] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="Only accept profiles signed by this public key; repeatable.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing files.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep existing files; write the others.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compress images at a point: rasters become streams, DICOM becomes DICOM with the lossy attributes.

    Example: bitdose compress series coded --point jpeg2000:20x
    """
    from bitdose.api import compress as compress_all

    outcome = compress_all(
        source,
        out,
        point=point,
        profile=profile,
        trust=trust or (),
        overwrite=overwrite,
        resume=resume,
        on_failure=_say_failure,
        on_warning=_say_warning,
        progress=_progress,
    )
    answer = {"point": str(outcome.point), "files": outcome.n_files, **outcome.to_dict()}
    typer.echo(json.dumps(answer, indent=2) if as_json else "\n".join(_lines(outcome, out)))
    if outcome.failures:
        raise typer.Exit(1)


def _say_warning(text: str) -> None:
    typer.echo(f"bitdose: {text}", err=True)


def _say_failure(name: str, error: CaseError) -> None:
    typer.echo("bitdose: " + " ".join(f"{name}: {error}".split()), err=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on stderr if it is a terminal; yield its callback, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task: Any = bar.add_task("files", total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(outcome: CompressOutcome, out: Path) -> list[str]:
    kept = f", {outcome.kept} kept" if outcome.kept else ""
    failed = f", {len(outcome.failures)} failed" if outcome.failures else ""
    noun = "file" if outcome.written == 1 else "files"
    lines = [f"{outcome.written} {noun} at {outcome.point} in {out}{kept}{failed}"]
    if outcome.written:
        lines.append(
            f"{_size(outcome.bytes_file)} became {_size(outcome.bytes_written)}; streams: "
            f"{outcome.ratio_file:.1f}:1 of the files, {outcome.ratio_pixels:.1f}:1 of the raw pixels"
        )
    return [*lines, DISCLAIMER]


def _size(n_bytes: int) -> str:
    for unit, size in _UNITS:
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"

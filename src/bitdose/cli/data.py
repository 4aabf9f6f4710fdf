"""``bitdose data make|check|get``: public sets, arranged, verified, fetched."""

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
    from bitdose.datasets.arrange import Arranged
    from bitdose.datasets.get import Fetched
    from bitdose.datasets.manifest import Manifest

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option(help="Where cases.csv goes. [default: a folder of the set's name]")]
Seed = Annotated[int, typer.Option(help="Seed of the choice of held-out patients.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a different existing cases.csv.")]

app = typer.Typer(rich_markup_mode=None)
make_app = typer.Typer(rich_markup_mode=None)
app.add_typer(make_app, name="make")


@app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """Public image sets: download, arrange like the paper, check."""
    _help_alone(context)


@make_app.callback(invoke_without_command=True)
def make(context: typer.Context) -> None:
    """Arrange downloads like the paper: write a table for a study, without copying images."""
    _help_alone(context)


@make_app.command("covidx")
def make_covidx(
    covid: Annotated[Path, typer.Option(help="Clone of ieee8023/covid-chestxray-dataset.")],
    rsna: Annotated[Path, typer.Option(help="RSNA Pneumonia Detection Challenge, stage 2, unzipped.")],
    out: Out = None,
    rsna_map: Annotated[
        Path | None,
        typer.Option(help="RSNA's JSON of mappings to NIH patients: keeps a person in one split."),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Arrange the paper's X-ray set: normal, pneumonia, covid-19; 10 % of patients held out.

    Example: bitdose data make covidx --covid covid-chestxray-dataset --rsna rsna
    """
    from bitdose.datasets.covidx import make_covidx as arrange

    with _bar("images") as watch:
        made = arrange(covid, rsna, rsna_map=rsna_map, seed=seed, watch=watch)
    _write(made, out or Path("covidx"), force=force, as_json=as_json)


@make_app.command("brain")
def make_brain(
    ixi: Annotated[Path, typer.Option(help="Folder of IXI's T1 volumes.")],
    brats: Annotated[Path, typer.Option(help="Training data of BraTS 2019, unzipped.")],
    out: Out = None,
    healthy: Annotated[str, typer.Option(help="Number of IXI volumes, or 'all'.")] = "259",
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Arrange the paper's brain set: healthy, LGG, HGG; 30 % of patients held out.

    Example: bitdose data make brain --ixi IXI-T1 --brats MICCAI_BraTS_2019_Data_Training
    """
    from bitdose.datasets.brain import make_brain as arrange

    number = _healthy(healthy)
    with _bar("volumes") as watch:
        made = arrange(ixi, brats, healthy=number, seed=seed, watch=watch)
    _write(made, out or Path("brain"), force=force, as_json=as_json)


@app.command("check")
def check(
    data: Annotated[Path, typer.Argument(help="Folder or table, as for a study.")],
    as_set: Annotated[
        str | None, typer.Option("--as", help="covidx or brain. [default: from provenance.json]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only check that files exist.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare a set with the paper's counts; exit code 1 if there are problems.

    Example: bitdose data check covidx
    """
    from bitdose.datasets.check import check_set
    from bitdose.datasets.text import check_lines

    with _bar("files") as watch:
        found = check_set(data, name=as_set, quick=quick, watch=watch)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else "\n".join(check_lines(found)))
    if found.problems:
        raise typer.Exit(1)


@app.command("get")
def get(
    name: Annotated[
        str | None, typer.Argument(help="Name, or path or URL of a manifest. [default: list the names]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. [default: the set's name]")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without a prompt.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the names and exit.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="Retries per file.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Timeout of a silent server, in seconds.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Download a set: shows the licence, verifies each file's SHA-256, resumes.

    Example: bitdose data get cxr-public --out cxr
    """
    from bitdose.datasets.catalogue import find_manifest
    from bitdose.datasets.get import get_set
    from bitdose.datasets.web import How

    if name is None or show:
        _list_sets(as_json)
        return
    how = How(retries=retries, timeout_s=timeout)
    manifest = find_manifest(name, how=how)
    folder = out or Path(manifest.name)
    _agree(manifest, folder, yes=yes)
    try:
        with _bytes_bar(manifest.n_bytes) as gained:
            done = get_set(manifest, folder, how=how, watch=gained)
    except KeyboardInterrupt:
        typer.echo(
            "bitdose: interrupted; received bytes are retained: run the same command to resume", err=True
        )
        raise typer.Exit(1) from None
    _print_fetched(done, manifest, folder, as_json=as_json)
    if done.failures:
        raise typer.Exit(1)


def _help_alone(context: typer.Context) -> None:
    """Print the help of a group without a command, like the root."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def _write(made: Arranged, out: Path, *, force: bool, as_json: bool) -> None:
    from bitdose.datasets.arrange import write_arranged
    from bitdose.datasets.paper import PAPER, absent_labels
    from bitdose.datasets.text import arranged_lines
    from bitdose.errors import BitdoseError

    table = write_arranged(made, out, force=force)
    if as_json:
        result = {"table": str(table), "counts": made.counts(), "dropped": dict(made.dropped)}
        typer.echo(json.dumps(result | {"warnings": list(made.warnings)}, indent=2))
    else:
        paper = PAPER[made.name]
        for line in arranged_lines(made, {"stated": paper.splits, "inferred": paper.inferred}):
            typer.echo(line)
        typer.echo(f"{len(made.cases)} cases in {table}\nnext: bitdose data check {out}")
    absent = absent_labels(made.name, (case.label for case in made.cases))
    if absent:
        listed = ", ".join(absent)
        raise BitdoseError(f"{made.name}: the table has no case of class {listed}; check the downloads")


def _healthy(text: str) -> int | None:
    from bitdose.errors import UsageError

    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1:
        raise UsageError(f"--healthy {text!r}: expected a number of volumes from 1, or 'all'")
    return int(text[:9])


def _list_sets(as_json: bool) -> None:
    from bitdose.datasets.catalogue import BY_HAND, FETCHED, find_manifest
    from bitdose.datasets.text import bytes_text

    rows: list[dict[str, Any]] = []
    row: dict[str, Any]
    for name in FETCHED:
        known = find_manifest(name)
        size = f"{len(known.files)} files, {bytes_text(known.n_bytes)}"
        row = {"set": name, "fetched": True, "size": size, "what": list(known.source)}
        rows.append(row | {"licence": list(known.licence)})
    for each in BY_HAND:
        row = {"set": each.name, "fetched": False, "size": "by hand", "what": [each.what]}
        rows.append(row | {"licence": [each.licence], "how": each.how})
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['set']:<16} {row['size']}")
        how = [row["how"]] if "how" in row else []
        for line in (*row["what"], *(f"licence: {text}" for text in row["licence"]), *how):
            typer.echo(f"{'':<16} {line}")


def _agree(manifest: Manifest, folder: Path, *, yes: bool) -> None:
    """Show size and licence on stderr; continue only with consent."""
    from bitdose.datasets.text import bytes_text
    from bitdose.errors import BitdoseError, UsageError

    terms = [("source", manifest.source), ("licence", manifest.licence), ("cite", manifest.citation)]
    for word, texts in terms:
        for text in texts:
            typer.echo(f"{word}: {text}", err=True)
    size = f"{len(manifest.files)} files, {bytes_text(manifest.n_bytes)}"
    typer.echo(f"{manifest.name}: {size}, to {folder}. {DISCLAIMER}", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("--yes: expected it where nobody can be asked; read the licence above, then give it")
    if not typer.confirm("Accept the licence and download?", err=True):
        raise BitdoseError("not accepted; nothing was downloaded")


def _print_fetched(done: Fetched, manifest: Manifest, folder: Path, *, as_json: bool) -> None:
    from bitdose.datasets.text import failure_lines

    result = {"out": str(folder), "fetched": done.fetched, "present": done.present}
    if as_json:
        failures = [{"file": number, "reason": reason} for number, reason in done.failures]
        table = None if done.table is None else str(done.table)
        document = result | {"failed": failures, "table": table, "table_reason": done.table_reason}
        typer.echo(json.dumps(document, indent=2))
        return
    for line in failure_lines(done.failures):
        typer.echo(f"bitdose: {line}", err=True)
    if done.table_reason:
        typer.echo(f"bitdose: {done.table_reason}", err=True)
    typer.echo(
        f"{done.fetched} files downloaded, {done.present} present already, {len(done.failures)} failed"
    )
    if done.failures:
        typer.echo(f"{len(done.failures)} of {len(manifest.files)} files are missing; run again to retry")
    elif done.table is not None:
        typer.echo(f"next: bitdose data check {folder}")


@contextmanager
def _bar(noun: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on stderr if it is a terminal; yield its callback, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(noun), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(noun, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _bytes_bar(n_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar in bytes on stderr if it is a terminal; yield its callback."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fetch", total=n_bytes)
        yield lambda more: bar.advance(task, more)

"""``bitdose fetch``: a run's shards from an object store into a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def fetch(
    url: Annotated[str, typer.Argument(help="URL of a study's --out: s3://bucket/run, gs://….")],
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/ and the URL's name]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy a run from a URL into a folder, for report and decide; existing files stay.

    Example: bitdose fetch s3://bucket/lungs
    """
    from bitdose.errors import UsageError
    from bitdose.study.shards import Shards, place_of
    from bitdose.study.store import disk_errors, read_manifest, read_run

    folder, place = place_of(url, Path("runs") / "run")
    if not place:
        raise UsageError(f"{url}: expected a URL such as s3://bucket/run, not a folder")
    folder = out or folder
    shards = Shards(place)
    if not shards.exists():
        raise UsageError(f"{shards.url}: no run found (no manifest.json)")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    shards.pull(folder)
    done = read_run(folder)["case_id"].n_unique()
    planned = read_manifest(folder).get("identity", {}).get("cases", done)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "cases": planned, "done": done}, indent=2))
        return
    typer.echo(f"{done} of {planned} cases in {folder}")
    typer.echo(f"next: bitdose report {folder}")

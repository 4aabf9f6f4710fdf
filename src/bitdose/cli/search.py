"""``bitdose search``: the certified point by a race of the grid's points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitdose.cli.decide import Text, certify, read_facts
from bitdose.cli.rule_options import (
    Alpha,
    Confirm,
    Expires,
    Key,
    LinkText,
    Margins,
    Modality,
    Objective,
    Select,
    make_rule,
    seconds_on,
)


def search(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with a sub-folder per class, a CSV/Parquet table, or a study's TOML file."
        ),
    ],
    model: Annotated[
        Text, typer.Option(help="ONNX or TorchScript file, module:factory, or 'phantom'.")
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option(help="The grid to search: as for 'study'. [default: paper]"),
    ] = None,
    margin: Margins = None,
    alpha: Alpha = None,
    select: Select = None,
    confirm: Confirm = None,
    objective: Objective = None,
    link: LinkText = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/search-DATA]")] = None,
    split: Annotated[Text, typer.Option(help="Split of the table to use; 'all' takes all.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many cases, spread over the classes.")] = None,
    classes: Annotated[
        Text, typer.Option(help="Data label to model label: a=b,c=d; 'a=' drops a class.")
    ] = None,
    color: Annotated[Text, typer.Option(help="keep, or grey: colour sources to luma first.")] = None,
    weights: Annotated[Text, typer.Option(help="state_dict file for module:factory.")] = None,
    runtime: Annotated[Text, typer.Option(help="As for 'study'. [default: onnxruntime]")] = None,
    precision: Annotated[Text, typer.Option(help="As for 'study'. [default: fp32]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of whatever is drawn. [default: 0]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one per core]")
    ] = None,
    modality: Modality = None,
    expires: Expires = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Find the strongest point within the margins, measuring only what can change the answer.

    Run again with the same call, it goes on where it was stopped. Exit code 1 says that nothing could
    be certified, or that it was stopped.

    Example: bitdose search xrays/cases.csv --split test --model net.onnx --margin accuracy=0.02
    """
    from bitdose.cli.study import class_mapping, early_workers, make_spec
    from bitdose.search.run import search as run_search
    from bitdose.study.progress_bar import study_progress

    spec = make_spec(
        data, points=tuple(points) if points else None, model=model, split=split, limit=limit,
        classes=class_mapping(classes), color=color, weights=weights, seed=seed, runtime=runtime,
        precision=precision,
    )  # fmt: skip
    rule = make_rule(
        spec.decision,
        margins=margin,
        alpha=alpha,
        select=select,
        confirm=confirm,
        objective=objective,
        link=link,
    )
    folder = out or Path("runs") / f"search-{Path(spec.data).resolve().name.partition('.')[0]}"
    with early_workers(spec, workers) as crew:
        found = run_search(
            spec, rule, folder, seconds=seconds_on(rule), workers=workers, progress=study_progress, crew=crew
        )
    if found.decision is None:
        done = f"{found.rounds} rounds are done in {folder}, and what the last one measured is kept"
        typer.echo(f"bitdose: interrupted: {done}; run the same call to go on", err=True)
        raise typer.Exit(1)
    cost = (
        f"{found.evaluated} of {found.whole_grid} case-points measured in {found.rounds} rounds "
        f"({found.whole_grid / found.evaluated:.1f}x fewer)"
    )
    result = certify(read_facts(folder), found.decision, modality=modality, expires=expires, key=key)
    result.show(
        as_json=as_json, more={"evaluated": found.evaluated, "whole_grid": found.whole_grid}, last=cost
    )
    if found.decision.certified is None:
        raise typer.Exit(1)

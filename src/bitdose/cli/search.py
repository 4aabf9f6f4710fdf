"""``bitdose search``: the certified point by a race of the grid's points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitdose.cli.decide import Text, show
from bitdose.cli.rule_options import (
    Alpha,
    Confirm,
    Expires,
    Key,
    LinkText,
    Margins,
    Modality,
    Objective,
    PatientColumn,
    Select,
    make_rule,
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
        typer.Option(help="Grid to search, as for 'study'. [default: paper]"),
    ] = None,
    margin: Margins = None,
    alpha: Alpha = None,
    select: Select = None,
    confirm: Confirm = None,
    objective: Objective = None,
    link: LinkText = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: runs/search-DATA]")] = None,
    split: Annotated[Text, typer.Option(help="Split of the table; 'all' for all.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Largest number of cases, balanced over the classes.")
    ] = None,
    classes: Annotated[
        Text, typer.Option(help="Data label to model label: a=b,c=d; 'a=' drops a class.")
    ] = None,
    patient_column: PatientColumn = None,
    color: Annotated[Text, typer.Option(help="keep, or grey: convert colour sources to luma first.")] = None,
    weights: Annotated[Text, typer.Option(help="state_dict file for module:factory.")] = None,
    runtime: Annotated[Text, typer.Option(help="As for 'study'. [default: onnxruntime]")] = None,
    precision: Annotated[Text, typer.Option(help="As for 'study'. [default: fp32]")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: 0]")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one per core]")
    ] = None,
    modality: Modality = None,
    expires: Expires = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the best point within the margins without measuring the whole grid.

    The same call resumes an interrupted search. Exit code 1 means that no point could be certified, or that
    the search was interrupted.

    Example: bitdose search xrays/cases.csv --split test --model net.onnx --margin accuracy=0.02
    """
    from bitdose.api import open_run
    from bitdose.cli.progress import tell_of_missing_loops
    from bitdose.cli.study import class_mapping, early_workers, make_spec
    from bitdose.search.run import search as run_search
    from bitdose.study.progress_bar import study_progress

    spec = make_spec(
        data, points=tuple(points) if points else None, model=model, split=split, limit=limit,
        classes=class_mapping(classes), color=color, weights=weights, seed=seed, runtime=runtime,
        precision=precision, patient_column=patient_column,
    )  # fmt: skip
    rule = make_rule(
        spec.rule,
        margins=margin,
        alpha=alpha,
        select=select,
        confirm=confirm,
        objective=objective,
        link=link,
    )
    folder = out or Path("runs") / f"search-{Path(spec.data).resolve().name.partition('.')[0]}"
    if not as_json:
        tell_of_missing_loops()
    with early_workers(spec, workers) as prestarted:
        found = run_search(
            spec, rule, folder, workers=workers, progress=study_progress, prestarted=prestarted
        )
    if found.decision is None:
        done = f"{found.rounds} rounds are complete in {folder}, and the last one's cases are stored"
        typer.echo(f"bitdose: interrupted: {done}; run the same call to resume", err=True)
        raise typer.Exit(1)
    cost = (
        f"{found.evaluated} of {found.whole_grid} case-points measured in {found.rounds} rounds "
        f"({found.whole_grid / found.evaluated:.1f}x fewer)"
    )
    run = open_run(folder)
    written = run.certify(modality=modality, expires=expires, key=key)
    more = {"evaluated": found.evaluated, "whole_grid": found.whole_grid}
    show(found.decision, written.sentences, written.files, as_json=as_json, more=more, last=cost)
    if found.decision.certified is None:
        raise typer.Exit(1)

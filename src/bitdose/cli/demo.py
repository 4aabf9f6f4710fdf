"""``bitdose demo``: the whole pipeline in a minute or two, offline, on synthetic phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitdose.html_card import DISCLAIMER

_PER_CLASS = 30
_SEED = 20260
_MARGIN = "accuracy=0.1"  # the minimum detectable loss of 90 phantoms


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("demo-run"),
    per_class: Annotated[int, typer.Option(min=1, help="Phantoms per class.")] = _PER_CLASS,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one per core]")
    ] = None,
) -> None:
    """Run the whole pipeline on synthetic phantoms: study, decision, profile and report.

    Example: bitdose demo --out demo-run
    """
    from bitdose.api import open_run
    from bitdose.cli.progress import tell_of_missing_loops
    from bitdose.cli.rule_options import make_rule
    from bitdose.data.phantoms import write_phantoms
    from bitdose.errors import UsageError
    from bitdose.study.plan import make_plan
    from bitdose.study.progress_bar import study_progress
    from bitdose.study.run import run_study
    from bitdose.study.spec import StudySpec

    typer.echo(f"BitDose demo on {3 * per_class} synthetic phantoms. {DISCLAIMER}")
    try:
        phantoms = write_phantoms(out / f"phantoms-{per_class}", n_per_class=per_class, seed=_SEED)
    except OSError as error:
        raise UsageError(f"--out {out}: expected a folder to write to: {error.strerror}") from error
    rule = make_rule(None, margins=[_MARGIN])
    tell_of_missing_loops()
    plan = make_plan(StudySpec(data=str(phantoms), model="phantom", rule=rule))
    with study_progress(len(plan.cases.cases)) as watch:
        outcome = run_study(plan, out / "run", workers=workers, resume=True, watch=watch)
    if outcome.interrupted:
        typer.echo(
            f"bitdose: interrupted after {outcome.done} of {outcome.total}; run the same command to resume",
            err=True,
        )
        raise typer.Exit(1)
    run = open_run(out / "run")
    run.summary()  # the profile's point is one of it
    written = run.certify(rule, key=out / "demo-key.pem")
    files = {**written.files, "report": run.report().html}
    for line in (*run.findings(), "", *(f"{name}: {path}" for name, path in files.items())):
        typer.echo(line)

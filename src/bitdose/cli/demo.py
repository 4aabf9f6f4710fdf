"""``bitdose demo``: the whole story in a minute or two, offline, on drawn phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_PER_CLASS = 30
_SEED = 20260
_MARGIN = "accuracy=0.1"  # what 90 phantoms can show


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("demo-run"),
    per_class: Annotated[int, typer.Option(min=1, help="Phantoms of each class.")] = _PER_CLASS,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one per core]")
    ] = None,
) -> None:
    """Draw phantoms, run the paper's points on them, certify one, write its profile and the report.

    Example: bitdose demo --out demo-run
    """
    from bitdose.cli.decide import Known, certify, decision_of, read_facts
    from bitdose.cli.report import make_report
    from bitdose.cli.rule_options import make_rule
    from bitdose.data.phantoms import write_phantoms
    from bitdose.errors import UsageError
    from bitdose.study.plan import make_plan
    from bitdose.study.progress_bar import study_progress
    from bitdose.study.run import run_study
    from bitdose.study.spec import StudySpec

    typer.echo(f"BitDose demo on {3 * per_class} drawn phantoms. Research use only, not a medical device.")
    try:
        phantoms = write_phantoms(out / f"phantoms-{per_class}", n_per_class=per_class, seed=_SEED)
    except OSError as error:
        raise UsageError(f"--out {out}: expected a folder to write to: {error.strerror}") from error
    rule = make_rule({}, margins=[_MARGIN])
    plan = make_plan(StudySpec(data=str(phantoms), model="phantom", decision=rule.to_dict()))
    with study_progress(len(plan.cases.cases)) as watch:
        outcome = run_study(plan, out / "run", workers=workers, resume=True, watch=watch)
    if outcome.interrupted:
        typer.echo(
            f"bitdose: interrupted after {outcome.done} of {outcome.total}; the same command goes on",
            err=True,
        )
        raise typer.Exit(1)
    facts = read_facts(out / "run")
    known = Known(facts, decision_of(facts, rule), facts.summary())
    decided = certify(facts, known.decision, summary=known.summary, key=out / "demo-key.pem")
    paths, findings = make_report(out / "run", known=known)
    files = [f"{name}: {path}" for name, path in (decided.written | {"report": str(paths.html)}).items()]
    for line in (*findings, "", *files):
        typer.echo(line)

"""``bitdose study``: cases x classifier x points, measured into a run folder with its report."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.cli.progress import tell_of_missing_loops
from bitdose.cli.rule_options import PatientColumn, make_rule

if TYPE_CHECKING:
    from bitdose.study.engines.local import PrestartedWorkers
    from bitdose.study.plan import Plan
    from bitdose.study.run import RunOutcome
    from bitdose.study.spec import StudySpec

Text = str | None

_EARLY_WORKERS = 8  # a study of few cases needs no more
_SIZE = re.compile(r"[0-9]{1,6}(x[0-9]{1,6})?")


def study(
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
        typer.Option(help="'paper', 'quick', points, ranges, commas; may be repeated. [default: paper]"),
    ] = None,
    out: Annotated[
        Text, typer.Option(help="Run folder, or a URL that keeps a copy of it. [default: runs/DATA-MODEL]")
    ] = None,
    split: Annotated[Text, typer.Option(help="Split of the table; 'all' for all.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Largest number of cases, balanced over the classes.")
    ] = None,
    classes: Annotated[
        Text, typer.Option(help="Data label to model label: a=b,c=d; 'a=' drops a class.")
    ] = None,
    color: Annotated[
        Text, typer.Option(help="keep, or grey: convert colour sources to luma first. [default: keep]")
    ] = None,
    path_column: Annotated[Text, typer.Option(help="Column of the paths. [default: path]")] = None,
    label_column: Annotated[Text, typer.Option(help="Column of the labels. [default: label]")] = None,
    patient_column: PatientColumn = None,
    weights: Annotated[Text, typer.Option(help="state_dict file for module:factory.")] = None,
    runtime: Annotated[
        Text,
        typer.Option(
            help="For ONNX files: onnxruntime, openvino, or auto: the faster one. [default: onnxruntime]"
        ),
    ] = None,
    precision: Annotated[
        Text, typer.Option(help="fp32, or bf16, compared with fp32 at pristine. [default: fp32]")
    ] = None,
    labels: Annotated[Text, typer.Option(help="Model labels in output order: a,b,c.")] = None,
    size: Annotated[Text, typer.Option(help="Model input: HEIGHTxWIDTH or one side.")] = None,
    slices: Annotated[int | None, typer.Option(help="Model input: fixed number of slices.")] = None,
    channels: Annotated[int | None, typer.Option(help="Model input: 1 or 3.")] = None,
    layout: Annotated[Text, typer.Option(help="Model input: NCHW, NHWC, NCDHW or NDHWC.")] = None,
    value_range: Annotated[
        Text, typer.Option("--range", help="Model input: values of black and white: 0,1.")
    ] = None,
    mean: Annotated[Text, typer.Option(help="Model input: mean, one or per channel.")] = None,
    std: Annotated[Text, typer.Option(help="Model input: standard deviation, one or per channel.")] = None,
    resize: Annotated[Text, typer.Option(help="Model input: resampling kernel. [default: bilinear]")] = None,
    output: Annotated[Text, typer.Option(help="Model output: probabilities or logits.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="For one output: threshold, fixed before the study.")
    ] = None,
    exact: Annotated[
        bool | None,
        typer.Option(
            "--exact/--layered",
            help="JPEG 2000 by one encode per rate, or one layered encode for all rates. [default: exact]",
        ),
    ] = None,
    ssim: Annotated[
        bool | None, typer.Option("--ssim/--no-ssim", help="Measure SSIM. [default: ssim]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: 0]")] = None,
    max_failures: Annotated[
        float | None, typer.Option(help="Share of cases that may fail before the study stops. [default: 0.2]")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(help="METRIC[CLASS]=LIMIT, fixed before the run; decides at its end. May be repeated."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="With --margin: as for 'decide'. [default: 0.05]")
    ] = None,
    engine: Annotated[
        Text,
        typer.Option(
            help="local; pipeline: one classifier process for all, as with a GPU; ray: many machines, the "
            "same rows. [default: local]"
        ),
    ] = None,
    address: Annotated[
        Text, typer.Option(help="With --engine ray: address of the cluster. [default: a Ray on this machine]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. [default: one per core]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a run folder with results.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Like --resume, and run failed cases again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print grid, cost and minimum detectable loss; run nothing.")
    ] = False,
    write_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report at the end.")
    ] = True,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Show cases in the report.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the effect of compression on a classifier, on a labelled image set.

    Example: bitdose study xrays/cases.csv --split test --model net.onnx --points paper --out run
    """
    from bitdose.study.plan import make_plan
    from bitdose.study.shards import place_of

    inputs = {
        "labels": _words(labels), "size": _size(size), "slices": slices, "channels": channels,
        "layout": layout, "range": _numbers("--range", value_range), "mean": _numbers("--mean", mean),
        "std": _numbers("--std", std), "resize": resize, "output": output, "threshold": threshold,
    }  # fmt: skip
    spec = make_spec(
        data, points=tuple(points) if points else None, model=model, split=split, limit=limit,
        classes=class_mapping(classes), color=color, path_column=path_column, label_column=label_column,
        patient_column=patient_column, weights=weights, runtime=runtime, precision=precision, engine=engine,
        address=address, exact=exact, ssim=ssim, seed=seed, max_failures=max_failures,
        input={key: value for key, value in inputs.items() if value is not None} or None,
    )  # fmt: skip
    if margin or alpha is not None or spec.rule:
        spec = spec.updated(rule=make_rule(spec.rule, margins=margin, alpha=alpha))
    if dry_run:
        _dry_run(make_plan(spec), workers, as_json=as_json)
        return
    if not as_json:
        tell_of_missing_loops()
    with early_workers(spec, workers) as prestarted:
        plan = make_plan(spec)
        default = Path("runs") / f"{plan.cases.name}-{plan.classifier.name.partition('@')[0]}"
        folder, url = place_of(out or "", default)
        again = {"resume": resume or retry_failed, "retry_failed": retry_failed}
        outcome = _run(plan, folder, workers, url=url, prestarted=prestarted, **again)
    _tell(plan, folder, outcome, write_report=write_report, images=images, as_json=as_json)


def _tell(
    plan: Plan, folder: Path, outcome: RunOutcome, *, write_report: bool, images: bool, as_json: bool
) -> None:
    """Decide if a rule was fixed, write the report, and print what was found."""
    result: dict[str, Any] = {
        "run": str(folder), "cases": outcome.total, "done": outcome.done, "resumed_past": outcome.skipped,
        "failed": outcome.failed, "points": len(plan.job.points),
    }  # fmt: skip
    from bitdose.api import open_run

    findings: list[str] = []
    if plan.spec.rule or write_report:
        run = open_run(folder)
        if write_report:
            run.summary()  # the profile's point is one of it
        if plan.spec.rule:
            written = run.certify()
            findings = list(written.sentences)
            best = run.decide().certified
            result |= {name: str(path) for name, path in written.files.items()}
            result |= {"certified": best.point if best else None}
        if write_report:
            result |= {"report": str(run.report(images=images).html)}
            findings = run.findings()
    if findings:
        result |= {"findings": findings}
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    done = f"{outcome.done} cases x {len(plan.job.points)} points in {folder}"
    for line in (*findings, "", done, *_next(result)):
        typer.echo(line)


def make_spec(data: str, **options: Any) -> StudySpec:
    """Put a spec together: a study file, and over it what the command line says.

    Its runtime is settled here, once for all plans that are made of it.
    """
    from bitdose.study.plan import with_runtime
    from bitdose.study.spec import spec_of

    spec, said = with_runtime(spec_of(data, **{k: v for k, v in options.items() if v is not None}))
    if said:
        typer.echo(said, err=True)
    return spec


def early_workers(spec: StudySpec, workers: int | None) -> PrestartedWorkers:
    """Start workers before the plan is made, which takes them about as long as it takes to start."""
    from bitdose.study.engines.local import PrestartedWorkers

    count = os.cpu_count() or 1 if workers is None else workers
    most = min(count, _EARLY_WORKERS, spec.limit or count)
    return PrestartedWorkers(most if spec.engine == "local" and most > 1 else 0)


def _run(
    plan: Plan, folder: Path, workers: int | None, *, url: str, prestarted: PrestartedWorkers, **how: bool
) -> RunOutcome:
    from bitdose.study.progress_bar import study_progress
    from bitdose.study.run import run_study
    from bitdose.study.shards import Shards

    shards = Shards(url) if url else None
    with study_progress(len(plan.cases.cases)) as watch:
        outcome = run_study(
            plan, folder, workers=workers, watch=watch, shards=shards, prestarted=prestarted, **how
        )
    for name in outcome.set_aside:
        typer.echo(f"bitdose: {name} could not be read: it is set aside, its cases ran again", err=True)
    if outcome.interrupted:
        typer.echo(
            f"bitdose: interrupted: {outcome.done} of {outcome.total} cases are done in {folder}; "
            "run again with --resume to go on",
            err=True,
        )
        raise typer.Exit(1)
    return outcome


def _dry_run(plan: Plan, workers: int | None, *, as_json: bool) -> None:
    from bitdose.study.dry_run import forecast

    found = forecast(plan, workers=workers)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else "\n".join(found.lines()))


def _next(result: dict[str, Any]) -> list[str]:
    if "report" in result:
        return [f"report: {result['report']}"]
    return [f"next: bitdose report {result['run']}"]


def class_mapping(text: Text) -> dict[str, str] | None:
    """Read ``--classes a=b,c=d``; None where it was not given."""
    from bitdose.errors import UsageError

    if text is None:
        return None
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(name and sign for name, sign, _ in pairs):
        raise UsageError(f"--classes {text!r}: expected a=b,c=d (data label = model label)")
    return {name.strip(): label.strip() for name, _, label in pairs}


def _words(text: Text) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",")]


def _numbers(option: str, text: Text) -> list[float] | None:
    from bitdose.errors import UsageError

    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: expected numbers with commas") from error


def _size(text: Text) -> list[int] | None:
    from bitdose.errors import UsageError

    if text is None:
        return None
    if not _SIZE.fullmatch(text):
        raise UsageError(f"--size {text!r}: expected HEIGHTxWIDTH or one side")
    sides = text.split("x")
    return [int(sides[0]), int(sides[-1])]

"""The functions behind the names at the top of ``bitdose``: study, search, compress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bitdose.errors import BitdoseError, UsageError, argument
from bitdose.rule.rule import Rule, combined_rule
from bitdose.run import Run
from bitdose.search.run_results import RunResults

if TYPE_CHECKING:
    import polars as pl

    from bitdose.codecs.point import Point
    from bitdose.compress.record import SourceFacts
    from bitdose.compress.run import CompressOutcome
    from bitdose.data.base import CaseSet
    from bitdose.errors import CaseError
    from bitdose.models.base import Classifier
    from bitdose.profile.document import Profile
    from bitdose.study.plan import Plan
    from bitdose.study.progress_bar import Watcher
    from bitdose.study.spec import StudySpec

RUNS = Path("runs")


def open_run(path: str | Path, *, cases: Any = None) -> Run:
    """Open a run folder, or a results table (Parquet or CSV).

    Parameters
    ----------
    path : str or pathlib.Path
        The folder or file.
    cases : object, optional
        The cases, where the study had them as Python objects and the report is to show images.

    Raises
    ------
    UsageError
        If there is none, or it cannot be read.
    """
    from bitdose.data.objects import cases_from
    from bitdose.study.store import MANIFEST, read_manifest, read_run

    place = Path(path)
    table = read_run(place)
    results = RunResults(table, read_manifest(place) if (place / MANIFEST).exists() else {})
    return Run(results, place, cases=None if cases is None else cases_from(cases))


def load_results(table: str | Path | Any) -> Run:
    """Open another lab's results: rows of cases and points with predictions, in BitDose's columns.

    Parameters
    ----------
    table : str, pathlib.Path or DataFrame
        A Parquet or CSV file, or a polars or pandas DataFrame, columns as in :mod:`bitdose.results.schema`.

    Returns
    -------
    Run
        Without a manifest: it can be summarised, decided on and reported, and gives no profile.

    Raises
    ------
    UsageError
        If a column is missing or of another type.
    """
    from bitdose.results.table import check_table

    if isinstance(table, str | Path):
        return open_run(table)
    return Run(RunResults(check_table(_as_polars(table)), {}), Path("results.parquet"))


def _as_polars(table: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.partition(".")[0] == "pandas":
        return pl.from_pandas(table)
    raise UsageError(f"table: expected a path or a polars or pandas DataFrame, got {type(table).__name__}")


def study(
    cases: Any,
    model: Any = None,
    *,
    points: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    rule: Rule | None = None,
    margins: Any = None,
    alpha: float | None = None,
    labels: Sequence[str] | None = None,
    patients: Sequence[Any] | None = None,
    workers: int | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    progress: bool | Watcher = True,
    **options: Any,
) -> Run:
    """Measure what compression does to a classifier: every case at every operating point.

    Parameters
    ----------
    cases : str, pathlib.Path or object
        A folder with a sub-folder per class, a CSV or Parquet table, or a study's TOML file; a polars or
        pandas DataFrame, ``(arrays, labels)``, a data set of ``(image, label)`` such as torch's, or an
        iterable of ``(id, label, pixels[, patient])``: see :mod:`bitdose.data.objects`.
    model : str, pathlib.Path or object
        An ONNX or TorchScript file, ``module:factory`` or a shipped classifier; a torch module, any callable
        from a batch to probabilities, a scikit-learn estimator, an ONNX model or session, or a
        :class:`Classifier`: see :mod:`bitdose.models.objects`.
    points : str or sequence of str, optional
        ``"paper"``, ``"quick"``, points and ranges such as ``"jpeg:q90..q10/10@256"``; the paper's grid by
        default.
    out : str or pathlib.Path, optional
        The run folder; ``runs/DATA-MODEL`` by default.
    rule, margins, alpha
        The rule of a decision, registered before the run: whole, or its margins such as
        ``{"accuracy": 0.02}`` and its error rate.
    labels : sequence of str, optional
        The model's labels in the order of its outputs, where the model does not state them.
    patients : sequence, optional
        The patient of each array; each is its own patient's by default.
    workers : int, optional
        Worker processes; one per core by default.
    resume, retry_failed : bool
        Whether to go on in a folder that holds results, and to run failed cases again.
    progress : bool or callable
        Whether progress is shown on a terminal or in a notebook; or what is called after every case.
    options
        Further fields of :class:`~bitdose.study.spec.StudySpec`: ``split``, ``limit``, ``classes``,
        ``color``, ``input``, ``runtime``, ``seed``, …

    Returns
    -------
    Run

    Raises
    ------
    UsageError
        If an argument cannot be read, or data, model and points do not fit.
    BitdoseError
        If too many cases failed, or the disk is full.
    KeyboardInterrupt
        After Ctrl-C; the finished cases are kept and ``resume=True`` goes on.
    """
    from bitdose.study.plan import make_plan
    from bitdose.study.progress_bar import watching
    from bitdose.study.run import run_study

    inputs = _inputs(cases, model, points=points, labels=labels, patients=patients, **options)
    registered = _registered(inputs.spec, rule, margins=margins, alpha=alpha)
    plan = make_plan(inputs.spec.updated(rule=registered), inputs.classifier, cases=inputs.cases)
    folder = Path(out) if out is not None else _default_folder(plan)
    again: dict[str, Any] = {"resume": resume or retry_failed, "retry_failed": retry_failed}
    with watching(len(plan.cases.cases), progress=progress) as watch:
        outcome = run_study(plan, folder, workers=workers, watch=watch, **again)
    if outcome.interrupted:
        raise KeyboardInterrupt(
            f"{outcome.done} of {outcome.total} cases are done in {folder}; resume=True goes on"
        )
    return open_run(folder, cases=inputs.cases)


def search(
    cases: Any,
    model: Any = None,
    *,
    points: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    rule: Rule | None = None,
    margins: Any = None,
    alpha: float | None = None,
    labels: Sequence[str] | None = None,
    patients: Sequence[Any] | None = None,
    workers: int | None = None,
    progress: bool | Watcher = True,
    **options: Any,
) -> Run:
    """Find the certified point, measuring only what can change the decision.

    Called again with the same arguments, it goes on where it was interrupted.

    Parameters
    ----------
    cases, model, points, out, rule, margins, alpha, labels, patients, workers, progress, options
        As for :func:`study`.

    Returns
    -------
    Run
        Its ``decide()`` is the search's decision.

    Raises
    ------
    UsageError, BitdoseError, KeyboardInterrupt
        As :func:`study` does; also if there is no margin.
    """
    from bitdose.search.run import search as run_search
    from bitdose.study.progress_bar import watching

    inputs = _inputs(cases, model, points=points, labels=labels, patients=patients, **options)
    spec, classifier, held = inputs
    registered = _registered(spec, rule, margins=margins, alpha=alpha)
    if registered is None:
        raise UsageError(f"{argument('margins')}: expected at least one, such as {{'accuracy': 0.02}}")
    name = Path(spec.data).resolve().name.partition(".")[0]
    folder = Path(out) if out is not None else RUNS / f"search-{name}"
    found = run_search(
        spec, registered, folder, classifier=classifier, cases=held, workers=workers,
        progress=partial(watching, progress=progress),
    )  # fmt: skip
    if found.decision is None:
        raise KeyboardInterrupt(f"{found.rounds} rounds are done in {folder}; the same call goes on")
    return open_run(folder, cases=inputs.cases)


def compress(
    source: str | Path,
    out: str | Path,
    *,
    point: str | Point | None = None,
    profile: str | Path | Profile | None = None,
    trust: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    on_failure: Callable[[str, CaseError], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    progress: Callable[[int], AbstractContextManager[Callable[[int], None] | None]] | None = None,
) -> CompressOutcome:
    """Apply an operating point, or a certified profile, to a file, a folder or DICOM series.

    Parameters
    ----------
    source, out : str or pathlib.Path
        File or folder, and where the coded ones go.
    point : str or Point, optional
        What to apply; either this or a profile.
    profile : str, pathlib.Path or Profile, optional
        A signed profile: its point is applied, and files outside what it was certified for are refused.
    trust : sequence of str
        Public keys (base64) of accepted signers; by default one's own.
    overwrite, resume : bool
        What to do with files that are there already: write them anew, or keep them.
    on_failure : callable, optional
        Called with name and error of each file that fails.
    on_warning : callable, optional
        Called with each warning about the profile.
    progress : callable, optional
        From the number of files to a context that gives what is called with the number dealt with.

    Returns
    -------
    CompressOutcome
        Counts, failures and bytes.

    Raises
    ------
    UsageError
        If the arguments do not fit, or files are there already.
    BitdoseError
        If the profile does not hold, or a file cannot be written.
    """
    from bitdose.codecs.point import Point
    from bitdose.compress.places import check_targets, tasks_of
    from bitdose.compress.run import compress_files

    if overwrite and resume:
        raise UsageError(f"{argument('overwrite')}, {argument('resume')}: expected one of them, got both")
    if (point is None) == (profile is None):
        example = argument("point", "jpeg2000:20x")
        raise UsageError(
            f"{argument('point')}, {argument('profile')}: expected one of them, such as {example}"
        )
    check = None
    if profile is not None:
        point, check = _certified(profile, trust, on_warning or _ignore)
    chosen = Point.parse(str(point))
    tasks = tasks_of(Path(source), Path(out), chosen)
    check_targets(tasks, overwrite=overwrite, resume=resume)
    with progress(len(tasks)) if progress else nullcontext() as done:
        return compress_files(tasks, chosen, resume=resume, check=check, on_failure=on_failure, on_done=done)


def _certified(
    profile: str | Path | Profile, trust: Sequence[str], warn: Callable[[str], None]
) -> tuple[str, Callable[[SourceFacts], None]]:
    """Return the point of a profile that holds, and the check of what it was certified for."""
    from bitdose.compress.limits import limit_check
    from bitdose.profile.document import load_profile
    from bitdose.profile.signing import check_public_key, own_public_key
    from bitdose.profile.verify import ERROR, WARNING, verify

    found = load_profile(Path(profile)) if isinstance(profile, str | Path) else profile
    name = argument("profile", Path(profile)) if isinstance(profile, str | Path) else f"profile {found.id}"
    trusted = [check_public_key(key, name=argument("trust")) for key in trust]
    findings = list(
        verify(found, now=datetime.now(UTC), trusted=trusted, own_key="" if trusted else own_public_key())
    )
    for finding in findings:
        if finding.level == ERROR:
            raise BitdoseError(f"{name}: {finding.check}: {finding.text}")
    for finding in findings:
        if finding.level == WARNING:
            warn(f"{name}: {finding.check}: {finding.text}")
    return found.point, limit_check(found.limits)


def _ignore(_text: str) -> None:
    """No-op."""


class _Inputs(NamedTuple):
    """What a study takes: its spec, and the classifier and the cases that came as Python objects."""

    spec: StudySpec
    classifier: Classifier | None
    cases: CaseSet | None


def _inputs(
    cases: Any,
    model: Any,
    *,
    points: str | Sequence[str] | None,
    labels: Sequence[str] | None,
    patients: Sequence[Any] | None,
    **options: Any,
) -> _Inputs:
    """Put a spec together: a study file, and over it what is given."""
    from bitdose.study.plan import with_runtime
    from bitdose.study.spec import spec_of

    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if points is not None:
        given["points"] = (points,) if isinstance(points, str) else tuple(map(str, points))
    classifier = None
    if model is None or isinstance(model, str | Path):
        given |= {} if model is None else {"model": str(model)}
        given |= {} if labels is None else {"input": {**given.get("input", {}), "labels": list(labels)}}
    else:
        named, classifier = _object_classifier(model, labels, given)
        given |= named
    held = _held(cases, labels or (classifier.spec.labels if classifier else None), patients, given)
    spec = spec_of(held.name if held else str(cases), **given)
    return _Inputs(spec if classifier else with_runtime(spec)[0], classifier, held)


def _object_classifier(
    model: Any, labels: Sequence[str] | None, given: dict[str, Any]
) -> tuple[dict[str, Any], Classifier | None]:
    """Return what a spec says of a classifier that came as an object, and the classifier if it runs here."""
    from bitdose.models.load import ModelRef
    from bitdose.models.objects import classifier_from

    said = {key: given[key] for key in ("input", "weights", "runtime", "precision") if key in given}
    found = classifier_from(model, labels=labels, **said)
    if isinstance(found, ModelRef):
        return {"model": found.model, "input": dict(found.flags)}, None
    return {"model": found.name}, found


def _held(
    cases: Any, names: Sequence[str] | None, patients: Sequence[Any] | None, given: dict[str, Any]
) -> CaseSet | None:
    """Return cases that came as a Python object, all of them; None for a path."""
    from bitdose.data.objects import cases_from

    if isinstance(cases, str | Path):
        if patients is not None:
            raise UsageError("patients: they go with arrays and data sets; a table has a column for them")
        return None
    columns = {key: given[key] for key in ("path_column", "label_column", "patient_column") if key in given}
    return cases_from(cases, names=names, patients=patients, split="all", **columns)


def _registered(spec: StudySpec, rule: Rule | None, *, margins: Any, alpha: float | None) -> Rule | None:
    if rule is not None:
        if margins is not None or alpha is not None:
            raise UsageError("rule: expected a rule alone, or margins and alpha without one")
        return rule
    return combined_rule(spec.rule, margins=margins, alpha=alpha)


def _default_folder(plan: Plan) -> Path:
    return RUNS / f"{plan.cases.name}-{plan.classifier.name.partition('@')[0]}"

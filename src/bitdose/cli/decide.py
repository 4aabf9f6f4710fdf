"""``bitdose decide``: the strongest compression that provably keeps the loss within the margins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

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

if TYPE_CHECKING:
    from polars import DataFrame

    from bitdose.decision.base import Decision
    from bitdose.profile.document import Profile
    from bitdose.report.figures.render_pool import Renderer
    from bitdose.results.summary import PointSummary, Summary
    from bitdose.rule.rule import Rule

Text = str | None

DECISION = "decision.json"
PROFILE = "profile.json"


def decide(
    run: Annotated[Path, typer.Argument(help="Run folder, or results table (Parquet or CSV).")],
    margin: Margins = None,
    alpha: Alpha = None,
    select: Select = None,
    confirm: Confirm = None,
    order: Annotated[
        Text, typer.Option(help="Comma-separated order of points and chains, tested at the whole alpha.")
    ] = None,
    objective: Objective = None,
    link: LinkText = None,
    out: Annotated[Path | None, typer.Option(help="Profile to write. [default: RUN/profile.json]")] = None,
    modality: Modality = None,
    expires: Expires = None,
    key: Key = None,
    write_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the report again, with the decision.")
    ] = True,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Show cases in the report.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Certify the best point whose loss is within every margin, and write its profile.

    Exit code 1 means that no point could be certified.

    Example: bitdose decide runs/xrays-net --margin accuracy=0.02 --margin 'sensitivity[covid-19]=0.03'
    """
    facts = read_facts(run)
    _check_profile_options(out, modality, expires)
    rule = make_rule(
        facts.registered, margins=margin, alpha=alpha, select=select, confirm=confirm, order=order,
        objective=objective, link=link,
    )  # fmt: skip
    with _pen(wanted=write_report) as pen:
        decision = decision_of(facts, rule)
        known = Known(facts, decision, facts.summary() if write_report else None)
        result = certify(
            facts, decision, summary=known.summary, out=out, modality=modality, expires=expires, key=key
        )
        if pen:
            from bitdose.cli.report import make_report

            paths, _ = make_report(run, images=images, known=known, pen=pen)
            result.written["report"] = str(paths.html)
    result.show(as_json=as_json)
    if decision.certified is None:
        raise typer.Exit(1)


def _pen(*, wanted: bool) -> AbstractContextManager[Renderer | None]:
    """Take up a report's pen before there is anything to draw: it takes a second to be ready."""
    from bitdose.report.figures.render_pool import aside

    return aside() if wanted else nullcontext()


@dataclass(frozen=True)
class Facts:
    """A run as a decision needs it: its results, its manifest, the rule fixed before it."""

    run: Path
    table: DataFrame
    manifest: dict[str, Any]

    @property
    def registered(self) -> dict[str, Any]:
        """The rule that the study file fixed; empty where it fixed none."""
        found: dict[str, Any] = self.manifest.get("identity", {}).get("decision", {})
        return found

    @property
    def unfinished(self) -> str:
        """How many of the planned cases are there, in words; empty where all are, or nobody planned."""
        planned = self.manifest.get("identity", {}).get("cases", 0)
        have = self.table["case_id"].n_unique()
        return f"{have} of {planned} cases" if have < planned else ""

    @property
    def shown(self) -> DataFrame:
        """The rows that figures and tables are made of; of a search, those of points that saw all cases."""
        from bitdose.search.run import is_search, seen_on_all_cases

        return seen_on_all_cases(self.table) if is_search(self.manifest) else self.table

    def summary(self, *, level: float = 0.95) -> Summary:
        """Summarise all points that are shown."""
        from bitdose.results.summarize import summarize

        planned = self.manifest.get("identity", {}).get("cases", 0)
        return summarize(self.shown, level=level, seed=self.manifest.get("seed", 0), n_planned=planned)

    def file(self, name: str) -> Path:
        """Return where a file of this run stands; beside a bare table, under the table's name."""
        return self.run / name if self.run.is_dir() else self.run.with_name(f"{self.run.stem}.{name}")


class Known(NamedTuple):
    """What a command has found already, so that the report after it need not find it again."""

    facts: Facts
    decision: Decision
    summary: Summary | None


@dataclass(frozen=True)
class Decided:
    """A decision, its sentences, and the files written."""

    decision: Decision
    sentences: list[str]
    written: dict[str, str]

    @property
    def certified(self) -> str | None:
        """The certified point's text form."""
        return self.decision.certified.point if self.decision.certified else None

    def show(self, *, as_json: bool, more: Mapping[str, Any] | None = None, last: str = "") -> None:
        """Print the decision as text or JSON."""
        if as_json:
            typer.echo(json.dumps({**self.decision.to_dict(), **self.written, **(more or {})}, indent=2))
            return
        files = [f"{name}: {path}" for name, path in self.written.items()]
        for line in (*self.sentences, *([last] if last else []), "", *files):
            typer.echo(line)


def read_facts(run: Path) -> Facts:
    """Read a run folder or a bare table; raises ``UsageError`` where there is none."""
    from bitdose.study.store import MANIFEST, read_manifest, read_run

    table = read_run(run)
    return Facts(run, table, read_manifest(run) if (run / MANIFEST).exists() else {})


def decision_of(facts: Facts, rule: Rule) -> Decision:
    """Decide on a run's results; a rule equal to the one fixed before the run is pre-registered.

    A search's points were chosen by its rule, so that rule alone can be decided on there.
    """
    from bitdose.decision.decide import decide as decide_table
    from bitdose.errors import UsageError
    from bitdose.rule.rule import Rule
    from bitdose.search.run import is_search, replayed

    registered = Rule.from_dict(facts.registered) if facts.registered else None
    same = registered is not None and registered.digest() == rule.digest()
    seconds = seconds_on(rule)
    if not is_search(facts.manifest):
        if facts.unfinished:
            raise UsageError(
                f"{facts.run}: {facts.unfinished} have run; finish them first ('bitdose study' with "
                "--resume): who decides on the way and stops when it suits voids alpha"
            )
        seed = facts.manifest.get("seed", 0)
        return decide_table(facts.table, rule, seconds=seconds, seed=seed, preregistered=same)
    if not same:
        raise UsageError(f"{facts.run}: a search has one rule only; leave the options out, or search again")
    return replayed(facts.table, facts.manifest, seconds=seconds)


def known_decision(facts: Facts) -> Decision | None:
    """Reach a run's decision again: by the rule of its decision.json, else the one fixed before it."""
    from bitdose.errors import UsageError
    from bitdose.rule.rule import Rule
    from bitdose.search.run import is_search

    target, values = facts.file(DECISION), facts.registered
    searched = is_search(facts.manifest)
    if facts.unfinished and not searched:
        return None
    if not target.exists():
        return decision_of(facts, Rule.from_dict(values)) if values else None
    try:
        rule = Rule.from_dict(json.loads(target.read_text(encoding="utf-8"))["rule"])
        return decision_of(facts, rule)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{target}: no decision; remove it, or run 'bitdose decide' again") from error
    except UsageError as error:
        message = f"{target}: it is not of this run ({error}); remove it, or run 'bitdose decide' again"
        raise UsageError(message) from error


def certify(
    facts: Facts,
    decision: Decision,
    *,
    summary: Summary | None = None,
    out: Path | None = None,
    modality: Text = None,
    expires: Text = None,
    key: Path | None = None,
) -> Decided:
    """Write decision.json and, where a point is certified, its signed profile.

    A summary of all points, where there is one, spares the profile its own.
    """
    from bitdose.report.findings.decision import sentences
    from bitdose.study.store import disk_errors, write_text

    said, target = sentences(decision, facts.table), facts.file(DECISION)
    written = {"decision": str(target)}
    profile = _profile(facts, decision, summary, modality=modality, expires=expires)
    place = out or facts.file(PROFILE)
    if profile is not None:
        from bitdose.profile.document import save_profile
        from bitdose.profile.signing import load_or_make_key, sign

        save_profile(sign(profile, load_or_make_key(key)), place)
        written["profile"] = str(place)
    elif decision.certified is not None:
        said = [*said, "No profile: a table without its run folder does not name its classifier."]
    with disk_errors(target.parent):
        write_text(target, json.dumps(decision.to_dict(), indent=2) + "\n")
        if written.get("profile") != str(facts.file(PROFILE)):  # what an earlier rule certified does not hold
            facts.file(PROFILE).unlink(missing_ok=True)
    return Decided(decision, said, written)


def _check_profile_options(out: Path | None, modality: Text, expires: Text) -> None:
    """Refuse what no profile could be made with, whether or not one will be."""
    from bitdose.errors import UsageError
    from bitdose.profile.guidelines import check_modality
    from bitdose.profile.timestamps import DEFAULT_LIFE, expiry

    if out is not None and out.is_dir():
        raise UsageError(f"--out {out}: expected a file for the profile, it is a folder")
    for word in (modality or "").split(","):
        if word.strip():
            check_modality(word)
    expiry(expires or DEFAULT_LIFE, datetime.now(UTC))


def _profile(
    facts: Facts, decision: Decision, known: Summary | None, *, modality: Text, expires: Text
) -> Profile | None:
    """Make the certified point's profile; None where there is none, or no manifest to make it from."""
    if decision.certified is None or not facts.manifest:
        return None
    from bitdose.profile.issue import make_profile
    from bitdose.profile.timestamps import DEFAULT_LIFE

    point = _summarized(facts, decision.certified.point, decision.rule.confirm, known)
    return make_profile(
        decision, facts.table, point, facts.manifest, now=datetime.now(UTC), modality=modality,
        expires=expires or DEFAULT_LIFE,
    )  # fmt: skip


def _summarized(facts: Facts, point: str, split: str, known: Summary | None) -> PointSummary:
    """Summarise one point on a split; of a summary of all cases it is taken where they are the same."""
    import polars as pl

    from bitdose.results.schema import PRISTINE
    from bitdose.results.summarize import summarize

    if known is not None and not split:
        return next(found for found in known.points if found.point == point)
    own = pl.col("point").is_in([PRISTINE, point])
    if split:
        own &= pl.col("case_split") == split
    return summarize(facts.table.filter(own), seed=facts.manifest.get("seed", 0)).points[-1]

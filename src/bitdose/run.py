"""A run: a study's folder, or another lab's results table, and what can be asked of it.

The claims that make a certificate worth something (the rule was registered, the run is complete, the cases
are those of the manifest) are derived below this class from the table and the manifest; none is an argument.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitdose.errors import BitdoseError, UsageError, command
from bitdose.html_card import html_card
from bitdose.profile.timestamps import DEFAULT_LIFE
from bitdose.rule.rule import Rule, combined_rule
from bitdose.search.run_results import RunResults

if TYPE_CHECKING:
    import polars as pl

    from bitdose.data.base import CaseSet
    from bitdose.decision.base import Decision
    from bitdose.profile.document import Profile
    from bitdose.report.build import ReportPaths
    from bitdose.report.figures.render_pool import Renderer
    from bitdose.results.comparison import RunComparison
    from bitdose.results.summary import Summary

DECISION = "decision.json"
PROFILE = "profile.json"
_log = logging.getLogger("bitdose")


@dataclass(frozen=True)
class Written:
    """What certifying wrote.

    ``sentences`` is the decision in words; ``files`` names ``decision``, and ``profile`` where a point is
    certified.
    """

    sentences: tuple[str, ...]
    files: Mapping[str, Path]


class Run:
    """The results of one study with its manifest.

    Parameters
    ----------
    results : RunResults
        Table and manifest.
    folder : pathlib.Path
        The run folder; for a bare table, its file, beside which reports are written.
    cases : CaseSet, optional
        The cases, where the study had them as Python objects.
    """

    def __init__(self, results: RunResults, folder: Path, *, cases: CaseSet | None = None) -> None:
        self._results = results
        self._cases = cases
        self.folder = folder
        self._latest: Decision | None = None

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        registered = self.registered
        models = ", ".join(map(str, self.table["model"].unique()))
        rows = [
            ("cases", f"{self.table['case_id'].n_unique():,}{'' if self.is_complete else ', not complete'}"),
            ("points", self.table["point"].n_unique()),
            ("classifier", models),
            ("registered margins", ", ".join(map(str, registered.margins)) if registered else "none"),
            ("decided", self._latest.certified.point if self._latest and self._latest.certified else "–"),
        ]
        return html_card(f"Run {self.name}", rows)

    @property
    def table(self) -> pl.DataFrame:
        """The results, one row per case and point, columns as in :mod:`bitdose.results.schema`."""
        return self._results.table

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Versions, seeds, digests, machine and registered rule; empty for a bare table."""
        return self._results.manifest

    @property
    def registered(self) -> Rule | None:
        """The rule that was fixed before the run; None where none was."""
        return self._results.registered

    @property
    def is_complete(self) -> bool:
        """Whether every planned case has run."""
        return not self._results.unfinished

    def summary(self, *, level: float = 0.95) -> Summary:
        """Summarise every point: each metric with its confidence interval.

        Parameters
        ----------
        level : float
            Confidence level of every interval, in (0, 1).

        Returns
        -------
        Summary
            Iterates over points; ``to_polars()`` and ``to_pandas()`` give a row per point.
        """
        return self._results.summary(level=level)

    def decide(
        self,
        rule: Rule | None = None,
        *,
        margins: Any = None,
        alpha: float | None = None,
        order: Sequence[str] | None = None,
        select: str | None = None,
        confirm: str | None = None,
        objective: str | None = None,
        link: str | None = None,
    ) -> Decision:
        """Find the strongest point whose loss is shown to be within every margin.

        Without arguments the registered rule decides. A rule given here comes after the run, and the decision
        says so: ``preregistered`` is true only where the rule equals the one fixed before the run.

        Parameters
        ----------
        rule : Rule, optional
            A whole rule; the other arguments must then be left out.
        margins : mapping or sequence, optional
            ``{"accuracy": 0.02}`` or ``["sensitivity[covid-19]=0.03"]``; they replace the registered ones.
        alpha : float, optional
            Largest chance of certifying a point that loses more than a margin; one-sided, in (0, 0.5).
        order : sequence of str, optional
            Points and chains, tested in this order at the full ``alpha``.
        select, confirm : str, optional
            Splits that give the candidates and prove them.
        objective : {"ratio", "bytes", "seconds"}, optional
            What the certified point is chosen by.
        link : str, optional
            For seconds, as :meth:`bitdose.links.Link.parse` reads it.

        Returns
        -------
        Decision
            ``certified`` is None where no point passes.

        Raises
        ------
        UsageError
            If there is no rule, the run is not complete, or rule and results do not fit.
        """
        options = {
            "alpha": alpha, "order": order, "select": select, "confirm": confirm, "objective": objective,
            "link": link,
        }  # fmt: skip
        if rule is not None and (margins is not None or any(value is not None for value in options.values())):
            raise UsageError("rule: expected a rule alone, or margins, alpha and the rest without one")
        if rule is None:
            rule = combined_rule(self.registered, margins=margins, **options)
        self._latest = self._results.decide(rule)
        return self._latest

    def profile(
        self,
        *,
        key: str | Path | None = None,
        rule: Rule | None = None,
        modality: str | None = None,
        expires: str = DEFAULT_LIFE,
    ) -> Profile:
        """Make and sign the profile of the certified point.

        Parameters
        ----------
        key : str or pathlib.Path, optional
            The signing key, made where there is none; the user's own by default.
        rule : Rule, optional
            What to decide by: the rule of the latest :meth:`decide`, else the registered one, by default.
        modality : str, optional
            DICOM's code, or several with commas, such as ``DX,CR``.
        expires : str
            Days such as ``365d``, or a date.

        Raises
        ------
        BitdoseError
            If nothing is certified, or the results come without a manifest.
        UsageError
            If modality, expiry or key cannot be read.
        """
        from bitdose.profile.issue import make_profile
        from bitdose.profile.signing import load_or_make_key, sign

        rule = rule or (self._latest.rule if self._latest else None)
        made = make_profile(self._results, rule, now=datetime.now(UTC), modality=modality, expires=expires)
        return sign(made, load_or_make_key(None if key is None else Path(key)))

    def certify(
        self,
        rule: Rule | None = None,
        *,
        out: Path | None = None,
        key: Path | None = None,
        modality: str | None = None,
        expires: str | None = None,
    ) -> Written:
        """Decide, and write ``decision.json`` and, where a point is certified, its signed profile.

        Parameters
        ----------
        rule, key, modality, expires
            As for :meth:`profile`.
        out : pathlib.Path, optional
            The profile's file; ``profile.json`` in the run folder by default.
        """
        from bitdose.profile.document import save_profile
        from bitdose.report.findings.decision import sentences
        from bitdose.study.store import disk_errors, write_text

        decision = self.decide(rule)
        said, target, place = (
            sentences(decision, self.table),
            self._file(DECISION),
            out or self._file(PROFILE),
        )
        written = {"decision": target}
        if decision.certified is not None and self.manifest:
            made = self.profile(key=key, modality=modality, expires=expires or DEFAULT_LIFE)
            save_profile(made, place)
            written["profile"] = place
        elif decision.certified is not None:
            said = [*said, "No profile: a table without its run folder does not name its classifier."]
        with disk_errors(target.parent):
            write_text(target, json.dumps(decision.to_dict(), indent=2) + "\n")
            if written.get("profile") != self._file(PROFILE):  # what an earlier rule certified does not hold
                self._file(PROFILE).unlink(missing_ok=True)
        return Written(tuple(said), written)

    def report(
        self,
        *,
        out: str | Path | None = None,
        images: bool = True,
        points: Sequence[str] | None = None,
        gallery: int = 6,
        level: float = 0.95,
        compare: Sequence[Run] = (),
        renderer: Renderer | None = None,
    ) -> ReportPaths:
        """Draw the figures and write the report, with the latest decision.

        Parameters
        ----------
        out : str or pathlib.Path, optional
            Where to write; the run folder by default.
        images : bool
            Whether cases are shown; the sources are read again.
        points : sequence of str, optional
            Points whose confusion matrices are shown; a choice by default.
        gallery : int
            Number of cases that are shown, flipped ones first.
        level : float
            Confidence level of the intervals, in (0, 1).
        compare : sequence of Run
            Runs beside which this one is shown.
        renderer : callable, optional
            Draws the figures, where its caller has started one already.
        """
        from bitdose.links import LINKS
        from bitdose.report.build import write_report
        from bitdose.report.figures.render_pool import aside
        from bitdose.study.store import disk_errors

        beside = self.folder if self.folder.is_dir() else self.folder.with_name(f"{self.folder.stem}-report")
        target = beside if out is None else Path(out)
        with nullcontext(renderer) if renderer else aside() as drawing, disk_errors(target):
            decision = self.known_decision()
            return write_report(
                target,
                self.summary(level=level),
                self._results.shown,
                manifest=self.manifest,
                load_variants=self._variants() if images else None,
                max_gallery=gallery,
                points=points,
                decision=decision,
                links=tuple(LINKS.values()),
                comparisons=[self.compare(other, level=level) for other in compare],
                profile=self._profile_id(),
                pen=drawing,
            )

    def compare(self, other: Run, *, level: float = 0.95) -> RunComparison:
        """Compare another run with this one: two classifiers, two versions, two sets.

        Parameters
        ----------
        other : Run
            The run that is compared with this one.
        level : float
            Confidence level of every interval, in (0, 1).

        Returns
        -------
        RunComparison
            Per point, the other's accuracy minus this one's, and how much more compression costs it; paired
            where the two hold the same cases.

        Raises
        ------
        UsageError
            If the two have no coded point in common.
        """
        from bitdose.results.comparison import compare_tables, distinct_names

        models = [str(run.table["model"][0]) for run in (self, other)]
        names = distinct_names(models, [run.folder.resolve() for run in (self, other)])
        return compare_tables(self._results.shown, other._results.shown, names=names, level=level)

    @property
    def name(self) -> str:
        """What the run is called beside others: its folder's name."""
        return self.folder.resolve().name if self.folder.is_dir() else self.folder.stem

    def findings(self, *, level: float = 0.95) -> list[str]:
        """Say in plain sentences what was decided and found."""
        from bitdose.report.findings.decision import sentences
        from bitdose.report.findings.sentences import findings, headline_margin

        decision = self.known_decision()
        said = sentences(decision, self.table) if decision else []
        return [*said, *findings(self.summary(level=level), margin=headline_margin(decision))]

    def known_decision(self) -> Decision | None:
        """Return the latest decision: of this object, else of ``decision.json``, else the registered rule's.

        None where there is no rule yet, or the run is not complete.

        Raises
        ------
        UsageError
            If ``decision.json`` cannot be read, or is not of this run.
        """
        if self._latest is None:
            self._latest = self._recorded_decision()
        return self._latest

    def _recorded_decision(self) -> Decision | None:
        target, again = self._file(DECISION), command("decide", python="run.certify()")
        if not self.is_complete and not self._results.is_search:
            return None
        if not target.exists():
            return self._results.decide() if self.registered else None
        try:
            rule = Rule.from_dict(json.loads(target.read_text(encoding="utf-8"))["rule"])
            return self._results.decide(rule)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{target}: no decision; remove it, or run {again} again") from error
        except UsageError as error:
            message = f"{target}: it is not of this run ({error.message}); remove it, or run {again} again"
            raise UsageError(message) from error

    def _file(self, name: str) -> Path:
        """Return where a file of this run stands; beside a bare table, under the table's name."""
        folder = self.folder
        return folder / name if folder.is_dir() else folder.with_name(f"{folder.stem}.{name}")

    def _profile_id(self) -> str:
        """Return the id of the run's profile; empty where it has none that can be read."""
        from bitdose.profile.document import load_profile

        place = self._file(PROFILE)
        try:
            return load_profile(place).id if place.exists() else ""
        except BitdoseError as error:
            _log.warning("the report names no profile: %s", error)
            return ""

    def _variants(self) -> Callable[[str, Sequence[str]], list[Any]] | None:
        from bitdose.study.recode import variants_of
        from bitdose.study.store import STUDY_FILE

        if not (self.folder / STUDY_FILE).exists():
            return None
        try:
            return variants_of(self.folder, self.table, cases=self._cases)
        except BitdoseError as error:
            _log.warning("the report has no images: %s", error)
            return None

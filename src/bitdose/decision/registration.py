"""What a manifest says of a decision: which rule was fixed before the run, and whether the run is complete.

These claims are never passed as arguments: deciding and issuing a profile derive them here, from the results
table and the manifest that the study wrote before its first case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitdose.errors import UsageError
from bitdose.results.table import CASES_DIGEST, cases_digest
from bitdose.rule.rule import Rule

if TYPE_CHECKING:
    import polars as pl

SEARCH = "search"  # the manifest's key of what a search holds
_OF_CASE = ("case_id", "case_label", "case_patient", "case_split")


def registered_rule(manifest: Mapping[str, Any]) -> Rule | None:
    """Return the rule that was fixed before the run; None where none was."""
    values = manifest.get("identity", {}).get("decision", {})
    return Rule.from_dict(values) if values else None


def is_registered(manifest: Mapping[str, Any], rule: Rule) -> bool:
    """Whether this very rule was fixed before the run."""
    registered = registered_rule(manifest)
    return registered is not None and registered.digest() == rule.digest()


def is_search(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest is a search's."""
    return SEARCH in manifest


def unfinished(table: pl.DataFrame, manifest: Mapping[str, Any]) -> str:
    """Return how many of the planned cases have rows, in words; empty where none is missing or planned."""
    planned = manifest.get("identity", {}).get("cases", 0)
    have = table["case_id"].n_unique()
    return f"{have} of {planned} cases" if have < planned else ""


def check_complete(table: pl.DataFrame, manifest: Mapping[str, Any]) -> None:
    """Check that a results table is the whole of the run that a manifest describes.

    Parameters
    ----------
    table : polars.DataFrame
        Results, one row per case and point.
    manifest : mapping
        Of the run.

    Raises
    ------
    UsageError
        If cases or points are missing, are there twice, or are not the manifest's.
    """
    if is_search(manifest):
        raise UsageError(
            "manifest: it is of a search, which measures some points only; its own replay decides"
        )
    missing = unfinished(table, manifest)
    if missing:
        raise UsageError(
            f"results: {missing} have run; finish the run first (deciding on interim data inflates the "
            "type-I error)"
        )
    identity = manifest.get("identity", {})
    _check_cases(table, identity, manifest)
    _check_points(table, identity)


def _check_cases(table: pl.DataFrame, identity: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    import polars as pl

    cases = table.select(pl.col(_OF_CASE).cast(pl.String)).unique()
    planned = identity.get("cases", 0)
    if planned and len(cases) != planned:
        raise UsageError(f"results: expected the {planned} cases of the manifest, got {len(cases)}")
    known = manifest.get("data", {}).get(CASES_DIGEST)  # version 0.1 did not write it
    if known is not None and cases_digest(cases.iter_rows()) != known:
        raise UsageError("results: the cases, labels, patients or splits are not those of the manifest")
    models = table["model"].cast(pl.String).unique().to_list()
    if "model" in identity and models != [identity["model"]]:
        raise UsageError(
            f"results: expected those of {identity['model']}, as the manifest says, "
            f"got those of {', '.join(map(str, models))}"
        )


def _check_points(table: pl.DataFrame, identity: Mapping[str, Any]) -> None:
    import polars as pl

    planned, n_cases = identity.get("points"), identity.get("cases")
    if planned is None or n_cases is None:
        return
    rows = table.group_by(pl.col("point").cast(pl.String)).agg(
        pl.len().alias("rows"), pl.col("case_id").n_unique().alias("cases")
    )
    counts = {point: (n_rows, n_unique) for point, n_rows, n_unique in rows.iter_rows()}
    for point in (*planned, *(point for point in counts if point not in planned)):
        n_rows, n_unique = counts.get(point, (0, 0))
        expected = n_cases if point in planned else 0
        if (n_rows, n_unique) != (expected, expected):
            raise UsageError(
                f"results: {point}: expected {expected} rows, one per case of the manifest, got {n_rows} "
                f"of {n_unique} cases"
            )

"""From a run's results to the profile of the point that they certify, unsigned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bitdose.codecs.point import Point
from bitdose.codecs.resize import NO_KERNEL
from bitdose.decision.base import Decision, MarginTest, PointTest
from bitdose.errors import BitdoseError
from bitdose.hashing import columns_digest
from bitdose.html_card import DISCLAIMER
from bitdose.profile.document import EXACT, LAYERED, SCHEMA, Profile, profile_of
from bitdose.profile.guidelines import check_modality, modality_code
from bitdose.profile.timestamps import DEFAULT_LIFE, expiry, timestamp_text
from bitdose.resample.kernels import KERNELS
from bitdose.results.canonical_json import json_items
from bitdose.results.schema import OK, PRISTINE, PROBABILITY_PREFIX
from bitdose.rule.rule import Rule
from bitdose.search.run_results import RunResults
from bitdose.stats.estimate import Estimate

if TYPE_CHECKING:
    import polars as pl

    from bitdose.results.summary import PointSummary

_PACKAGES = {"opencv": "opencv-python-headless", "pillow": "pillow"}
_OF_MANIFEST = ("model", "input", "data", "libraries", "cases", "points")
_PIECE = 100_000
_WORD_BYTES_FROM = 9  # bits from which a sample takes two bytes
_DIGESTED = ("case_id", "case_label", "case_split", "point", "bytes_coded", "predicted", "status")


def make_profile(
    results: RunResults,
    rule: Rule | None = None,
    *,
    now: datetime,
    modality: str | None = None,
    expires: str = DEFAULT_LIFE,
) -> Profile:
    """Make the profile of the point that a run certifies.

    The decision is made here, from the run's table and manifest; no claim of the profile is an argument.

    Parameters
    ----------
    results : RunResults
        The run's table and its manifest: classifier, input, libraries, digest of the data, registered rule.
    rule : Rule, optional
        The rule to decide by; the registered one where none is given. With two splits, the second one counts.
    now : datetime.datetime
        With a time zone.
    modality : str, optional
        DICOM's code, or several with commas, beside those of a column ``case_modality``.
    expires : str
        Days such as ``365d``, or a date.

    Returns
    -------
    Profile
        With its ``id``, without a signature.

    Raises
    ------
    BitdoseError
        If nothing is certified, or the manifest lacks what a profile needs.
    UsageError
        If modality or expiry cannot be read, the run is not complete, or the table is not the manifest's.
    """
    manifest, table = results.manifest, results.table
    _check_manifest(manifest)
    decision = results.decide(rule)
    proof, point = _certified(decision)
    summary_point = results.point_summary(proof.point, split=decision.rule.confirm)
    identity = _identity(decision, manifest)
    cases = _proven_rows(table, decision)
    rows = _compared(cases, proof.point)
    libraries = dict(identity["libraries"])
    coding = _coding(point, rows)
    kernels, version = _kernel_libraries(point, libraries), libraries.get("bitdose", "not known")
    created = timestamp_text(now)
    document = {
        "schema": SCHEMA,
        "id": "",
        "created": created,
        "expires": timestamp_text(expiry(expires, now)),
        "point": proof.point,
        "chain": proof.chain,
        "codec": coding,
        "classifier": _classifier(decision, identity),
        "evidence": _evidence(decision, proof, cases, summary_point, identity) | {"date": created},
        "rate": _rate(proof, decision),
        "limits": _limits(rows, modality),
        "client": {"name": "bitdose", "version": version, "libraries": [*kernels, coding["library"]]},
        "libraries": libraries,
        "disclaimer": DISCLAIMER,
        "notes": [*decision.notes, *_notes(coding, decision)],
        "signature": None,
    }
    return profile_of(document).named()


def _certified(decision: Decision) -> tuple[PointTest, Point]:
    if decision.certified is None:
        raise BitdoseError("nothing was certified, so there is no profile to make")
    return decision.certified, Point.parse(decision.certified.point)


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    """Check that a manifest says what was studied, on which cases and points."""
    missing = [key for key in _OF_MANIFEST if key not in manifest.get("identity", {})]
    if missing:
        raise BitdoseError(
            f"a profile needs a run folder's manifest with {', '.join(missing)}: "
            "a table alone does not say what was studied"
        )


def _identity(decision: Decision, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the manifest's identity once it is seen to be of this classifier."""
    identity: Mapping[str, Any] = manifest["identity"]
    if identity["model"] != decision.model:
        raise BitdoseError(f"manifest: it is of {identity['model']}, the results are of {decision.model}")
    return identity


def _proven_rows(table: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    confirm = decision.rule.confirm
    return table.filter(table["case_split"] == confirm) if confirm else table


def _compared(cases: pl.DataFrame, point: str) -> pl.DataFrame:
    """Return a point's rows of the cases that have an answer at pristine too: those of the proof."""
    ok = cases.filter(cases["status"] == OK)
    pristine = ok.filter(ok["point"] == PRISTINE).select("case_id")
    return ok.filter(ok["point"] == point).join(pristine, on="case_id", how="semi")


def _coding(point: Point, rows: pl.DataFrame) -> dict[str, Any]:
    return {
        "name": point.codec,
        "knob": point.unit,
        "value": point.quality,
        "options": list(point.options),
        "size": _only(rows, "codec_size"),
        "kernels": _only(rows, "codec_kernels"),
        "library": _only(rows, "codec_library"),
        "mode": EXACT,
        "studied_modes": _seen(rows, "codec_mode"),
        "mappings": _seen(rows, "codec_mapping"),
    }


def _classifier(decision: Decision, identity: Mapping[str, Any]) -> dict[str, Any]:
    name, _, found = decision.model.rpartition("@")
    if not name:
        raise BitdoseError(
            f"classifier {decision.model!r} has no digest, so nobody could recognise it: "
            "study it as a file, or name it NAME@DIGEST"
        )
    return {"name": name, "digest": found, "input": dict(identity["input"])}


def _evidence(
    decision: Decision,
    proof: PointTest,
    cases: pl.DataFrame,
    summary_point: PointSummary,
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    rule = decision.rule
    return {
        "n": decision.n_cases,
        "patients": decision.n_patients,
        "clustered": decision.clustered,
        "splits": [rule.confirm] if rule.confirm else _seen(cases, "case_split"),
        "alpha": rule.alpha,
        "margins": [_margin(test) for test in proof.tests],
        "estimates": [_reading(name, found) for name, found in estimates_of(summary_point)],
        "rule": rule.to_dict(),
        "rule_digest": rule.digest(),
        "data_digest": identity["data"],
        "results_digest": results_digest(cases),
        "preregistered": decision.preregistered,
    }


def _margin(found: MarginTest) -> dict[str, Any]:
    test = found.test
    return {
        "metric": found.margin.name,
        "limit": found.margin.limit,
        "pristine": _number(found.pristine),
        "coded": _number(found.coded),
        "loss": test.loss,
        "upper": test.upper,
        "p": test.p,
        "alpha": test.alpha,
        "method": test.method,
        "n": test.n,
        "unit": test.unit,
    }


def estimates_of(record: Any, prefix: str = "", suffix: str = "") -> Iterator[tuple[str, Estimate]]:
    """Yield every estimate of a summary with its name: ``accuracy``, ``flips.share``, ``f1[normal]``.

    Parameters
    ----------
    record : dataclass
        A record of estimates, of mappings of estimates, of records, and of lists of records with a ``label``.
    prefix, suffix : str
        Put around each name.
    """
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Estimate):
            yield f"{prefix}{field.name}{suffix}", value
        elif isinstance(value, Mapping):
            for name, found in value.items():
                yield f"{prefix}{name}{suffix}", found
        elif is_dataclass(value):
            yield from estimates_of(value, f"{field.name}.")
        elif isinstance(value, tuple):
            for item in value:
                if hasattr(item, "label"):
                    yield from estimates_of(item, suffix=f"[{item.label}]")


def _reading(name: str, found: Estimate) -> dict[str, Any]:
    limits = {key: _number(getattr(found, key)) for key in ("value", "low", "high")}
    return {"metric": name} | found.to_dict() | limits


def results_digest(table: pl.DataFrame) -> str:
    """Return the SHA-256 of what a decision reads of a table: the same whatever the order of its rows.

    Of the cases' ids and labels, the points, coded bytes, answers, probabilities and statuses.
    """
    import polars as pl

    probabilities = sorted(name for name in table.columns if name.startswith(PROBABILITY_PREFIX))
    places = table.select(pl.arg_sort_by("case_id", "point")).to_series()

    def pieces(name: str) -> Iterator[str]:
        column = table[name].gather(places)
        yield from (json_items(column[start : start + _PIECE]) for start in range(0, len(column), _PIECE))

    return columns_digest((name, pieces(name)) for name in sorted((*_DIGESTED, *probabilities)))


def _rate(proof: PointTest, decision: Decision) -> dict[str, Any]:
    return {
        "ratio_file": _number(proof.ratio_file),
        "ratio_pixels": _number(proof.ratio_pixels),
        "mean_bytes": proof.mean_bytes,
        "link": decision.rule.link,
        "seconds": _number(proof.seconds),
    }


def _limits(rows: pl.DataFrame, modality: str | None) -> dict[str, Any]:
    return {
        "modalities": _modalities(rows, modality),
        "height": _range(rows, "case_height"),
        "width": _range(rows, "case_width"),
        "slices": _range(rows, "case_slices"),
        "bits": sorted(rows["case_bits"].drop_nulls().unique().to_list()),
        "photometric": _photometric(rows),
        "formats": _seen(rows, "case_format"),
    }


def _modalities(rows: pl.DataFrame, modality: str | None) -> list[str]:
    given = {check_modality(text) for text in modality.split(",")} if modality is not None else set()
    seen = _seen(rows, "case_modality") if "case_modality" in rows.columns else []
    return sorted(given | {modality_code(text) for text in seen})


def _photometric(rows: pl.DataFrame) -> list[str]:
    """Tell grey from colour by the raw bytes: colour has three samples in each place."""
    found = rows.select("bytes_pixels", "case_height", "case_width", "case_slices", "case_bits")
    kinds = set()
    for raw, height, width, slices, bits in found.drop_nulls().unique().iter_rows():
        one = height * width * slices * (2 if bits >= _WORD_BYTES_FROM else 1)
        kinds.add("RGB" if raw == 3 * one else "MONOCHROME2")
    return sorted(kinds)


def _kernel_libraries(point: Point, libraries: Mapping[str, str]) -> list[str]:
    """Name the libraries that resize, with the versions that the study ran."""
    if point.resize is None:
        return []
    used = [KERNELS[name].library for name in (point.resize.down, point.resize.up) if name != NO_KERNEL]
    packages = dict.fromkeys(_PACKAGES[library] for library in used)
    return [f"{package} {libraries.get(package, 'not known')}" for package in packages]


def _notes(coding: Mapping[str, Any], decision: Decision) -> list[str]:
    found = []
    if LAYERED in coding["studied_modes"]:
        found.append(
            "The study cut this point's streams out of an encode shared with others; a client encodes "
            "alone, slightly better: a study that is not layered measures that."
        )
    if not decision.preregistered:
        found.append("The margins were not fixed in the study file before the run.")
    return found


def _only(rows: pl.DataFrame, name: str) -> str:
    """Return the one text of a column; raises ``BitdoseError`` where it holds several."""
    seen = _seen(rows, name)
    if len(seen) > 1:
        raise BitdoseError(f"results: {name} differs within the certified point: {', '.join(seen)}")
    return seen[0] if seen else ""


def _seen(rows: pl.DataFrame, name: str) -> list[str]:
    """Return the texts that occur in a column, sorted."""
    return sorted(str(value) for value in rows[name].drop_nulls().unique().to_list() if value != "")


def _range(rows: pl.DataFrame, name: str) -> list[int] | None:
    column = rows[name].drop_nulls()
    return [int(column.min()), int(column.max())] if len(column) else None  # type: ignore[arg-type]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

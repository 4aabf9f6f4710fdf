"""``bitdose profile show|verify|key``: display and verification of a certified point's profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.cli.spelling import spelled
from bitdose.html_card import DISCLAIMER

if TYPE_CHECKING:
    from bitdose.profile.document import Profile
    from bitdose.profile.verify import Finding

File = Annotated[Path, typer.Argument(help="Profile written by 'bitdose decide'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def profile(context: typer.Context) -> None:
    """Signed files of certified points: show, verify, and print the signing key."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command("show")
def show(path: File, as_json: AsJson = False) -> None:
    """Print a profile: point, margins, rate, limits, guidelines for human readers.

    Example: bitdose profile show profile.json
    """
    from bitdose.profile.document import load_profile

    found = load_profile(path)
    for line in [json.dumps(found.to_dict(), indent=2)] if as_json else _page(found):
        typer.echo(line)


@app.command("verify")
def verify(
    path: File,
    model: Annotated[
        str | None, typer.Option(help="Classifier to compare with the profile's, as for 'bitdose study'.")
    ] = None,
    weights: Annotated[str, typer.Option(help="Its state_dict, where --model needs one.")] = "",
    trust: Annotated[
        list[str] | None, typer.Option(help="Only accept signatures by this public key; repeatable.")
    ] = None,
    require_trusted: Annotated[
        bool,
        typer.Option("--require-trusted", help="Reject a key that is neither yours nor given by --trust."),
    ] = False,
    now: Annotated[str | None, typer.Option(help="Date or UTC time of the check. [default: now]")] = None,
    as_json: AsJson = False,
) -> None:
    """Check signature, signer, dates, codec build and classifier; exit code 1 on failure.

    Example: bitdose profile verify profile.json --model net.onnx
    """
    from bitdose.profile.verify import failed

    findings = _findings(path, model, weights, trust or [], now, require_trusted=require_trusted)
    bad = failed(findings)
    if as_json:
        document = {"valid": not bad, "findings": [finding._asdict() for finding in findings]}
        typer.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.level:<8} {finding.check:<10} {finding.text}")
        typer.echo("do not use this profile" if bad else f"valid. {DISCLAIMER}")
    if bad:
        raise typer.Exit(1)


@app.command("key")
def key(
    path: Annotated[
        Path | None, typer.Option("--key", help="Key file. [default: BITDOSE_KEY, or the user's own]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the public key that signs your profiles, for others' --trust; creates the key on first use.

    Example: bitdose profile key
    """
    from bitdose.profile.signing import load_or_make_key

    found = load_or_make_key(path)
    facts = {"public_key": found.public_key, "key_id": found.key_id, "path": str(found.path)}
    if as_json:
        typer.echo(json.dumps(facts | {"made": found.made}, indent=2))
        return
    for name, value in facts.items():
        typer.echo(f"{name:<10} {value}")
    if found.made:
        typer.echo("bitdose: a new key was created; keep its file private, and back it up", err=True)


def _findings(
    path: Path, model: str | None, weights: str, trust: list[str], now: str | None, *, require_trusted: bool
) -> list[Finding]:
    """Read and verify the profile; an unreadable one is a finding too."""
    from datetime import UTC, datetime

    from bitdose.errors import UsageError
    from bitdose.profile.document import profile_bytes, read_profile
    from bitdose.profile.signing import check_public_key, own_public_key
    from bitdose.profile.timestamps import day_or_timestamp
    from bitdose.profile.verify import ERROR, Finding
    from bitdose.profile.verify import verify as look_at

    trusted = [check_public_key(text, name="--trust") for text in trust]
    when = day_or_timestamp(now, "--now") if now else datetime.now(UTC)
    data = profile_bytes(path)
    try:
        found = read_profile(data)
    except UsageError as error:
        return [Finding(ERROR, "format", spelled(error))]
    return look_at(
        found,
        now=when,
        trusted=trusted,
        own_key=own_public_key(),
        require_trusted=require_trusted,
        classifier_digest=None if model is None else _name_of(model, weights, found),
    )


def _name_of(model: str, weights: str, found: Profile) -> str:
    """Return a model's ``name@digest``; a missing input spec is taken from the profile."""
    from bitdose.errors import UsageError
    from bitdose.models.load import ModelRef

    try:
        return ModelRef(model, weights).load().name
    except UsageError:
        spec = found.classifier.input.to_dict()
        flags = {name: value for name, value in spec.items() if value is not None}
        return ModelRef(model, weights, flags).load().name


def _page(found: Profile) -> list[str]:
    from bitdose.profile.document import sentence
    from bitdose.profile.guidelines import MAMMOGRAPHY, MAMMOGRAPHY_NOTE, compared

    evidence, limits = found.evidence, found.limits
    mammography = [f"warning: {MAMMOGRAPHY_NOTE}"] if MAMMOGRAPHY in limits.modalities else []
    splits = f", split {', '.join(evidence.splits)}" if evidence.splits else ""
    fixed = "fixed before the run" if evidence.preregistered else "not fixed before the run"
    people = f"{evidence.n} cases, {evidence.patients} patients"
    return [
        sentence(found),
        "",
        *_margins(found),
        "",
        f"evidence    {people}{splits}; alpha {evidence.alpha:g}, {fixed}",
        f"rate        {_rate(found)}",
        f"classifier  {found.classifier.name}@{found.classifier.digest}",
        f"codec       {found.codec.library}",
        f"limits      {_limits(found)}",
        f"guidelines  {compared(found.rate.ratio_pixels, limits.modalities)}",
        *mammography,
        f"valid       {found.created} to {found.expires}",
        f"signature   {_signature(found)}",
        *(f"note        {note}" for note in found.notes),
        "",
        f"profile {found.id}. {found.disclaimer}",
    ]


def _margins(found: Profile) -> list[str]:
    """Return a table with aligned columns, one row per margin."""
    rows = [["margin", "accepted", "pristine", "coded", "loss", "at most", "p"]]
    for each in found.evidence.margins:
        values = (each.limit, each.pristine, each.coded, each.loss, each.upper)
        rows.append([each.metric, *map(_figure, values), f"{each.p:.2g}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)) for row in rows]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return [row[0].ljust(widths[0]), *figures]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _rate(found: Profile) -> str:
    rate = found.rate
    ratios = (("source file", rate.ratio_file), ("raw pixels", rate.ratio_pixels))
    words = [f"{ratio:.1f}:1 of the {name}" for name, ratio in ratios if ratio is not None]
    seconds = [f"{rate.seconds:.1f} s on {rate.link}"] if rate.seconds is not None else []
    return ", ".join([f"{rate.mean_bytes / 1e3:,.1f} kB per exam", *words, *seconds])


def _limits(found: Profile) -> str:
    limits = found.limits
    spans = {name: getattr(limits, name) for name in ("height", "width", "slices")}
    lists: dict[str, tuple[Any, ...]] = {
        "modality": limits.modalities,
        "bits": limits.bits,
        "colour": limits.photometric,
        "format": limits.formats,
    }
    words = [f"{name} {', '.join(map(str, some)) or 'not stated'}" for name, some in lists.items()]
    return "; ".join([*words, *(f"{name} {span[0]} to {span[1]}" for name, span in spans.items() if span)])


def _signature(found: Profile) -> str:
    from bitdose.profile.signing import signature_problem

    problem = signature_problem(found)
    signer = f"signed by key {found.signature.key_id}, contents intact" if found.signature else ""
    return problem or f"{signer}; 'bitdose profile verify' checks whether it is trusted"

"""``bitdose links``: named and custom links, and the transmission time of an exam on each."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitdose.errors import UsageError

if TYPE_CHECKING:
    from bitdose.links import Link

_BYTES = ["10k", "100k", "1M", "10M"]
_MOST_BYTES = 1_000_000_000_000
_SCALES = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def links(
    link: Annotated[
        list[str] | None,
        typer.Option("--link", help="Name, or up=44k,rtt=750ms[,down=64k][,loss=1%]; repeatable."),
    ] = None,
    n_bytes: Annotated[
        list[str] | None, typer.Option("--bytes", help="Size of an exam, such as 15k or 1.5M; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List links: rates, round trip, seconds per exam of each size, knee, source.

    Below the knee, latency rather than size dominates the transmission time.

    Example: bitdose links --link gprs --link up=256k,rtt=300ms --bytes 15k
    """
    from bitdose.links import LINKS, Link

    chosen = [Link.parse(text) for text in link] if link else list(LINKS.values())
    sizes = {text: _size(text) for text in n_bytes or _BYTES}
    if as_json:
        typer.echo(json.dumps([_row(one, sizes) for one in chosen], indent=2))
        return
    for line in _table(chosen, sizes):
        typer.echo(line)


def _size(text: str) -> int:
    """Parse a number of bytes with a decimal unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    number = float(match[1]) * _SCALES[match[2]] if match else 0.0
    if not 1 <= number <= _MOST_BYTES or number != int(number):
        raise UsageError(f"--bytes: expected whole bytes from 1 to 1000G, such as 15k or 1.5M, got {text!r}")
    return int(number)


def _row(link: Link, sizes: dict[str, int]) -> dict[str, Any]:
    from bitdose.links import knee_bytes, seconds

    each = [
        {
            "bytes": size,
            "seconds": round(float(seconds(link, size)), 3),
            "exams_per_hour": round(3600 / float(seconds(link, size, fresh=False)), 1),
        }
        for size in sizes.values()
    ]
    figures = {"up_bps": link.up_bps, "down_bps": link.down_bps, "rtt_s": link.rtt_s, "loss": link.loss}
    knees = {"knee_bytes": knee_bytes(link), "knee_bytes_tenth": knee_bytes(link, share=0.1)}
    figures |= {"overhead": link.overhead}
    return {"link": str(link), **figures, "exams": each, **knees, "source": link.source}


def _table(chosen: list[Link], sizes: dict[str, int]) -> list[str]:
    """Return a table with aligned columns, one row per link."""
    heading = ["link", "up kbit/s", "down", "RTT ms", *(f"{text}B s" for text in sizes), "knee kB", "source"]
    rows = [heading]
    for link in chosen:
        row = _row(link, sizes)
        times = [f"{exam['seconds']:,.1f}" for exam in row["exams"]]
        figures = [f"{link.up_bps / 1e3:,.6g}", f"{link.down_bps / 1e3:,.6g}", f"{1e3 * link.rtt_s:g}"]
        rows.append([str(link), *figures, *times, f"{row['knee_bytes'] / 1e3:,.1f}", link.source or "yours"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)) for row in rows]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    """Align names left, figures right, and leave sources unpadded."""
    figures = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
    return [row[0].ljust(widths[0]), *figures, row[-1]]

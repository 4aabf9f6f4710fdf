"""Output of ``bitdose send``: readable lines, or a JSON object per event."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bitdose.cli.spelling import spelled
from bitdose.errors import BitdoseError
from bitdose.html_card import DISCLAIMER

if TYPE_CHECKING:
    from bitdose.client.sending.intake import Taken
    from bitdose.client.sending.outbox import Item, Outbox
    from bitdose.client.sending.send import Event
    from bitdose.links import Link
    from bitdose.wire import ExamView

_UNITS = (("MB", 1e6), ("kB", 1e3))


class SendOutput:
    """Output of one call, with a count of failures.

    Parameters
    ----------
    link : Link, optional
        Link for the expected times.
    as_json : bool
        JSON lines instead of sentences.
    """

    def __init__(self, *, link: Link | None = None, as_json: bool = False) -> None:
        self._link, self._json = link, as_json
        self._fresh, self._shown = True, False
        self.failures = 0
        self._pushed = [0, 0, 0]

    def say(self, text: str, record: dict[str, Any]) -> None:
        """Print a line on stdout."""
        self._clear()
        typer.echo(json.dumps(record) if self._json else text)

    def warn(self, text: str) -> None:
        """Print a line on stderr."""
        self._clear()
        typer.echo("bitdose: " + " ".join(text.split()), err=True)

    def taken(self, taken: Taken) -> None:
        """Report a queued file, with its expected time."""
        meta = taken.meta
        for warning in taken.warnings:
            self.warn(f"{taken.source}: {warning}")
        if not taken.is_new:
            self.say(f"{taken.source}: in the queue already", {"event": "known", "source": taken.source})
            return
        text = (
            f"{taken.source}: {_size(meta.source_bytes)} became {_size(meta.payload_bytes)} at {meta.point}"
        )
        record: dict[str, Any] = {
            "event": "taken",
            "source": taken.source,
            "point": meta.point,
            "pseudonym": meta.pseudonym,
            "source_bytes": meta.source_bytes,
            "payload_bytes": meta.payload_bytes,
        }
        if self._link is not None:
            coded_s, pristine_s = self._seconds(meta.payload_bytes), self._seconds(meta.source_bytes)
            text += f"; about {coded_s:.1f} s on {self._link} ({pristine_s:.0f} s as it is)"
            record |= {"link": str(self._link), "seconds": coded_s, "seconds_pristine": pristine_s}
            self._fresh = False
        self.say(text, record)

    def _seconds(self, n_bytes: int) -> float:
        from bitdose.links import seconds

        return round(float(seconds(self._link, n_bytes, fresh=self._fresh)), 1) if self._link else 0.0

    def refused_here(self, text: str) -> None:
        """Report a rejected file."""
        self.failures += 1
        self.warn(text)

    def heard(self, event: Event) -> None:
        """Report an event of the sender."""
        item = event.item
        if item is None:
            self.warn(event.text)
        elif event.what == "bytes":
            self._show(item, event.n_bytes)
        elif event.what == "resumed":
            text = f"{item.source}: resuming at {_size(event.n_bytes)} of {_size(item.meta.payload_bytes)}"
            self.say(text, _record(event, item) | {"offset": event.n_bytes})
        elif event.what == "answered" and event.view is not None:
            self._answer(event, item, event.view)
        elif event.what in ("refused", "failed"):
            self.failures += 1
            self.warn(f"{item.source}: {event.what}: {event.text}")
            if self._json:
                self.say("", _record(event, item) | {"reason": event.text})

    def _answer(self, event: Event, item: Item, view: ExamView) -> None:
        seconds = time.time() - item.made
        kind = " (pristine)" if not item.meta.point else ""
        self.say(
            f"{item.source}{kind}: {prediction_text(view.model_dump())}, after {seconds:.1f} s",
            _record(event, item) | {"seconds": round(seconds, 3), "view": view.model_dump(mode="json")},
        )

    def close(self, outbox: Outbox, server: str) -> None:
        """Report unsent images and the disclaimer."""
        left = Counter(item.state.value for item in outbox.items(server))
        if left["waiting"] and not self._json:
            self.say(f"{left['waiting']} pristine images wait for idle time: --all or --watch sends them", {})
        if not self._json:
            self.say(DISCLAIMER, {})

    def pushed(self, name: str, push: Callable[[Path], tuple[int, int]], path: Path) -> None:
        """Push a file and report the outcome."""
        from bitdose.client.sending.connection import StopError

        try:
            before, after = push(path)
        except StopError:
            raise
        except BitdoseError as error:
            self.refused_here(f"{name}: {spelled(error)}")
            return
        self._pushed = [self._pushed[0] + 1, self._pushed[1] + before, self._pushed[2] + after]
        record = {"event": "pushed", "source": name, "source_bytes": before, "pushed_bytes": after}
        self.say(f"{name}: stored, {_size(before)} became {_size(after)}", record)

    def close_pushed(self) -> None:
        """Report the totals."""
        if not self._json:
            n, before, after = self._pushed
            self.say(f"{n} objects stored: {_size(before)} became {_size(after)}. {DISCLAIMER}", {})

    def _show(self, item: Item, n_bytes: int) -> None:
        if self._json or not sys.stderr.isatty():
            return
        share = 100 * n_bytes / item.meta.payload_bytes
        sys.stderr.write(f"\r{item.source}: {share:3.0f} % of {_size(item.meta.payload_bytes)}  ")
        sys.stderr.flush()
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            self._shown = False


def prediction_text(view: dict[str, Any]) -> str:
    """Format a prediction in one line: class, probability, other classes, certified margins.

    Examples
    --------
    >>> loss = {"metric": "accuracy", "upper": 0.0123, "margin": 0.02}
    >>> answer = {"predicted": "normal", "probabilities": {"covid-19": 0.1, "normal": 0.9}}
    >>> prediction_text({"answer": answer, "certified": [loss]})
    'normal 0.900 (covid-19 0.100); certified: accuracy lost at most 0.0123 (accepted 0.02)'
    """
    answer = view.get("answer") or {}
    ranked = sorted(answer.get("probabilities", {}).items(), key=lambda pair: -pair[1])
    said = answer.get("predicted", "")
    shown = {name: f"{value:.3f}" for name, value in ranked}
    others = ", ".join(f"{name} {value}" for name, value in shown.items() if name != said)
    text = f"{said} {shown.get(said, '')}".strip() + (f" ({others})" if others else "")
    bounds = ", ".join(
        f"{loss['metric']} lost at most {loss['upper']:.3g} (accepted {loss['margin']:g})"
        for loss in view.get("certified") or ()
    )
    return f"{text}; certified: {bounds}" if bounds else text


def status_rows(items: list[Item]) -> list[dict[str, Any]]:
    """Return a row per item of the queue, for JSON."""
    return [
        {
            "source": item.source,
            "state": item.state.value,
            "kind": item.meta.kind.value,
            "point": item.meta.point,
            "pseudonym": item.meta.pseudonym,
            "payload_bytes": item.meta.payload_bytes,
            "exam": item.exam,
            "reason": item.reason,
            "answer": item.answer.get("answer"),
            "server": item.server,
        }
        for item in items
    ]


def status_lines(items: list[Item]) -> list[str]:
    """Return a line per item and one that counts them."""
    lines = []
    for item in items:
        end = prediction_text(item.answer) if item.answer.get("answer") else item.reason
        where = item.meta.point or "pristine"
        size = _size(item.meta.payload_bytes)
        lines.append(f"{item.state.value:9} {item.source}  {where}  {size}  {item.meta.pseudonym}  {end}")
    counts = Counter(item.state.value for item in items)
    said = ", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing in the queue"
    return [*(line.rstrip() for line in lines), f"{said}. {DISCLAIMER}"]


def _record(event: Event, item: Item) -> dict[str, Any]:
    return {
        "event": event.what,
        "source": item.source,
        "pseudonym": item.meta.pseudonym,
        "exam": item.exam,
        "kind": item.meta.kind.value,
    }


def _size(n_bytes: int) -> str:
    for unit, size in _UNITS:
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"

"""The service under load, and the seconds from a click to the answer on a thin line.

    python benchmarks/service.py load
    python benchmarks/service.py click [--image xray.png]

Both certify a point on phantoms drawn here (``bitdose study``, ``bitdose decide``) and run ``bitdose serve``
as it is installed. ``load`` talks to it over loopback from one light process: payloads coded and requests
written beforehand, bytes counted where they are handed to and taken from the socket; with PostgreSQL too
where ``initdb`` is found, its writes forced to the disk. ``click`` lays GPRS between ``bitdose send`` and the
service with the TUN devices of ``links.py``, HTTPS included, and needs what that needs; exit code 3 where the
machine does not permit it. A headless Chromium with the service's pages goes over the same line, and once
more over loopback with the network conditions that Chromium itself makes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import service_client as light
from links import NOT_PERMITTED, NotPermittedError
from service_click import click
from service_stage import Served, add_clinics, certify, postgres, serve

COLUMNS = "database | clinics | pause | connections | exams | exams/s | p50 | p95 | max"
COLUMNS += " | web | worker | db | client | others | up | down"


def cpu_s(process: int, *, with_children: bool) -> float:
    """Seconds of processor that a process took, and with its children, the ended ones too."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    ticks = sum(map(int, fields[11 : 15 if with_children else 13]))
    below = sum(cpu_s(int(child), with_children=True) for child in children) if with_children else 0.0
    return ticks / os.sysconf("SC_CLK_TCK") + below


def cpu_parts(web: Served, reader: Served, database: int) -> dict[str, float]:
    """Seconds of processor so far: web process, classifier, database server, this client, all others."""
    whole, own = (cpu_s(reader.process.pid, with_children=each) for each in (True, False))
    web_s = cpu_s(web.process.pid, with_children=False)
    workers = whole - own if web is reader else whole
    client = time.process_time()
    parts = {"web": web_s, "worker": workers, "db": cpu_s(database, with_children=True), "client": client}
    ticks = list(map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]))
    busy_s = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf(
        "SC_CLK_TCK"
    )  # all but idle and waiting for a disk
    return parts | {"others": busy_s - sum(parts.values())}


def payloads(folder: Path) -> list[Any]:
    """Code two dozen phantoms at the profile's point, as ``bitdose send`` does."""
    from bitdose.client.sending.prepare import coded_exam, open_exam
    from bitdose.profile.document import load_profile

    profile = load_profile(folder / "profile.json")
    files = sorted((folder / "phantoms").glob("*/*.png"))[::5]
    return [coded_exam(open_exam(path.read_bytes()), profile, pseudonym="load-test") for path in files]


def load(args: argparse.Namespace) -> None:
    """Print a Markdown table, a line per database and arrangement."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certify(folder)
        exams = payloads(folder)
        print(f"| {COLUMNS} |\n{'|---' * (1 + COLUMNS.count('|'))}|", flush=True)
        for kind in args.database or ["sqlite", "postgresql"]:
            for apart in (False, True) if kind == "postgresql" else (False,):
                load_one(folder, kind, exams, args, apart=apart)


def load_one(folder: Path, kind: str, exams: list[Any], args: argparse.Namespace, *, apart: bool) -> None:
    """Load one service; ``apart``: the web process has no worker, a second service reads."""
    here = Path(tempfile.mkdtemp(dir=folder))
    shutil.copy(folder / "profile.json", here)
    with ExitStack() as stack:
        found = (
            stack.enter_context(postgres()) if kind == "postgresql" else (f"sqlite:///{here}/db.sqlite", 0)
        )
        if found is None:
            print("postgresql: not installed, left out", file=sys.stderr)
            return
        database, number = found
        tokens = add_clinics(database, args.clinics)
        many = str(args.workers)
        web = stack.enter_context(serve(here, database, "--workers", "0" if apart else many))
        reader = stack.enter_context(serve(here, database, "--workers", many)) if apart else web
        wanted = [exam.meta.sha256 for exam in exams]
        asyncio.run(
            light.drive(web.port, light.plan(tokens[:1], exams, 3), pause_s=0)
        )  # the model is loaded now
        sent = 3
        rounds = [
            (1, 60, 0.0),
            (args.clinics, args.exams, 0.0),
            (args.clinics, args.exams_paused, args.pause),
        ]
        for clinics, each, pause_s in rounds[1:] if apart else rounds:
            work = light.plan(tokens[:clinics], exams, each)
            before, began = cpu_parts(web, reader, number), time.monotonic()
            answers, opened = asyncio.run(light.drive(web.port, work, pause_s=pause_s))
            wall_s = time.monotonic() - began
            after = cpu_parts(web, reader, number)
            sent += len(answers)
            cpu_ms = {key: 1e3 * (after[key] - before[key]) / len(answers) for key in after}
            line([kind + " (apart)" * apart, clinics, f"{pause_s:g} s", opened], answers, wall_s, cpu_ms)
            check(database, sent, answers, clinics * each, wanted)


def line(what: list[Any], answers: list[light.Answered], wall_s: float, cpu_ms: dict[str, float]) -> None:
    """Print one line: times in ms, processor in ms per exam, bytes per exam and over the payload's."""
    took = sorted(1e3 * one.seconds for one in answers)
    n, payload = len(took), statistics.mean(one.payload for one in answers)
    times = [f"{ms:.0f} ms" for ms in (took[n // 2], took[int(0.95 * n)], took[-1])]
    up, down = (statistics.mean(getattr(one, key) for one in answers) for key in ("up", "down"))
    cells = [*what, n, f"{n / wall_s:.1f}", *times, *(f"{ms:.1f} ms" for ms in cpu_ms.values())]
    cells += [f"{up:,.0f} ({up / payload:.3f})", f"{down:,.0f}"]
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def check(database: str, sent: int, answers: list[light.Answered], expected: int, payload: list[str]) -> None:
    """Refuse a run in which an exam was refused, lost, read twice or answered otherwise than its twin."""
    from sqlalchemy import text

    from bitdose.service.db.database import make_engine, reading

    engine = make_engine(database)
    with reading(engine) as session:
        states = {
            row[0]: row[1]
            for row in session.execute(text("SELECT state, count(*) FROM exams GROUP BY state"))
        }
        reads = session.execute(text("SELECT sum(attempts) FROM exams")).scalar()
        rows = session.execute(text("SELECT count(*) FROM answers")).scalar()
    engine.dispose()
    said: dict[str, set[str]] = {}
    for one in answers:
        said.setdefault(one.sha256, set()).add(one.answer)
    if (states, reads, rows) != ({"answered": sent}, sent, sent):
        raise SystemExit(f"of {sent} exams: states {states}, {reads} reads, {rows} answers")
    if len({one.exam for one in answers}) != expected or not said.keys() <= set(payload):
        raise SystemExit(f"{expected} exams were sent; answers came for {len({one.exam for one in answers})}")
    if any(len(labels) != 1 for labels in said.values()):
        raise SystemExit("one payload, two classes")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("load")
    one.set_defaults(run=load)
    one.add_argument("--clinics", type=int, default=50)
    one.add_argument("--exams", type=int, default=20, help="of each clinic, one after another")
    one.add_argument("--pause", type=float, default=5.0, help="mean seconds between two, in the last round")
    one.add_argument("--exams-paused", type=int, default=6, help="of each clinic in the last round")
    one.add_argument("--workers", type=int, default=1)
    one.add_argument("--database", action="append", choices=("sqlite", "postgresql"))
    two = kinds.add_parser("click")
    two.set_defaults(run=click)
    two.add_argument("--link", default="gprs")
    two.add_argument("--image", type=Path, action="append", help="a real X-ray; repeatable")
    two.add_argument("--no-pristine", dest="pristine", action="store_false", help="leave the long rows out")
    two.add_argument("--no-browser", dest="browser", action="store_false", help="leave the browser out")
    args = parser.parse_args()
    random.seed(1)
    try:
        args.run(args)
    except NotPermittedError as error:
        print(f"not permitted: {error}", file=sys.stderr)
        raise SystemExit(NOT_PERMITTED) from error


if __name__ == "__main__":
    main()

"""What ``service.py`` measures: a profile certified on phantoms, accounts, the service, its database."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

POINT, MARGIN, PER_CLASS = "jpeg:q90@256", "accuracy=0.1", 40
BITDOSE = str(Path(sys.executable).with_name("bitdose"))
PASSWORD = "four plain words here"
START_S, STOP_S = 60, 30


def certify(folder: Path) -> Path:
    """Draw phantoms, study them, certify the point; returns the profile."""
    from bitdose.data.phantoms import write_phantoms

    phantoms = write_phantoms(folder / "phantoms", n_per_class=PER_CLASS, seed=5)
    words = ["study", str(phantoms), "--model", "phantom", "--points", f"pristine,{POINT}", "--no-report"]
    call(*words, "--no-ssim", "--margin", MARGIN, "--out", str(folder / "run"))
    profile = folder / "profile.json"
    call(
        "decide", str(folder / "run"), "--out", str(profile), "--key", str(folder / "key.pem"), "--no-report"
    )
    return profile


def call(*words: str) -> None:
    """Run a command of bitdose; its words are shown where it fails."""
    done = subprocess.run([BITDOSE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bitdose {words[0]}: {done.stdout}{done.stderr}")


def add_clinics(database: str, count: int) -> list[str]:
    """Make so many accounts of clinics; returns a token of each."""
    from bitdose.service.accounts.accounts import add_account
    from bitdose.service.accounts.tokens import make_token
    from bitdose.service.clock import now
    from bitdose.service.db.database import make_engine, sessions
    from bitdose.service.db.migrate import upgrade
    from bitdose.wire import Role

    engine = make_engine(database)
    upgrade(engine)
    tokens = []
    with sessions(engine).begin() as session:
        for index in range(count):
            words: dict[str, Any] = {"password": PASSWORD, "now": now(), "role": Role.CLINIC}
            account = add_account(session, name=f"clinic-{index}", clinic=f"clinic-{index}", **words)
            session.flush()
            tokens.append(make_token(session, account.id, "uploader", now=now())[1])
    engine.dispose()
    return tokens


class Served(NamedTuple):
    """A running ``bitdose serve``."""

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def serve(
    folder: Path, database: str, *options: str, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Served]:
    """Run the service until the block ends."""
    if not port:
        with socket.create_server((host, 0)) as any_free:
            port = any_free.getsockname()[1]
    words = ["serve", "--model", "phantom", "--profile", str(folder / "profile.json"), "--database", database]
    words += ["--data", str(folder / "data"), "--storage", str(folder / "blobs"), "--host", host]
    log = (folder / f"serve-{port}.log").open("wb")
    process = subprocess.Popen([BITDOSE, *words, "--port", str(port), *options], stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_S
        while not listens(host, port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(Path(log.name).read_text())
            time.sleep(0.05)
        yield Served(port, process)
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()
        log.close()
        if said := [line for line in Path(log.name).read_text().splitlines() if "serving" not in line]:
            print("\n".join(said[:20]), file=sys.stderr)


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def postgres() -> Iterator[tuple[str, int] | None]:
    """Run a PostgreSQL server with its defaults; gives URL and process id, None where it is not installed."""
    places = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]
    initdb, pg_ctl = (shutil.which(name, path=os.pathsep.join(places)) for name in ("initdb", "pg_ctl"))
    if not initdb or not pg_ctl:
        yield None
        return
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses root
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as short:
        Path(short).chmod(0o777)
        data = f"{short}/data"
        options = f"-c listen_addresses='' -c unix_socket_directories={short}"
        subprocess.run(
            [*as_user, initdb, "-D", data, "-A", "trust", "-U", "bitdose"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        start = [*as_user, pg_ctl, "-D", data, "-w", "-l", f"{short}/log", "-o", options, "start"]
        subprocess.run(start, stdout=subprocess.DEVNULL, check=True)
        try:
            number = int(Path(data, "postmaster.pid").read_text().split()[0])
            yield f"postgresql://bitdose@/postgres?host={short}", number
        finally:
            stop = [*as_user, pg_ctl, "-D", data, "-m", "fast", "stop"]
            subprocess.run(stop, stdout=subprocess.DEVNULL, check=True)

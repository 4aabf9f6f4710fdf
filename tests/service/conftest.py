"""A real service on loopback: its own database, store, profile and accounts for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine, text

from bitdose.codecs.base import CODECS
from bitdose.codecs.coding import kernel_names
from bitdose.codecs.point import Point
from bitdose.models.load import ModelRef
from bitdose.profile.document import Profile, save_profile
from bitdose.profile.issue import make_profile
from bitdose.profile.signing import Key, load_or_make_key, sign
from bitdose.results.table import rows_to_table
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule
from bitdose.search.run_results import RunResults
from bitdose.service import clock
from bitdose.service.accounts.accounts import add_account, find_account
from bitdose.service.db.database import make_engine, sessions
from bitdose.service.db.tables import AccountRow
from bitdose.service.http.app import create_app
from bitdose.service.settings import Settings
from bitdose.wire import API, Role

PASSWORD = "four plain words here"
CLINIC = "north"
N_CASES = 300


def _row(index: int, text: str, model: Any, *, wrong: bool) -> dict[str, Any]:
    point, labels = Point.parse(text), model.spec.labels
    true = index % len(labels)
    answer = (true + wrong) % len(labels)
    side, slices = 400 + 6 * index, 1
    return {
        "case_id": f"case-{index:03d}",
        "case_label": labels[true],
        "case_patient": f"patient-{index:03d}",
        "case_split": "test",
        "case_format": ("PNG", "JPEG", "DICOM")[index % 3],
        "case_height": side,
        "case_width": side + 40,
        "case_slices": slices,
        "case_bits": (8, 12, 16)[index % 3],
        "point": text,
        "codec_name": point.codec,
        "codec_chain": point.chain,
        "codec_quality": point.quality,
        "codec_strength": point.strength,
        "codec_size": f"{point.resize.width}x{point.resize.height}" if point.resize else "",
        "codec_kernels": kernel_names(point.resize),
        "codec_mode": "" if point.is_pristine else "exact",
        "codec_library": "" if point.is_pristine else CODECS.get(point.codec).library(),
        "codec_mapping": "",
        "bytes_file": 700_000,
        "bytes_pixels": 2 * side * side,
        "bytes_coded": 700_000 if point.is_pristine else 9_000 + index,
        "model": model.name,
        **{f"p_{label}": 0.8 if at == answer else 0.1 for at, label in enumerate(labels)},
        "predicted": labels[answer],
        "status": "ok",
    }


def build_profile(point: str, key: Key, *, flips: int = 2, modality: str = "DX,CR") -> Profile:
    """Certify a point for the shipped classifier ``phantom`` on a made-up run of 300 cases, and sign it."""
    model = ModelRef("phantom").load()
    wrong = np.random.default_rng(11).random(N_CASES) < 0.1
    lost = wrong.copy()
    lost[np.flatnonzero(~wrong)[:flips]] = True
    answers = {"pristine": wrong, point: lost}
    rows = [
        _row(index, text, model, wrong=bool(bad[index]))
        for text, bad in answers.items()
        for index in range(N_CASES)
    ]
    table = rows_to_table(rows)
    rule = Rule(read_margins(["accuracy=0.05", "flips=0.1"]))
    identity = {
        "model": model.name,
        "input": model.spec.to_dict(),
        "data": "ab" * 32,
        "cases": N_CASES,
        "points": list(answers),
        "libraries": {"bitdose": "0.1.0", "opencv-python-headless": "4.12.0.88", "pillow": "12.0.0"},
    }
    made = clock.now() - timedelta(hours=1)
    options = {"now": made.replace(microsecond=0), "modality": modality}
    return sign(make_profile(RunResults(table, {"identity": identity}), rule, **options), key)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a PostgreSQL server of our own; skip where none is installed."""
    places = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]
    initdb, pg_ctl = (shutil.which(name, path=os.pathsep.join(places)) for name in ("initdb", "pg_ctl"))
    if not initdb or not pg_ctl:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path("/tmp") / f"bitdose-pg-{uuid4().hex[:8]}"  # a socket's path must be short
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses root
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    data = folder / "data"
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        subprocess.run([*as_user, initdb, "-D", str(data), "-A", "trust", "-U", "bitdose"], **quiet)
        subprocess.run([*as_user, pg_ctl, "-D", str(data), "-w", "-o", options, "start"], **quiet)
        yield f"postgresql://bitdose@/postgres?host={folder}"
    finally:
        subprocess.run(
            [*as_user, pg_ctl, "-D", str(data), "-m", "immediate", "stop"], **(quiet | {"check": False})
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database, one of SQLite and one of PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'x.sqlite'}"
    url: str = request.getfixturevalue("postgres")
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """Give a signing key of its own."""
    return load_or_make_key(tmp_path_factory.mktemp("key") / "key.pem")


@pytest.fixture(scope="session")
def make_service_profile(key: Key) -> Callable[..., Profile]:
    """Give the maker of signed profiles for ``phantom``: ``make_service_profile("jpeg2000:40x@128")``."""
    made: dict[tuple[str, str], Profile] = {}

    def make(point: str, **options: Any) -> Profile:
        name = (point, repr(sorted(options.items())))
        if name not in made:
            made[name] = build_profile(point, key, **options)
        return made[name]

    return make


@pytest.fixture(scope="session")
def profile(make_service_profile: Callable[..., Profile]) -> Profile:
    """Give a signed profile: ``jpeg:q30@256`` for ``phantom``, DX and CR, squares of 400 to 2200 pixels."""
    return make_service_profile("jpeg:q30@256")


@pytest.fixture(scope="session")
def profile_file(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the profile as a file."""
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    save_profile(profile, path)
    return path


@pytest.fixture
def settings(tmp_path: Path, profile_file: Path) -> Settings:
    """Give the settings of a service of one's own."""
    return Settings(
        data=tmp_path / "service", model="phantom", profile=str(profile_file), workers=1, docs=True
    )


@pytest.fixture
def change(settings: Settings) -> Callable[..., Settings]:
    """Give ``change(retention_days=1)``: the settings with some others."""
    return lambda **values: replace(settings, **values)


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """Give the app, without workers."""
    made = create_app(settings)
    yield made
    made.state.context.engine.dispose()


@pytest.fixture
def engine(app: FastAPI) -> Engine:
    """Give the app's database."""
    return app.state.context.engine


class Served:
    """An app served over loopback by uvicorn in a thread."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(
            app, port=0, log_level="error", proxy_headers=False, timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """Give ``serve(app)``: its URL; it stops with the test."""
    running: list[Served] = []

    def start(app: FastAPI) -> str:
        running.append(Served(app))
        return running[-1].__enter__()

    yield start
    for served in running:
        served.__exit__()


@pytest.fixture
def server(app: FastAPI, serve: Callable[[FastAPI], str]) -> str:
    """Give the URL of the app, served."""
    return serve(app)


@pytest.fixture
def new_client(server: str) -> Iterator[Callable[[], httpx.Client]]:
    """Give the maker of HTTP clients of the server, each with cookies of its own."""
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        made.append(httpx.Client(base_url=server, timeout=30))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(new_client: Callable[[], httpx.Client]) -> httpx.Client:
    """Give a client that nobody has logged in."""
    return new_client()


@pytest.fixture
def account(engine: Engine) -> Callable[..., AccountRow]:
    """Give ``account(role, name=..., clinic=...)``: made if it is not there, with PASSWORD."""

    def make(role: str, *, name: str = "", clinic: str = CLINIC) -> AccountRow:
        role_, name = Role(role), name or f"some-{role}"
        with sessions(engine).begin() as session:
            values = {"role": role_, "password": PASSWORD, "now": clock.now()}
            where = clinic if role_ is Role.CLINIC else ""
            return find_account(session, name) or add_account(session, name=name, clinic=where, **values)

    return make


@pytest.fixture
def login(
    account: Callable[..., AccountRow], new_client: Callable[[], httpx.Client]
) -> Callable[..., httpx.Client]:
    """Give ``login("clinic")``: a client logged in as that role by its cookie; it sends its CSRF token."""

    def enter(role: str, *, name: str = "", clinic: str = CLINIC) -> httpx.Client:
        row, client = account(role, name=name, clinic=clinic), new_client()
        answer = client.post(f"{API}/login", json={"name": row.name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        return client

    return enter


@pytest.fixture
def token(login: Callable[..., httpx.Client]) -> Callable[..., str]:
    """Give ``token("clinic")``: the text of an API token of that role."""

    def make(role: str, *, name: str = "", clinic: str = CLINIC) -> str:
        client = login(role, name=name, clinic=clinic)
        return client.post(f"{API}/tokens", json={"name": "uploader"}).json()["token"]

    return make


@pytest.fixture
def uploader(
    token: Callable[..., str], new_client: Callable[[], httpx.Client]
) -> Callable[..., httpx.Client]:
    """Give ``uploader("clinic")``: a client that sends an API token of that role and no cookie."""

    def make(role: str = "clinic", *, name: str = "", clinic: str = CLINIC) -> httpx.Client:
        client = new_client()
        client.headers["Authorization"] = f"Bearer {token(role, name=name, clinic=clinic)}"
        return client

    return make

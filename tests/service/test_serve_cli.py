"""``bitdose serve``: the first admin, what is refused at the start, and a real service over HTTPS."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from bitdose.cli.app import run
from bitdose.service.accounts.passwords import matches
from bitdose.service.db.database import make_engine, reading
from bitdose.service.db.tables import AccountRow

PASSWORD = "four plain words here"


def _here(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    """Run a call that ends by itself in this process, its password on stdin."""
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(password)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["serve", *arguments])
    finally:
        sys.stdin = stdin
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def _bitdose(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bitdose", "serve", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environ,
    )


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """Give a data folder with an admin."""
    done = _here("init", "--name", "Boss", "--data", str(tmp_path / "d"), password=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    return tmp_path / "d"


def test_the_first_admin_is_made_from_stdin(ready: Path) -> None:
    """The password is the first line of stdin; only its hash is stored."""
    with reading(make_engine(f"sqlite:///{ready / 'bitdose.sqlite'}")) as session:
        (row,) = session.scalars(select(AccountRow)).all()
    assert (row.name, row.role) == ("boss", "admin")
    assert matches(row.password, PASSWORD)


def test_a_second_first_admin_is_refused(ready: Path) -> None:
    """``init`` cannot be used to get into a service that has an admin."""
    done = _here("init", "--name", "mallory", "--data", str(ready), password=f"{PASSWORD}\n")
    assert (done.returncode, "an admin exists already" in done.stderr) == (2, True)


def test_a_weak_password_makes_no_admin(tmp_path: Path) -> None:
    """It is refused with the reason on one line, and is not repeated."""
    done = _here("init", "--data", str(tmp_path), password="password1234\n")
    assert (done.returncode, done.stderr.count("\n"), "password1234" in done.stderr) == (2, 1, False)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "--model: expected a classifier"),
        (["--model", "phantom", "--host", "0.0.0.0"], "in the clear"),
        (["--model", "phantom", "--certfile", "x.pem"], "expected both or none"),
        (["--model", "phantom", "--certfile", "x.pem", "--keyfile", "y.pem"], "no such file"),
        (["--model", "phantom", "--profile", "absent.json"], "profile"),
        (["--model", "phantom", "--sentinel-share", "2"], "sentinel_share: expected 0 to 1"),
        (["--model", "phantom", "--database", "mysql://x"], "database: expected"),
        (["--model", "phantom", "--config", "absent.toml"], "--config"),
    ],
)
def test_a_wrong_call_is_refused_at_once(tmp_path: Path, arguments: list[str], why: str) -> None:
    """One line on stderr that names the option, exit code 2."""
    done = _here(*arguments, "--data", str(tmp_path / "d"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert why in done.stderr


def test_a_missing_extra_is_one_line_with_the_command(tmp_path: Path) -> None:
    """Without the extra's libraries the command says how to get them, exit code 1."""
    hidden = tmp_path / "fastapi.py"
    hidden.write_text("raise ImportError('not here')\n")
    done = _bitdose("--model", "phantom", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert done.returncode == 1
    assert "pip install 'bitdose[serve]'" in done.stderr


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bitdose test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "site.pem").write_bytes(made.public_bytes(pem))
    (folder / "site.key").write_bytes(key.private_bytes(pem, *private))
    return folder / "site.pem", folder / "site.key"


@contextlib.contextmanager
def _serving(*arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bitdose", "serve", "--port", str(port), "--workers", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield port, process
    finally:
        process.kill()
        process.communicate()


def _idle_s(port: int, trusted: ssl.SSLContext) -> float:
    """Ask once and return how long the connection then stays open, at most 10 s."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as link,
    ):
        link.settimeout(10)
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in link.recv(65_536)
        began = time.monotonic()
        while link.recv(65_536):
            pass
        return time.monotonic() - began


def _wait_for(url: str, process: subprocess.Popen[str], **options: object) -> httpx.Response:
    for _ in range(300):
        assert process.poll() is None, process.stderr.read()
        try:
            return httpx.get(url, **options)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("it did not come up")


def test_a_service_over_https_logs_its_admin_in_and_stops(
    ready: Path, profile_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate the whole way works: probe, login with a secure cookie, Ctrl-C, exit code 0.

    An idle connection is closed after the setting's time, here a second, and not before.
    """
    monkeypatch.setenv("BITDOSE_KEEP_ALIVE_SECONDS", "1")
    certfile, keyfile = _certificate(tmp_path)
    files = ["--certfile", str(certfile), "--keyfile", str(keyfile), "--profile", str(profile_file)]
    trusted = ssl.create_default_context(cafile=str(certfile))
    with _serving("--model", "phantom", "--data", str(ready), *files) as (port, process):
        url = f"https://127.0.0.1:{port}"
        assert _wait_for(f"{url}/readyz", process, verify=trusted).json() == {"status": "ready"}
        with httpx.Client(base_url=url, verify=trusted) as client:
            answer = client.post("/api/v1/login", json={"name": "boss", "password": PASSWORD})
            assert answer.headers["set-cookie"].startswith("__Host-bitdose=")
            assert client.get("/api/v1/me").json()["role"] == "admin"
            assert "server" not in answer.headers
        assert 0.9 < _idle_s(port, trusted) < 4
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out == ""
    assert "Research use only" in err
    assert len(err.splitlines()) == 1


def test_a_broken_certificate_is_one_line(ready: Path, profile_file: Path, tmp_path: Path) -> None:
    """A file that is no certificate is named by its option, exit code 2."""
    (tmp_path / "x.pem").write_text("nothing")
    files = ["--certfile", str(tmp_path / "x.pem"), "--keyfile", str(tmp_path / "x.pem"), "--port", "0"]
    done = _bitdose("--model", "phantom", "--data", str(ready), "--profile", str(profile_file), *files)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "--certfile" in done.stderr


def test_a_taken_port_is_one_line(ready: Path, profile_file: Path) -> None:
    """Where it cannot listen the command fails with the port's number, exit code 1, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _bitdose(
            "--model", "phantom", "--data", str(ready), "--profile", str(profile_file), "--workers", "0",
            "--port", str(port),
        )  # fmt: skip
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr

"""``bitdose send`` on the command line: small, quiet about patients, and honest about what was sent."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from bitdose.cli import send as send_command
from bitdose.client.sending.connection import StopError
from bitdose.codecs.jpeg2000 import Jpeg2000
from bitdose.errors import BitdoseError, MissingBackendError, UsageError
from bitdose.lock import lock_folder
from bitdose.testing.images import textured_image

PEAK_MB = 200
OWN_MB = 110
OPENJPEG_MB = 40  # more, where the encoder in C is not at work
HEAVY = ("torch", "onnxruntime", "polars", "pyarrow", "scipy", "matplotlib", "statsmodels")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Give what runs ``bitdose send`` and returns what it printed; errors are raised as they are."""
    monkeypatch.setenv("BITDOSE_OUTBOX", str(tmp_path / "outbox"))
    monkeypatch.setenv("BITDOSE_TOKEN", "test-token")
    app = typer.Typer()
    app.add_typer(send_command.app, name="send")
    app.command("other")(lambda: None)

    def call(*words: str, code: int = 0, with_stderr: bool = True) -> str:
        result = CliRunner().invoke(app, ["send", *words])
        if isinstance(result.exception, BitdoseError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output if with_stderr else result.stdout

    return call


@pytest.fixture
def xray(tmp_path: Path, png: Callable[..., bytes]) -> Path:
    """Give an image file."""
    path = tmp_path / "incoming" / "xray.png"
    path.parent.mkdir()
    path.write_bytes(png())
    return path


def test_a_file_is_sent_and_its_answer_printed(run: Callable[..., str], service: Any, xray: Path) -> None:
    """Bytes before and after, seconds on the link, the answer, what was certified, and what it is not."""
    said = run(str(xray), "--server", service.url, "--link", "gprs")
    assert re.search(r"xray.png: [0-9.]+ kB became [0-9.]+ (kB|bytes) at jpeg:q30@64; about", said)
    assert "s on gprs" in said
    assert "normal 0.900 (covid-19 0.100); certified: accuracy lost at most 0.03 (accepted 0.05)" in said
    assert "Research use only, not a medical device." in said


def test_the_command_may_be_named(run: Callable[..., str], service: Any, xray: Path) -> None:
    """``send files`` is ``send``, options may come first, and no file sends what waits."""
    assert "normal" in run("files", str(xray), "--server", service.url)
    assert "in the queue already" in run("--server", service.url, str(xray))
    assert "Research use" in run("--server", service.url)
    assert len(service.exams) == 1


def test_one_sender_at_a_time(run: Callable[..., str], service: Any, xray: Path, tmp_path: Path) -> None:
    """While another process empties the queue, a call adds its files to it and says who sends them."""
    (tmp_path / "outbox").mkdir()
    with lock_folder(tmp_path / "outbox", writer="another"):
        assert "will send these too" in run(str(xray), "--server", service.url)
    assert not service.exams
    assert "normal" in run("--server", service.url)


def test_a_program_reads_json_lines(run: Callable[..., str], service: Any, xray: Path) -> None:
    """Each line of --json is an object, and the answer is among them whole."""
    said = run(str(xray), "--server", service.url, "--json", with_stderr=False)
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["event"] for event in events] == ["taken", "answered"]
    assert events[1]["view"]["answer"]["probabilities"] == {"normal": 0.9, "covid-19": 0.1}


def test_a_folder_with_a_bad_file(run: Callable[..., str], service: Any, xray: Path) -> None:
    """What cannot be read is said and counted, the rest is sent, and the exit code is 1."""
    (xray.parent / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    said = run(str(xray.parent), "--server", service.url, code=1)
    assert "bad.png: " in said
    assert len(service.exams) == 1


def test_status_and_who_stay_at_the_clinic(
    run: Callable[..., str], service: Any, tmp_path: Path, radiograph: Callable[..., bytes]
) -> None:
    """The queue lists exams by file and pseudonym; only ``who`` names the patient."""
    (tmp_path / "a.dcm").write_bytes(radiograph())
    sent = run(str(tmp_path / "a.dcm"), "--server", service.url)
    (row,) = json.loads(run("status", "--json"))
    assert (row["state"], row["source"]) == ("answered", "a.dcm")
    assert run("who", row["pseudonym"]).strip() == "4711  Doe^Jane  19500102"
    assert "Doe" not in sent + run("status")
    assert "1 answered" in run("status")
    with pytest.raises(UsageError, match="unknown at this clinic"):
        run("who", "0123456789")


def test_burnt_in_text_is_warned_of(
    run: Callable[..., str], service: Any, tmp_path: Path, radiograph: Callable[..., bytes]
) -> None:
    """A file whose pixels may name the patient is sent with a warning on stderr."""
    (tmp_path / "a.dcm").write_bytes(radiograph(BurnedInAnnotation="YES"))
    assert "burnt into its pixels" in run(str(tmp_path / "a.dcm"), "--server", service.url)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sentinel", "2"], "--sentinel 2: expected a share"),
        (["--link", "gprx"], "did you mean 'gprs'"),
        (["--watch"], "--watch: expected one folder"),
    ],
)
def test_a_wrong_call_is_said_before_anything_is_sent(
    words: list[str], said: str, run: Callable[..., str], service: Any, xray: Path
) -> None:
    """Each wrong option is one line, and no exam leaves."""
    with pytest.raises(UsageError, match=said):
        run(str(xray), "--server", service.url, *words)
    assert not service.exams


def test_no_token_is_taken_from_the_command_line(run: Callable[..., str], service: Any, xray: Path) -> None:
    """There is no --token: others could read it in the list of processes."""
    assert "No such option" in run(str(xray), "--server", service.url, "--token", "x", code=2)


def test_a_revoked_token_is_said(
    run: Callable[..., str], service: Any, xray: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The service's refusal is one line that says what to look at."""
    monkeypatch.setenv("BITDOSE_TOKEN", "revoked")
    with pytest.raises(StopError, match="is the token still good"):
        run(str(xray), "--server", service.url)


# What pydicom loads where it is there, and `pip install 'bitdose[send]'` does not bring.
_AS_INSTALLED = """
import sys
sys.modules.update(dict.fromkeys(("gdcm", "requests", "tqdm")))
from bitdose.cli.send import app
"""
_SMALL = f"""
{_AS_INSTALLED}
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    status = open("/proc/self/status").read()
    print(*sorted({{name for name, module in sys.modules.items() if module}} & set({HEAVY})))
    print(status)
"""


def _check_peak(status: str, what: str, *, more_mb: int = 0) -> None:
    """Check a process by the kernel's high-water mark; ru_maxrss would be that of who started it.

    How much of the libraries' files is mapped is up to the kernel and its page cache: without it stands what
    the process itself has taken, on any machine.
    """
    peak, files = (
        int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        for name in ("VmHWM", "RssFile")
    )
    print(f"{what}: {peak:.0f} MB, {peak - files:.0f} MB of it its own")
    assert peak < PEAK_MB
    assert peak - files < OWN_MB + more_mb


def _environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"BITDOSE_OUTBOX": str(tmp_path / "outbox"), "BITDOSE_TOKEN": "test-token"}


@pytest.mark.parametrize("case", [("jpeg:q30@256", 2236), ("jpeg2000:20x", 2048)])
def test_it_runs_in_200_mb_without_the_heavy_libraries(
    case: tuple[str, int],
    tmp_path: Path,
    serve: Any,
    new_profile: Callable[..., Any],
    radiograph: Callable[..., bytes],
) -> None:
    """A radiograph of 8 to 10 MB is coded, paired with its pristine half, and both are sent whole."""
    text, side = case
    service = serve(new_profile(tmp_path, text))
    (tmp_path / "a.dcm").write_bytes(radiograph(side=side))
    words = [str(tmp_path / "a.dcm"), "--server", service.url, "--sentinel", "1", "--all"]
    done = subprocess.run(
        [sys.executable, "-c", _SMALL, *words], capture_output=True, text=True, env=_environment(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert [exam["meta"].kind.value for exam in service.exams] == ["coded", "pristine"]
    heavy, status = re.split(r"\n(?=Name:)", done.stdout)
    assert not heavy.split("\n")[-1]
    loops = Jpeg2000.encode_each(
        textured_image(64, 64, rng=np.random.default_rng(0), bits=16), [Jpeg2000(20.0)]
    )
    _check_peak(status, text, more_mb=OPENJPEG_MB if text.startswith("jpeg2000") and not loops else 0)


def test_a_killed_sender_goes_on_at_the_byte(
    *,
    tmp_path: Path,
    serve: Any,
    lines: Callable[..., Any],
    full_size: Any,
    png: Callable[..., bytes],
    spawn: Any,
) -> None:
    """Killed in mid-upload as by a power cut, three times: the last call sends the rest of one exam."""
    service = serve(full_size)
    line = lines(service.url)
    (tmp_path / "x.png").write_bytes(png(1, side=1024))
    script = "import sys; from bitdose.cli.send import app; app(sys.argv[1:])"
    call, env = [sys.executable, "-c", script], _environment(tmp_path)
    words = [str(tmp_path / "x.png"), "--server", line.url]
    line.pause_s, had = 0.05, 0
    for _ in range(3):
        child = spawn([*call, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while sum(len(one["data"]) for one in service.uploads.values()) <= had:
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        child.kill()
        child.wait()
        time.sleep(0.2)
        had = sum(len(one["data"]) for one in service.uploads.values())
    line.pause_s = 0.0
    done = subprocess.run([*call, "files", "--server", line.url], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "resuming at" in done.stdout
    assert len(service.uploads) == len(service.exams) == 1
    (exam,) = service.exams
    assert 0 < had < exam["length"]
    assert line.up < exam["length"] + 40_000


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    """Without its libraries the command says how to install them, and BitDose works otherwise."""
    script = "import sys; sys.modules['httpx'] = None\n"
    script += "from bitdose.cli.app import run; run(['codecs'])\n"
    script += "from bitdose.cli.send import app\n"
    script += "from bitdose.errors import MissingBackendError\n"
    script += (
        "try: app(['status'], standalone_mode=False)\nexcept MissingBackendError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=_environment(tmp_path)
    )
    assert done.stdout.endswith("sending needs httpx: pip install 'bitdose[send]'\n"), done.stderr
    assert "jpeg2000" in done.stdout


def test_listening_without_pynetdicom_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own library may be missing alone."""
    from bitdose.client.dicom_node.listen import import_pynetdicom

    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'bitdose\[send\]'"):
        import_pynetdicom()


def test_a_watched_folder_is_sent_as_it_fills(
    tmp_path: Path, service: Any, xray: Path, png: Callable[..., bytes], spawn: Any
) -> None:
    """A file is sent once it has settled; after a restart only what is new is sent."""
    command = [sys.executable, "-c", "from bitdose.cli.send import app; app()"]
    command += [str(xray.parent), "--watch", "--server", service.url]

    def watch_until(n_exams: int) -> None:
        child = spawn(command, env=_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while len(service.exams) < n_exams and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)

    watch_until(1)
    shutil.copy(xray, xray.parent / "copy-of-the-same.png")
    (xray.parent / "new.png").write_bytes(png(5))
    watch_until(2)
    assert len(service.exams) == 2


def test_a_listening_node_sends_on_in_200_mb(
    tmp_path: Path, service: Any, radiograph: Callable[..., bytes], spawn: Any
) -> None:
    """Five radiographs of 8 MB by C-STORE, each on its own association, all reach the service."""
    import pydicom
    from pynetdicom import AE

    command = [sys.executable, "-c", f"{_AS_INSTALLED}\napp()", "listen", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = spawn([*command, "--server", service.url], env=_environment(tmp_path), bufsize=1, **pipes)
    assert child.stdout is not None
    port = int(child.stdout.readline().rpartition(":")[2])
    entity = AE(ae_title="XRAY-1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1")
    for number in range(5):
        data = radiograph(side=2000 + number, SOPInstanceUID=f"1.2.3.{number}")
        association = entity.associate("127.0.0.1", port, ae_title="BITDOSE")
        assert association.send_c_store(pydicom.dcmread(io.BytesIO(data))).Status == 0
        association.release()
    deadline = time.monotonic() + 30
    while len(service.exams) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    status = Path(f"/proc/{child.pid}/status").read_text()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert len(service.exams) == 5
    _check_peak(status, "listening")

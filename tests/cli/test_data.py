"""``bitdose data`` as a person or a program meets it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from bitdose.cli.app import run

BODY = os.urandom(1 << 20)


class Slow(BaseHTTPRequestHandler):
    """Serves one body under every path, slowly for a first visitor, with Range."""

    spans: list[str | None] = []  # noqa: RUF012  one server, one test
    slow = False

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        """Send the body, in small steps while the server is slow."""
        span = self.headers["Range"]
        Slow.spans.append(span)
        start = int(span[6:-1]) if span else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        try:
            for at in range(start, len(BODY), 1 << 16):
                self.wfile.write(BODY[at : at + (1 << 16)])
                if Slow.slow:
                    time.sleep(0.3)
        except OSError:
            pass


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve two files and give their manifest."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    Slow.spans, Slow.slow = [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        sha256 = hashlib.sha256(BODY).hexdigest()
        files = [
            {"path": f"{n}.png", "url": f"{url}/{n}", "bytes": len(BODY), "sha256": sha256} for n in "ab"
        ]
        path = tmp_path / "m.json"
        path.write_text(json.dumps({"name": "pair", "licence": "Only for tests", "files": files}))
        yield path
        server.shutdown()
        thread.join()


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Sit at a terminal and type."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_the_licence_comes_first(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, licence, size and place are shown, and --yes is named; nothing comes."""
    assert run(["data", "get", str(manifest)]) == 2
    said = capsys.readouterr().err
    assert said.index("licence: Only for tests") < said.index("--yes")
    assert "2 files, 2.0 MiB, to pair" in said
    assert not Path("pair").exists()
    assert Slow.spans == []


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_person_is_asked(manifest: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    """Only a yes fetches; no, nothing and Ctrl-D do not."""
    answer(monkeypatch, typed)
    assert run(["data", "get", str(manifest)]) == code
    assert Path("pair/a.png").exists() == (code == 0)


def test_get_then_get_again(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fetched files are there whole; a second call says that they were; --json is one document."""
    assert run(["data", "get", str(manifest), "--yes", "--out", "o"]) == 0
    assert "2 files downloaded, 0 present already, 0 failed" in capsys.readouterr().out
    assert Path("o/b.png").read_bytes() == BODY
    assert run(["data", "get", str(manifest), "--yes", "--out", "o", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fetched"], found["present"], found["failed"]) == (0, 2, [])


def test_a_failed_file_is_told_by_its_number_and_ends_in_exit_1(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong digest fails one file by number, without its name; the other is there; exit code 1."""
    document = json.loads(manifest.read_text())
    document["files"][1] |= {"sha256": "0" * 64, "path": "Doe-Jane.png"}
    manifest.write_text(json.dumps(document))
    assert run(["data", "get", str(manifest), "--yes", "--out", "o"]) == 1
    said = capsys.readouterr()
    assert "bitdose: file 2: complete, but its SHA-256" in said.err
    assert "1 of 2 files are missing; run again" in said.out
    assert "Doe" not in said.err + said.out
    assert Path("o/a.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_get_goes_on_where_it_was(manifest: Path, spawn: Any) -> None:
    """After kill -9 in the middle, the same command asks for the rest only and ends with the right bytes."""
    Slow.slow = True
    command = [sys.executable, "-m", "bitdose", "data", "get", str(manifest), "--yes", "--out", "o"]
    process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = [Path("o/a.png.part"), Path("o/b.png.part")]
    deadline = time.monotonic() + 60
    while not all(part.exists() and part.stat().st_size > 1 << 17 for part in parts):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("o/a.png").exists()
    Slow.slow, Slow.spans = False, []
    assert run(command[3:]) == 0
    assert all(span is not None and int(span[6:-1]) > 1 << 17 for span in Slow.spans)
    assert [Path(f"o/{name}.png").read_bytes() == BODY for name in "ab"] == [True, True]
    assert not list(Path("o").glob("*.part*"))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupted_get_says_how_to_go_on(manifest: Path, spawn: Any) -> None:
    """Ctrl-C ends with exit code 1 and one line, and keeps what came."""
    Slow.slow = True
    command = [sys.executable, "-m", "bitdose", "data", "get", str(manifest), "--yes", "--out", "o"]
    process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (Path("o/a.png.part").exists() and Path("o/a.png.part").stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.splitlines()[-1] == (
        "bitdose: interrupted; received bytes are retained: run the same command to resume"
    )
    assert Path("o/a.png.part").stat().st_size


@pytest.mark.parametrize("group", [["data"], ["data", "make"]])
def test_a_bare_group_prints_its_help(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A group without a command shows its commands on their own lines, and is a wrong call."""
    assert run(group) == 2
    said = capsys.readouterr()
    assert "Commands:\n" in said.out
    assert said.err == ""


def test_the_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name, what can be fetched and how to get the rest by hand; as JSON too."""
    assert run(["data", "get"]) == 0
    said = capsys.readouterr().out
    for word in ("cxr-public", "rsna-pneumonia", "ixi-t1", "brats2019", "by hand", "licence:"):
        assert word in said
    assert run(["data", "get", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["set"] for row in rows if row["fetched"]] == ["cxr-public"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, without any proxy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["get", "rsna-pneumonia"], 2, "cannot be fetched by a program"),
        (["get", "nothing-like-it"], 2, "unknown set 'nothing-like-it'"),
        (["get", "cxr-public", "--retries", "-1"], 2, "retries"),
        (["get", "http://127.0.0.1:9/m.json", "--retries", "0"], 1, "manifest from 127.0.0.1: no connection"),
        (["check", "nowhere"], 2, "expected a folder or a .csv or .parquet table, got nothing there"),
        (["make", "covidx", "--covid", "nowhere", "--rsna", "."], 2, "--covid 'nowhere': expected a clone"),
        (["make", "brain", "--ixi", ".", "--brats", "."], 1, "brain: no case is left to write"),
        (["make", "brain", "--ixi", ".", "--brats", ".", "--healthy", "0"], 2, "--healthy '0': expected"),
        (["make", "brain", "--ixi", "."], 2, "--brats"),
        (["make", "elephants"], 2, "elephants"),
    ],
)
def test_wrong_calls_are_one_line(
    arguments: list[str], code: int, says: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong: the right exit code and one line on stderr that says what."""
    assert run(["data", *arguments]) == code
    said = capsys.readouterr().err.strip()
    assert says in said
    assert len(said.splitlines()) == 1


def write_brain(folder: Path) -> None:
    """Write small downloads of both sources."""
    rng = np.random.default_rng(0)
    for number in range(4):
        noisy = rng.integers(1, 99, (12, 12, 10)).astype(np.int16)
        (folder / "ixi").mkdir(exist_ok=True)
        nibabel.Nifti1Image(noisy, np.eye(4)).to_filename(folder / f"ixi/IXI00{number}-HH-1-T1.nii.gz")
        for grade in ("HGG", "LGG"):
            ball = np.zeros((12, 12, 10), np.int16)
            ball[4:8, 4:8, 3:7] = rng.integers(1, 99, (4, 4, 4))
            name = f"BraTS19_{grade}{number}"
            (folder / "brats" / grade / name).mkdir(parents=True)
            nibabel.Nifti1Image(ball, np.eye(4)).to_filename(
                folder / "brats" / grade / name / f"{name}_t1ce.nii.gz"
            )


def test_make_then_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set is made, says its counts and confounds, checks without a problem, and is not replaced unasked."""
    monkeypatch.chdir(tmp_path)
    write_brain(tmp_path)
    make = ["data", "make", "brain", "--ixi", "ixi", "--brats", "brats"]
    assert run(make) == 0
    said = capsys.readouterr().out
    assert "skull stripping is confounded with the class" in said
    assert "next: bitdose data check brain" in said
    assert run(["data", "check", "brain"]) == 0
    said = capsys.readouterr().out
    assert "files: 12; no problem" in said
    assert "259 (inferred)" in said
    assert run([*make, "--seed", "3"]) == 2
    assert "--force" in capsys.readouterr().err
    assert run([*make, "--seed", "3", "--force", "--healthy", "all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["test"]["HGG"]["cases"] == 1


def write_covidx(folder: Path) -> None:
    """Write small downloads of both sources, and RSNA's mappings."""
    image = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    (folder / "rsna/stage_2_train_images").mkdir(parents=True)
    (folder / "covid-chestxray-dataset/images").mkdir(parents=True)
    rows = ["patientid,finding,view,filename"]
    classes, boxes = ["patientId,class"], ["patientId,x,y,width,height,Target"]
    for n in range(4):
        rows.append(f"{n},Pneumonia/Viral/COVID-19,PA,{n}.png")
        pixels = np.full((8, 8), n, np.uint8)
        cv2.imwrite(str(folder / f"covid-chestxray-dataset/images/{n}.png"), pixels)
        for kind, name in (("Normal", f"n{n}"), ("Lung Opacity", f"o{n}")):
            classes.append(f"{name},{kind}")
            boxes.append(f"{name},,,,,{int(kind != 'Normal')}")
            (folder / f"rsna/stage_2_train_images/{name}.dcm").write_bytes(image + name.encode())
    (folder / "covid-chestxray-dataset/metadata.csv").write_text("\n".join(rows))
    (folder / "rsna/stage_2_detailed_class_info.csv").write_text("\n".join(classes))
    (folder / "rsna/stage_2_train_labels.csv").write_text("\n".join(boxes))
    (folder / "mappings.json").write_text('[{"subset_img_id": "n0", "img_id": "00000001_000.png"}]')


def test_the_commands_of_the_page_work(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every make and check command of docs/how-to/public-sets.md runs as it stands there."""
    page = (Path(__file__).parents[2] / "docs/how-to/public-sets.md").read_text()
    write_brain(empty)
    (empty / "ixi").rename(empty / "IXI-T1")
    (empty / "brats").rename(empty / "MICCAI_BraTS_2019_Data_Training")
    write_covidx(empty)
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("bitdose data ")]
    assert len(commands) == 6
    for command in commands:
        if command[1:] != ["get", "cxr-public", "--out", "cxr"]:  # this one needs the web
            assert run(command) == 0, command
    said = capsys.readouterr().out
    assert "12 cases in covidx/cases.csv" in said
    assert "13811" in said


def test_a_class_without_a_case_is_exit_code_1(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is written, a warning and the last line name the absent classes, and the exit code is 1."""
    write_covidx(empty)
    (empty / "rsna/stage_2_detailed_class_info.csv").write_text("patientId,class\n")
    (empty / "rsna/stage_2_train_labels.csv").write_text("patientId,x,y,width,height,Target\n")
    make = ["data", "make", "covidx", "--covid", "covid-chestxray-dataset", "--rsna", "rsna"]
    assert run(make) == 1
    said = capsys.readouterr()
    assert "warning: no case of class normal, pneumonia: a study cannot measure it" in said.out
    assert said.err.strip().splitlines() == [
        "bitdose: covidx: the table has no case of class normal, pneumonia; check the downloads"
    ]
    assert Path("covidx/cases.csv").is_file()
    assert run([*make, "--json"]) == 1
    assert "no case of class normal, pneumonia" in "".join(json.loads(capsys.readouterr().out)["warnings"])


def test_a_leak_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A patient in two splits makes check fail, in words and as JSON."""
    monkeypatch.chdir(tmp_path)
    write_brain(tmp_path)
    run(["data", "make", "brain", "--ixi", "ixi", "--brats", "brats"])
    lines = Path("brain/cases.csv").read_text().splitlines()
    cells = lines[1].split(",")
    cells[2:5] = ["other", cells[3], "test" if cells[4] == "train" else "train"]
    Path("brain/cases.csv").write_text("\n".join([*lines, ",".join(cells)]))
    capsys.readouterr()
    assert run(["data", "check", "brain"]) == 1
    said = capsys.readouterr().out
    assert "problem: patients in several splits: 1 (first: data rows 1 and 13)" in said
    assert "problem: files in several splits under different ids: 1" in said
    assert run(["data", "check", "brain", "--quick", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1

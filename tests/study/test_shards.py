"""A run's copy in an object store: as it grows, after a lost machine, and whatever else is at the URL."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bitdose.cli.app import run as bitdose
from bitdose.errors import BitdoseError, MissingBackendError, UsageError
from bitdose.study.plan import Plan, make_plan
from bitdose.study.progress import StudyProgress
from bitdose.study.run import RunOutcome, run_study
from bitdose.study.shards import Shards, place_of
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_run

TIMES = ["encode_ms", "decode_ms"]


@pytest.fixture
def plan(texture_set: Path, texture_model: Path) -> Plan:
    """Give a study of 12 cases and 3 points."""
    return make_plan(StudySpec(data=str(texture_set), model=str(texture_model), points=("jpeg:q90,jpeg:q5",)))


@pytest.fixture(params=["memory", "local"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty place in two of fsspec's file systems."""
    yield (
        f"memory://bucket/{tmp_path.name}" if request.param == "memory" else f"local://{tmp_path}/bucket/run"
    )
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URL of an empty place in a bucket of a real S3 server on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    moto = pytest.importorskip("moto.server", reason="moto, an S3 server, is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    fsspec.filesystem("s3").mkdir("bucket")
    yield "s3://bucket/run"
    server.stop()


def go(plan: Plan, folder: Path, url: str, *, stop_after: int = 0, **how: bool) -> RunOutcome:
    """Run a study with its copy at a URL; Ctrl-C comes after so many cases, if any."""

    def watch(tally: StudyProgress) -> None:
        if tally.cases == stop_after:
            raise KeyboardInterrupt

    return run_study(plan, folder, workers=1, watch=watch, shards=Shards(url), **how)


def at(url: str) -> list[str]:
    """Give the names of the shards at a URL."""
    files, root = fsspec.core.url_to_fs(url)
    return sorted(path.rpartition("/")[2] for path in files.ls(f"{root}/results", detail=False))


def rows(folder: Path) -> pl.DataFrame:
    """Give a run's rows without the clock."""
    return read_run(folder).drop(TIMES)


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_run_goes_on_from_its_shards_on_another_machine(
    plan: Plan, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The run folder is lost after 5 cases: from the URL the study goes on, and ends as if undisturbed."""
    url = f"memory://bucket/{tmp_path.name}" if kind == "memory" else request.getfixturevalue(kind)
    run_study(plan, tmp_path / "whole", workers=1)
    assert go(plan, tmp_path / "run", url, stop_after=5).interrupted
    shutil.rmtree(tmp_path / "run")
    outcome = go(plan, tmp_path / "elsewhere", url, resume=True)
    assert (outcome.skipped, outcome.done) == (5, 12)
    Shards(url).pull(tmp_path / "third")
    for folder in ("elsewhere", "third"):
        assert_frame_equal(rows(tmp_path / folder), rows(tmp_path / "whole"), check_exact=True)


def test_shards_come_as_the_study_grows(
    plan: Plan, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so many seconds what has come is copied, so that a lost machine costs those seconds alone."""
    monkeypatch.setattr("bitdose.study.shards.PUSH_S", 0.0)
    seen: list[int] = []
    run_study(plan, tmp_path / "run", workers=1, shards=Shards(url), watch=lambda t: seen.append(t.cases))
    assert len(at(url)) == 12
    monkeypatch.setattr("bitdose.study.shards.PUSH_S", 1000.0)
    more = go(plan, tmp_path / "again", url, resume=True)
    assert more.skipped == 12


def test_a_torn_shard_is_set_aside_and_its_cases_run_again(plan: Plan, url: str, tmp_path: Path) -> None:
    """An upload that was cut off costs its own cases; the URL is whole again afterwards."""
    go(plan, tmp_path / "run", url, stop_after=5)
    files, root = fsspec.core.url_to_fs(url)
    (name,) = at(url)
    files.pipe_file(f"{root}/results/{name}", files.cat_file(f"{root}/results/{name}")[:-200])
    outcome = go(plan, tmp_path / "elsewhere", url, resume=True)
    assert (outcome.skipped, outcome.done, outcome.set_aside) == (0, 12, (name,))
    Shards(url).pull(tmp_path / "third")
    assert rows(tmp_path / "third")["case_id"].n_unique() == 12


def test_what_is_run_again_replaces_its_shards(plan: Plan, url: str, tmp_path: Path) -> None:
    """--retry-failed at a URL: the failed rows are there no more, in no copy."""
    case = plan.cases.cases[0]
    good = case.path.read_bytes()
    shutil.copytree(plan.spec.data, tmp_path / "data")
    path = tmp_path / "data" / case.path.relative_to(plan.spec.data)
    path.write_bytes(b"x" * len(good))
    here = make_plan(plan.spec.updated(data=str(tmp_path / "data")))
    assert go(here, tmp_path / "run", url).failed == 1
    path.write_bytes(good)
    shutil.rmtree(tmp_path / "run")
    assert go(here, tmp_path / "run", url, resume=True, retry_failed=True).failed == 0
    Shards(url).pull(tmp_path / "third")
    assert set(rows(tmp_path / "third")["status"]) == {"ok"}


def test_two_that_write_to_one_url_lose_nothing(plan: Plan, url: str, tmp_path: Path) -> None:
    """Two machines that run one study at the same time waste work; every case is there, and counts once."""
    shards = Shards(url)
    shards.pull(tmp_path / "second")  # before the first has written anything
    go(plan, tmp_path / "first", url, stop_after=7)
    run_study(plan, tmp_path / "second", workers=1)
    shards.push(tmp_path / "second")
    Shards(url).pull(tmp_path / "third")
    assert_frame_equal(rows(tmp_path / "third"), rows(tmp_path / "second"), check_exact=True)


def test_another_study_at_the_url_is_refused(plan: Plan, url: str, tmp_path: Path) -> None:
    """Rows of two studies never mix, neither at the URL nor in the folder."""
    go(plan, tmp_path / "run", url)
    other = make_plan(plan.spec.updated(points=("jpeg:q90,jpeg:q40",)))
    with pytest.raises(UsageError, match="another study"):
        go(other, tmp_path / "elsewhere", url, resume=True)
    run_study(other, tmp_path / "other", workers=1)
    with pytest.raises(UsageError, match="holds another study"):
        go(other, tmp_path / "other", url, resume=True)
    assert len(at(url)) == 1


def test_results_at_a_url_are_not_added_to_unasked(plan: Plan, url: str, tmp_path: Path) -> None:
    """A URL with results is refused without --resume, as a folder is."""
    go(plan, tmp_path / "run", url)
    with pytest.raises(UsageError, match="12 of 12 cases are already there"):
        go(plan, tmp_path / "elsewhere", url)


def test_a_url_that_cannot_be_written_is_one_line_and_the_rows_are_safe(plan: Plan, tmp_path: Path) -> None:
    """Where the store refuses, the study ends with a line, and the run folder has what was done."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BitdoseError, match="^local://.*cannot be (read|written)"):
        go(plan, tmp_path / "run", f"local://{tmp_path}/file/run")
    with pytest.raises(BitdoseError, match="^no-such://bucket/run: cannot be opened: Protocol not known"):
        Shards("no-such://bucket/run")
    if importlib.util.find_spec("ossfs") is None:
        with pytest.raises(MissingBackendError, match="^oss://bucket/run: .*bitdose\\[ray\\]"):
            Shards("oss://bucket/run")


@pytest.mark.parametrize(
    ("out", "place"),
    [
        ("", (Path("runs/default"), "")),
        ("here/run", (Path("here/run"), "")),
        ("file:///shared/run", (Path("/shared/run"), "")),
        ("s3://bucket/a/lungs/", (Path("runs/lungs"), "s3://bucket/a/lungs")),
    ],
)
def test_where_a_run_goes(out: str, place: tuple[Path, str]) -> None:
    """A path and a file:// URL are the run folder; another URL has its run folder under its last name."""
    assert place_of(out, Path("runs/default")) == place


def test_no_password_of_a_url_is_repeated() -> None:
    """What stands before the @ of a URL is in no message."""
    assert Shards("memory://me:secret@bucket/run").url == "memory://bucket/run"


def test_study_and_fetch_by_url(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line: a study with --out URL, fetched elsewhere, reported and decided on there."""
    url = f"local://{tmp_path}/bucket/lungs"
    monkeypatch.chdir(tmp_path)
    study = ["study", plan.spec.data, "--model", plan.spec.model, "--points", "jpeg:q90,jpeg:q50"]
    assert bitdose([*study, "--out", url, "--no-report"]) == 0
    assert (tmp_path / "runs" / "lungs" / "manifest.json").exists()
    capsys.readouterr()
    assert bitdose(["fetch", url, "--out", "copy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": "copy", "cases": 12, "done": 12}
    assert bitdose(["fetch", url, "--out", "copy"]) == 0
    assert "12 of 12 cases in copy" in capsys.readouterr().out
    assert bitdose(["report", "copy", "--no-images"]) == 0
    assert bitdose(["decide", "copy", "--margin", "accuracy=0.9"]) in (0, 1)
    assert (tmp_path / "copy" / "decision.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch", "memory://bucket/nothing"], "memory://bucket/nothing: no run found"),
        (["fetch", "a/folder"], "a/folder: expected a URL"),
        (["fetch", "s3://"], "expected a name behind the last '/'"),
        (
            ["study", "x", "--model", "phantom", "--engine", "dask"],
            "--engine: expected local or pipeline or ray, got 'dask'",
        ),
        (
            ["study", "x", "--model", "phantom", "--address", "a:1"],
            "--address a:1: .* goes with --engine ray",
        ),
    ],
)
def test_wrong_calls_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be is said on one line with exit code 2."""
    import re

    assert bitdose(words) == 2
    errors = capsys.readouterr().err.strip()
    assert re.search(said, errors)
    assert len(errors.splitlines()) == 1


def test_engine_and_address_are_read_from_a_study_file(plan: Plan, tmp_path: Path) -> None:
    """[study] takes both; the run's identity holds neither, since the rows are the same."""
    from bitdose.study.spec import load_spec

    file = tmp_path / "study.toml"
    file.write_text(
        f'[data]\npath = "{plan.spec.data}"\n[model]\npath = "{plan.spec.model}"\n'
        '[study]\npoints = "jpeg:q90,jpeg:q5"\nengine = "ray"\naddress = "head:6379"\n'
    )
    spec = load_spec(file)
    assert (spec.engine, spec.address) == ("ray", "head:6379")
    assert make_plan(spec).identity == plan.identity


def test_without_fsspec_the_install_command_is_one_line() -> None:
    """A missing fsspec is said with the way to get it."""
    code = (
        "import sys; sys.modules['fsspec'] = None; from bitdose.cli.app import run; "
        "sys.exit(run(['fetch', 's3://bucket/run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pip install 'bitdose[ray]'" in done.stderr

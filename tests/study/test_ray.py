"""Many machines: real Ray, real kills of a worker process, of a node and of the driver."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from polars.testing import assert_frame_equal

from bitdose.data.base import Case
from bitdose.errors import BitdoseError, UsageError
from bitdose.models.base import CallableClassifier, InputSpec
from bitdose.results.table import merge_tables, rows_to_table
from bitdose.study.engines.local import Finished, run_in_process
from bitdose.study.engines.ray import Team, run_in_ray
from bitdose.study.engines.ray_actors import CaseWorker, Order
from bitdose.study.plan import Plan, make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec
from bitdose.study.store import read_run

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'bitdose[ray]'")

POINTS = ("jpeg:q90,jpeg:q5,jpeg2000:20x,jpeg:q90@32",)
TIMES = ["encode_ms", "decode_ms"]


@pytest.fixture(scope="module")
def plan(many_textures: Path, texture_model: Path) -> Plan:
    """Give the plan of 60 cases at 5 points, to run with Ray."""
    spec = StudySpec(data=str(many_textures), model=str(texture_model), points=POINTS, engine="ray")
    return make_plan(spec)


@pytest.fixture(scope="module")
def alone(plan: Plan) -> Any:
    """Give the rows of the same study in this process."""
    return table_of(run_in_process(plan.cases.cases, plan.job, plan.classifier))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Give a cluster of two nodes with a CPU each, to which this process is connected, and its second node.

    The head says that it has a GPU: Ray gives out what a node says.
    """
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1})
    second = found.add_node(num_cpus=1)
    ray.init(found.address, log_to_driver=False, logging_level="CRITICAL")
    yield found, second
    ray.shutdown()
    found.shutdown()


def table_of(finished: Iterator[Finished]) -> Any:
    """Give finished cases as a table without the clock's columns."""
    return merge_tables([rows_to_table([row for _, rows in finished for row in rows])]).drop(TIMES)


def children_gone(group: int) -> bool:
    """Wait for a process group to be empty: Ray's own processes end shortly after who started them."""
    for _ in range(400):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def team_of(plan: Plan, cases: list[Case]) -> Team:
    """Give a team of one worker per CPU of the cluster."""
    return Team(ray, plan, cases, workers=None, split=False)


@pytest.mark.parametrize("split", [False, True])
def test_rows_are_those_of_the_local_engine(cluster: Any, plan: Plan, alone: Any, split: bool) -> None:
    """Whole cases on two nodes, or codecs there and the classifier elsewhere: the same rows, bit by bit."""
    assert_frame_equal(table_of(run_in_ray(plan, plan.cases.cases, split=split)), alone, check_exact=True)


def test_a_killed_worker_process_costs_its_cases_in_flight(cluster: Any, plan: Plan, alone: Any) -> None:
    """After kill -9 of a worker nothing is lost, and no more is repeated than that worker had in hand."""
    team = team_of(plan, list(plan.cases.cases))
    finished: list[Finished] = []
    for number, one in enumerate(team.run()):
        finished.append(one)
        if number == 0:
            pid = ray.get(team._members[0].actor.__ray_call__.remote(lambda _: os.getpid()))
        if number == 10:
            os.kill(pid, signal.SIGKILL)
    team.dismiss()
    assert 1 <= team.repeated <= 2
    assert len(finished) == len(plan.cases.cases)
    assert_frame_equal(table_of(iter(finished)), alone, check_exact=True)


def test_a_case_that_kills_its_process_every_time_is_a_failed_row(cluster: Any, plan: Plan) -> None:
    """The third process that dies on a case is the last; the other cases come out as ever."""

    class Deadly(dict[str, Any]):
        """Ends the process that takes it out of its envelope."""

        def __reduce__(self) -> Any:
            return os._exit, (9,)

    cases = [replace(plan.cases.cases[0], id="deadly", columns=Deadly()), *plan.cases.cases[1:5]]
    rows = {case.id: rows for case, rows in run_in_ray(plan, cases)}
    assert {row["status"] for row in rows.pop("deadly")} == {"worker-died"}
    assert {row["status"] for found in rows.values() for row in found} == {"ok"}
    assert len(rows) == 4


def test_what_is_in_flight_stays_bounded(cluster: Any, plan: Plan) -> None:
    """However slowly the rows are taken, no more cases are under way than the actors hold."""
    team = Team(ray, plan, list(plan.cases.cases), workers=None, split=True)
    seen = []
    for _ in team.run():
        seen.append(len(team._coded) + sum(len(member.cases) for member in team._members))
        time.sleep(0.02)
    team.dismiss()
    assert 1 <= max(seen) <= 2 * 3  # two coders and a reader


def test_too_many_failures_stop_the_study(cluster: Any, texture_model: Path, tmp_path: Path) -> None:
    """--max-failures counts with Ray as without; what failed has its reason."""
    for label in ("rough", "smooth"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(4):
            (tmp_path / "data" / label / f"{index}.png").write_bytes(b"broken")
    data, model = str(tmp_path / "data"), str(texture_model)
    spec = StudySpec(data=data, model=model, points=("jpeg:q90",), max_failures=0.25, engine="ray")
    with pytest.raises(BitdoseError, match="3 cases failed, more than max_failures=0.25 of 8"):
        run_study(make_plan(spec), tmp_path / "run")
    assert read_run(tmp_path / "run")["reason"].null_count() == 0


def test_a_local_run_goes_on_with_ray(cluster: Any, plan: Plan, alone: Any, tmp_path: Path) -> None:
    """The engine is no part of a run: one engine's folder is finished by the other."""

    def stop(tally: Any) -> None:
        if tally.cases == 5:
            raise KeyboardInterrupt

    local = replace(plan, spec=replace(plan.spec, engine="local"))
    assert run_study(local, tmp_path / "run", workers=1, watch=stop).interrupted
    outcome = run_study(plan, tmp_path / "run", resume=True)
    assert (outcome.skipped, outcome.done) == (5, 60)
    assert_frame_equal(read_run(tmp_path / "run").drop(TIMES), alone, check_exact=True)


def test_a_lost_node_costs_its_cases_in_flight(cluster: Any, plan: Plan, alone: Any) -> None:
    """A node taken from the cluster in the middle: its cases in flight run again on the other one."""
    whole, second = cluster
    team = team_of(plan, list(plan.cases.cases))
    finished: list[Finished] = []
    there = {}
    for number, one in enumerate(team.run()):
        finished.append(one)
        if number == 0:
            ask = lambda _: (os.getpid(), ray.get_runtime_context().get_node_id())  # noqa: E731 -- pickled by value
            places = [member.actor.__ray_call__.remote(ask) for member in team._members]
            found = ray.get(places)
            there = {node: pid for pid, node in found}
            (its,) = (m for m, (_, node) in zip(team._members, found, strict=True) if node == second.node_id)
        if number >= 10 and its.cases and not its.is_gone and second in whole.worker_nodes:
            os.kill(there[second.node_id], signal.SIGSTOP)  # so that what it has in hand is lost for sure
            whole.remove_node(second, allow_graceful=False)
    with contextlib.suppress(ProcessLookupError):
        os.kill(there[second.node_id], signal.SIGKILL)
    assert sum(member.is_ready for member in team._members) == 1
    team.dismiss()
    assert 1 <= team.repeated <= 2
    assert_frame_equal(table_of(iter(finished)), alone, check_exact=True)


def test_a_classifier_handed_over_is_refused(texture_set: Path, tmp_path: Path) -> None:
    """An object of this process cannot be on another machine: the error says so, and nothing is written."""
    spec = InputSpec(labels=("smooth", "grainy", "rough"), layout="NHWC")
    classifier = CallableClassifier(lambda x: [[0.2, 0.3, 0.5]] * len(x), spec)
    study = StudySpec(data=str(texture_set), model="", points=("jpeg:q90",), engine="ray")
    with pytest.raises(UsageError, match="engine='ray': the classifier must be given by reference"):
        run_study(make_plan(study, classifier), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"libraries": {"pillow": "1.0"}}, "has pillow .*, this study was planned with 1.0"),
        ({"codecs": {"jpeg": "another build"}}, "has jpeg .*, this study was planned with another build"),
        ({"device": "cuda"}, "runs the classifier on cpu, this study was planned on cuda"),
    ],
)
def test_a_machine_that_would_give_other_rows_is_refused(
    plan: Plan, change: dict[str, Any], said: str
) -> None:
    """Another library version, codec build or device on one machine stops the study, named."""
    order = Order(plan.job, plan.classifier.name, plan.classifier.spec, {**plan.identity, **change})
    wrong = CaseWorker(order).ready()
    assert wrong is not None
    with pytest.raises(BitdoseError, match=said):
        raise wrong


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:here", "no-such-host.invalid:6379"])
def test_an_address_where_no_cluster_is_fails_at_once(plan: Plan, address: str) -> None:
    """A wrong --address is one line and soon, not minutes of asking."""
    if ray.is_initialized():
        ray.shutdown()
    there = replace(plan, spec=replace(plan.spec, address=address))
    with pytest.raises(BitdoseError, match=f"^address='{address}': .*nothing answers there"):
        list(run_in_ray(there, plan.cases.cases))


def test_without_ray_the_install_command_is_one_line(texture_set: Path, texture_model: Path) -> None:
    """A missing extra is said on one line, before the run folder is made."""
    code = (
        "import sys; sys.modules['ray'] = None; from bitdose.cli.app import run; "
        f"sys.exit(run(['study', {str(texture_set)!r}, '--model', {str(texture_model)!r}, '--points', "
        "'jpeg:q90', '--engine', 'ray', '--out', 'never']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pip install 'bitdose[ray]'" in done.stderr


def command(plan: Plan, *more: str) -> list[str]:
    """Give the study's command line."""
    study = [sys.executable, "-m", "bitdose", "study", plan.spec.data, "--model", plan.spec.model]
    return [*study, "--points", POINTS[0], "--no-report", *more]


def begun(process: subprocess.Popen[str], out: Path) -> None:
    """Wait until a study's first case is on the disk."""
    journal = out / "results" / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)


def test_ctrl_c_stops_ray_and_says_one_line(plan: Plan, alone: Any, tmp_path: Path, spawn: Any) -> None:
    """Ctrl-C reaches every process of the terminal: a line, exit code 1, Ray gone, a run that can go on."""
    out = tmp_path / "run"
    process = spawn(
        command(plan, "--out", str(out), "--engine", "ray"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    begun(process, out)
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert "--resume" in errors
    assert len(errors.strip().splitlines()) == 1
    assert children_gone(process.pid)
    assert 0 < read_run(out)["case_id"].n_unique() < 60
    subprocess.run(command(plan, "--out", str(out), "--resume"), check=True, capture_output=True)
    assert_frame_equal(read_run(out).drop(TIMES), alone, check_exact=True)


def test_a_killed_driver_leaves_a_run_that_goes_on(
    plan: Plan, alone: Any, tmp_path: Path, spawn: Any
) -> None:
    """After kill -9 of the driver its Ray ends, and --resume goes on; a worker's death is silent."""
    out = tmp_path / "run"
    process = spawn(
        command(plan, "--out", str(out), "--engine", "ray"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    begun(process, out)
    # Ray's two idle agents take a minute to see that they are alone.
    below = [p for p in psutil.Process(process.pid).children(recursive=True) if "Agent" not in p.name()]
    process.kill()
    process.communicate()
    done = read_run(out)["case_id"].n_unique()
    assert psutil.wait_procs(below, timeout=30)[1] == []
    size = (out / "results" / "journal.jsonl").stat().st_size
    again = spawn(
        command(plan, "--out", str(out), "--resume", "--engine", "ray", "--json"), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while again.poll() is None and (out / "results" / "journal.jsonl").stat().st_size in (0, size):
        time.sleep(0.01)
    workers = [p for p in psutil.Process(again.pid).children(recursive=True) if "ray::CaseWorker" in p.name()]
    assert len(workers) == 2
    workers[0].kill()
    said, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert json.loads(said)["resumed_past"] == done
    assert_frame_equal(read_run(out).drop(TIMES), alone, check_exact=True)

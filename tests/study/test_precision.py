"""A study in bf16: fp32 at pristine beside it, one model per table, no mix of runtimes or precisions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from bitdose.errors import UsageError
from bitdose.results.summarize import summarize
from bitdose.study.engines.local import run_in_process
from bitdose.study.engines.pipeline import run_pipeline
from bitdose.study.plan import Plan, make_plan
from bitdose.study.run import run_study
from bitdose.study.spec import StudySpec, load_spec
from bitdose.study.store import read_manifest, read_run

NET = """
import torch
def net():
    torch.manual_seed(3)
    made = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5, stride=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(784, 3)
    )
    labels = ['smooth', 'grainy', 'rough']
    made.bitdose_spec = {'labels': labels, 'input': {'size': [32, 32]}, 'output': 'logits'}
    return made
"""


@pytest.fixture
def rough(texture_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Give the plan of a study by a torch network in bf16."""
    (tmp_path / "rough_net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    spec = StudySpec(str(texture_set), "rough_net:net", ("jpeg:q90,jpeg2000:1x",), precision="bf16")
    return make_plan(spec)


def test_the_pristine_rows_hold_fp32s_answer_and_no_other_row_does(rough: Plan, tmp_path: Path) -> None:
    """Fp32's answer and the gap to it stand at pristine alone, and are those of the same network in fp32."""
    run_study(rough, tmp_path / "run", workers=1)
    run_study(make_plan(rough.spec.updated(precision="fp32")), tmp_path / "plain", workers=1)
    table, plain = read_run(tmp_path / "run"), read_run(tmp_path / "plain")
    at = {name: t.filter(pl.col("point") == "pristine") for name, t in (("run", table), ("plain", plain))}
    assert table.filter(pl.col("point") != "pristine")["fp32_predicted"].null_count() == 24
    assert at["run"]["fp32_predicted"].to_list() == at["plain"]["predicted"].to_list()
    columns = ["p_smooth", "p_grainy", "p_rough"]
    gaps = (at["run"].select(columns) - at["plain"].select(columns)).select(pl.all().abs())
    assert at["run"]["fp32_gap"].to_list() == pytest.approx(gaps.max_horizontal().to_list(), abs=1e-6)
    assert 0 < at["run"]["fp32_gap"].max() < 0.05
    assert plain["fp32_predicted"].null_count() == len(plain)
    assert table["model"].unique().to_list() == [rough.classifier.name] != plain["model"].unique().to_list()
    found = summarize(table, draws=50).in_fp32
    assert found is not None
    assert found.n == 12


def test_the_split_engine_asks_both(rough: Plan) -> None:
    """Coders apart from the classifier, batches of several cases: the same answers in both precisions."""
    cases, local = rough.cases.cases, {}
    for case, rows in run_in_process(cases, rough.job, rough.classifier):
        local[case.id] = [(row["predicted"], row.get("fp32_predicted")) for row in rows]
    merged = run_pipeline(cases, rough.job, rough.classifier, workers=1, merged_samples=2**17)
    for case, rows in merged:
        assert [(row["predicted"], row.get("fp32_predicted")) for row in rows] == local[case.id]


def test_runtimes_and_precisions_never_mix(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """A run folder of the one is refused to the other by name; OpenVINO's version is kept where it ran."""
    spec = StudySpec(str(texture_set), str(texture_model), ("jpeg:q90",), limit=3)
    run_study(make_plan(spec), tmp_path / "run", workers=1)
    assert "openvino" not in read_manifest(tmp_path / "run")["identity"]["libraries"]
    plan = make_plan(spec.updated(runtime="openvino"))
    assert plan.identity["libraries"]["openvino"] != "not installed"
    with pytest.raises(UsageError, match="device: the run folder has cpu, this study cpu:openvino"):
        run_study(plan, tmp_path / "run", workers=1, resume=True)


def test_a_study_file_names_runtime_precision_and_engine(texture_set: Path, texture_model: Path) -> None:
    """What the run folder keeps is what a study file takes; a wrong word is an error that names it."""
    spec = StudySpec(str(texture_set), str(texture_model), runtime="openvino", engine="pipeline")
    path = texture_model.with_name("study.toml")
    path.write_text(spec.to_toml())
    assert load_spec(path) == spec
    with pytest.raises(UsageError, match="engine: expected local or pipeline or ray, got 'dask'"):
        StudySpec("d", "m", engine="dask")


def test_the_command_line_says_what_auto_took(texture_set: Path, texture_model: Path, tmp_path: Path) -> None:
    """``--runtime auto`` measures before the run is claimed; the run folder holds what it took."""
    arguments = [sys.executable, "-m", "bitdose", "study", str(texture_set), "--model", str(texture_model)]
    arguments += ["--points", "jpeg:q90", "--limit", "3", "--no-report", "--out", str(tmp_path / "run")]
    done = subprocess.run([*arguments, "--runtime", "auto"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()[0]
    taken = load_spec(tmp_path / "run" / "study.toml").runtime
    assert said.startswith("runtime: onnxruntime ")
    assert said.endswith(f" {taken} is taken")
    refused = subprocess.run([*arguments, "--precision", "bf16"], capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
    assert "--runtime openvino" in refused.stderr

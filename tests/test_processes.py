"""Programs as people write them: without ``if __name__ == "__main__"``, from stdin, in a notebook."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bitdose.processes import CONTEXT

_STUDY = """
import bitdose as bd

print("begun")
run = bd.study({data!r}, {model!r}, points="jpeg:q90", workers=2, out="first")
print("loaded by workers:", run.table["case_id"].n_unique())

def flat(batch):
    return [[0.5, 0.3, 0.2]] * len(batch)

labels = ("smooth", "grainy", "rough")
run = bd.study({data!r}, flat, labels=labels, points="jpeg:q90", workers=2, out="second", progress=False)
print("a function of this program:", run.table["case_id"].n_unique())
"""
_SAID = ["begun", "loaded by workers: 12", "a function of this program: 12"]


@pytest.fixture
def program(texture_set: Path, texture_model: Path) -> str:
    """Give a program that runs two studies with two workers each and prints what came of them."""
    return _STUDY.format(data=str(texture_set), model=str(texture_model))


def run(arguments: list[str], folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("way", ["script", "stdin", "-c", "-m"])
def test_a_program_without_a_guard_runs_once(program: str, tmp_path: Path, way: str) -> None:
    """Its workers do not run it again: it prints its lines once, and nothing on stderr."""
    (tmp_path / "program.py").write_text(program)
    ways = {"script": ["program.py"], "stdin": ["-"], "-c": ["-c", program], "-m": ["-m", "program"]}
    done = run(ways[way], tmp_path, program if way == "stdin" else None)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, _SAID, "")


def test_a_notebook_runs_a_study_and_shows_how_far_it_is(program: str, tmp_path: Path) -> None:
    """A kernel's cells run studies on several processes; progress stands below the cell, as HTML and text."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(program)])
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    outputs = notebook.cells[0].outputs
    assert not [one for one in outputs if one.get("name") == "stderr"]
    text = "".join(one["text"] for one in outputs if one.get("name") == "stdout")
    assert text.splitlines() == _SAID
    (shown,) = [one["data"] for one in outputs if one["output_type"] == "display_data"]
    assert shown["text/plain"].startswith("12 of 12 cases, ")
    assert '<progress value="12" max="12"' in shown["text/html"]
    assert "accuracy % jpeg" in shown["text/html"]


def test_figures_are_drawn_beside_a_program_without_a_guard(tmp_path: Path) -> None:
    """The process that draws them does not run the program again either."""
    (tmp_path / "draw.py").write_text(
        "from bitdose.report.figures import render_pool\n"
        "render_pool.os.cpu_count = lambda: 2\n"
        "from bitdose.processes import CONTEXT\n"
        "print('begun')\n"
        "with render_pool.aside() as draw:\n"
        "    pass\n"
    )
    done = run(["draw.py"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n", "")


def test_processes_of_others_keep_their_main(tmp_path: Path) -> None:
    """Only what BitDose starts goes without: a thread of the caller's that spawns meanwhile is left alone."""
    (tmp_path / "both.py").write_text(
        "import multiprocessing, sys, threading, time\n"
        "from multiprocessing import spawn\n"
        "from bitdose.processes import _main_left_out\n"
        "if __name__ == '__main__':\n"
        "    found = {}\n"
        "    def other():\n"
        "        found['other'] = 'init_main_from_path' in spawn.get_preparation_data('x')\n"
        "    with _main_left_out():\n"
        "        found['ours'] = 'init_main_from_path' in spawn.get_preparation_data('x')\n"
        "        thread = threading.Thread(target=other)\n"
        "        thread.start()\n"
        "        thread.join()\n"
        "    found['after'] = 'init_main_from_path' in spawn.get_preparation_data('x')\n"
        "    print(found)\n"
    )
    done = run(["both.py"], tmp_path)
    assert done.stdout.strip() == "{'ours': False, 'other': True, 'after': True}", done.stderr


def test_several_threads_start_processes_at_once() -> None:
    """Each process runs, and the standard library is as it was afterwards."""
    from multiprocessing import spawn

    before, codes = spawn.get_preparation_data, list[int | None]()

    def start() -> None:
        process = CONTEXT.Process(target=os.getpid)
        process.start()
        process.join()
        codes.append(process.exitcode)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert spawn.get_preparation_data is before
    assert multiprocessing.active_children() == []

"""The root command: quick, readable, completed by a shell, and as talkative as asked."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

import bitdose.codecs.grid
from bitdose.cli.app import run
from bitdose.cli.commands import Commands

HELP_CPU_S = 0.3


def _words(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bitdose", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def test_help_takes_a_third_of_a_second_of_the_processor() -> None:
    """``bitdose --help`` imports no command: the best of three takes below 0.3 s of processor time."""
    code = (
        "import contextlib, io, resource, sys\nfrom bitdose.cli.app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as said: run(['--help'])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "loaded = [n for n in sys.modules if n.startswith('bitdose.cli.')]\n"
        "print(used.ru_utime + used.ru_stime, *sorted(loaded)); assert 'study' in said.getvalue()"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert min(float(one.split()[0]) for one in runs) < HELP_CPU_S
    assert runs[0].split()[1:] == [
        "bitdose.cli.app",
        "bitdose.cli.commands",
        "bitdose.cli.lazy",
        "bitdose.cli.spelling",
    ]


def test_the_bare_command_prints_its_help_on_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """``bitdose`` alone shows every command on stdout, as a bare group does, and nothing on stderr."""
    assert run([]) == 2
    said = capsys.readouterr()
    assert said.err == ""
    lines = [line.split()[0] for line in said.out.splitlines() if line.startswith("  ")]
    assert {one.name for one in Commands.lazy} <= set(lines)


@pytest.mark.parametrize("one", Commands.lazy, ids=lambda one: one.name)
def test_the_root_says_of_a_command_what_it_says_of_itself(one: object) -> None:
    """The line in the root's help is the first of the command's own."""
    _, target, about = one
    module, _, name = target.partition(":")
    found = getattr(import_module(module), name)
    if isinstance(found, typer.Typer):
        found = found.registered_callback.callback
    assert about == inspect.getdoc(found).split("\n\n")[0].replace("\n", " ")


def test_a_mistyped_command_has_its_neighbour_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that is not there is a wrong call; the nearest one is offered."""
    assert run(["stdy"]) == 2
    assert "Did you mean 'study'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "offered"),
    [("bitdose stu", "study"), ("bitdose study --runt", "--runtime"), ("bitdose data ge", "get")],
)
def test_a_shell_completes_commands_and_options(line: str, offered: str) -> None:
    """What ``--show-completion`` installs asks the program, which offers names and flags."""
    where = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = _words(**where, _BITDOSE_COMPLETE="complete_bash")
    assert offered in done.stdout.split(), done.stderr


def test_the_completion_script_is_shown() -> None:
    """``--show-completion`` prints a script that calls the program for what to offer."""
    done = _words("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_BITDOSE_COMPLETE=complete_bash" in done.stdout, done.stderr


def test_verbose_tells_what_was_decided_and_names_no_case(
    texture_set: Path, texture_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``-v`` says on stderr which engine and loops are at work and how long it took, without a file name."""
    words = ["study", str(texture_set), "--model", str(texture_model), "--points", "jpeg:q5", "--no-report"]
    assert run(["-v", *words, "--workers", "1", "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().err
    assert "engine local; loops in C" in said
    assert "12 of 12 cases in" in said
    assert not any(path.name in said for path in texture_set.rglob("*.png"))
    assert run([*words, "--workers", "1", "--out", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().err == ""


def test_verbose_shows_the_traceback_of_an_internal_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``-v`` the traceback comes before the one line, which stays the last; the exit code stays."""

    def broken(_: object) -> None:
        raise RuntimeError("here")

    monkeypatch.setattr(bitdose.codecs.grid, "expand_points", broken)
    assert run(["-v", "points"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("bitdose: internal error: RuntimeError in bitdose.cli.lists")

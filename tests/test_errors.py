"""What errors promise: one message, spelled for Python and for the command line."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from bitdose.cli.app import run
from bitdose.cli.spelling import spelled
from bitdose.codecs.point import Point
from bitdose.compress.places import check_targets, tasks_of
from bitdose.errors import BitdoseError, CaseError, UsageError, argument, command
from bitdose.rule.margins import read_margins
from bitdose.rule.rule import Rule

SRC = Path(__file__).resolve().parents[1] / "src" / "bitdose"
LIBRARY = [path for path in sorted(SRC.rglob("*.py")) if path.relative_to(SRC).parts[0] != "cli"]
FLAG = re.compile(r"(?<![\w-])--(?=[a-z]|$)[\w-]*")
# Of other programs, and of the file that explains the spelling.
OTHERS = {"study/engines/blocks.py": "--shm-size", "study/engines/ray_session.py": "--head"}
SPELLING = "errors.py"
MULTIPART = "client/dicom_node/stow.py"  # a boundary begins with two hyphens


def _raise(text: str) -> None:
    raise UsageError(text)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(SRC).as_posix())
def test_the_library_names_no_flag(path: Path) -> None:
    """No text of the library, docstrings included, names a flag of the command line."""
    name = path.relative_to(SRC).as_posix()
    if name in (SPELLING, MULTIPART):
        return
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    flags = [found for text in texts for found in FLAG.findall(text) if found != OTHERS.get(name)]
    assert flags == []


@pytest.mark.parametrize(
    ("named", "python", "line"),
    [
        (argument("max_failures"), "max_failures", "--max-failures"),
        (argument("max_failures", 0.25), "max_failures=0.25", "--max-failures 0.25"),
        (argument("resume", value=True), "resume=True", "--resume"),
        (argument("engine", "ray"), "engine='ray'", "--engine ray"),
        (argument("out", Path("a run")), "out='a run'", "--out a run"),
        (argument("labels", ["a", "b"]), "labels=['a', 'b']", "--labels a,b"),
        (argument("classes", {"a b": "c"}), "classes={'a b': 'c'}", "--classes 'a b=c'"),
        (argument("margins", 2), "margins=2", "--margin 2"),
        (command("report", python="run.report()"), "run.report()", "'bitdose report'"),
    ],
)
def test_an_argument_is_spelled_for_its_reader(named: str, python: str, line: str) -> None:
    """``str`` and ``repr`` of an error hold the keyword, the command line writes the flag."""
    error = BitdoseError(f"before {named} after")
    assert str(error) == f"before {python} after"
    assert repr(error) == f"BitdoseError({str(error)!r})"
    assert spelled(error) == f"before {line} after"


def test_an_error_within_another_keeps_both_spellings() -> None:
    """The message of one error can be put into another's."""
    inner = UsageError(f"{argument('points')}: expected one")
    outer = UsageError(f"{argument('codec_augment')}: {inner.message}")
    assert str(outer) == "codec_augment: points: expected one"
    assert spelled(outer) == "--codec-augment: --points: expected one"


def test_both_spellings_cross_a_process() -> None:
    """An error raised in a worker process, pickled or copied says the same to both readers."""
    error = UsageError(f"add {argument('resume', value=True)}")
    with ProcessPoolExecutor(1) as pool, pytest.raises(UsageError) as raised:
        pool.submit(_raise, error.message).result()
    for came in (raised.value, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(came), spelled(came)) == ("add resume=True", "add --resume")
    case = pickle.loads(pickle.dumps(CaseError("unreadable", "cut short")))
    assert (case.status, case.reason, str(case)) == ("unreadable", "cut short", "unreadable: cut short")


def test_python_reads_keywords_where_the_command_line_reads_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same wrong call names keywords in Python, and flags and positional names on the command line."""
    source, out = tmp_path / "in.png", tmp_path / "out.j2k"
    source.write_bytes(b"x")
    out.write_bytes(b"x")
    tasks = tasks_of(source, out, Point.parse("jpeg2000:20x"))
    with pytest.raises(
        UsageError, match="^out: 1 of 1 .*; overwrite=True writes them anew, resume=True keeps"
    ):
        check_targets(tasks, overwrite=False, resume=False)
    assert run(["compress", str(source), str(out), "--point", "jpeg2000:20x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bitdose: OUT: 1 of 1 files")
    assert said.endswith("; --overwrite writes them anew, --resume keeps them\n")


def test_rules_name_keywords_in_python() -> None:
    """A rule made in Python names its fields, and the links where Python finds them."""
    with pytest.raises(
        UsageError, match="^objective='seconds': expected link too; bitdose.links.LINKS lists"
    ):
        Rule(read_margins(["accuracy=0.02"]), objective="seconds")
    with pytest.raises(UsageError, match="^margins 'accuracy': expected METRIC=LIMIT") as raised:
        read_margins(["accuracy"])
    assert spelled(raised.value).startswith("--margin 'accuracy': expected METRIC=LIMIT")

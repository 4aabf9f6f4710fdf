"""What the house promises of itself: imports go down, files stay small, importing does nothing."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
import tomllib
from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "bitdose"
FILES = sorted(SRC.rglob("*.py"))
TREES = {path.relative_to(SRC).as_posix(): ast.parse(path.read_text()) for path in FILES}

HOUSE = tomllib.loads((Path(__file__).resolve().parents[1] / "docs" / "layers.toml").read_text())
LAYERS = [row.split() for row in HOUSE["layers"]]
ROOMS = HOUSE["rooms"]  # of the large packages, in the same order
LEVEL = {noun: level for level, row in enumerate(LAYERS) for noun in row}
HEAVY = {
    "numpy",
    "cv2",
    "polars",
    "pyarrow",
    "scipy",
    "matplotlib",
    "onnxruntime",
    "openvino",
    "PIL",
    "torch",
    "imagecodecs",
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _noun(module: str) -> str:
    """Return the noun of a module of ours: ``bitdose.codecs.base`` is of ``codecs``."""
    return module.split(".")[1] if "." in module else "__init__"


def _imports(tree: ast.AST) -> set[str]:
    """Return the nouns that a file imports, at its top, inside functions and for types alike."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {_noun(alias.name) for alias in node.names if alias.name.split(".")[0] == "bitdose"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bitdose":
            whole = node.module == "bitdose"  # ``from bitdose import codecs`` names the noun behind
            nouns = {alias.name if alias.name in LEVEL else "__init__" for alias in node.names}
            found |= nouns if whole else {_noun(str(node.module))}
    return found


def _module(name: str) -> str:
    """Return the dotted name of a file of ours: ``codecs/base.py`` is ``bitdose.codecs.base``."""
    parts = Path("bitdose", name).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_modules(tree: ast.AST, known: Collection[str]) -> set[str]:
    """Return the modules of ours that a file imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (below & set(known)) or {str(node.module)}
    return found & set(known)


def _code_lines(function: Function, text: list[str]) -> int:
    """Count the lines of a function's body; signature, docstring, blank lines and comments are left out."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if has_docstring else function.body
    lines = text[body[0].lineno - 1 : function.end_lineno] if body else []
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def _own_noun(name: str) -> str:
    """Return the noun of a file of ours: ``codecs/base.py`` is of ``codecs``."""
    return Path(name).parts[0].removesuffix(".py")


_NAMES = {_module(name) for name in TREES}
MODULES = {_module(name): _imported_modules(tree, _NAMES) - {_module(name)} for name, tree in TREES.items()}


@pytest.mark.parametrize("name", TREES)
def test_imports_go_down(name: str) -> None:
    """A file imports from layers below its own and from its own noun: never up, never sideways."""
    noun = _own_noun(name)
    assert noun in LEVEL, f"{noun} has no place among the layers"
    wrong = {other for other in _imports(TREES[name]) - {noun} if LEVEL[other] >= LEVEL[noun]}
    assert not wrong


@pytest.mark.parametrize("package", ROOMS)
def test_imports_go_down_inside_rooms(package: str) -> None:
    """Inside a large package the same holds: every room is listed once and imports from rooms before it."""
    rows = [row.split() for row in ROOMS[package].split("/")]
    level = {room: number for number, row in enumerate(rows) for room in row}
    for module, imported in MODULES.items():
        if module.split(".")[:2] != ["bitdose", package] or module == f"bitdose.{package}":
            continue
        own = module.split(".")[2]
        rooms = {name.split(".")[2] for name in imported if name.startswith(f"bitdose.{package}.")}
        assert own in level, f"{package}/{own} has no place among the rooms"
        wrong = {room for room in rooms - {own} if level[room] >= level[own]}
        assert not wrong, f"{module} imports {sorted(wrong)}"


def test_no_module_imports_itself_by_a_detour() -> None:
    """No circle of imports anywhere: modules can be put into one order, lazy imports included."""
    try:
        list(TopologicalSorter(MODULES).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", TREES)
def test_relative_imports_and_asserts_are_absent(name: str) -> None:
    """Imports say the full name, and nobody asserts: a check raises an error that says what to do."""
    nodes = list(ast.walk(TREES[name]))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    assert not [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("name", [name for name in TREES if name.endswith("__init__.py")])
def test_a_package_lists_names_and_does_nothing(name: str) -> None:
    """An ``__init__.py`` holds a docstring, imports, ``__all__`` and the version, nothing else."""
    docstring, *rest = TREES[name].body
    assert isinstance(docstring, ast.Expr)
    assert ast.get_docstring(TREES[name])
    if name == "__init__.py":  # whose names are loaded at first use
        assert ast.unparse(rest.pop()) == "open_door(__name__)"
    for node in rest:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.Assign), ast.unparse(node)
            assert [ast.unparse(target) for target in node.targets] in (["__all__"], ["__version__"])


@pytest.mark.parametrize("name", TREES)
def test_files_and_functions_stay_small(name: str) -> None:
    """No file has more than 400 lines, no function's body more than 40 of code."""
    text = (SRC / name).read_text().splitlines()
    assert len(text) <= MAX_FILE_LINES
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, Function)]
    sizes = {function.name: _code_lines(function, text) for function in functions}
    assert not {function: size for function, size in sizes.items() if size > MAX_FUNCTION_LINES}


@pytest.mark.parametrize(
    "code",
    [
        "import bitdose",
        "import bitdose.cli",
        "from bitdose.cli.app import run; run(['--help'])",
        "from bitdose.cli.app import run; run(['--version'])",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    """Importing BitDose and asking for help load no array, image, table or network library."""
    script = f"import sys; {code}; print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_the_layers_are_those_of_the_house() -> None:
    """The test knows each noun once, and every package of ``src`` is among them."""
    nouns = list(itertools.chain(*LAYERS))
    assert len(nouns) == len(set(nouns))
    assert {_own_noun(name) for name in TREES} <= set(nouns)


@pytest.mark.parametrize(
    ("source", "nouns"),
    [
        ("import bitdose.study.run", {"study"}),
        ("from bitdose import __version__", {"__init__"}),
        ("from bitdose import codecs", {"codecs"}),
        ("def f():\n    from bitdose.models.base import x", {"models"}),
        ("if TYPE_CHECKING:\n    from bitdose.wire import y", {"wire"}),
        ("import bitdoses.study", set()),
    ],
)
def test_lazy_imports_count(source: str, nouns: set[str]) -> None:
    """Imports inside functions and for type checkers are seen like all others."""
    assert _imports(ast.parse(source)) == nouns


def test_a_class_name_means_one_thing() -> None:
    """No two classes of the package share a name."""
    names = [
        node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []

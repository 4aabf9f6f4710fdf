"""The table that ``make house`` prints counts what it says."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "house.py"

TEXT = '''"""A docstring,
of two lines."""
import os  # counts

# does not count
def f(a: int,
      b) -> int:
    """Neither does this."""
    return (a +
            b)
'''


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """Give the script as a module."""
    spec = importlib.util.spec_from_file_location("house", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_lines_of_code_are_neither_blank_nor_comment_nor_docstring(house: ModuleType) -> None:
    """Of ten lines five hold code: the import, two of a signature, two of a wrapped return."""
    assert house.code_lines(TEXT) == {3, 6, 7, 9, 10}


def test_a_function_is_typed_only_in_full(house: ModuleType) -> None:
    """One parameter without an annotation is seen, in a function and among starred ones; self needs none."""
    found = [next(house.functions(ast.parse(text))) for text in (
        TEXT, "def f(self, a: int, *b: int, **c: int) -> int: ...", "def f(*b) -> int: ...", "def f(): ...",
    )]  # fmt: skip
    assert [house.is_typed(one) for one in found] == [False, True, False, False]


def test_a_circle_by_a_detour_is_found(house: ModuleType) -> None:
    """Three modules that import each other in turn are one circle; what only leads there is not in it."""
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert house.circles({"a": {"b"}, "b": set()}) == []


def test_imports_for_type_checkers_alone_do_not_count(house: ModuleType) -> None:
    """An import inside a function counts, one under TYPE_CHECKING does not."""
    text = "if TYPE_CHECKING:\n    import p.a\ndef f():\n    from p import b\n"
    assert house.imports(ast.parse(text), {"p.a", "p.b", "p"}) == {"p.b", "p"}


def test_tests_are_at_least_four_fifths_of_the_source_and_all_is_typed(house: ModuleType) -> None:
    """Today's table: the share of tests that was promised, and every function typed."""
    rows = dict(house.report()[0])
    assert float(rows["tests to source"].split(",")[0]) >= house.LEAST_TESTS
    assert rows["functions typed in full"].startswith("100.0 %")

"""The names at the top of ``bitdose``: lazy, callable, typed."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bitdose
from bitdose.door import CALLS, NAMES

ROOT = Path(bitdose.__file__).parent


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted({*NAMES, *CALLS}))
def test_every_name_of_the_door_is_there(name: str) -> None:
    """Each can be reached, is listed by dir() and stands in __all__."""
    assert callable(getattr(bitdose, name))
    assert name in dir(bitdose)
    assert name in bitdose.__all__


def test_importing_bitdose_loads_none_of_them() -> None:
    """The bare import takes less than 0.3 s, and loads no other module of ours."""
    printed = python(
        """
        import sys, time
        start = time.process_time()
        import bitdose
        took = time.process_time() - start
        print(sorted(name for name in sys.modules if name.startswith("bitdose")), took < 0.3)
        """
    )
    assert printed == "['bitdose', 'bitdose.door'] True\n"


@pytest.mark.parametrize(
    "before", ["", "import bitdose.study.spec", "from bitdose.study import spec", "import bitdose.search"]
)
def test_packages_of_the_same_name_stay_packages(before: str) -> None:
    """Whatever was imported first, ``bd.study`` can be called and ``bitdose.study.spec`` is a module."""
    printed = python(
        f"""
        {before}
        import bitdose as bd, bitdose.study.spec
        from inspect import signature
        print(callable(bd.study), bitdose.study.spec.__name__, "margins" in signature(bd.study).parameters)
        """
    )
    assert printed == "True bitdose.study.spec True\n"


def test_a_called_package_documents_itself_as_the_function() -> None:
    """``help(bd.study)`` and editors show the function's own words and arguments."""
    from bitdose.api import study

    assert bitdose.study.__doc__ == study.__doc__
    assert inspect.signature(bitdose.study) == inspect.signature(study)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'bitdose' has no attribute 'stduy'"):
        _ = bitdose.stduy


def test_type_checkers_see_the_same_names() -> None:
    """The stub lists what the door opens, and the package says that it is typed."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    named = {a.asname for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert named == {*NAMES, *CALLS}
    assert (ROOT / "py.typed").is_file()

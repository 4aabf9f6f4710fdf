"""Print what a reader asks of the house: ``make house``. Exit code 1 where a rule is broken.

A line of code is one that holds code: blank lines, comments and docstrings do not count, in ``src`` and in
``tests`` alike; a wrapped statement counts all its lines. A function is typed where each of its parameters
but ``self`` and ``cls``, and what it returns, has an annotation. A circle is a set of modules that import
each other by any detour; imports inside functions count, those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src", ROOT / "tests"
LEAST_TESTS = 0.8
_SILENT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | Function)
            and body
            and ast.get_docstring(node) is not None
        ):
            held.difference_update(range(body[0].lineno, body[0].end_lineno + 1))
    return held


def functions(tree: ast.AST) -> Iterator[Function]:
    """List the functions and methods of a module, those inside others too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_typed(function: Function) -> bool:
    """Whether every parameter and the result have an annotation."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    asked = [one for one in named if one.arg not in ("self", "cls")]
    return function.returns is not None and all(one.annotation is not None for one in asked)


def imports(tree: ast.AST, modules: set[str]) -> set[str]:
    """Return the modules among ``modules`` that a module imports when it runs."""
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{name.name}" for name in node.names)
            found.add(node.module)
    return found & modules


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that reach each other, each sorted."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in graph[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    reach = {name: reached(name) for name in graph}
    rings = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(ring) for ring in rings)


def report() -> tuple[list[tuple[str, str]], bool]:
    """Return the rows of the table, and whether every rule holds."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = {path: code_lines(text) for path, text in texts.items()}
    names = {path: ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in texts}
    n_source = sum(map(len, lines.values()))
    n_tests = sum(len(code_lines(path.read_text(encoding="utf-8"))) for path in TESTS.rglob("*.py"))
    every = [
        (
            len(lines[path] & set(range(one.lineno, one.end_lineno + 1))),
            f"{names[path]}.{one.name}",
            is_typed(one),
        )
        for path, tree in trees.items()
        for one in functions(tree)
    ]
    typed = sum(ok for _, _, ok in every)
    graph = {names[path]: imports(tree, set(names.values())) - {names[path]} for path, tree in trees.items()}
    rings = circles(graph)
    longest, largest = max(every), max(texts, key=lambda path: len(texts[path].splitlines()))
    rows = [
        ("modules", f"{len(texts)}"),
        ("lines of code", f"{n_source:,}"),
        ("largest file", f"{names[largest]}, {len(texts[largest].splitlines())} lines in all"),
        ("largest function", f"{longest[1]}, {longest[0]} lines of code with its signature"),
        ("circles of imports", "; ".join(map(" <> ".join, rings)) or "none"),
        ("functions typed in full", f"{100 * typed / len(every):.1f} % of {len(every):,}"),
        ("lines of tests", f"{n_tests:,}"),
        ("tests to source", f"{n_tests / n_source:.2f}, at least {LEAST_TESTS} is asked for"),
    ]
    return rows, not rings and typed == len(every) and n_tests / n_source >= LEAST_TESTS


if __name__ == "__main__":
    table, holds = report()
    width = max(len(name) for name, _ in table)
    for name, value in table:
        print(f"{name:<{width}}  {value}")
    sys.exit(0 if holds else 1)

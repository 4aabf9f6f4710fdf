"""The field's words: private words and plays on words stay out of the code and the documentation."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "bitdose"

# What stays out, and the better word.
WORDS = {
    r"\bknobs?\b": "quality parameter",
    r"\b(harsh|mild)(er|est|ly)?\b": "strong, weak (compression)",
    r"\bcrews?\b": "pre-started workers",
    r"\bshortfalls?\b": "required sample size",
    r"\bleast loss\b": "minimum detectable loss",
    r"\barms?\b": "condition",
    r"(?<!CI )\brunners?\b": "candidate (of a race)",
    r"\bwalk(ed|s|ing)?\b(?! (through|you))": "fixed-sequence test",
    r"\b(giv(e|es|en|ing)|gave) up\b": "stop for futility, time out, abandon",
    r"\bmoments?\b": "time, timestamp",
    r"\b(kept|keeps?|keeping) free\b": "retained",
    r"\b(passes|pass|passed) (alone|in turn)\b": "individual test, sequential test",
    r"\b(bad|slow|broken) line\b|\bline (broke|breaks|is down|was down)\b": "link, connection",
    r"\bnobody'?s?\b (knows|could say)": "unknown",
    r"\bvoids alpha\b": "inflates the type-I error",
    r"\bstands there twice\b": "duplicate",
    r"\bas (its|a) profile is none\b": "is not a valid profile",
    r"\bHave nothing to\b": "No-op",
    r"\bTold of (every|each)\b": "Called for each",
    r"\bthe top of this file says\b": "as defined at the top of this module",
    r"\bgo(es)? on from\b": "resume",
    r"\bbegins? anew\b": "restart",
    r"\bthere whole or not at all\b": "atomically",
    r"\ba person or a program\b": "text or JSON",
    r"\btoo (hopeful|sure of itself)\b": "optimistic, anticonservative",
    r"\bholds the truth\b": "covers the true value",
    r"\bcannot be had\b": "is unavailable, is undefined",
}

ANY = re.compile("|".join(WORDS), re.IGNORECASE)

# Keys of files that users have: the profile's schema, and the figures of version 0.1.
ON_DISK = {
    "src/bitdose/profile/document.py": r"knob",
    "src/bitdose/profile/issue.py": r"knob",
    "src/bitdose/report/build.py": r"ratio knob",
    "docs/profile-schema.md": r"codec\.knob",
}

# Of other people's libraries.
ALLOWED = re.compile(r"\b(os|dataset|ast)\.walk\b")


def rooms() -> dict[str, list[Path]]:
    """Return the files of each room: folders of the package, its top-level modules, and the pages."""
    found: dict[str, list[Path]] = {"docs": [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE)
        found.setdefault(name.parts[0] if len(name.parts) > 1 else "top-level modules", []).append(path)
    return found


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page; of a module its comments, strings and names, each with its line."""
    source = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, tokenize.NAME, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        attribute = token.type == tokenize.NAME and token.line[: token.start[1]].endswith(".")
        if token.type in kinds and not attribute:  # an attribute's name is checked where it is defined
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line.replace("_", " ")


def _without_allowed(path: Path, line: str) -> str:
    """Return a line without what may stand in it."""
    on_disk = ON_DISK.get(path.relative_to(ROOT).as_posix())
    bare = ALLOWED.sub("", line)
    return re.sub(on_disk, "", bare) if on_disk else bare


@pytest.mark.parametrize("room", sorted(rooms()))
def test_no_private_word(room: str) -> None:
    """Comments, strings, names and pages use the field's words, not those on the list."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; better: {better}"
        for path in rooms()[room]
        for number, line in texts(path)
        if ANY.search(line)
        for pattern, better in WORDS.items()
        for match in re.finditer(pattern, _without_allowed(path, line), re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "better"), [("the harsher arm", 2), ("a runner gives up", 2), ("a CI runner", 0)]
)
def test_the_list_finds_words(text: str, better: int) -> None:
    """Each pattern matches whole words in any form and spares their neighbours."""
    assert sum(bool(re.search(pattern, text)) for pattern in WORDS) == better

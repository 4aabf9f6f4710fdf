"""JSON values to records and back: a record's own annotations are its schema, read strictly.

Known are ``str``, ``int``, ``float``, ``bool``, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]``,
``dict[str, str]``, nested dataclasses, and classes with ``from_dict`` and ``to_dict``. Every field is
needed, no other key is allowed, no number is infinite, and no text is broken Unicode. A whole number
is taken where a fraction is expected; nothing else is turned into anything else.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from bitdose.errors import UsageError

T = TypeVar("T")

_LARGEST = 2**53  # beyond it, other languages' JSON readers lose whole numbers
_DIGITS = 17
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_json(data: bytes, *, what: str) -> Any:
    """Read JSON that is UTF-8, names each key once and holds no NaN or infinity.

    Parameters
    ----------
    data : bytes
        The document.
    what : str
        Its name in messages.

    Raises
    ------
    UsageError
        If it is anything else.

    Examples
    --------
    >>> read_json(b'{"a": 1, "a": 2}', what="note")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: note: duplicate key 'a'
    """
    hooks: Any = {"parse_constant": _number, "parse_int": _number, "parse_float": _number}
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_object, **hooks)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # an escape can name half a character
    except UsageError as error:
        raise UsageError(f"{what}: {error.message}") from error
    except UnicodeError as error:
        raise UsageError(f"{what}: expected UTF-8 text, got bytes or an escape that is none") from error
    except json.JSONDecodeError as error:
        message = f"{what}: expected JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        raise UsageError(message) from error
    except RecursionError as error:
        raise UsageError(f"{what}: expected JSON of a few levels, got thousands") from error
    return value


def record_of(kind: type[T], value: Any, key: str) -> T:
    """Read a record from a JSON object.

    Parameters
    ----------
    kind : type
        A dataclass.
    value : JSON value
        What should be an object with exactly its fields.
    key : str
        The key path so far, for messages; empty at the top.

    Raises
    ------
    UsageError
        If a key is missing, unknown, or holds something else; the message names the key.

    Examples
    --------
    >>> from dataclasses import make_dataclass
    >>> record_of(make_dataclass("Spot", [("x", int)]), {"x": "far"}, "spot")
    Traceback (most recent call last):
        ...
    bitdose.errors.UsageError: spot.x: expected a whole number, got 'far'
    """
    _expect(isinstance(value, Mapping), key, "an object", value)
    hints = _hints(cast("Any", kind))
    names = [field.name for field in fields(cast("Any", kind))]
    for name in value:
        if name not in names:
            raise UsageError(f"{_path(key, name)}: unknown key; known here: {', '.join(names)}")
    for name in names:
        if name not in value:
            raise UsageError(f"{_path(key, name)}: missing")
    found = {name: _read(hints[name], value[name], _path(key, name)) for name in names}
    try:
        return kind(**found)
    except UsageError as error:
        raise UsageError(f"{key}: {error.message}" if key else error.message) from error


def plain(value: Any) -> Any:
    """Return a record as JSON values; :func:`record_of` reads them back."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def check(ok: object, key: str, expected: str, came: object) -> None:
    """Raise ``UsageError`` for a field that holds something else."""
    if not ok:
        raise UsageError(f"{key}: expected {expected}, got {str(came)[:80]!a}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UsageError(f"duplicate key {key!a}")
        found[key] = value
    return found


def _number(text: str) -> int | float:
    whole = text.lstrip("-").isdigit()
    # A float first: Python refuses to read a whole number of thousands of digits.
    if not math.isfinite(float(text)) or (whole and (len(text) > _DIGITS or abs(int(text)) > _LARGEST)):
        raise UsageError(f"expected finite numbers, whole ones up to 2^53, got {text[:20]}")
    return int(text) if whole else float(text)


def _read(hint: Any, value: Any, key: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):  # only ever X | None
        return None if value is None else _read(inner[0], value, key)
    if origin is tuple:
        return _read_list(inner, value, key)
    if origin is dict:
        _expect(isinstance(value, Mapping), key, "an object", value)
        return {
            _read(str, name, key): _read(inner[1], item, _path(key, name)) for name, item in value.items()
        }
    if hint in _WORDS:
        return _read_scalar(hint, value, key)
    if hasattr(hint, "from_dict"):
        _expect(isinstance(value, Mapping), key, "an object", value)
        try:
            return hint.from_dict(value)
        except UsageError as error:
            raise UsageError(f"{key}: {error.message}") from error
    return record_of(hint, value, key)


def _read_list(inner: Sequence[Any], value: Any, key: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list | tuple), key, "a list", value)
    if inner[-1] is Ellipsis:
        return tuple(_read(inner[0], item, f"{key}[{at}]") for at, item in enumerate(value))
    _expect(len(value) == len(inner), key, f"a list of {len(inner)}", value)
    pairs = zip(inner, value, strict=True)
    return tuple(_read(hint, item, f"{key}[{at}]") for at, (hint, item) in enumerate(pairs))


def _read_scalar(hint: Any, value: Any, key: str) -> Any:
    kinds = (int, float) if hint is float else (hint,)
    _expect(type(value) in kinds, key, _WORDS[hint], value)
    if hint is str:
        _expect(value.isprintable(), key, "text without control or broken characters", value)
    elif hint is float:
        _expect(math.isfinite(value), key, "a finite number", value)
    return float(value) if hint is float else value


def _path(key: str, name: Any) -> str:
    shown = str(name) if str(name).isidentifier() else ascii(name)
    return f"{key}.{shown}" if key else shown


def _expect(ok: object, key: str, expected: str, came: object) -> None:
    if not ok:
        shown = ascii(came)
        raise UsageError(f"{key or 'document'}: expected {expected}, got {shown[:60]}")

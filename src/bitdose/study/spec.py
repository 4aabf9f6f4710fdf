"""A study's specification: what the command line and a TOML file describe, and nothing found yet."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from bitdose.data.base import Color
from bitdose.errors import UsageError, argument
from bitdose.rule.rule import Rule

_TABLES: dict[str, tuple[str, ...]] = {
    "data": ("path", "split", "limit", "classes", "color", "path_column", "label_column", "patient_column"),
    "model": ("path", "weights", "input", "runtime", "precision"),
    "study": ("points", "exact", "ssim", "seed", "max_failures", "engine", "address"),
}
_DECISION = "decision"  # its keys are those of rule/rule.py, which checks them
_RENAMED = {("data", "path"): "data", ("model", "path"): "model"}
COLORS = get_args(Color)
ENGINES = ("local", "pipeline", "ray")
_FORMER = {"split": "pipeline"}  # engines by the names of version 0.1


@dataclass(frozen=True)
class StudySpec:
    """Cases x classifier x points, as the user describes them.

    Parameters
    ----------
    data : str
        Folder or table of cases.
    model : str
        An ONNX or TorchScript file, ``module:factory`` or the name of a shipped one.
    points : tuple of str
        Text forms of points or grids, such as ``jpeg:q10..90/10``, or ``paper``.
    split : str or None
        Split of the table; None where it has one or none.
    limit : int or None
        At most so many cases, spread over the classes.
    classes : dict of str to str
        Data label to model label; an empty model label drops the class.
    color : {"keep", "grey"}
        ``grey`` takes the luma of colour sources before anything else.
    path_column, label_column : str
        Columns of the table.
    patient_column : str
        Column of the patients; empty for any of the usual names, else the headers of DICOM files.
    weights : str
        For ``module:factory``.
    input : dict
        Fields of the input spec that the model does not state.
    runtime, precision : str
        One of ``RUNTIMES`` and of ``PRECISIONS`` of :mod:`bitdose.models.load`, or ``auto``.
    exact : bool
        JPEG 2000 as each rate alone gives it; otherwise one layered encode for all rates.
    ssim : bool
        Whether SSIM is measured.
    seed : int
        Seed of whatever is drawn.
    max_failures : float
        Share of cases that may fail before the study stops, 0 to 1.
    engine : {"local", "pipeline", "ray"}
        Where cases run; no part of a run's identity, since the rows are the same.
    address : str
        A Ray cluster's; empty starts a Ray on this machine.
    rule : Rule or None
        The rule of a decision, fixed before the run: a study file's ``[decision]``. None where none was.
    """

    data: str
    model: str
    points: tuple[str, ...] = ("paper",)
    split: str | None = None
    limit: int | None = None
    classes: dict[str, str] = field(default_factory=dict)
    color: Color = "keep"
    path_column: str = "path"
    label_column: str = "label"
    patient_column: str = ""
    weights: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    runtime: str = "onnxruntime"
    precision: str = "fp32"
    exact: bool = True
    ssim: bool = True
    seed: int = 0
    max_failures: float = 0.2
    engine: str = "local"
    address: str = ""
    rule: Rule | None = None

    def __post_init__(self) -> None:
        """Check what needs no file."""
        object.__setattr__(self, "engine", _FORMER.get(self.engine, self.engine))
        if self.color not in COLORS:
            raise UsageError(f"{argument('color')}: expected {' or '.join(COLORS)}, got {self.color!r}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"{argument('limit')}: expected 1 or more cases, got {self.limit}")
        if not 0 <= self.max_failures <= 1:
            raise UsageError(
                f"{argument('max_failures')}: expected a share from 0 to 1, got {self.max_failures}"
            )
        if self.engine not in ENGINES:
            raise UsageError(f"{argument('engine')}: expected {' or '.join(ENGINES)}, got {self.engine!r}")
        if self.address and self.engine != "ray":
            raise UsageError(
                f"{argument('address', self.address)}: a cluster's address goes with "
                f"{argument('engine', 'ray')}"
            )

    def updated(self, **changes: Any) -> StudySpec:
        """Return the spec with every change that is not None."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def resolved(self) -> StudySpec:
        """Return the spec with the paths of what exists made absolute, to be run from anywhere."""
        return replace(
            self, data=_absolute(self.data), model=_absolute(self.model), weights=_absolute(self.weights)
        )

    def to_toml(self) -> str:
        """Write the spec as TOML; what is None is left out."""
        import tomli_w

        document: dict[str, dict[str, Any]] = {}
        for table, keys in _TABLES.items():
            values = {key: getattr(self, _RENAMED.get((table, key), key)) for key in keys}
            kept = {key: value for key, value in values.items() if value not in (None, {}, "")}
            document[table] = {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}
        if self.rule:
            document[_DECISION] = self.rule.to_dict()
        return tomli_w.dumps(document)


def spec_of(data: str, **given: Any) -> StudySpec:
    """Put a spec together: a study file, or data, and over it what is given.

    Parameters
    ----------
    data : str
        A study's TOML file, a folder or a table.
    given
        Fields of :class:`StudySpec`; those of ``input`` are merged with the file's.

    Raises
    ------
    UsageError
        If data or model is missing, or a field cannot be read.
    """
    found = read_spec(Path(data)) if data.endswith(".toml") else {"data": data}
    fields = found | given
    if "input" in found and "input" in given:
        fields["input"] = found["input"] | given["input"]
    if "data" not in fields:
        raise UsageError(f"study file {data}: [data] path is missing")
    if "model" not in fields:
        raise UsageError(
            f"{argument('model')}: expected an .onnx file, a TorchScript file, module:factory or 'phantom', "
            "got nothing"
        )
    unknown = next((key for key in fields if key not in StudySpec.__dataclass_fields__), None)
    if unknown:
        known = ", ".join(StudySpec.__dataclass_fields__)
        raise UsageError(f"{unknown}: no such argument of a study; known: {known}")
    return StudySpec(**fields)


def load_spec(path: Path) -> StudySpec:
    """Read a study file that must be complete; raises ``UsageError`` if data or model is missing."""
    found = read_spec(path)
    for key in ("data", "model"):
        if key not in found:
            raise UsageError(f"study file {path}: [{key}] path is missing")
    return StudySpec(**found)


def read_spec(path: Path) -> dict[str, Any]:
    """Read a study file into fields of :class:`StudySpec`; paths in it are relative to the file.

    Raises
    ------
    UsageError
        If it is no TOML, or holds an unknown table or key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"study file {path}: {error}") from error
    found: dict[str, Any] = {}
    for table, values in document.items():
        known = _TABLES.get(table)
        if table == _DECISION and isinstance(values, dict):
            found["rule"] = Rule.from_dict(values)
            continue
        if known is None or not isinstance(values, dict):
            tables = ", ".join((*_TABLES, _DECISION))
            raise UsageError(f"study file {path.name}: unknown table [{table}]; known: {tables}")
        for key, value in values.items():
            if key not in known:
                raise UsageError(
                    f"study file {path.name}: unknown key {table}.{key}; known: {', '.join(known)}"
                )
            found[_RENAMED.get((table, key)) or str(key)] = tuple(value) if isinstance(value, list) else value
    for key in ("data", "model", "weights"):
        if key in found:
            found[key] = _beside(path, found[key])
    if isinstance(found.get("points"), str):
        found["points"] = (found["points"],)
    return _checked_types(path, found)


def _absolute(text: str) -> str:
    return str(Path(text).resolve()) if text and Path(text).exists() else text


def _beside(path: Path, value: Any) -> Any:
    """Resolve a path against the study file's folder, where something of that name is there."""
    there = path.parent / str(value)
    return str(there) if value and there.exists() else value


def _checked_types(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, tuple[type, ...]] = {
        "limit": (int,), "seed": (int,), "exact": (bool,), "ssim": (bool,), "classes": (dict,),
        "input": (dict,), "rule": (Rule,), "max_failures": (int, float), "points": (tuple,),
    }  # fmt: skip
    for key, value in found.items():
        wanted = kinds.get(key, (str,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise UsageError(f"study file {path.name}: {key}: expected {names}, got {value!r}")
    return found

"""Which file becomes which: the tree of the source mirrored under ``out``, and nothing written over.

A DICOM file keeps its name. A raster's name gets the codec's suffix in place of its own; where two
would then share one name, both keep theirs in full: ``a.png.jpg``, ``a.tif.jpg``. Names
are compared as a file system that ignores case would. Hidden files, and files whose
extension says that they describe data, are passed over, as in a study.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bitdose.codecs.point import Point
from bitdose.data.folder import image_files, plain_text
from bitdose.data.sniff import sniff
from bitdose.errors import UsageError, argument

_HEAD_BYTES = 4096
_ALIASES = {".jpg": (".jpg", ".jpeg", ".jpe"), ".j2k": (".j2k", ".j2c", ".jpc")}


class Task(NamedTuple):
    """One source file and its target.

    Parameters
    ----------
    source, target : pathlib.Path
        Path to read, and path to write.
    name : str
        The file relative to the source, as plain text.
    """

    source: Path
    target: Path
    name: str


def tasks_of(source: Path, out: Path, point: Point) -> list[Task]:
    """List what is to be done for a source.

    Parameters
    ----------
    source : pathlib.Path
        A file or a folder.
    out : pathlib.Path
        For a file: the new file, or an existing folder that gets it. For a folder: the
        folder that mirrors it.
    point : Point
        Operating point; its codec determines the suffix.

    Raises
    ------
    UsageError
        If the source is missing or holds no file, or ``out`` is within it, is it, or has a wrong suffix.
    """
    if point.is_pristine:
        raise UsageError(
            f"{argument('point')} 'pristine': expected a point that compresses, such as 'jpeg2000:20x'"
        )
    suffix = point.build_codec().suffix
    if source.is_dir():
        return _folder_tasks(source, out, suffix)
    if not source.exists():
        raise UsageError(f"{argument('source', source)}: expected a file or folder, found nothing there")
    return [_file_task(source, out, suffix)]


def check_targets(tasks: list[Task], *, overwrite: bool, resume: bool) -> None:
    """Refuse to start with existing targets unless ``overwrite`` or ``resume`` decides their fate.

    Raises
    ------
    UsageError
        If targets exist; the message names their number and the first.
    """
    there = [task for task in tasks if task.target.exists()]
    if there and not overwrite and not resume:
        raise UsageError(
            f"{argument('out')}: {len(there)} of {len(tasks)} files are already there, "
            f"first {plain_text(str(there[0].target))}; {argument('overwrite', value=True)} writes "
            f"them anew, {argument('resume', value=True)} keeps them"
        )


def _file_task(source: Path, out: Path, suffix: str) -> Task:
    is_dicom = _is_dicom(source)
    if out.is_dir():
        target = out / (source.name if is_dicom else source.with_suffix(suffix).name)
    else:
        target = out
        allowed = _ALIASES.get(suffix, (suffix,))
        if not is_dicom and target.suffix.lower() not in allowed:
            raise UsageError(f"{argument('out', out)}: expected a folder or a name that ends in {suffix}")
    if target.resolve() == source.resolve():
        raise UsageError(
            f"{argument('out', out)}: that is {argument('source')} itself; choose another name or folder"
        )
    return Task(source, target, plain_text(source.name))


def _folder_tasks(source: Path, out: Path, suffix: str) -> list[Task]:
    inner, outer = out.resolve(), source.resolve()
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{argument('out', out)}: expected a folder for the folder {argument('source')}, found a file"
        )
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise UsageError(
            f"{argument('out', out)}: expected a folder apart from {argument('source')}, "
            "neither within it nor around it"
        )
    files = image_files(source)
    if not files:
        raise UsageError(f"{argument('source', source)}: the folder holds no image file")
    names = _names([path.relative_to(source) for path in files], files, suffix)
    return [
        Task(path, out / name, plain_text(path.relative_to(source).as_posix()))
        for path, name in zip(files, names, strict=True)
    ]


def _names(relative: list[Path], files: list[Path], suffix: str) -> list[Path]:
    keeps = [_is_dicom(path) for path in files]
    names = [path if keep else path.with_suffix(suffix) for path, keep in zip(relative, keeps, strict=True)]
    shared = _shared(names)
    names = [
        path.with_name(path.name + suffix) if not keep and _folded(name) in shared else name
        for path, keep, name in zip(relative, keeps, names, strict=True)
    ]
    left = _shared(names)
    if left:
        raise UsageError(
            f"{argument('source')}: several files would all become {plain_text(min(left))}; "
            "rename one of them"
        )
    return names


def _shared(names: list[Path]) -> set[str]:
    return {name for name, count in Counter(map(_folded, names)).items() if count > 1}


def _folded(name: Path) -> str:
    return name.as_posix().casefold()


def _is_dicom(path: Path) -> bool:
    """Sniff a file's head; an unreadable file fails later, with its reason."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return sniff(file.read(_HEAD_BYTES)) == "DICOM"
    except OSError:
        return False

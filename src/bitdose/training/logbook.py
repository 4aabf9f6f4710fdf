"""Training log by epoch: JSON lines and TensorBoard events.

The JSON lines are authoritative. A resumed run starts a new event file, which makes TensorBoard
discard the earlier ones, and repeats the previous epochs: their last events may not have reached
the disk before a kill, or may belong to an epoch after the checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bitdose.training import checkpoint

HISTORY = "history.jsonl"
EVENTS = "logs"


class Logbook:
    """Log of one record per epoch; a resume drops records after the checkpoint.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    done : int
        Number of epochs of the checkpoint; later records are dropped.
    """

    def __init__(self, folder: Path, *, done: int) -> None:
        self._path = folder / HISTORY
        self.records = [record for record in _read(self._path) if record["epoch"] <= done]
        checkpoint.write_text_atomically(self._path, "".join(_line(record) for record in self.records))
        self._events = _events(folder / EVENTS)
        for record in self.records:
            self._show(record)

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of one epoch."""
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self._show(record)

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()

    def _show(self, record: dict[str, Any]) -> None:
        if self._events is None:
            return
        for name, value in record.items():
            if name != "epoch" and isinstance(value, int | float):
                self._events.add_scalar(name, value, record["epoch"])


def _read(path: Path) -> list[dict[str, Any]]:
    """Read complete lines; a kill may have truncated the last one."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _events(folder: Path) -> Any:
    """Return a writer of TensorBoard's event files, or None where tensorboardX is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=1, flush_secs=1)

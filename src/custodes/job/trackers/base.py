"""One call for whoever reports steps, and the tracker that is open while a command runs.

A tracker gets the numbers that the ledger gets, and nothing reads them back: the ledger stays the record.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from custodes.types import InputError

TrackerName = Literal["wandb", "tensorboard", "trackio"]
TRACKERS: tuple[str, ...] = get_args(TrackerName)
_open: list[_Tracker] = []
_groups: list[str] = []


class _Tracker(Protocol):
    """What each library's file makes: ``make(folder, name, id, config)``.

    ``folder`` is the command's own, ``name`` is for people, ``id`` is the same whenever the same folder goes on, and
    ``config`` holds the options, ready for JSON.
    """

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Numbers of one step, by name."""

    def finish(self) -> None:
        """Everything is written."""


def track(metrics: Mapping[str, Any], step: int, title: str) -> None:
    """Hand the numbers of a step to the tracker that is open, if one is, as ``GROUP/TITLE/NAME``.

    What is no finite number is left out.
    """
    if _open:
        prefix = "/".join([*_groups, title, ""])
        numbers = {prefix + name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
        _open[-1].log({name: value for name, value in numbers.items() if math.isfinite(value)}, step)


@contextmanager
def tracked_as(group: str) -> Iterator[None]:
    """Steps of the block belong to ``group``, the arm of a run or one of its rounds."""
    _groups.append(group)
    try:
        yield
    finally:
        _groups.pop()


@contextmanager
def tracking(which: str, folder: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Steps that are reported in the block go to the library ``which``. Raises InputError where it is not installed."""
    try:
        library = importlib.import_module(f"custodes.job.trackers.{which}_tracker")
    except ModuleNotFoundError as error:
        raise InputError(f"--track {which} needs {error.name}: pip install 'custodes[track]'.") from None
    where = folder.resolve()
    where.mkdir(parents=True, exist_ok=True)
    id_ = hashlib.sha256(str(where).encode()).hexdigest()[:16]
    tracker = library.make(where, where.name, id_, json.loads(json.dumps(dict(config), default=str)))
    _open.append(tracker)
    try:
        yield
    finally:
        _open.remove(tracker)
        tracker.finish()

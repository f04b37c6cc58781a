"""Episodes on disk: ``episodes.jsonl``, one object a line, and ``episodes.index``, a line that says what it is and one
fixed-size row each.

Lines are appended as episodes end. The index says what a run needs to know to go on and to count (which episode, which
facts), so that 100,000 episodes are resumed and summarised without reading their transcripts. It is written after
its line: whatever moment the run is killed at, the tail of the lines that the index does not know is read again, and
half a line at the end is cut off. A lost index is rebuilt from the lines. In a run that is recorded both are hashed into
the ledger as they grow, and compared with it before they are gone on with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from custodes.files import written_whole
from custodes.gaming.facts import pack_facts
from custodes.job.growing import Growing
from custodes.job.recording import Recording, current
from custodes.types import InputError

ROW = np.dtype(
    [
        ("stage", "u1"), ("gamed", "u1"), ("caught", "u1"), ("failed", "u1"), ("well_formed", "u1"), ("held_out", "u1"),
        ("calls", "u2"), ("index", "u4"), ("variant", "u4"), ("facts", "u8"), ("offset", "u8"), ("length", "u4"),
        ("seconds", "f4"), ("reward", "f8"),
    ]
)  # fmt: skip
EpisodeRows = NDArray[Any]
FORMAT = 2
"""Of the index. The first had no line that says so, and was read as whatever facts and stages the reader knew."""
GAMED, UNSAID = 1, 2
"""Values of the column "gamed" beside 0: it was gamed; the environment does not say what gaming is."""


class Records:
    """The episodes of a run, open for appending. ``stages`` fixes the numbers by which the index names them."""

    def __init__(self, folder: Path, stages: Sequence[str]) -> None:
        """Open or begin; raises InputError where the folder holds episodes that are none of ours."""
        self.folder, self.stages = folder, list(stages)
        self.lines, self.index = folder / "episodes.jsonl", folder / "episodes.index"
        recording = current()
        if recording is not None:
            for file in (self.lines, self.index):
                recording.require(file)
        rows = self._recover()
        self._lines, self._marks = Growing(self.lines), Growing(self.index, by_lines=False)
        if recording is not None:
            self.watch(recording)
        self.done = {stage: set(rows["index"][rows["stage"] == i].tolist()) for i, stage in enumerate(self.stages)}
        self._size = self.lines.stat().st_size

    def watch(self, recording: Recording) -> None:
        """Record lines and index in a run from now on, and what they hold already."""
        self._lines.watch(recording)
        self._marks.watch(recording)

    def append(self, record: dict[str, Any]) -> None:
        """Write one episode; the operating system has it when this returns. Raises OSError on a full disk, with nothing counted."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        self._lines.append(line)
        row = _make_row(record, self.stages, self._size, len(line))
        self._size += len(line)
        self.done[record["stage"]].add(record["index"])
        self._marks.append(row.tobytes())

    def rows(self) -> EpisodeRows:
        """Everything the index holds."""
        return read_index(self.index)

    def close(self) -> None:
        """Record the last of what was written; a run without an episode leaves no file."""
        self._lines.close()
        self._marks.close()
        if not any(self.done.values()):
            self.lines.unlink(missing_ok=True)
            self.index.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ after a kill

    def _recover(self) -> EpisodeRows:
        """Bring lines and index into step, and return the index."""
        self.lines.touch()
        self.index.touch()
        size = self.lines.stat().st_size
        stages, rows = _read_rows(self.index)
        if stages != self.stages:  # of an older format, or with other numbers: made again from the lines
            rows = rows[:0]
        ends = rows["offset"] + rows["length"]
        right = (ends <= size) & _in_line(rows)
        whole = len(rows) if right.all() else int(np.argmin(right))
        tail, end = self._read_tail(int(ends[whole - 1]) if whole else 0)
        if end < size:
            os.truncate(self.lines, end)
        rows = np.concatenate([rows[:whole], *tail])
        data = _head(self.stages) + rows.tobytes()
        if stages != self.stages or tail or len(data) != self.index.stat().st_size:
            with written_whole(self.index) as fresh:
                fresh.write(data)
        return rows

    def _read_tail(self, start: int) -> tuple[list[EpisodeRows], int]:
        """Rows of the whole lines from ``start``, and where the last of them ends."""
        rows, end = [], start
        with self.lines.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    rows.append(_make_row(json.loads(line), self.stages, end, len(line)))
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(
                        f"{self.lines} holds a line that this run did not write, at byte {end} ({error}); use another --out."
                    ) from None
                end += len(line)
        return rows, end


def read_index(path: Path) -> EpisodeRows:
    """A row for each episode; one that was recorded twice counts once, as it was recorded first.

    Raises InputError where the rows do not follow one another, as two runs in one folder left them, and for an index of
    another format.
    """
    stages, rows = _read_rows(path)
    if stages is None and path.exists() and path.stat().st_size:
        raise InputError(f"{path} is of another version; the same custodes gaming run command again makes it new.")
    if not _in_line(rows).all():
        raise InputError(
            f"{path} was written by two runs at once; the same custodes gaming run command again puts it in order."
        )
    _, first = np.unique(rows["stage"].astype(np.int64) << 32 | rows["index"], return_index=True)
    return rows if len(first) == len(rows) else rows[np.sort(first)]


def _head(stages: Sequence[str]) -> bytes:
    """The first line of an index, as long as some rows are: its format, and the stages that its rows number."""
    line = json.dumps({"format": FORMAT, "stages": list(stages)}).encode()
    rows = -(-(len(line) + 1) // ROW.itemsize)
    return line.ljust(rows * ROW.itemsize - 1) + b"\n"


def _read_rows(path: Path) -> tuple[list[str] | None, EpisodeRows]:
    """The stages that an index numbers, None where it is of another format, and its rows."""
    data = path.read_bytes() if path.exists() else b""
    line, end, rest = data.partition(b"\n")
    try:
        head = json.loads(line) if end and line.startswith(b'{"format"') else {}
    except ValueError:
        head = {}
    if head.get("format") != FORMAT:
        return None, np.zeros(0, ROW)
    return head["stages"], np.frombuffer(rest[: len(rest) // ROW.itemsize * ROW.itemsize], ROW)


def _in_line(rows: EpisodeRows) -> NDArray[np.bool_]:
    """(n,) whether a row's line begins where the one before it ends."""
    ends = rows["offset"] + rows["length"]
    return np.asarray(rows["offset"] == np.concatenate([[0], ends[:-1]])) if len(rows) else np.zeros(0, bool)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The episodes one by one, as they were written; one that was recorded twice comes once."""
    seen: set[tuple[str, int]] = set()
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                record = json.loads(line)
                if (key := (record["stage"], record["index"])) not in seen:
                    seen.add(key)
                    yield record


def _make_row(record: dict[str, Any], stages: Sequence[str], offset: int, length: int) -> EpisodeRows:
    """An episode's row of the index, shape (1,)."""
    split, _, number = record["variant"].rpartition("-")
    reward = record["reward"]
    values = (
        stages.index(record["stage"]), UNSAID if record["gamed"] is None else record["gamed"], record["caught"], bool(record["failure"]), record["well_formed"],
        split == "held-out", min(record["calls"], 65_535), record["index"], int(number), pack_facts(record["facts"]), offset,
        length, record["seconds"], np.nan if reward is None else reward,
    )  # fmt: skip
    return np.array([values], ROW)

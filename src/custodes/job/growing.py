"""A file that is only appended to, line by line or row by row: hashed in blocks as it grows, whole after every append."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from custodes.digests import TAKEN, HashedBlock, blocks_of
from custodes.job.recording import Recording

GROWN = 5.0
"""Seconds between two blocks of a file that grows: what nobody can vouch for after a kill."""

GROWN_LINES = 64
"""Lines of a block: an edit is named by so many."""


def cut_half_line(path: Path) -> None:
    """Cut off what a kill left of a line at the end of a file."""
    whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
    if path.exists() and whole < path.stat().st_size:
        os.truncate(path, whole)


class Growing:
    """A file that is appended to. It is made by the first append, and recorded from :meth:`watch` on."""

    def __init__(self, path: Path, by_lines: bool = True) -> None:
        self.path, self.by_lines = path, by_lines
        self._out: int | None = None
        self._recording: Recording | None = None

    def watch(self, recording: Recording) -> None:
        """Hash the file into a run, what it holds already too.

        What is found must be what was recorded, or follow it: a killed run had written it. Raises InputError where what
        was recorded of it has changed.
        """
        self._recording, self.name = recording, recording.files.name(self.path)
        self.start, self.line = recording.known(self.path)  # where the block under way begins
        known = recording.files.versions.get(self.name)
        if known is not None and self.path.exists() and recording.files.problem(known) is not None:
            self.start, self.line = 0, 0  # made again from other files, after it was compared
        self._end, self._lines, self._digest = self.start, 0, hashlib.sha256()  # the block under way
        self._blocks: list[HashedBlock] = []  # whole, and not recorded yet
        self._told = time.monotonic()
        size = self.path.stat().st_size if self.path.exists() else 0
        if size > self.start:
            self._take(recording, size)

    def append(self, data: bytes, lines: int = 1) -> None:
        """Write whole lines; the operating system has them when this returns. Raises OSError, with the file as it was."""
        if self._out is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._out = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        size, rest = os.fstat(self._out).st_size, memoryview(data)
        try:
            while rest:  # a nearly full disk takes a part
                rest = rest[os.write(self._out, rest) :]
        except OSError:
            os.ftruncate(self._out, size)
            raise
        if self._recording is not None:
            self._digest.update(data)
            self._end, self._lines = self._end + len(data), self._lines + lines
            if self._lines >= GROWN_LINES:
                self._cut()
            if time.monotonic() - self._told > GROWN:
                self._record(self._recording)

    def close(self) -> None:
        """Record the rest, a line too that was written when an interruption came."""
        if self._out is not None:
            os.close(self._out)
            self._out = None
        if self._recording is not None:
            self._record(self._recording)
            if self.path.exists() and self.path.stat().st_size > self.start:
                self._recording.keep_blocks(self.path, blocks_of(self.path, self.start, self.line))

    def _cut(self) -> None:
        """End the block under way."""
        if self._end > self.start:
            lines = (self.line + 1, self.line + self._lines) if self.by_lines else (0, 0)
            self._blocks.append(HashedBlock(self._digest.hexdigest(), self.start, self._end, *lines))
        self.start, self.line = self._end, self.line + self._lines
        self._lines, self._digest = 0, hashlib.sha256()

    def _record(self, recording: Recording) -> None:
        self._cut()
        if self._blocks:
            recording.keep_blocks(self.path, self._blocks)
        self._blocks, self._told = [], time.monotonic()

    def _take(self, recording: Recording, size: int) -> None:
        """What stands behind the last block."""
        blocks = blocks_of(self.path, self.start, self.line)
        began = self.start == 0
        if self.by_lines:
            first, last = self.line + 1, blocks[-1].last_line
            what = f"lines {first:,} to {last:,} of {self.path}"
            if began and not recording.killed_before():
                recording.hole(f"{what} were there before the record began", self.name)
            else:
                why = "recorded" if began else "written after the last block that was recorded"
                what += " are taken as they are: they were " + (f"not {why}." if began else f"{why}.")
                recording.say(TAKEN, what, self.name)
        recording.keep_blocks(self.path, blocks)
        self.start, self.line, self._end = size, blocks[-1].last_line, size

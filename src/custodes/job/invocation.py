"""A command that is called, before, during and after its run: what it will read is hashed, and its run begins once its options are sound.

This module is light, since every command loads it: the ledger is imported where it is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodes.digests import blocks_of, files_in
from custodes.job import recording
from custodes.job.recording import Recording, as_current, current
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.ledger import Status

LARGEST = 1 << 30
"""Bytes from which a file of a folder that is read is not hashed: it would take longer than a second."""

_invocations: list[Invocation] = []


def reads(*paths: Path) -> None:
    """Hash files that are about to be read, for the current run or the one that begins next.

    Very large files of folders are left out: they are weights, whose hash the run's row of the model holds.
    """
    files = {file for path in paths for file in files_in(path) if file == path or file.stat().st_size < LARGEST}
    hashed = {path: blocks_of(path) for path in sorted(files)}
    if (run := current()) is not None:
        run.keep_inputs(hashed)
    elif _invocations:
        recording.inputs.update(hashed)


def begin() -> Recording | None:
    """The current run; where there is none, that of the command under way, which begins now: its options are sound.

    A command that does not say so itself begins when it ends. None where nothing is recorded.
    """
    return current() or (_invocations[-1].begin() if _invocations else None)


def leave_no_record() -> None:
    """Tell the command under way that it writes nothing, and so is no run."""
    if _invocations:
        _invocations[-1].where = None


def recorded_in(folder: Path) -> None:
    """The run is recorded in the ledger of ``folder`` and goes on from there: it is the command's, where that writes into ``folder``.

    Raises InputError where another ledger was named for the command.
    """
    for command in _invocations[-1:]:
        if command.folder is not None and command.folder.resolve() == folder.resolve():
            if command.named:
                raise InputError(f"custodes {command.name} goes on from the ledger in its folder; leave out --ledger.")
            command.where = None


@dataclass(slots=True, eq=False)
class Invocation:
    """A command that will be a run of the ledger ``where``, None for none, once it begins or ends.

    ``folder`` is where it writes, and ``named`` whether its ledger was named on the command line. Without ``compare``
    files are recorded and not compared with what other runs recorded of them.
    """

    name: str
    where: str | Path | None
    config: Mapping[str, Any]
    seed: int = 0
    folder: Path | None = None
    named: bool = False
    compare: bool = True
    result: Mapping[str, Any] | None = None  # what it found, as JSON with finite numbers
    recording: Recording | None = None
    held: ExitStack = field(default_factory=ExitStack)  # the run and its ledger, from its begin on
    clocks: tuple[float, float, float] = field(
        default_factory=lambda: (time.perf_counter(), time.process_time(), time.time())
    )

    def begin(self) -> Recording | None:
        from custodes.ledger import Ledger

        if self.recording is None and self.where is not None:
            with ExitStack() as held:
                ledger = held.enter_context(Ledger.open(self.where))
                run = Recording(ledger, ledger.start_run(self.name, self.config, self.seed), self.compare)
                run.began, run.processor, _ = self.clocks
                self.recording = held.enter_context(as_current(run))
                self.held = held.pop_all()
        return self.recording

    def end(self, status: Status, outputs: Sequence[Path]) -> None:
        """Record outputs, result and how it ended; what was wrong from the start leaves nothing behind."""
        from custodes.ledger import Evaluation

        if status != "failed" or "://" in str(self.where) or (self.where is not None and Path(self.where).exists()):
            self.begin()
        if (run := self.recording) is not None:
            if status == "completed":
                run.keep(*outputs, since=self.clocks[2])
                if self.result is not None:
                    run.ledger.write(run.run, [Evaluation("result", self.name, "", dict(self.result), 1)])
            run.end(status)


@contextmanager
def under_way(command: Invocation) -> Iterator[Invocation]:
    """The command runs in the block: what is read and written there is told to it."""
    _invocations.append(command)
    try:
        yield command
    finally:
        _invocations.remove(command)
        recording.inputs.clear()
        command.held.close()

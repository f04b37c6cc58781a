"""The run that a command is recorded in: what it read, what it wrote, what it cost and how it ended.

One run at a time is the current one of a process. Whoever writes a file that something will rest on tells it
(:meth:`Recording.keep`), whoever goes on from files asks it first (:meth:`Recording.rely`), and checkpoints name the
row that they follow. Where nothing is recorded, as in a notebook, :func:`current` is None and nothing is asked.

This module is light, since every command loads it: the ledger is imported where it is written.
"""

from __future__ import annotations

import itertools
import os
import platform
import resource
import secrets
import shlex
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodes.digests import HOLE, TAKEN, HashedBlock, blocks_of, files_in, follows_sentence
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.ledger import Evaluation, Ledger, Status
    from custodes.ledger.artefacts import ArtefactRole
    from custodes.ledger.heads import Head

_current: list[Recording] = []

written: list[str] = []
"""Ledgers in which this process recorded runs, by path or URL, as they came."""

inputs: dict[Path, list[HashedBlock]] = {}
"""What was read before the run began that will say so."""


def current() -> Recording | None:
    """The run that is being recorded now."""
    return _current[-1] if _current else None


class Recording:
    """A run of an open ledger, as files and costs are told to it. Threads may share it.

    Without ``compare`` files are recorded and not compared with what other runs recorded of them, which takes
    reading that: for a ledger of very many small runs.
    """

    def __init__(self, ledger: Ledger, run: str, compare: bool = True) -> None:
        from custodes.ledger.artefacts import Files

        self.ledger, self.run, self.files = ledger, run, Files(ledger, compare)
        self._lock = threading.RLock()
        self.began, self.processor = time.perf_counter(), time.process_time()

    # ------------------------------------------------------------ files

    def keep(self, *paths: Path, since: float = 0.0) -> None:
        """Hash files, and all files of folders, into the chain; what is recorded as it is already, is not again.

        What was last written before ``since`` (seconds since 1970) is left out: somebody else's files may lie there.
        """
        with self._lock:
            new = {}
            for path in itertools.chain.from_iterable(map(files_in, paths)):
                if path.stat().st_mtime < since - 2:  # file systems round
                    continue
                known = self.files.versions.get(self.files.name(path))
                if known is None or known.role != "output" or not self.files.is_as_recorded(known):
                    new[path] = blocks_of(path)
            self._write(new, "output")

    def keep_written(self, folder: Path) -> None:
        """All files below ``folder`` that were written since the run began."""
        (run,) = (r for r in self.ledger.runs() if r.id == self.run)
        self.keep(folder, since=datetime.fromisoformat(run.started).timestamp())

    def keep_blocks(self, path: Path, blocks: list[HashedBlock], role: ArtefactRole = "output") -> None:
        """The same for an output whose hashes are known; of a file that grows, those of what was added."""
        with self._lock:
            self._write({path: blocks}, role)

    def keep_inputs(self, inputs: Mapping[Path, list[HashedBlock]]) -> None:
        """What was read. Raises InputError for a file that this run read before, when it was another."""
        with self._lock:
            new = {}
            for path, blocks in inputs.items():
                name = self.files.name(path)
                digests = [block[:3] for block in blocks]
                before, written = self.files.inputs.get(name), self.files.versions.get(name)
                if before is not None and before.blocks[0][1] == self.run:
                    if before.digests() != digests:
                        raise InputError(
                            f"{path} is not what this run read when it began; restore it, or begin anew in another folder."
                        )
                    continue
                if written is not None and not self.files.is_as_recorded(written):
                    self.say(TAKEN, f"{path} is not what this ledger recorded when it was written.", name)
                new[path] = blocks
            self._write(new, "input")

    def _write(self, files: Mapping[Path, list[HashedBlock]], role: ArtefactRole) -> None:
        from custodes.ledger import Artefact

        new = [
            Artefact(secrets.token_hex(8), self.files.name(path), role, *block)
            for path, blocks in files.items()
            for block in blocks
        ]
        if new:
            self.ledger.write(self.run, new)
            for artefact in new:
                self.files.add(0, self.run, artefact)

    def rely(self, *paths: Path) -> None:
        """Before a run goes on from files: they must be what was recorded. Raises InputError for one that is not.

        Files that this ledger does not know are taken as they are, and that is said and recorded: as a hole, unless a
        process was killed that may have written them.
        """
        with self._lock:
            unknown: list[Path] = []
            for path in paths:
                self.require(path)
                unknown += [file for file in files_in(path) if self.files.name(file) not in self.files.versions]
            if unknown:
                others = f" and {len(unknown) - 1:,} other files" if len(unknown) > 1 else ""
                name, were = self.files.name(unknown[0]), "were" if others else "was"
                if self.killed_before():
                    self.say(
                        TAKEN,
                        f"{unknown[0]}{others} {were} written but not recorded before a kill; taken as found.",
                        name,
                    )
                else:
                    self.hole(f"{unknown[0]}{others} {were} there before the record began", name)
                self.keep(*unknown)

    def require(self, path: Path) -> None:
        """Raises InputError where a known output at or below ``path`` is not as it was recorded; one that is gone is made again."""
        from custodes.ledger.artefacts import WRITTEN_AGAIN

        status = {run.id: run.status for run in self.ledger.runs()}
        for version in self.files.within(path):
            place = self.files.place(version.path)
            if version.role != "output" or not place.exists():
                continue
            problem = self.files.problem(version)
            if problem is None and status.get(version.blocks[-1][1]) != "running":  # a killed run has written more
                problem = self.files.added(version)
            if problem and place.name in WRITTEN_AGAIN:
                warnings.warn(f"{problem} It is written again.", stacklevel=3)
            elif problem:
                raise InputError(f"{problem} Restore it, or begin anew in another folder.")

    def killed_before(self) -> bool:
        """Whether an earlier process worked on this run, or another run of the ledger never ended."""
        return any(
            len(run.invocations) > 1 if run.id == self.run else run.status == "running" for run in self.ledger.runs()
        )

    def known(self, path: Path) -> tuple[int, int]:
        """(bytes, lines) of a file that are recorded."""
        version = self.files.versions.get(self.files.name(path))
        return (version.end, version.last_line) if version is not None else (0, 0)

    # ------------------------------------------------------------ what the ledger does not hold

    def hole(self, what: str, subject: str) -> None:
        """Say and record that something is there without its history."""
        self.say(HOLE, f"{what}: how it came about is not recorded.", subject)

    def say(self, what: str, sentence: str, subject: str) -> None:
        from custodes.ledger import Decision

        warnings.warn(sentence, stacklevel=3)
        self.ledger.write(self.run, [Decision(f"{what.split()[0]}-{secrets.token_hex(4)}", what, sentence, subject)])

    def position(self) -> dict[str, Any]:
        """Where the record stands: what a checkpoint follows."""
        head = self.ledger.head()
        return {"ledger": head.ledger, "origin": head.origin, "row": head.rows, "hash": head.head}

    def follows(self, path: Path, position: Mapping[str, Any]) -> None:
        """A run goes on from the checkpoint at ``path``: say the hole where the ledger does not hold the row that it follows."""
        if not self.ledger.holds(int(position["row"]), str(position["hash"])):
            self.hole(follows_sentence(path, position), self.files.name(path))

    def digest_of(self, path: Path) -> str | None:
        """The recorded hash of a checkpoint's state; None where it is not recorded."""
        version = self.files.versions.get(self.files.name(path))
        return version.blocks[0][2].sha256 if version is not None and version.role == "checkpoint" else None

    # ------------------------------------------------------------ cost

    def spent(self, seconds: Mapping[str, float], tokens_sampled: int = 0, tokens_trained: int = 0) -> Evaluation:
        """The evaluation that says what was spent since the last one; the cost of a run is their sum."""
        from custodes.ledger import Evaluation

        torch = sys.modules.get("torch")
        told: dict[str, Any] = {
            "seconds": {name: round(s, 3) for name, s in seconds.items()},
            "peak_memory_gb": _memory(),
            "cores": int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1,
            "command": _command_line(),
            "tokens_sampled": tokens_sampled,
            "tokens_trained": tokens_trained,
            "machine": {"processor": _processor(), "system": platform.platform()},
        }
        return Evaluation(f"resources-{secrets.token_hex(6)}", "resources", "run", told, 1)

    def end(self, status: Status) -> None:
        """Record how the run ended, and what this process spent on it."""
        spent = {
            "seconds": round(time.perf_counter() - self.began, 3),
            "processor_seconds": round(time.process_time() - self.processor, 3),
            "peak_memory_gb": _memory(),
            "command": _command_line(),
        }
        self.ledger.end_run(self.run, status, spent)


def folder_head(folder: Path) -> Head | None:
    """How far the record of a folder has come, for the foot of its page; None where nothing is recorded."""
    from custodes.ledger import Ledger
    from custodes.ledger.checking import configured_head

    own, recording = folder / "ledger.db", current()
    if recording is not None and (recording.files.folder == folder.resolve() or not own.is_file()):
        return configured_head(recording.ledger)
    if not own.is_file():
        return None
    with Ledger.open(own, read_only=True) as ledger:
        return configured_head(ledger)


@contextmanager
def as_current(recording: Recording) -> Iterator[Recording]:
    """Make a run the current one for as long as the block lasts, and record what was read before it began."""
    try:
        recording.keep_inputs(inputs)
    except InputError:
        recording.end("failed")
        raise
    _current.append(recording)
    written.append(recording.ledger.name)
    try:
        yield recording
    finally:
        _current.remove(recording)


def ended_by(error: BaseException) -> Status:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


@contextmanager
def never_hiding(error: BaseException) -> Iterator[None]:
    """What goes wrong in the block, while ``error`` is recorded, is a note to it: what went wrong first is what is said."""
    try:
        yield
    except Exception as second:
        error.add_note(f"and it could not be recorded: {second}")


def _command_line() -> str:
    return shlex.join(["custodes", *sys.argv[1:]])


def _memory() -> float:
    """The most that this process has held, GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or os.uname().machine
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

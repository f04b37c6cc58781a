"""The run that a command is recorded in: what it read, what it wrote, what it cost and how it ended.

One run at a time is the current one of a process. Whoever writes a file that something will rest on tells it
(:meth:`Recording.keep`), whoever goes on from files asks it first (:meth:`Recording.rely`), and checkpoints name the
row that they follow. Where nothing is recorded, as in a notebook, :func:`current` is None and nothing is asked.

This module is light, since every command loads it: the ledger is imported where it is written.
"""

from __future__ import annotations

import hashlib
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodes.digests import HOLE, TAKEN, Block, blocks_of, files_in, follows_sentence
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.ledger import Evaluation, Ledger, Status
    from custodes.ledger.artefacts import Role
    from custodes.ledger.heads import Head

GROWN = 5.0
"""Seconds between two blocks of a file that grows: what nobody can vouch for after a kill."""

GROWN_LINES = 64
"""Lines of a block: an edit is named by so many."""

LARGEST = 1 << 30
"""Bytes from which a file of a folder that is read is not hashed: it would take longer than a second."""

_current: list[Recording] = []


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
        self._began, self._processor = time.perf_counter(), time.process_time()

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

    def keep_blocks(self, path: Path, blocks: list[Block], role: Role = "output") -> None:
        """The same for an output whose hashes are known; of a file that grows, those of what was added."""
        with self._lock:
            self._write({path: blocks}, role)

    def keep_inputs(self, inputs: Mapping[Path, list[Block]]) -> None:
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

    def _write(self, files: Mapping[Path, list[Block]], role: Role) -> None:
        from custodes.ledger.artefacts import make_artefacts

        new = [a for path, blocks in files.items() for a in make_artefacts(self.files.name(path), role, blocks)]
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

        told: dict[str, Any] = {
            "seconds": {name: round(s, 3) for name, s in seconds.items()},
            "peak_memory_gb": _memory(),
            "cores": _threads(),
            "command": _command_line(),
            "tokens_sampled": tokens_sampled,
            "tokens_trained": tokens_trained,
            "machine": {"processor": _processor(), "system": platform.platform()},
        }
        return Evaluation(f"resources-{secrets.token_hex(6)}", "resources", "run", told, 1)

    def end(self, status: Status) -> None:
        """Record how the run ended, and what this process spent on it."""
        spent = {
            "seconds": round(time.perf_counter() - self._began, 3),
            "processor_seconds": round(time.process_time() - self._processor, 3),
            "peak_memory_gb": _memory(),
            "command": _command_line(),
        }
        self.ledger.end_run(self.run, status, spent)


class Growing:
    """A file of lines or rows that is appended to: hashed in blocks as it grows.

    What is found at the beginning must be what was recorded, or follow it: a killed run had written it.
    """

    def __init__(self, recording: Recording, path: Path, lines: bool = True) -> None:
        """``path`` as it is now, whole lines. Raises InputError where what was recorded of it has changed."""
        self.recording, self.path, self.name = recording, path, recording.files.name(path)
        self.by_lines = lines
        self.start, self.line = recording.known(path)  # where the block under way begins
        known = recording.files.versions.get(self.name)
        if known is not None and path.exists() and recording.files.problem(known) is not None:
            self.start, self.line = 0, 0  # made again from other files, after it was compared
        self._end, self._lines, self._digest = self.start, 0, hashlib.sha256()  # the block under way
        self._blocks: list[Block] = []  # whole, and not recorded yet
        self._told = time.monotonic()
        size = path.stat().st_size if path.exists() else 0
        if size > self.start:
            self._take(size)

    def add(self, data: bytes, lines: int = 1) -> None:
        """What was appended; recorded now and then, and by :meth:`close`."""
        self._digest.update(data)
        self._end, self._lines = self._end + len(data), self._lines + lines
        if self._lines >= GROWN_LINES:
            self._cut()
        if time.monotonic() - self._told > GROWN:
            self._record()

    def close(self) -> None:
        """Record the rest, a line too whose :meth:`add` an interruption came before."""
        self._record()
        if self.path.exists() and self.path.stat().st_size > self.start:
            self.recording.keep_blocks(self.path, blocks_of(self.path, self.start, self.line))

    def _cut(self) -> None:
        """End the block under way."""
        if self._end > self.start:
            lines = (self.line + 1, self.line + self._lines) if self.by_lines else (0, 0)
            self._blocks.append(Block(self._digest.hexdigest(), self.start, self._end, *lines))
        self.start, self.line = self._end, self.line + self._lines
        self._lines, self._digest = 0, hashlib.sha256()

    def _record(self) -> None:
        self._cut()
        if self._blocks:
            self.recording.keep_blocks(self.path, self._blocks)
        self._blocks, self._told = [], time.monotonic()

    def _take(self, size: int) -> None:
        """What stands behind the last block."""
        blocks = blocks_of(self.path, self.start, self.line)
        began = self.start == 0
        if self.by_lines:
            first, last = self.line + 1, blocks[-1].last_line
            what = f"lines {first:,} to {last:,} of {self.path}"
            if began and not self.recording.killed_before():
                self.recording.hole(f"{what} were there before the record began", self.name)
            else:
                why = "recorded" if began else "written after the last block that was recorded"
                what += " are taken as they are: they were " + (f"not {why}." if began else f"{why}.")
                self.recording.say(TAKEN, what, self.name)
        self.recording.keep_blocks(self.path, blocks)
        self.start, self.line, self._end = size, blocks[-1].last_line, size


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
    """Make a run the current one for as long as the block lasts."""
    _enter(recording)
    try:
        yield recording
    finally:
        _current.remove(recording)


def _enter(recording: Recording) -> None:
    """Make a run the current one, and record what was read before it began."""
    try:
        recording.keep_inputs(_inputs)
    except InputError:
        recording.end("failed")
        raise
    _current.append(recording)
    written.append(recording.ledger.name)


@contextmanager
def recorded(where: str | Path, recipe: str, config: Mapping[str, Any], seed: int = 0) -> Iterator[Recording]:
    """A new run in the ledger at ``where`` for as long as the block lasts, with its cost and how it ended."""
    from custodes.ledger import Ledger

    with Ledger.open(where) as ledger, until_its_end(ledger, ledger.start_run(recipe, config, seed)) as run:
        yield run


@contextmanager
def until_its_end(ledger: Ledger, run: str) -> Iterator[Recording]:
    """A run that was begun or taken up is the current one for as long as the block lasts; how it ended is recorded."""
    with as_current(Recording(ledger, run)) as recording:
        try:
            yield recording
        except BaseException as error:
            recording.end(ended_by(error))
            raise
        recording.end("completed")


def ended_by(error: BaseException) -> Status:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


# ---------------------------------------------------------------- a command, before and after its run

written: list[str] = []
"""Ledgers in which this process recorded runs, by path or URL, as they came."""

_inputs: dict[Path, list[Block]] = {}
_command: list[Command] = []


def reads(*paths: Path) -> None:
    """Hash files that are about to be read, for the current run or the one that begins next.

    Very large files of folders are left out: they are weights, whose hash the run's row of the model holds.
    """
    files = {file for path in paths for file in files_in(path) if file == path or file.stat().st_size < LARGEST}
    inputs = {path: blocks_of(path) for path in sorted(files)}
    if (recording := current()) is not None:
        recording.keep_inputs(inputs)
    elif _command:
        _inputs.update(inputs)


def begin() -> Recording | None:
    """The current run; where there is none, that of the command under way, which begins now: its options are sound.

    A command that does not say so itself begins when it ends. None where nothing is recorded.
    """
    return current() or (_command[-1].begin() if _command else None)


def keep_part(path: Path) -> None:
    """Record a piece of long work that is kept, so that the same command goes on from it."""
    if (recording := begin()) is not None:
        recording.keep(path)


def finds(result: Mapping[str, Any]) -> None:
    """Tell the command under way what it found, as JSON with finite numbers: it is recorded with the run."""
    if _command:
        _command[-1].result = result


class Command:
    """A command that will be a run of the ledger ``where``, None for none, once it begins or ends.

    A recipe that records itself in that ledger takes its place.
    """

    def __init__(
        self, name: str, where: str | Path | None, config: Mapping[str, Any], seed: int, compare: bool = True
    ) -> None:
        self.name, self.where, self.config, self.seed, self.compare = name, where, config, seed, compare
        self.result: Mapping[str, Any] | None = None  # what it found, as JSON
        self.recording: Recording | None = None
        self._began, self._processor, self._clock = time.perf_counter(), time.process_time(), time.time()
        _command.append(self)

    def begin(self) -> Recording | None:
        from custodes.ledger import Ledger

        if self.recording is None and self.where is not None:
            ledger = Ledger.open(self.where)
            try:
                recording = Recording(ledger, ledger.start_run(self.name, self.config, self.seed), self.compare)
                recording._began, recording._processor = self._began, self._processor
                _enter(recording)
            except BaseException:
                ledger.close()
                raise
            self.recording = recording
        return self.recording

    def end(self, status: Status, outputs: Sequence[Path]) -> None:
        """Record outputs, result and how it ended, unless a recipe has recorded itself there."""
        from custodes.ledger import Evaluation

        if self.recording is None and self.where is not None and not self._recorded_itself():
            exists = "://" in str(self.where) or Path(self.where).exists()
            if status != "failed" or exists:  # what was wrong from the start leaves nothing behind
                self.begin()
        if self.recording is not None:
            if status == "completed":
                self.recording.keep(*outputs, since=self._clock)
                if self.result is not None:
                    result = Evaluation("result", self.name, "", dict(self.result), 1)
                    self.recording.ledger.write(self.recording.run, [result])
            self.recording.end(status)

    def _recorded_itself(self) -> bool:
        return "://" not in str(self.where) and str(self.where) in map(str, map(Path, written))

    def close(self) -> None:
        _command.remove(self)
        _inputs.clear()
        if self.recording is not None:
            _current.remove(self.recording)
            self.recording.ledger.close()


def _command_line() -> str:
    return shlex.join(["custodes", *sys.argv[1:]])


def _memory() -> float:
    """The most that this process has held, GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or os.uname().machine
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

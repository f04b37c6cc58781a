"""The folder and the ledger of one run, with its phases: what is done is not done again.

What was spent is recorded with what it was spent on, so that the cost of a run is known whatever ended it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from rich.console import Console

from custodes.job.locks import alone_in
from custodes.job.progress import Progress
from custodes.job.recording import Recording, as_current
from custodes.ledger import Evaluation, Ledger, Record, Status
from custodes.types import Engine, Episode, InputError, Sampling, Task

CHUNK_TASKS = 64
"""Tasks sampled between two writes to the ledger: what an interruption costs at most."""

EVERY = 10.0
"""Seconds between two records of what long work costs: what is not known after a kill."""

DONE = "done"
"""Name of the file that says that a folder's part of the run is whole."""

SAMPLED = "sampled"
"""Name of the evaluation rows that say which episodes a phase drew."""


SPENT = "resources"
"""Name of the evaluation rows that say what was spent."""


class Row(Protocol):
    """What is recorded as an evaluation."""

    NAME: ClassVar[str]

    @property
    def n(self) -> int: ...

    def metrics(self) -> dict[str, Any]: ...


@dataclass
class Workspace:
    """A run in a folder. Opened again with the same configuration, it goes on where it was."""

    folder: Path
    ledger: Ledger
    run: str
    console: Console
    recording: Recording
    phases: list[str] = field(default_factory=list)  # those under way, the outer first
    tokens_sampled: int = 0  # since the last record of the cost
    tokens_trained: int = 0  # the same; read by a forward and a backward pass
    held: ExitStack = field(default_factory=ExitStack)  # the folder, against other processes; ends with close
    _seconds: dict[str, float] = field(default_factory=dict)  # since the last record of the cost
    _since: float = field(default_factory=time.perf_counter)
    _told: float = field(default_factory=time.perf_counter)

    @classmethod
    def open(cls, folder: Path, recipe: str, config: Mapping[str, Any], seed: int, console: Console) -> Self:
        """Begin a run, or take up the one in ``folder``.

        A run that ended before it recorded anything does not bind: other options begin anew. Raises InputError where
        ``folder`` holds a run of another configuration, or where another process is at work in it.
        """
        with ExitStack() as held:
            held.enter_context(alone_in(folder))
            work = cls._open(folder, recipe, config, seed, console)
            held.enter_context(as_current(work.recording))
            work.held = held.pop_all()
        return work

    @classmethod
    def _open(cls, folder: Path, recipe: str, config: Mapping[str, Any], seed: int, console: Console) -> Self:
        ledger = Ledger.open(folder / "ledger.db")
        plain = json.loads(json.dumps(config, default=str))
        run = next((run for run in reversed(ledger.runs()) if run.recipe == recipe), None)
        changed = [name for name in plain if run is not None and run.config.get(name) != plain[name]]
        if run is None or (changed and not _recorded(folder, ledger, run.id)):
            run_id = ledger.start_run(recipe, plain, seed)
            return cls(folder, ledger, run_id, console, Recording(ledger, run_id))
        for name in changed:
            was = run.config.get(name)
            raise InputError(
                f"{folder} holds a run with {name} = {was!r}, now it is {plain[name]!r}; use the same options or another --out."
            )
        recording = Recording(ledger, run.id)
        recording.require(folder)
        ledger.resume_run(run.id)
        console.print(f"Going on with run {run.id} in {folder}.")
        return cls(folder, ledger, run.id, console, recording)

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """Time a phase of the loop. Phases inside one another are counted once, by the inner."""
        self.console.rule(f"[bold]{title}", align="left", style="dim")
        self._count()
        self.phases.append(name)
        try:
            yield
        finally:
            self._count()
            self.phases.pop()
        self.write([])

    def _count(self) -> None:
        """Give the seconds since the last call to the phase under way."""
        now = time.perf_counter()
        if self.phases:
            self._seconds[self.phases[-1]] = self._seconds.get(self.phases[-1], 0.0) + now - self._since
        self._since = now

    def write(self, records: Sequence[Record]) -> None:
        """Record, and with it what was spent since the last time."""
        self._count()
        spent = []
        if self._seconds or self.tokens_sampled or self.tokens_trained:
            spent = [self.recording.spent(self._seconds, self.tokens_sampled, self.tokens_trained)]
        self.ledger.write(self.run, [*records, *spent])
        self._seconds, self.tokens_sampled, self.tokens_trained, self._told = {}, 0, 0, time.perf_counter()

    def tick(self) -> None:
        """Within long work that records nothing itself: record now and then what it costs."""
        if time.perf_counter() - self._told > EVERY:
            self.write([])

    def done(self, folder: Path) -> bool:
        """Whether a part of the run is done, and its files are as they were recorded. Raises InputError where they are not."""
        done = (folder / DONE).is_file()
        if done:
            self.recording.rely(folder)
        return done

    def finish(self, folder: Path) -> None:
        """Mark a part of the run as done, and record its files."""
        (folder / DONE).touch()
        self.recording.keep(folder)

    def has(self, id: str) -> bool:
        """Whether the evaluation ``id`` is recorded."""
        return any(e.id == id for e in self.ledger.evaluations(self.run))

    def record(self, id: str, row: Row, subject: str) -> None:
        self.write([Evaluation(id, row.NAME, subject, row.metrics(), row.n)])

    def sample(self, purpose: str, engine: Engine, tasks: Sequence[Task], sampling: Sampling) -> list[Episode]:
        """Episodes of ``tasks`` in order: those recorded for ``purpose``, and the rest drawn and recorded now."""
        recorded = {
            e.id: e.metrics["episode"] for e in self.ledger.evaluations(self.run, SAMPLED) if e.subject == purpose
        }
        known = {e.id: e for e in self.ledger.episodes(self.run)} if recorded else {}
        episodes: list[Episode] = []
        with self.progress(f"sampling {purpose}", len(tasks)) as advance:
            for start in range(0, len(tasks), CHUNK_TASKS):
                chunk, id = tasks[start : start + CHUNK_TASKS], f"{SAMPLED}-{purpose}-{start}"
                if id in recorded:
                    episodes += [known[i] for i in recorded[id]]
                else:
                    drawn = engine.generate(chunk, sampling)
                    done = Evaluation(id, SAMPLED, purpose, {"episode": [e.id for e in drawn]}, len(drawn))
                    self.tokens_sampled += sum(e.actions for e in drawn)
                    self.write([*drawn, done])
                    episodes += drawn
                advance(len(chunk))
        return episodes

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar with the time left; call what it yields with the number of steps made."""
        with Progress(console=self.console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda n: bar.advance(task, n)

    def close(self, status: Status) -> None:
        """Record the files of the run, what it cost and how it ended, and let go of the folder."""
        with self.held:
            self.recording.keep_written(self.folder)
            self.write([])
            self.recording.end(status)


def _recorded(folder: Path, ledger: Ledger, run: str) -> bool:
    """Whether a run left more than the cost of its invocations, in the ledger or beside it."""
    if any(not file.name.startswith((".", "ledger.db")) for file in folder.iterdir()):
        return True
    if ledger.summary(run).keys() - {"evaluation"}:
        return True
    return any(e.name != SPENT for e in ledger.evaluations(run))

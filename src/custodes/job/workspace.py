"""The folder and the ledger of one run, with its phases: what is done is not done again.

What was spent is recorded with what it was spent on, so that the cost of a run is known whatever ended it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

from rich.console import Console

from custodes.job.invocation import recorded_in
from custodes.job.locks import alone_in
from custodes.job.options import defaults_of, first_difference, identity
from custodes.job.progress import Progress
from custodes.job.recording import Recording, as_current, ended_by, never_hiding
from custodes.ledger import Evaluation, Ledger, Record, Run, Status
from custodes.ledger.redacting import withdrawn_rows
from custodes.types import Engine, Episode, InputError, Sampling, Task

CHUNK_TASKS = 64
"""Tasks sampled between two writes to the ledger: what an interruption costs at most."""

EVERY = 10.0
"""Seconds between two records of what long work costs: what is not known after a kill."""

DONE = "done"
"""Name of the file that says that a folder's part of the run is whole."""

SAMPLED = "sampled"
"""Name of the evaluation rows that say which episodes a phase drew."""


NOTHING: Mapping[str, Any] = MappingProxyType({})

NEEDED = frozenset(("task", "episode", "evaluation"))
"""Kinds of records that a run goes on from."""

SPENT = "resources"
"""Name of the evaluation rows that say what was spent."""


class EvaluationRow(Protocol):
    """What is recorded as an evaluation."""

    NAME: ClassVar[str]

    @property
    def n(self) -> int: ...

    def metrics(self) -> dict[str, Any]: ...


@dataclass
class Workspace:
    """A run in a folder, which is held against other processes. Opened again with the same options, it goes on where it was."""

    folder: Path
    ledger: Ledger
    console: Console
    identity: dict[str, Any]  # recipe, seed and config: what two runs must share to be one
    begun: str = ""  # id of the run that is taken up
    phases: list[str] = field(default_factory=list)  # those under way, the outer first
    tokens_sampled: int = 0  # since the last record of the cost
    tokens_trained: int = 0  # the same; read by a forward and a backward pass
    _recording: Recording | None = None
    _ended: bool = False
    _held: ExitStack = field(default_factory=ExitStack)  # the run, while it is the current one
    _seconds: dict[str, float] = field(default_factory=dict)  # since the last record of the cost
    _since: float = field(default_factory=time.perf_counter)
    _told: float = field(default_factory=time.perf_counter)

    @classmethod
    @contextmanager
    def open(
        cls,
        folder: Path,
        recipe: str,
        options: Any,
        seed: int = 0,
        *,
        contents: Mapping[str, Any] = NOTHING,
        several: bool = False,
        begin: bool = True,
        made: Sequence[str] = (),
    ) -> Iterator[Self]:
        """Begin a run, or take up the one in ``folder``, for as long as the block lasts; how it ended is recorded.

        ``options``, a dataclass or a mapping, and ``contents``, what files among them hold, must be those of the run that
        is taken up. A folder holds one run of a recipe, or one of each options where it may hold ``several``. A run
        that ended before it recorded anything does not bind: other options begin anew. Without ``begin`` the run
        begins with :meth:`begin`, once what it needs is known to be there. ``made`` names files that only a run of this
        recipe writes: where one is there without such a run, it is not overwritten.

        Raises InputError where ``folder`` holds a run of other options, or what no such run made; where a file of it is not
        as it was recorded, and where another process is at work in it.
        """
        with alone_in(folder), ExitStack() as held:
            recorded_in(folder)
            ledger = held.enter_context(Ledger.open(folder / "ledger.db"))
            now = identity(options) | identity(contents)
            work = cls(
                folder, ledger, Console(stderr=True), {"recipe": recipe, "seed": seed, "config": now}, _held=held
            )
            for run in [run for run in latest_runs(ledger) if run.recipe == recipe]:
                changed = first_difference(run.config, now, defaults_of(options))
                if changed is None:
                    Recording(ledger, run.id).require(folder)
                    work.begun = run.id
                elif several:
                    continue
                elif _binds(folder, ledger, run.id):
                    name, was, value = changed
                    how = f"on other {name}" if name in contents else f"with {name} = {was!r}, now it is {value!r}"
                    raise InputError(f"{folder} holds a run {how}; use the same options or another --out.")
                break
            if work.begun:
                _require_whole(folder, ledger, work.begun)
            if not work.begun and any((folder / name).is_file() for name in made):
                raise InputError(f"{folder} holds a model that this command did not make; use another --out.")
            try:
                if begin:
                    work.begin()
                yield work
            except BaseException as error:
                with never_hiding(error):
                    work.end(ended_by(error))
                raise
            work.end("completed")

    def begin(self) -> Recording:
        """Record that the run begins or is taken up; it is the current one from now on."""
        if self._recording is None:
            if self.begun:
                self.ledger.resume_run(self.begun)
                self.console.print(f"Going on with run {self.begun} in {self.folder}.")
            run = self.begun or self.ledger.start_run(**self.identity)
            self._recording = self._held.enter_context(as_current(Recording(self.ledger, run)))
        return self._recording

    @property
    def recording(self) -> Recording:
        return self.begin()

    @property
    def run(self) -> str:
        return self.begin().run

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
        if self.phases:
            self._count()
        recording, spent = self.begin(), []
        if self._seconds or self.tokens_sampled or self.tokens_trained:
            spent = [recording.spent(self._seconds, self.tokens_sampled, self.tokens_trained)]
        self.ledger.write(recording.run, [*records, *spent])
        self._seconds, self.tokens_sampled, self.tokens_trained, self._told = {}, 0, 0, time.perf_counter()

    def tick(self) -> None:
        """Within long work that records nothing itself: record now and then what it costs."""
        if time.perf_counter() - self._told > EVERY:
            self.write([])

    def done(self, folder: Path) -> bool:
        """Whether a part of the run is done, and its files are as they were recorded. Raises InputError where they are not."""
        done = (folder / DONE).is_file()
        if done:
            self.begin().rely(folder)
        return done

    def finish(self, folder: Path) -> None:
        """Mark a part of the run as done, and record its files."""
        (folder / DONE).touch()
        self.begin().keep(folder)

    def has(self, id: str) -> bool:
        """Whether the evaluation ``id`` is recorded."""
        return any(e.id == id for e in self.ledger.evaluations(self.run))

    def record(self, id: str, row: EvaluationRow, subject: str) -> None:
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

    def end(self, status: Status) -> None:
        """Record the files of the run, what it cost and how it ended. A second call changes nothing."""
        if self._recording is not None and not self._ended:
            self._ended = True
            self._recording.keep_written(self.folder)
            if self._seconds or self.tokens_sampled or self.tokens_trained:
                self.write([])
            self._recording.end(status)


def _require_whole(folder: Path, ledger: Ledger, run: str) -> None:
    """Raises InputError where a record was withdrawn that the run would go on from."""
    gone = [row for row in withdrawn_rows(ledger, run) if row.kind in NEEDED and not row.readable]
    if gone:
        raise InputError(
            f"run {run} cannot go on: {gone[0].kind} {gone[0].key!r} was withdrawn from it on {gone[0].at[:10]} by "
            f"{gone[0].who}; {folder} stays as it is, so begin anew with another --out."
        )


def latest_runs(ledger: Ledger) -> list[Run]:
    """The latest first, but runs that recorded nothing last, and of those the failed ones: commands that were refused."""
    runs = ledger.runs()[::-1]
    return sorted(runs, key=lambda run: (not _recorded(ledger, run.id), run.status == "failed"))


def _binds(folder: Path, ledger: Ledger, run: str) -> bool:
    """Whether a run left more than the names of its models and the cost of its invocations, in the ledger or beside it."""
    return any(not file.name.startswith((".", "ledger.db")) for file in folder.iterdir()) or _recorded(ledger, run)


def _recorded(ledger: Ledger, run: str) -> bool:
    if ledger.summary(run).keys() - {"evaluation", "model"}:
        return True
    return any(e.name != SPENT for e in ledger.evaluations(run))

"""The folder and the ledger of one run, with its phases: what is done is not done again."""

from __future__ import annotations

import json
import os
import platform
import resource
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from rich.console import Console

from custodes.audit.schema import Resources, Row
from custodes.ledger import Evaluation, Ledger, Status
from custodes.lm import TorchEngine
from custodes.locks import alone_in
from custodes.progress import Progress
from custodes.types import Episode, InputError, Sampling, Task

CHUNK_TASKS = 64
"""Tasks sampled between two writes to the ledger: what an interruption costs at most."""

SAMPLED = "sampled"
"""Name of the evaluation rows that say which episodes a phase drew."""


@dataclass
class Workspace:
    """A run in a folder. Opened again with the same configuration, it goes on where it was."""

    folder: Path
    ledger: Ledger
    run: str
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)
    tokens_sampled: int = 0
    tokens_trained: int = 0  # read by a forward and a backward pass
    held: ExitStack = field(default_factory=ExitStack)  # the folder, against other processes; ends with close

    @classmethod
    def open(cls, folder: Path, recipe: str, config: Mapping[str, Any], seed: int, console: Console) -> Self:
        """Begin a run, or take up the one in ``folder``.

        A run that ended before it recorded anything does not bind: other options begin anew. Raises InputError where
        ``folder`` holds a run of another configuration, or where another process is at work in it.
        """
        with ExitStack() as held:
            held.enter_context(alone_in(folder))
            work = cls._open(folder, recipe, config, seed, console)
            work.held = held.pop_all()
        return work

    @classmethod
    def _open(cls, folder: Path, recipe: str, config: Mapping[str, Any], seed: int, console: Console) -> Self:
        ledger = Ledger.open(folder / "ledger.db")
        plain = json.loads(json.dumps(config, default=str))
        run = next((run for run in reversed(ledger.runs()) if run.recipe == recipe), None)
        changed = [name for name in plain if run is not None and run.config.get(name) != plain[name]]
        if run is None or (changed and not _recorded(folder, ledger, run.id)):
            return cls(folder, ledger, ledger.start_run(recipe, plain, seed), console)
        for name in changed:
            was = run.config.get(name)
            raise InputError(
                f"{folder} holds a run with {name} = {was!r}, now it is {plain[name]!r}; use the same options or another --out."
            )
        ledger.resume_run(run.id)
        console.print(f"Going on with run {run.id} in {folder}.")
        return cls(folder, ledger, run.id, console)

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """Time a phase of the loop. Phases inside one another are counted once, by the inner."""
        self.console.rule(f"[bold]{title}", align="left", style="dim")
        start, inner = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            counted = sum(self.seconds.values()) - inner
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start - counted

    def has(self, id: str) -> bool:
        """Whether the evaluation ``id`` is recorded."""
        return any(e.id == id for e in self.ledger.evaluations(self.run))

    def record(self, id: str, row: Row, subject: str) -> None:
        self.ledger.write(self.run, [Evaluation(id, row.NAME, subject, row.metrics(), row.n)])

    def sample(self, purpose: str, engine: TorchEngine, tasks: Sequence[Task], sampling: Sampling) -> list[Episode]:
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
                    self.ledger.write(self.run, [*drawn, done])
                    self.tokens_sampled += sum(e.actions for e in drawn)
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
        """Record what this invocation cost and how it ended, and let go of the folder."""
        row = Resources(
            seconds={name: round(s, 2) for name, s in self.seconds.items()},
            peak_memory_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            cores=torch.get_num_threads(),
            command=shlex.join(["custodes", *sys.argv[1:]]),
            tokens_sampled=self.tokens_sampled,
            tokens_trained=self.tokens_trained,
            machine={"processor": _processor(), "system": platform.platform()},
        )
        with self.held:
            self.record(f"resources-{secrets.token_hex(6)}", row, "run")
            self.ledger.end_run(self.run, status)


def _recorded(folder: Path, ledger: Ledger, run: str) -> bool:
    """Whether a run left more than the cost of its invocations, in the ledger or beside it."""
    if any(not file.name.startswith((".", "ledger.db")) for file in folder.iterdir()):
        return True
    if ledger.summary(run).keys() - {"evaluation"}:
        return True
    return any(e.name != Resources.NAME for e in ledger.evaluations(run))


def take_over(source: Path, into: Path, ignore: Sequence[str] = ()) -> None:
    """A finished folder as another's own, whole or not at all, in place of what was there; ``ignore`` are patterns of names."""
    partial = into.with_name(f".{into.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(*ignore))
    shutil.rmtree(into, ignore_errors=True)
    partial.rename(into)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or os.uname().machine
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

"""A run of another program's training, written beside it: it never breaks that program, and hardly slows it.

What is to be recorded is put into a queue, and a thread writes it. Where the ledger fails, that is said once, training goes
on, and the rows that were lost are told at the end: on standard error, and as a hole in the record where the ledger works
again. Each process writes a run of its own; several may share a ledger.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from custodes.digests import HOLE, blocks_of
from custodes.files import plain_json
from custodes.job.recording import Recording
from custodes.ledger import Decision, Ledger, Record, Status
from custodes.types import Episode, Message, Task

LOGGED = "trainer_log"
"""Name of the evaluation rows that hold what a trainer logged at a step."""

WAITING = 2_000
"""Writes that may wait for the thread; further ones are lost."""

PATIENCE = 30.0
"""Seconds that the end of training waits for the thread."""

T = TypeVar("T")


@dataclass(slots=True)
class _Write:
    records: Sequence[Record] = ()
    files: Sequence[Path] = ()
    status: Status | None = None  # the run ends
    spent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.records) + len(self.files)


class OutsideRun:
    """The run of this process in the ledger at ``where``: a folder, a file or a URL."""

    def __init__(self, where: str, trainer: str) -> None:
        self.where, self.trainer = where, trainer
        self.lost, self.why = 0, ""
        self._config: Mapping[str, Any] = {}
        self._queue: queue.Queue[_Write] = queue.Queue(WAITING)
        self._ended, self._status = threading.Event(), "completed"
        self._thread = threading.Thread(target=self._work, name="custodes", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def begin(self, config: Mapping[str, Any]) -> None:
        """What the run was configured with; before anything is kept. Until :meth:`end` is called, it counts as failed."""
        self._config = json.loads(json.dumps(plain_json(config), default=str))
        self._status = "failed"

    def keep(self, records: Sequence[Record]) -> None:
        """Record, soon."""
        self._put(_Write(records=records))

    def keep_checkpoint(self, folder: Path) -> None:
        """Hash the files of a checkpoint, soon."""
        self._put(_Write(files=sorted(path for path in folder.rglob("*") if path.is_file())))

    def end(self, status: Status | None = None) -> None:
        """Wait until everything is written, and tell what was lost. A second call changes nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.end)
        _forget(self)
        with suppress(queue.Full):
            self._queue.put(_Write(status=status or self._status), timeout=PATIENCE)  # type: ignore[arg-type]
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self.fail(sum(write.size for write in list(self._queue.queue)), "the ledger was too slow")
        if self.lost:
            _say(f"{self.lost:,} rows of this run are not in the ledger {self.where}: {self.why}")

    def fail(self, rows: int, error: object) -> None:
        """Count rows that are lost, and say the first reason once."""
        if not self.why:
            self.why = str(error).strip().rstrip(".") or type(error).__name__
            _say(f"the ledger {self.where} fails, and training goes on without it: {self.why}")
        self.lost += rows

    def _put(self, write: _Write) -> None:
        try:
            self._queue.put_nowait(write)
        except queue.Full:
            self.fail(write.size, "it is slower than training")

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        recording: Recording | None = None
        while True:
            write = self._queue.get()
            try:
                if recording is None:
                    recording = self._opened()
                self._written(recording, write)
            except Exception as error:
                self.fail(write.size, error)
            if write.status is not None:
                with suppress(Exception):
                    if recording is not None:
                        recording.ledger.close()
                return

    def _opened(self) -> Recording:
        ledger = Ledger.open(_ledger_of(self.where))
        process = {"rank": rank(), "ranks": int(os.environ.get("WORLD_SIZE", "1")), "launch": _launch()}
        run = ledger.start_run(self.trainer, {"options": self._config, **process}, int(self._config.get("seed") or 0))
        return Recording(ledger, run, compare=False)

    def _written(self, recording: Recording, write: _Write) -> None:
        if write.records:
            recording.ledger.write(recording.run, write.records)
        for path in write.files:
            recording.keep_blocks(path, blocks_of(path), "checkpoint")
        if write.status is not None:
            if self.lost:
                why = f"{self.lost:,} rows were lost: {self.why}."
                recording.ledger.write(recording.run, [Decision(f"hole-{secrets.token_hex(4)}", HOLE, why)])
            recording.end(write.status)


_runs: dict[tuple[int, str], OutsideRun] = {}
_turn = threading.Lock()


def outside_run(where: str | Path, trainer: str) -> OutsideRun:
    """The run of this process in the ledger ``where``, begun where there is none: a forked process has its own."""
    with _turn:
        key = os.getpid(), str(where)
        if key not in _runs:
            _runs[key] = OutsideRun(str(where), trainer)
        return _runs[key]


def run_under_way(where: str | Path) -> OutsideRun | None:
    """The same; None where this process has none."""
    return _runs.get((os.getpid(), str(where)))


def _forget(run: OutsideRun) -> None:
    for key in [key for key, known in _runs.items() if known is run]:
        _runs.pop(key, None)


def never_breaking(function: Callable[..., T]) -> Callable[..., T | None]:
    """What goes wrong in ``function``, whose first argument is the ledger's place, is said and counted as one lost row."""

    @functools.wraps(function)
    def guarded(where: str | Path, *given: Any, **named: Any) -> T | None:
        try:
            return function(where, *given, **named)
        except Exception as error:
            try:
                outside_run(where, "training").fail(1, error)
            except Exception as second:
                _say(f"recording fails: {second}")
            return None

    return guarded


def _ledger_of(where: str) -> str:
    """The ledger's file or URL, where a folder may be named."""
    return where if "://" in where or where.endswith((".db", ".sqlite")) else str(Path(where) / "ledger.db")


def rank() -> int:
    """Of this process among those that train together."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def _launch() -> str:
    """What processes that were started together have in common; "" where nothing says so."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "RAY_JOB_ID")
    return " ".join(os.environ[name] for name in names if os.environ.get(name))


def outside_episode(id: str, prompt: Any, reply: Any, policy: str, **metadata: Any) -> Episode:
    """An episode of texts or of messages. Tokens and log-probabilities are not recorded; ``metadata`` is the task's."""
    asked, answered = _messages(prompt, "user"), _messages(reply, "assistant")
    kept = {name: value for name, value in metadata.items() if isinstance(value, str | int | float | bool)}
    task = Task(_digest(asked), asked, environment="outside", metadata=kept)
    return Episode.written(id, task, (*asked, *answered), policy)


def _messages(given: Any, role: str) -> tuple[Message, ...]:
    """A text as one message of ``role``; messages as they are, parts that are no text as JSON."""
    if not isinstance(given, list | tuple):
        return (Message(role, str(given)),)  # type: ignore[arg-type]
    found = []
    for message in given:
        content = message.get("content") or ""
        if message.get("tool_calls"):
            content = f"{content}\n{json.dumps(message['tool_calls'], default=str)}".strip()
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        known = message.get("role", role)
        found.append(Message(known if known in ("system", "user", "assistant", "tool") else "system", text))
    return tuple(found)


def _digest(messages: Sequence[Message]) -> str:
    return hashlib.sha256(json.dumps([m.to_dict() for m in messages]).encode()).hexdigest()[:16]


def _say(sentence: str) -> None:
    print(f"Custodes: {sentence}.", file=sys.stderr, flush=True)

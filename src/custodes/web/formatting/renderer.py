"""Formats people's texts in processes of their own: whatever the text, the server goes on, and each costs a bounded time.

Libraries that format text have inputs on which they take minutes (a lexer's regular expression, say), and Python lets no
other thread on meanwhile. So a worker process forks a child for every text. The kernel ends a child that has used up its
processor time, and the text is then shown as it was written. This file is the worker too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import queue
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import IO, Any, ParamSpec, TypeVar

from custodes.web.formatting.differences import Piece, line_differences, word_differences
from custodes.web.formatting.markdown import render_markdown

P = ParamSpec("P")
T = TypeVar("T")
CPU = 1.0
"""Seconds of processor time for one text; formatting an answer of usual length takes some milliseconds."""
MEMORY = 1 << 30
"""Bytes that a child may have."""
LARGEST = 2_000_000
"""Bytes of what comes back: a table can be made that is a hundred times as long formatted as written."""
PATIENCE = 10.0
"""Seconds by the clock after which nobody waits any longer, on however busy a machine."""
KEPT = 64_000_000
"""Bytes of texts that stay formatted, the last used ones."""
WORKERS = 2
LONGEST = 100_000
"""Characters of a text that is formatted."""
AS_WRITTEN = "Shown as it was written: it is too long or too intricate to be formatted."
JOBS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (render_markdown, word_differences, line_differences)}
"""What workers can do: functions of texts whose results are JSON."""


def to_html(text: str) -> str:
    """``text``, Markdown with maths, as safe HTML, in bounded time whatever it is.

    What cannot be formatted in time comes as it was written, and says so. Takes milliseconds, seconds at most: call it
    in a thread.
    """
    html = renderer.ask("render_markdown", text) if len(text) <= LONGEST else None
    return html if html is not None else f'<p class="quiet">{AS_WRITTEN}</p>{as_written(text)}'


def known_html(text: str) -> str | None:
    """What :func:`to_html` gave for ``text``, at once; None where that would have to be made."""
    return None if len(text) <= LONGEST and renderer.known("render_markdown", text) is None else to_html(text)


def as_written(text: str) -> str:
    """``text`` letter by letter, as HTML."""
    return f'<div class="plain" dir="auto">{escape(text)}</div>'


def differing_pieces(left: str, right: str) -> Sequence[Sequence[Piece]]:
    """:func:`~custodes.web.formatting.differences.word_differences`, in bounded time."""
    return renderer.ask("word_differences", left, right) or [[(left, None)], [(right, None)]]


def differing_lines(before: str, now: str) -> list[str] | None:
    """:func:`~custodes.web.formatting.differences.line_differences`, in bounded time."""
    lines: list[str] | None = renderer.ask("line_differences", before, now)
    return lines


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function``, which asks the renderer, in a thread of its own kind: whoever waits for it takes no other work's turn."""
    return await asyncio.wrap_future(_threads.submit(function, *args, **kwargs))


class _Renderer:
    """A few workers, started when they are first needed. Threads may share it."""

    def __init__(self, cpu: float = CPU, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for _ in range(WORKERS):
            self._idle.put(_Worker(cpu))
        self._kept: OrderedDict[tuple[str, ...], tuple[Any, int]] = OrderedDict()
        self._size, self._lock = 0, threading.Lock()

    def known(self, job: str, *texts: str) -> tuple[Any] | None:
        """(the result of an earlier :meth:`ask`,), None where there is none."""
        with self._lock:
            if (kept := self._kept.get((job, *texts))) is None:
                return None
            self._kept.move_to_end((job, *texts))
            return (kept[0],)

    def ask(self, job: str, *texts: str) -> Any:
        """What ``job`` makes of the texts; None where that takes too long or too much. Waits ``patience`` seconds at most."""
        if (kept := self.known(job, *texts)) is not None:
            return kept[0]
        until = time.monotonic() + self._patience
        try:
            worker = self._idle.get(timeout=self._patience)
        except queue.Empty:
            return None
        try:
            answer = worker.ask(job, texts, until)
        finally:
            self._idle.put(worker)
        result = json.loads(answer) if answer else None
        if answer is not None:
            with self._lock:
                size = len(answer) + sum(map(len, texts))
                self._size += size - self._kept.pop((job, *texts), (None, 0))[1]
                self._kept[(job, *texts)] = (result, size)
                while self._size > KEPT:
                    self._size -= self._kept.popitem(last=False)[1][1]
        return result


class _Worker:
    """One worker process, which ends when its standard input does."""

    def __init__(self, cpu: float) -> None:
        self._command = [sys.executable, "-P", "-m", "custodes.web.formatting.renderer", repr(cpu)]
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: str, texts: tuple[str, ...], until: float) -> bytes | None:
        """The result as JSON, b"" where the child was ended; None where the worker did not answer in time."""
        try:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            _write(self._process.stdin, json.dumps([job, texts]).encode())
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if ready and (answer := _read(self._process.stdout)) is not None:
                return answer
        except OSError:
            pass
        if self._process is not None:  # its answer would be taken for that to the next question
            self._process.kill()
            self._process.wait()
            self._process = None
        return None


def _write(to: IO[bytes], data: bytes) -> None:
    to.write(struct.pack("<I", len(data)) + data)
    to.flush()


def _read(source: IO[bytes]) -> bytes | None:
    head = source.read(4)
    return source.read(struct.unpack("<I", head)[0]) if len(head) == 4 else None


renderer = _Renderer()
"""Of this process."""
_threads = ThreadPoolExecutor(WORKERS, "renderer")


# ---------------------------------------------------------------- the worker


def _work(cpu: float) -> None:
    gc.freeze()
    try:
        while (data := _read(sys.stdin.buffer)) is not None:
            job, texts = json.loads(data)
            _write(sys.stdout.buffer, _in_child(JOBS[job], texts, cpu))
    except BrokenPipeError:  # the server was killed meanwhile
        os._exit(0)


def _in_child(function: Callable[..., Any], texts: list[str], cpu: float) -> bytes:
    """The result as JSON; nothing where the child did not come to an end."""
    source, to = os.pipe()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, cpu)  # nobody handles the signal: the kernel ends the process
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        gc.disable()
        try:
            with os.fdopen(to, "wb") as pipe:
                pipe.write(json.dumps(function(*texts)).encode())
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(to)
    with os.fdopen(source, "rb") as pipe:
        data = pipe.read(LARGEST + 1)
    _, status = os.waitpid(child, 0)
    return data if status == 0 and len(data) <= LARGEST else b""


if __name__ == "__main__":
    _work(float(sys.argv[1]))

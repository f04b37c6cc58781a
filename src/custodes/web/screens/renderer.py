"""Formats people's texts in processes of their own: whatever the text, the server goes on, and each costs a bounded time.

Libraries that format text have inputs on which they take minutes (a lexer's regular expression, say), and Python lets no
other thread on meanwhile. So a worker process forks a child for every text; the kernel ends a child that has used up its
processor time, and the text is then shown as it was written. This file is the worker too: it is run as a script, beside
``prose.py`` and ``difference.py``, which import nothing of the server.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

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

JOBS = {"prose": ("prose", "render"), "words": ("difference", "differences"), "lines": ("difference", "changed_lines")}
"""What workers can do: the file beside this one, and its function of texts."""


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
            if (found := self._kept.get((job, *texts))) is None:
                return None
            self._kept.move_to_end((job, *texts))
            return (found[0],)

    def ask(self, job: str, *texts: str) -> Any:
        """What ``job`` makes of the texts; None where that takes too long or too much. Waits ``patience`` seconds at most."""
        if (found := self.known(job, *texts)) is not None:
            return found[0]
        until = time.monotonic() + self._patience
        try:
            worker = self._idle.get(timeout=self._patience)
        except queue.Empty:
            return None
        try:
            answered, result, size = worker.ask(job, texts, until)
        finally:
            self._idle.put(worker)
        if answered:
            self._keep((job, *texts), result, size + sum(map(len, texts)))
        return result

    def _keep(self, key: tuple[str, ...], result: Any, size: int) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (result, size)
                self._size += size
            while self._size > KEPT:
                self._size -= self._kept.popitem(last=False)[1][1]


class _Worker:
    """One worker process, which ends when its standard input does."""

    def __init__(self, cpu: float) -> None:
        self._cpu = cpu
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: str, texts: tuple[str, ...], until: float) -> tuple[bool, Any, int]:
        """(whether it answered in time, its result or None, bytes of that)."""
        try:
            if self._process is None or self._process.poll() is not None:
                command = [sys.executable, "-P", __file__, repr(self._cpu)]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            _write(self._process.stdin, json.dumps([job, texts]).encode())
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if ready and (data := _read(self._process.stdout)) is not None:
                return True, json.loads(data) if data else None, len(data)
        except OSError:
            pass
        if self._process is not None:  # its answer would be taken for that to the next question
            self._process.kill()
            self._process.wait()
            self._process = None
        return False, None, 0


def _write(to: IO[bytes], data: bytes) -> None:
    to.write(struct.pack("<I", len(data)) + data)
    to.flush()


def _read(source: IO[bytes]) -> bytes | None:
    head = source.read(4)
    return source.read(struct.unpack("<I", head)[0]) if len(head) == 4 else None


# ---------------------------------------------------------------- the worker


def _work(cpu: float) -> None:
    jobs = {job: getattr(_beside(file), function) for job, (file, function) in JOBS.items()}
    gc.freeze()
    while (data := _read(sys.stdin.buffer)) is not None:
        job, texts = json.loads(data)
        _write(sys.stdout.buffer, _in_child(jobs[job], texts, cpu))


def _beside(file: str) -> Any:
    """A module of this folder without the package around it, which would load the whole server."""
    if file not in sys.modules:
        spec = importlib.util.spec_from_file_location(file, Path(__file__).with_name(f"{file}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[file] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[file])
    return sys.modules[file]


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


renderer = _Renderer()
"""Of this process."""
_threads = ThreadPoolExecutor(WORKERS, "renderer")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function``, which asks the renderer, in a thread of its own kind: whoever waits for it takes no other work's turn."""
    return await asyncio.wrap_future(_threads.submit(function, *args, **kwargs))


if __name__ == "__main__":
    _work(float(sys.argv[1]))

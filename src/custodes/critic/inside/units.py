"""The tests of a package as units that run one by one: what pytest collects, and documented examples."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

HOME = "/home/user"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOM = 400 << 20
"""Bytes that a child may take beside what its parent has: so that it meets its own end, and not that of the whole sandbox."""
SOON = 0.001  # seconds until it is tried again to stop a test
PATIENCE = 20.0  # seconds on the clock beside four for each of processor time: the machine may be busy


class Unit(Protocol):
    """One test. ``run`` returns "" when it passed, else what went wrong."""

    id: str

    def run(self) -> str: ...


class TooSlow(BaseException):
    """A test used its time."""


@contextlib.contextmanager
def limit(seconds: float, spared: str = "", clock: float = 0.0, again: float = 0.0) -> Iterator[None]:
    """Raise TooSlow in the block after ``seconds`` of processor time, or ``clock`` (:func:`patience`) on the clock.

    Never in the code of the folder ``spared``, nor in what that calls: it may hold a lock, which nobody would open again.
    ``again``: after so many seconds once more, since what runs may catch everything and go on; then the process ends.
    """
    raised = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        raised += 1
        if raised > 2 and again:
            os._exit(1)
        while frame is not None and not (spared and frame.f_code.co_filename.startswith(spared)):
            frame = frame.f_back
        if frame is None:
            raise TooSlow
        signal.setitimer(signal.ITIMER_REAL, SOON)

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, again)
    signal.setitimer(signal.ITIMER_REAL, clock or patience(seconds), again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def patience(seconds: float) -> float:
    """Seconds on the clock for so many of processor time."""
    return PATIENCE + 4 * seconds


class Documented:
    """The examples of one docstring."""

    def __init__(self, module: str, test: doctest.DocTest) -> None:
        self.id, self.test = f"doctest::{module}::{test.name}", test

    def run(self) -> str:
        globs, said = dict(self.test.globs), list[str]()
        runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
        try:
            result = runner.run(self.test, out=said.append, clear_globs=False)
        finally:
            self.test.globs = globs
        return last_line("".join(said)) if result.failed else ""


class Collected:
    """A test function or method that pytest found; ``around`` wraps the test itself, not its fixtures."""

    around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def __init__(self, item: Any) -> None:
        self.id, self.item = item.nodeid, item
        self.error: BaseException | None = None  # of the last run

    def run(self) -> str:
        """Set up, run and tear down without pytest's reports, which take longer than most tests."""
        self.error = None
        state = self.item.session._setupstate
        try:
            if not getattr(self.item, "_request", True):  # as pytest's own runner does
                self.item._initrequest()
            state.setup(self.item)
            with Collected.around():
                self.item.runtest()
            caught = [info.value for info in getattr(self.item, "_excinfo", None) or []]  # what unittest has kept
            if caught and isinstance(caught[0], TooSlow):
                raise caught[0]
            self.error = caught[0] if caught else None
            return described(caught[0]) if caught else ""
        except TooSlow:
            raise
        except BaseException as error:
            self.error = error
            return described(error)
        finally:
            self.item._excinfo = None
            with contextlib.suppress(Exception):
                state.teardown_exact(None)


def with_tests(files: list[str], then: Callable[[list[Collected]], None], root: str = f"{HOME}/src") -> None:
    """Let pytest collect ``files`` below ``root`` and call ``then`` with the units, while its session lives."""
    import pytest

    class Plugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: Any) -> bool:
            then([Collected(item) for item in session.items])
            return True

    options = ["-q", "-s", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    options += ["--continue-on-collection-errors", "-c", f"{HOME}/pytest.ini", f"--rootdir={root}"]
    if pytest.main([*options, *files], plugins=[Plugin()]) == pytest.ExitCode.NO_TESTS_COLLECTED:
        then([])


def documented(modules: list[str]) -> list[Documented]:
    """The documented examples of modules that can be imported."""
    found = []
    for name in modules:
        try:
            module = importlib.import_module(name)
            tests = doctest.DocTestFinder(exclude_empty=True).find(module, name)
        except (Exception, SystemExit):
            continue
        found += [Documented(name, test) for test in tests if test.examples]
    return found


def begin() -> tuple[Any, Callable[[Any], None]]:
    """The job, and how to answer it: the program's own standard output is kept from what tests print."""
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.chdir("/tmp")
    for name in ("lib", "src"):
        sys.path.insert(0, f"{HOME}/{name}")
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    for name in ("pytest", "_pytest.runner", "_pytest.doctest", "coverage", *job["import"]):  # once, not in every child
        with contextlib.suppress(Exception):
            importlib.import_module(name)

    def reply(result: Any) -> None:
        with os.fdopen(answer, "w", encoding="utf-8") as out:
            json.dump(result, out)

    return job, reply


def bounded() -> None:
    """Limit this process to what it has now and :data:`ROOM`; more is a MemoryError."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + ROOM
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def forked(body: Callable[[], Any], seconds: float, within: bool = False) -> Any:
    """``body()`` in a child, as JSON; None where the child died or used its time on the clock.

    ``within``: its memory is bounded (:func:`bounded`).
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reads)
            os.setpgid(0, 0)
            if within:
                bounded()
            with os.fdopen(writes, "w", encoding="utf-8") as out:
                json.dump(body(), out)
            code = 0
        finally:
            os._exit(code)
    os.close(writes)
    text = b""
    with os.fdopen(reads, "rb") as out, contextlib.suppress(TooSlow), limit(seconds, clock=seconds):
        text = out.read()
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        return json.loads(text)
    except ValueError:
        return None


def described(error: BaseException) -> str:
    """An exception on one line."""
    return last_line(f"{type(error).__name__}: {' '.join(str(error).split())}".strip(": "))


def last_line(text: str) -> str:
    """What a traceback or a report ends with, short."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "failed"

"""One call at a time: its time is limited, what it prints is kept, and what it reaches for outside is noticed and stopped."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import units

SECONDS = 2.0  # of processor time for one input
CLOCK = 10.0  # seconds on the clock beside that: the machine may be busy
PRINTED = 100_000  # characters
FILES = {
    "open": "opens files",
    "os.listdir": "lists folders",
    "os.scandir": "lists folders",
    "os.remove": "removes files",
    "os.rename": "renames files",
    "os.mkdir": "makes folders",
    "os.rmdir": "removes folders",
    "os.chmod": "changes files",
    "os.truncate": "changes files",
    "os.symlink": "makes links",
    "os.link": "makes links",
    "os.chdir": "changes the working folder",
    "shutil.rmtree": "removes files",
    "shutil.copyfile": "copies files",
    "sqlite3.connect": "opens files",
}
PROCESSES = {
    "os.system": "starts processes",
    "os.exec": "starts processes",
    "os.posix_spawn": "starts processes",
    "os.spawn": "starts processes",
    "os.fork": "starts processes",
    "os.forkpty": "starts processes",
    "os.kill": "sends signals",
    "os.killpg": "sends signals",
    "pty.spawn": "starts processes",
    "subprocess.Popen": "starts processes",
    "signal.pthread_kill": "sends signals",
}
REACHES = {
    **FILES,
    **PROCESSES,
    "builtins.input": "reads from the keyboard",
    "ctypes.dlopen": "loads libraries",
    "webbrowser.open": "opens a browser",
}
"""The interpreter's audit events, and what is said of a function that causes one."""
READABLE = tuple({sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"], f"{units.HOME}/lib", f"{units.HOME}/src", f"{units.HOME}/code", "/usr/lib/python3", "/usr/share/zoneinfo"})  # fmt: skip


class Reaches(BaseException):
    """The code wants something outside: a file, the network, another process."""


class Watch:
    """Notices what a call reaches for, by the interpreter's audit events. It can be put up once and never taken down.

    ``allowed``: "files" and "processes", as far as they may be reached for. The network never is: there is none.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self.on, self.reached = False, ""
        self.allowed = {*(FILES if "files" in allowed else ()), *(PROCESSES if "processes" in allowed else ())}
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event in self.allowed:
            return
        reached = REACHES.get(event, "")
        if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
            reached = "uses the network"
        if event == "open" and reads_only(arguments):
            reached = ""
        if event in ("os.listdir", "os.scandir") and within(arguments[0] if arguments else None):
            reached = ""
        if reached:
            self.reached = self.reached or reached
            raise Reaches(reached)


def reads_only(arguments: tuple[Any, ...]) -> bool:
    """Whether a file of Python's own or of the package is read, as imports do."""
    path, mode = arguments[0], arguments[1] if len(arguments) > 1 else None
    written = isinstance(mode, str) and set(mode) & set("wax+")
    return isinstance(path, int) or (not written and within(path))


def within(path: Any) -> bool:
    try:
        whole = os.path.abspath(os.fsdecode(path))
    except (TypeError, ValueError):
        return False
    return whole.startswith(READABLE) or whole in ("/dev/null", "/dev/urandom")


@dataclass
class Outcome:
    """What a call did. ``line`` is where in the reviewed file an exception was raised last, 0 for nowhere.

    ``end`` is "" where it came to an end by itself, else "slow" or what it reaches for.
    """

    value: Any = None
    printed: str = ""
    error: BaseException | None = None
    line: int = 0
    end: str = ""


def attempt(body: Callable[[], Any], watch: Watch, file: str, seconds: float = SECONDS) -> Outcome:
    """Run ``body`` within the time. Only exceptions of the code are kept as such."""
    printed = io.StringIO()
    watch.reached, error, value, end = "", None, None, ""
    try:
        quiet = contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO())
        with units.limit(seconds, clock=CLOCK + 2 * seconds, again=1.0), quiet[0], quiet[1]:
            watch.on = True
            try:
                value = body()
            finally:
                watch.on = False
    except units.TooSlow:
        end = "slow"
    except Reaches as reached:
        end = str(reached)
    except MemoryError:
        end = "takes more memory than there is"
    except BaseException as raised:
        error = raised
    finally:
        watch.on = False
    end = watch.reached or end or (needs(error) if error is not None else "")
    line = place_of(error, file) if error is not None and not end else 0
    return Outcome(value, printed.getvalue()[:PRINTED], None if end else error, line, end)


def needs(error: BaseException) -> str:
    """What to say of an error that comes from a package that is not installed here: an optional one, say."""
    left: Any = error
    while left is not None:
        if isinstance(left, ModuleNotFoundError) and left.name:
            top = left.name.split(".")[0]
            try:
                there = top in sys.modules or importlib.util.find_spec(top) is not None
            except (ImportError, ValueError):
                there = False
            return "" if there else f"needs {top}, which is not installed here"
        left = left.__cause__ or (left.__context__ if isinstance(left, ImportError) else None)
    return ""


def place_of(error: BaseException, file: str) -> int:
    """The last line of the file in the traceback."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def load(path: str, name: str, alone: bool, root: str) -> types.ModuleType:
    """The module of a file. ``alone``: it stands in no package, and is loaded from its path whatever else has its name.

    Raises what the module raises.
    """
    for folder in (f"{units.HOME}/lib", root):
        if folder not in sys.path:
            sys.path.append(folder)
    if not alone:
        return importlib.import_module(name)
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module

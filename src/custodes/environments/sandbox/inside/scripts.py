"""``python3 script.py`` without starting Python: a fork of an interpreter that is already warm behaves like a new one.

Starting the interpreter costs 10 to 15 ms, 70 ms with ``unittest``; the fork costs 1 ms.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import os
import runpy
import signal
import sys
import threading
import types

# What graders' scripts import most; loaded once, before any sandbox exists.
WARM = "ast collections dataclasses enum functools glob hashlib importlib.util inspect io itertools json math pathlib random re runpy shutil string subprocess tempfile textwrap time traceback typing unittest"


def warm() -> None:
    for name in WARM.split():
        __import__(name)


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """In a confined child: what ``python3 *arguments`` does, with a script or ``-m module``. Does not return."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        os.environ.clear()
        os.environ.update(environment)
        main = types.ModuleType("__main__")
        main.__builtins__ = builtins  # type: ignore[attr-defined]
        for name in [n for n in sys.modules if n == "inside" or n.startswith("inside.")]:
            del sys.modules[name]
        sys.modules["__main__"] = main
        sys.dont_write_bytecode = True
        gc.enable()
        code = _finished(_module if arguments[0] == "-m" else _script, arguments, main)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                if not stream.closed:
                    stream.flush()
        except OSError:
            code = 120  # as the interpreter does
        os._exit(code)


def _script(arguments: list[str], main: types.ModuleType) -> None:
    sys.argv = list(arguments)
    path = os.path.join(os.getcwd(), arguments[0])
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"python3: can't open file '{path}': [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None
    main.__file__ = path
    exec(compile(source, path, "exec"), main.__dict__)


def _module(arguments: list[str], main: types.ModuleType) -> None:
    sys.argv = ["-m", *arguments[2:]]
    sys.path.insert(0, os.getcwd())
    runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined]


def _finished(body: object, arguments: list[str], main: types.ModuleType) -> int:
    """Run, and turn what ends a program into its exit status."""
    try:
        body(arguments, main)  # type: ignore[operator]
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException as error:  # whatever it is, the interpreter would print it
        kind, _, trace = sys.exc_info()
        while trace and trace.tb_frame.f_globals.get("__name__") == __name__:
            trace = trace.tb_next
        sys.excepthook(kind, error.with_traceback(trace), trace)  # type: ignore[arg-type]
        return 1
    return 0

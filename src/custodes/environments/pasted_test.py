"""A test of a module, run in a sandbox in which nothing but Python's own library can be imported."""

from __future__ import annotations

import json
import re

from custodes.environments.sandbox import Kind, Limits, SandboxFailure, open_sandbox
from custodes.types import InputError

SECONDS = 5
"""Of processor time, after which a test is said not to end."""
_CLOCK = 30.0
_LIMITS = Limits(seconds=_CLOCK, memory_mb=512)
_RUNNER = """
import importlib.util, json, os, signal, sys

class TooSlow(BaseException):
    pass

def stop(number, frame):
    raise TooSlow

def came(module, seconds):
    try:
        spec = importlib.util.spec_from_file_location(module, module + ".py")
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
        scope = {"__name__": "a_test"}
        with open("a_test.py", encoding="utf-8") as file:
            exec(compile(file.read(), "a_test.py", "exec"), scope)
        tests = [v for k, v in scope.items() if k.startswith("test_") and getattr(v, "__module__", "") == "a_test"]
        body = tests[-1]
    except BaseException as error:
        return "not loaded: " + said(error)
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        body()
    except TooSlow:
        return "slow"
    except BaseException as error:
        return said(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""

def said(error):
    return (type(error).__name__ + ": " + " ".join(str(error).split())).strip(": ")[:300]

answer, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
result = came(sys.argv[1], float(sys.argv[2]))
os.write(answer, json.dumps(result).encode())
os._exit(0)
"""


def run_test(module: str, code: str, test: str, sandbox: Kind = "auto") -> str:
    """What the last function ``test_...`` of a test comes to, which imports ``code`` by the name ``module``.

    The answer is "" where it passes, "slow" where it does not end, "not loaded" with the reason, else the exception's name and its message.

    Raises InputError for a name that no module can have and where no sandbox works, SandboxFailure where it breaks.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", module):
        raise InputError(f"{module!r} is no name of a module; give letters, digits and _.")
    files = {f"{module}.py": code, "a_test.py": test, "run_the_test.py": _RUNNER}
    with open_sandbox(files, limits=_LIMITS, kind=sandbox) as room:
        done = room.run(f"python3 -I run_the_test.py {module} {SECONDS} < /dev/null", _CLOCK)
    if done.timed_out:
        return "slow"
    try:
        return str(json.loads(done.stdout))
    except ValueError:
        raise SandboxFailure("the test ended the interpreter") from None

"""Runs tests in a fresh process whose hashes are seeded otherwise, each in a fork, and says what each comes to.

A job: ``path``, ``name``, ``alone``, ``root`` of the module, and ``tests``: each ``text`` and ``seconds``. The answer is a list on
standard output: "" for a test that passes, "slow" for one without an end, "not loaded" with the reason, else the exception's name and its message.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

import calls
import units


def main() -> None:
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    sys.path.insert(0, f"{units.HOME}/lib")
    came = [units.forked(lambda test=test: outcome(job, test), 60.0) for test in job["tests"]]  # type: ignore[misc]
    with os.fdopen(answer, "w") as out:
        json.dump(["not loaded: it ended the interpreter" if one is None else one for one in came], out)


def outcome(job: Any, test: Any) -> str:
    """What a test comes to; what goes wrong before it is called begins with "not loaded"."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            calls.load(job["path"], job["name"], job["alone"], job["root"])
            scope: dict[str, Any] = {"__name__": "a_test"}
            exec(compile(test["text"], "<test>", "exec"), scope)
        except BaseException as error:
            return f"not loaded: {units.described(error)}"
        mine = (v for k, v in reversed(list(scope.items())) if k.startswith("test_"))
        body = next(v for v in mine if getattr(v, "__module__", "") == "a_test")
        try:
            with units.limit(test["seconds"], clock=40.0, again=1.0):
                body()
        except units.TooSlow:
            return "slow"
        except BaseException as error:
            return units.described(error)
    return ""


if __name__ == "__main__":
    main()

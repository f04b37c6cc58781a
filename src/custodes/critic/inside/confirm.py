"""Runs tests again, in a fresh process whose hashes are seeded otherwise, each in a fork; evidence is what fails here too.

A job: ``path``, ``name``, ``alone``, ``root`` of the module, and ``tests``: each ``text`` and ``fails`` ("slow",
names of exceptions, or "any"). The answer is a list of true and false on standard output.
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
    found = [units.forked(lambda test=test: fails(job, test), 60.0) is True for test in job["tests"]]  # type: ignore[misc]
    with os.fdopen(answer, "w") as out:
        json.dump(found, out)


def fails(job: Any, test: Any) -> bool:
    """Whether the test fails as it did."""
    with contextlib.redirect_stdout(io.StringIO()):
        calls.load(job["path"], job["name"], job["alone"], job["root"])
        scope: dict[str, Any] = {"__name__": "a_test"}
        exec(compile(test["text"], "<test>", "exec"), scope)
        body = next(
            v
            for k, v in reversed(list(scope.items()))
            if k.startswith("test_") and getattr(v, "__module__", "") == "a_test"
        )
        try:
            with units.limit(
                test["seconds"] if {"slow", "any"} & set(test["fails"]) else calls.SECONDS, clock=40.0, again=1.0
            ):
                body()
        except units.TooSlow:
            return bool({"slow", "any"} & set(test["fails"]))
        except BaseException as error:
            return bool({type(error).__name__, "any"} & set(test["fails"]))
    return False


if __name__ == "__main__":
    main()

"""Runs existing tests, and says of each that fails which reviewed function it is about.

A job: ``tests`` (files), ``roots`` (folders to import from), ``files``, each ``path`` and ``functions`` (``qualname``, ``line``,
``end``). The answer: ``failing``, each ``path``, ``qualname``, ``at``, ``id`` and ``message``, and ``ran``, how many tests ran. A
test fails where it fails twice, each time in a fork. One that needs files or the network, or that is marked to fail or to be skipped, says nothing.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from typing import Any

import units

SECONDS = 10.0  # of processor time for one test
NOT_HERE = (OSError, ImportError)
MARKED = ("xfail", "skip", "skipif")


def main() -> None:
    job, reply = units.begin()
    sys.path += [root for root in job["roots"] if root not in sys.path]
    found: list[Any] = []
    ran = 0

    def serve(collected: list[units.Collected]) -> None:
        nonlocal ran
        for unit in collected:
            if any(unit.item.get_closest_marker(name) for name in MARKED):
                continue
            first = units.forked(lambda unit=unit: tried(unit, job), 2 * units.patience(SECONDS))  # type: ignore[misc]
            ran += first is not None and not first["nothing"]
            if first is None or not first["message"]:
                continue
            again = units.forked(lambda unit=unit: tried(unit, job), 2 * units.patience(SECONDS))  # type: ignore[misc]
            if again is not None and again["kind"] == first["kind"] and first["qualname"]:
                found.append({key: first[key] for key in ("path", "qualname", "at", "message")} | {"id": unit.id})

    units.with_tests(job["tests"], serve, f"{units.HOME}/code")
    reply({"failing": found, "ran": ran})


def tried(unit: units.Collected, job: Any) -> Any:
    """What a test says; ``nothing`` where it could not be run here."""
    try:
        with units.limit(SECONDS, clock=units.patience(SECONDS), again=1.0):
            message, error = unit.run(), unit.error
    except units.TooSlow:
        message, error = f"no end within {SECONDS:g} s", None
    kind = type(error).__name__ if error is not None else "slow" if message else ""
    nothing = isinstance(error, NOT_HERE) or kind in ("Skipped", "Exit", "FixtureLookupError", "XFailed")
    path, qualname, at = about(unit, error, job)
    return {
        "message": "" if nothing else message,
        "kind": kind,
        "nothing": nothing,
        "path": path,
        "qualname": qualname,
        "at": at,
    }


def about(unit: units.Collected, error: BaseException | None, job: Any) -> tuple[str, str, int]:
    """(file, function, line) where the error was raised in reviewed code; else the function that the test calls by name."""
    trace = error.__traceback__ if error is not None else None
    places = []
    while trace is not None:
        places.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    for path, line in reversed(places):
        for file in job["files"]:
            for f in file["functions"]:
                if file["path"] == path and f["line"] <= line <= f["end"]:
                    return path, f["qualname"], line
    named = names_in(unit)
    for file in job["files"]:
        for f in file["functions"]:
            if f["qualname"].split(".")[-1] in named:
                return file["path"], f["qualname"], 0
    return "", "", 0


def names_in(unit: units.Collected) -> set[str]:
    """What a test calls, by name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(unit.item.obj)))
    except (OSError, TypeError, SyntaxError, AttributeError):
        return set()
    called = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
    return {getattr(f, "id", "") or getattr(f, "attr", "") for f in called} - {""}


if __name__ == "__main__":
    main()

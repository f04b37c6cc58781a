"""Runs tests under coverage, one context a test, and says which functions each passing test exercises.

A job: ``import`` (modules to load first), ``tests`` (files) and ``modules`` (with documented examples), ``root`` (folder
of the sources), ``seconds`` (of one test), ``file_seconds`` (of one file of tests), ``keep`` (tests a function).
``functions.json``: path below the root -> [[first line, last line], ...]. The answer: path -> first line -> tests.
"""

from __future__ import annotations

import bisect
import json
import os
import time
from typing import Any

import units
from choose import Covering, choose

Functions = dict[str, list[list[int]]]
Found = dict[str, dict[str, list[Covering]]]


def main() -> None:
    job, reply = units.begin()
    with open(f"{units.HOME}/functions.json", encoding="utf-8") as file:
        functions: Functions = json.load(file)
    found: Found = {}
    failed: list[str] = []
    most = 3 * units.patience(job["file_seconds"])
    for name in [*job["tests"], *([""] if job["modules"] else [])]:
        rows = units.forked(lambda name=name: covered(name, job, functions), most)  # type: ignore[misc]
        merge(found, rows, job["keep"]) if rows is not None else failed.append(name or " ".join(job["modules"]))
    reply({"found": found, "failed": failed})


def covered(path: str, job: Any, functions: Functions) -> Found:
    """By the tests of a file; by the documented examples where none is named."""
    if not path:
        return cover(units.documented(job["modules"]), job, functions)
    rows: list[Found] = []
    units.with_tests([f"{units.HOME}/src/{path}"], lambda items: rows.append(cover(items, job, functions)))
    return rows[0] if rows else {}


def cover(tests: list[Any], job: Any, functions: Functions) -> Found:
    """Run the tests until the file's time is used."""
    import coverage

    include = [f"{job['root']}/{path}" for path in functions]
    cov = coverage.Coverage(data_file=None, config_file=False, cover_pylib=True, include=include)
    seconds: dict[str, float] = {}
    ends = time.process_time() + job["file_seconds"]
    for test in tests:
        if time.process_time() > ends:
            break
        began = time.process_time()
        cov.start()
        cov.switch_context(test.id)
        try:
            with units.limit(job["seconds"], spared=os.path.dirname(coverage.__file__)):
                passed = not test.run()
        except (units.TooSlow, Exception, SystemExit):
            passed = False
        finally:
            cov.stop()
        if passed:
            seconds[test.id] = time.process_time() - began
    return exercised(cov.get_data(), seconds, job, functions)


def exercised(data: Any, seconds: dict[str, float], job: Any, functions: Functions) -> Found:
    """Functions of which a passing test ran a line of the body (the line of ``def`` runs when the module is loaded)."""
    hits: dict[str, dict[tuple[str, int], list[int]]] = {}
    for file in data.measured_files():
        path = os.path.relpath(file, job["root"])
        ranges = functions.get(path, [])
        starts = [start for start, _ in ranges]
        for line, contexts in data.contexts_by_lineno(file).items():
            at = bisect.bisect_right(starts, line) - 1
            if at < 0 or not ranges[at][0] < line <= ranges[at][1]:
                continue
            for unit in contexts:
                if unit in seconds:
                    hits.setdefault(unit, {}).setdefault((path, starts[at]), []).append(line - starts[at] + 1)
    found: Found = {}
    for unit, of_unit in hits.items():
        for (path, start), lines in of_unit.items():
            row = {"unit": unit, "seconds": round(seconds[unit], 4), "breadth": len(of_unit), "lines": sorted(lines)}
            found.setdefault(path, {}).setdefault(str(start), []).append(row)
    return found


def merge(found: Found, more: Found, keep: int) -> None:
    for path, of_path in more.items():
        for start, rows in of_path.items():
            known = found.setdefault(path, {})
            known[start] = choose(known.get(start, []) + rows, keep)


if __name__ == "__main__":
    main()

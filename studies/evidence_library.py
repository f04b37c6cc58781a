"""A review by running on code that is known to be good: does it hang, leave files, fill memory, or show what is not so?

Functions are drawn from the standard library and from installed packages. Each file is reviewed for the functions that were
drawn from it; every finding's test is run again in a new sandbox. Run again with the same ``--out``, it goes on where it was.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import resource
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from custodes.critic.functions import definitions_of
from custodes.critic.review.again import run_tests
from custodes.critic.review.evidence import SHOWN_FROM
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.running import RunOptions
from custodes.critic.sources import is_library
from custodes.files import save_json
from custodes.stats import rate

LIBRARY = "python-stdlib"
STARTS = ("__main__.py", "this.py", "antigravity.py")  # loading them does something


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packages", nargs="*", default=[LIBRARY, "more_itertools", "networkx", "sortedcontainers"])
    parser.add_argument("--functions", type=int, default=1000)
    parser.add_argument("--inputs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    temporary = given.out / "temporary"  # nobody else's files are there
    temporary.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    drawn = functions_of(given.packages, given.functions, given.seed)
    rows = measured(drawn, given.out / "rows.jsonl", RunOptions(inputs=given.inputs, seconds=given.seconds))
    result = summarised(rows)
    save_json(given.out / "summary.json", result)
    print(json.dumps(result, indent=1))


def functions_of(packages: Sequence[str], most: int, seed: int) -> dict[str, list[tuple[str, int]]]:
    """file -> (function, line) of those that were drawn: equal shares, and of small packages all, so that others give more."""
    draw, chosen = random.Random(seed), dict[str, list[tuple[str, int]]]()
    there = [[(str(f), name, line) for f in files_of(package) for name, line in defined(f)] for package in packages]
    for n, everything in enumerate(sorted(there, key=len)):
        left = most - sum(map(len, chosen.values()))
        share = -(-left // (len(packages) - n))
        for file, name, line in draw.sample(everything, min(share, len(everything))):
            chosen.setdefault(file, []).append((name, line))
    return chosen


def files_of(package: str) -> list[Path]:
    if package == LIBRARY:
        root = Path(sysconfig.get_paths()["stdlib"])
        found = [p for p in sorted(root.rglob("*.py")) if is_library(p.relative_to(root).as_posix())]
    else:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"--packages: {package} is not installed here.")
        found = [p for p in sorted(Path(spec.origin).parent.rglob("*.py")) if "tests" not in p.parts]
    return [p for p in found if p.name not in STARTS]


def defined(file: Path) -> list[tuple[str, int]]:
    try:
        return [(name, node.lineno) for name, node in definitions_of(ast.parse(file.read_text()))]
    except (SyntaxError, ValueError):
        return []


def measured(drawn: dict[str, list[tuple[str, int]]], kept: Path, run: RunOptions) -> list[dict[str, Any]]:
    """A row for each file; rows that are there already are kept."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["file"] for row in rows}
    for file, functions in drawn.items():
        if file in done:
            continue
        before, began = listing(), time.monotonic()
        text = Path(file).read_text()
        lines = {line for _, line in functions}
        result = review([file], None, ReviewOptions(), None, {file: lines}, texts={file: text}, run=run)
        tests = [f.evidence.test for f in result.findings if f.evidence]
        again = run_tests({file: text}, {file: tests})[file] if tests else []
        row = {
            "file": file,
            "functions": len(result.runs),
            "ran": sum(r.ran for r in result.runs),
            "inputs": sum(r.inputs for r in result.runs),
            "reasons": Counter(r.reason for r in result.runs if not r.ran),
            "findings": [[f.kind, f.confidence, f.message] for f in result.findings],
            "reproduced": sum(map(bool, again)),
            "left": sorted(listing() - before),
            "seconds": round(time.monotonic() - began, 2),
            "memory_mb": max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024,
        }  # fmt: skip
        rows.append(row)
        with kept.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        print(
            f"{len(rows)} of {len(drawn)} files, {row['seconds']} s, {row['ran']} of {row['functions']} run", flush=True
        )
    return rows


def listing() -> set[str]:
    """What stands in the folder for temporary files, and here."""
    return {f"{folder}/{name}" for folder in (tempfile.gettempdir(), ".") for name in os.listdir(folder)}


def summarised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    functions = sum(row["functions"] for row in rows)
    shown = [f for row in rows for f in row["findings"] if f[1] >= SHOWN_FROM]
    interval = rate([1.0] * len(shown) + [0.0] * (functions - len(shown)))
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update({reason.split(":")[0]: count for reason, count in row["reasons"].items()})
    return {
        "functions": functions,
        "run": sum(row["ran"] for row in rows),
        "inputs": sum(row["inputs"] for row in rows),
        "reasons": dict(reasons.most_common()),
        "findings": len(shown),
        "findings_a_function": [interval.estimate, interval.low, interval.high],
        "kinds": dict(Counter(f[0] for f in shown)),
        "reproduced": sum(row["reproduced"] for row in rows),
        "to_reproduce": sum(len(row["findings"]) for row in rows),
        "left": sorted({name for row in rows for name in row["left"]}),
        "seconds_a_function": sum(row["seconds"] for row in rows) / max(1, functions),
        "slowest_file_seconds": max((row["seconds"] for row in rows), default=0.0),
        "memory_mb": max((row["memory_mb"] for row in rows), default=0),
    }


if __name__ == "__main__":
    main()

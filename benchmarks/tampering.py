"""How many tampered functions are made and proved a minute, and how long 50,000 would take.

    python benchmarks/tampering.py --corpus corpus.jsonl --json

The corpus is one that `custodes critic corpus` made; without one, a small one of `toolz` is made first, outside the time.
Counted are examples that were kept: a covering test fails with them that passed before. The time is that of candidates,
sandboxes, loading the packages and running the tests; each worker starts with a cold sandbox.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from result import print_result
from rich.console import Console

from custodes.critic.corpus import CoverageLimits, Function, cover, extract, read_corpus
from custodes.critic.sources import open_package
from custodes.critic.tamper.make import TamperOptions, chunks_of, try_all
from custodes.job.parts import Parts

WANTED = 50_000
screen = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="what `custodes critic corpus` made (default: toolz alone)")
    parser.add_argument("--functions", type=int, default=200, help="tested functions, drawn from all packages")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="sandboxes at once")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        everything = list(read_corpus(chosen.corpus)) if chosen.corpus else small_corpus(Path(folder))
        tested = [f for f in everything if f.tests]
        functions = random.Random(0).sample(tested, min(chosen.functions, len(tested)))
        result = measure(functions, Path(folder) / "parts", chosen.workers)
    result["tested_functions_of_the_corpus"] = len(tested)
    result["kept_per_function"] = round(result["kept"] / max(1, len(functions)), 2)
    screen.print(
        f"{result['kept']:,} kept of {result['tried']:,} in {result['seconds']:.0f} s with {result['workers']} workers: "
        f"{result['kept_per_second']:.1f} a second, {WANTED:,} in {result['minutes_for_50000']:.0f} minutes"
    )
    if chosen.json:
        print_result(result)


def measure(functions: list[Function], folder: Path, workers: int) -> dict[str, object]:
    options = TamperOptions()
    began, spent = time.perf_counter(), os.times()
    made = try_all(
        functions,
        Parts(folder),
        options,
        workers,
        on_chunk=lambda row: screen.print(f"  {len(row['examples']):,} kept"),
    )
    seconds, used = time.perf_counter() - began, os.times()
    kept = len(made.examples)
    return {
        "benchmark": "tampering",
        "functions": len(functions),
        "chunks": len(chunks_of(functions)),
        "packages": dict(Counter(f.package for f in functions)),
        "tried": made.tried.total(),
        "kept": kept,
        "kept_share_of_single_changes": made.kept.total() / max(1, made.tried.total()),
        "workers": workers,
        "seconds": seconds,
        "host_cpu_seconds": used.user - spent.user + used.system - spent.system,
        "kept_per_second": kept / seconds,
        "minutes_for_50000": WANTED / kept * seconds / 60 if kept else None,
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
    }


def small_corpus(folder: Path) -> list[Function]:
    package = open_package("toolz")
    screen.print("Making a corpus of toolz")
    return cover(package, extract(package), Parts(folder / "corpus"), CoverageLimits())


if __name__ == "__main__":
    main()

"""How fast the scorer of lines reviews small functions, and in how much memory.

    OMP_NUM_THREADS=2 python benchmarks/review_speed.py --json

2,000 functions of at most --lines lines are drawn from Python's standard library and written into files of twenty. They
are reviewed as `custodes critique --no-evidence --no-cache` does: read, cut, scored in batches, filtered. Loading the
model is told apart. Memory is the most that the process held at once, of which importing torch takes a large part.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from result import print_result
from rich.console import Console

from custodes.critic.choice import CriticChoice
from custodes.critic.functions import SourceFunction, functions_of
from custodes.critic.loading import open_critic
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.sources import is_library

screen = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=12, help="the longest function, in lines")
    parser.add_argument("--critic", type=Path, help="folder of another critic than the one that comes with Custodes")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = written(small_functions(chosen.functions, chosen.lines), Path(folder))
        began = time.perf_counter()
        critic = open_critic(CriticChoice(critic=chosen.critic))
        loading = time.perf_counter() - began
        began, spent = time.perf_counter(), time.process_time()
        result = review(files, critic, ReviewOptions(), on_progress=shown)
        seconds, processor = time.perf_counter() - began, time.process_time() - spent
    told = {
        "benchmark": "review speed",
        "functions": result.snippets,
        "characters": sum(map(len, result.texts.values())),
        "findings": len(result.findings),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "functions_a_second": round(result.snippets / seconds, 1),
        "loading_seconds": round(loading, 1),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
    }
    screen.print(
        f"{told['functions']:,} functions in {told['seconds']} s ({told['processor_seconds']} s of processor), "
        f"{told['threads']} threads, {told['memory_mb']} MB; loading {told['loading_seconds']} s"
    )
    if chosen.json:
        print_result(told)


def library_functions() -> Iterator[SourceFunction]:
    """Every function of Python's standard library, file by file."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if is_library(path.relative_to(root).as_posix()):
            with suppress(SyntaxError, ValueError):
                yield from functions_of(path.read_text(encoding="utf-8"))


def small_functions(count: int, lines: int) -> list[str]:
    """Functions of the standard library that are at most so long, drawn by a fixed seed. No text is taken twice."""
    found = dict.fromkeys(f.code for f in library_functions() if f.end - f.start < lines)
    return random.Random(0).sample(list(found), min(count, len(found)))


def written(functions: list[str], folder: Path) -> list[str]:
    files = []
    for k in range(0, len(functions), 20):
        file = folder / f"part_{k:05d}.py"
        file.write_text("\n\n".join(functions[k : k + 20]), encoding="utf-8")
        files.append(str(file))
    return files


def shown(done: int, of: int) -> None:
    if done % 500 == 0:
        screen.print(f"  {done:,} of {of:,}")


if __name__ == "__main__":
    main()

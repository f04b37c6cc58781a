"""How long the ledger takes to write comparisons, each batch safe on disk before the next, and to verify them.

    python benchmarks/ledger.py --json
    python benchmarks/ledger.py --where postgresql://user@host/empty_database --json

The last line is one JSON object; ``ours`` is the seconds that writing took.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable

from result import print_result

from custodes.feedback.kinds.comparison import Comparison
from custodes.ledger import Ledger
from custodes.types import hash_shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="how many comparisons")
    parser.add_argument("--batch", type=int, default=1_000, help="comparisons per write")
    parser.add_argument("--where", help="path or URL of a new ledger (default: a file in a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        measured = measure(options.where or f"{folder}/ledger.db", options.rows, options.batch)
    if not options.json:
        print(
            f"{options.rows:,} comparisons in writes of {options.batch:,} on {platform.processor() or 'this machine'}:"
        )
        print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in measured.items()))
    print_result({"ours": measured["write"], "rows": options.rows, "batch": options.batch, "seconds": measured})


def measure(where: str, rows: int, batch: int) -> dict[str, float]:
    """Seconds to write ``rows`` comparisons, to write them again (nothing is added), to read and to verify them."""
    comparisons = [
        Comparison(
            id=f"judgment-{i:07d}",
            annotator=f"annotator-{i % 50}",
            task=f"task-{i // 4}",
            episodes=(f"episode-{2 * i}", f"episode-{2 * i + 1}"),
            strength=1 + i % 3,
            shown=hash_shown(str(i)),
            seconds=12.5,
        )
        for i in range(rows)
    ]
    with Ledger.open(where) as ledger:
        run = ledger.start_run("benchmark", {}, seed=0)

        def write() -> None:
            for start in range(0, rows, batch):
                ledger.write(run, comparisons[start : start + batch])

        def read() -> None:
            assert sum(1 for _ in ledger.judgments(run)) == rows

        def verify() -> None:
            assert ledger.verify().rows == rows + 1

        return {f.__name__: seconds(f) for f in (write, read, verify)} | {"write_again": seconds(write)}


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 3)


if __name__ == "__main__":
    main()

"""Speed and accuracy of label aggregation, judgments per second.

    python benchmarks/aggregation.py --json
    python benchmarks/aggregation.py --peer crowd-kit --peer-python .peers/bin/python --judgments 1000000 --json
    python benchmarks/aggregation.py --judgments 10000000 --json

Both sides begin with three columns of numbers in memory and end with a label per task. The accuracy of both on the same
judgments, whose truth is simulated, is in "accuracy"; crowd-kit runs its Dawid-Skene for at most 100 and its MACE for 30
rounds, ours until the probabilities stand still.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import cache

import numpy as np
from harness import Peer, compare, report
from peers.label_work import simulate

from custodes.feedback.labels import aggregate, label_table
from custodes.registry import aggregator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgments", type=int, default=1_000_000, help="how many (1,000,000)")
    parser.add_argument(
        "--methods", nargs="+", choices=aggregator.names(), help="default: dawid-skene mace; all without a peer"
    )
    parser.add_argument("--peer", choices=["crowd-kit"], help="measure this peer too, in turns with ours")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter in which the peer is installed")
    parser.add_argument("--rounds", type=int, help="counted turns of the peer, ours has one more (1; 0 without a peer)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    methods = chosen.methods or (["dawid-skene", "mace"] if chosen.peer else list(aggregator.names()))
    rounds = chosen.rounds if chosen.rounds is not None else (1 if chosen.peer else 0)
    peer = Peer(chosen.peer_python, ["crowdkit_labels.py"]) if chosen.peer else None
    result = compare(work, peer, [f"{chosen.judgments} {method}" for method in methods], rounds)
    result["fit"] = {method: quality_of(chosen.judgments, method) for method in methods}
    result["accuracy"] = {"ours": {method: result["fit"][method]["accuracy"] for method in methods}}
    if peer:
        result["accuracy"]["peer"] = {m: peer(f"accuracy {chosen.judgments} {m}")[1] for m in methods}
        peer.close()
    report(result, benchmark="aggregation", peer=chosen.peer, unit="judgments per second", as_json=chosen.json)


def work(workload: str) -> float:
    """Aggregates one workload; returns the judgments."""
    size, method = workload.split()
    data = data_of(int(size))
    found = aggregate(label_table(data["task"], data["annotator"], data["label"]), method)  # type: ignore[arg-type]
    assert len(found.label) == len(data["truth"])
    return int(size)


@cache
def data_of(judgments: int) -> dict[str, np.ndarray]:
    return simulate(judgments)


def quality_of(judgments: int, method: str) -> dict[str, float]:
    """Seconds of one aggregation, its accuracy, and how well it knows the annotators (correlation with the truth)."""
    data = data_of(judgments)
    start = time.perf_counter()
    table = label_table(data["task"], data["annotator"], data["label"])
    found = aggregate(table, method)
    seconds = time.perf_counter() - start
    skill = data["skill"][np.array(table.annotators)]
    held = [i.estimate for i in found.reliability]
    within = [i.low <= s <= i.high for i, s in zip(found.reliability, skill, strict=True)]
    return {
        "seconds": seconds,
        "rounds": found.rounds,
        "accuracy": float((np.array(found.labels) == data["truth"][np.array(table.tasks)]).mean()),
        "reliability_correlation": float(np.corrcoef(held, skill)[0, 1]),
        "reliability_coverage": float(np.mean(within)),
    }


if __name__ == "__main__":
    main()

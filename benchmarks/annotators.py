"""Speed of the annotator model, comparisons fitted per second.

    python benchmarks/annotators.py --json
    python benchmarks/annotators.py --peer choix --peer-python .peers/bin/python --json
    python benchmarks/annotators.py --peer crowd-kit --peer-python .peers/bin/python --json

Without a peer: 1,000,000 comparisons of 100,000 items by 1,000 annotators. With a peer: as many as it can stand. Ours
does more: it fits reliability, position and length bias per annotator, ties and strengths, with standard errors.
choix fits the items alone ("opt": L-BFGS, "ilsr": spectral); crowd-kit's noisy Bradley-Terry fits skill and bias of the
annotators, on a tenth as many items as comparisons like the others.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import cache

import numpy as np
from harness import Peer, compare, report
from peers.annotator_work import simulate

from custodes.feedback.bradley_terry import Comparisons, Fit, fit
from custodes.feedback.reliability import A

PEERS = {"choix": ("choix_rank.py", 10_000, ["opt", "ilsr"]), "crowd-kit": ("crowdkit_aggregate.py", 2_000, ["nbt"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--comparisons", type=int, help="how many (1,000,000; beside choix 10,000, beside crowd-kit 2,000)"
    )
    parser.add_argument("--peer", choices=PEERS, help="measure this peer too, in turns with ours")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter in which the peer is installed")
    parser.add_argument("--rounds", type=int, help="turns of the peer, ours has one more (3; 0 without a peer)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    script, size, methods = PEERS.get(chosen.peer, ("", 1_000_000, ["ours"]))
    comparisons = chosen.comparisons or size
    rounds = chosen.rounds if chosen.rounds is not None else (3 if chosen.peer else 0)
    peer = Peer(chosen.peer_python, [script]) if chosen.peer else None
    result = compare(work, peer, [f"{comparisons} {method}" for method in methods], rounds)
    if peer:
        peer.close()
    result["fit"] = quality_of(comparisons)
    report(result, benchmark="annotators", peer=chosen.peer, unit="comparisons per second", as_json=chosen.json)


def work(workload: str) -> float:
    """Fits one workload; returns the comparisons."""
    comparisons = int(workload.split()[0])
    fit_once(comparisons)
    return comparisons


def fit_once(comparisons: int) -> Fit:
    return fit(data_of(comparisons))


@cache
def data_of(comparisons: int) -> Comparisons:
    data = simulate(comparisons)
    names = ("first", "second", "annotator", "strength", "length")
    return Comparisons(*(data[n] for n in names), items=len(data["quality"]), annotators=len(data["reliability"]))


def quality_of(comparisons: int) -> dict[str, float]:
    """Seconds of one fit, and how well it recovered what was simulated (correlations)."""
    data = simulate(comparisons)
    start = time.perf_counter()
    fitted = fit_once(comparisons)
    return {
        "seconds": time.perf_counter() - start,
        "rounds": fitted.rounds,
        "reliability_correlation": float(np.corrcoef(fitted.theta[:, A], data["reliability"])[0, 1]),
        "quality_correlation": float(np.corrcoef(fitted.quality, data["quality"])[0, 1]),
    }


if __name__ == "__main__":
    main()

"""choix's Bradley-Terry fits (no annotators, no ties), a workload "N opt" or "N ilsr" a turn."""

import choix
from annotator_work import simulate
from protocol import serve

METHODS = {"opt": choix.opt_pairwise, "ilsr": choix.ilsr_pairwise}
works: dict[int, tuple[int, list[tuple[int, int]]]] = {}


def fit(workload: str) -> float:
    comparisons, method = int(workload.split()[0]), workload.split()[1]
    if comparisons not in works:
        data = simulate(comparisons)
        pairs = zip(data["first"].tolist(), data["second"].tolist(), data["first_wins"].tolist(), strict=True)
        works[comparisons] = len(data["quality"]), [(a, b) if won else (b, a) for a, b, won in pairs]
    items, wins = works[comparisons]
    METHODS[method](items, wins, alpha=0.01)
    return comparisons


serve(fit)

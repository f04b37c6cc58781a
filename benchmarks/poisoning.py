"""Who finds simulated poisoners: detection rates at 1 % false alarms.

    python benchmarks/poisoning.py --json

Crowds of 100 simulated annotators with 200 judgments each, every pair judged by five, of which 2 % or 5 % are poisoned in
one of four ways (poisoners.py). Per way and share: how many poisoners are found

  alarm     by the sequential test at its stated level of 1 %, and how many honest annotators it rings for
  evidence  by the same test's evidence, at the threshold above which 1 % of the honest annotators lie
  reliability  by the annotator model's reliability, at the threshold below which 1 % of the honest lie
  gold      by the share of gold items answered wrongly, likewise
  clusters  as members of a group that colludes (1 % family-wise), and how many honest annotators are called members

Rates have 95 % Wilson intervals over the annotators of all crowds.
"""

from __future__ import annotations

import argparse

import numpy as np
from poisoners import POISONERS, Poisoned, simulate_poisoning
from result import print_result
from rich.console import Console
from rich.progress import track
from rich.table import Table

from custodes.feedback.poisoning import find_clusters, watch
from custodes.stats import wilson

LEVEL = 0.01
screen = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crowds", type=int, default=10, help="crowds per way and share (10)")
    parser.add_argument("--each", type=int, default=200, help="judgments of each annotator (200)")
    parser.add_argument("--annotators", type=int, default=100, help="annotators of a crowd (100)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    cells = [(kind, share) for kind in POISONERS for share in (0.02, 0.05)]
    result = {}
    for kind, share in track(cells, "crowds", console=screen):
        crowds = [
            measured(simulate_poisoning(kind, share, seed, chosen.annotators, chosen.each), kind == "colluding")
            for seed in range(chosen.crowds)
        ]
        result[f"{kind} {share:.0%}"] = summary(crowds)
    table = Table("poisoners", "poisoned", "alarm", "false alarms", "evidence", "reliability", "gold", "clusters")
    for name, cell in result.items():
        shown = [cell[key] for key in ("alarm", "false_alarms", "evidence", "reliability", "gold", "clusters")]
        table.add_row(name, f"{cell['poisoned']:.1%}", *("" if c is None else f"{c['estimate']:.1%}" for c in shown))
    screen.print(table)
    if chosen.json:
        about = {"benchmark": "poisoning", "level": LEVEL, "crowds": chosen.crowds, "each": chosen.each}
        print_result({**about, "annotators": chosen.annotators, "cells": result})


def measured(crowd: Poisoned, colluding: bool) -> dict[str, np.ndarray]:
    """Per annotator: poisoner or not, and what each detector says."""
    model = crowd.model
    number = {name: k for k, name in enumerate(model.annotators)}
    evidence, rang, member = (np.zeros(len(number)) for _ in range(3))
    for alarm in watch(model, crowd.features, crowd.names, LEVEL):
        evidence[number[alarm.annotator]] = alarm.evidence
        rang[number[alarm.annotator]] = alarm.rang_at is not None
    for cluster in find_clusters(model, LEVEL) if colluding else []:
        member[[number[name] for name in cluster.annotators]] = 1
    data = model.comparisons
    gold = ~crowd.features[:, -1] & (data.strength != 0)
    wrong = np.sign(crowd.quality[data.first] - crowd.quality[data.second]) != np.sign(data.strength)
    asked = np.bincount(data.annotator[gold], minlength=len(number))
    missed = np.bincount(data.annotator[gold], wrong[gold], minlength=len(number)) / np.maximum(asked, 1)
    return {
        "poisoner": crowd.poisoner,
        "poisoned": np.array([crowd.poisoned]),
        "evidence": evidence,
        "alarm": rang,
        "reliability": -model.reliability,
        "gold": missed,
        **({"clusters": member} if colluding else {}),
    }


def summary(crowds: list[dict[str, np.ndarray]]) -> dict[str, object]:
    pooled = {name: np.concatenate([crowd[name] for crowd in crowds]) for name in crowds[0]}
    bad = pooled["poisoner"]
    found: dict[str, object] = {"poisoned": float(pooled["poisoned"].mean()), "clusters": None, "false_members": None}
    for name, of in (("alarm", bad), ("false_alarms", ~bad)):
        found[name] = wilson(int(pooled["alarm"][of].sum()), int(of.sum())).to_dict()
    for name in ("evidence", "reliability", "gold"):
        threshold = np.quantile(pooled[name][~bad], 1 - LEVEL, method="higher")
        found[name] = wilson(int((pooled[name][bad] > threshold).sum()), int(bad.sum())).to_dict()
    if "clusters" in pooled:
        for name, of in (("clusters", bad), ("false_members", ~bad)):
            found[name] = wilson(int(pooled["clusters"][of].sum()), int(of.sum())).to_dict()
    return found


if __name__ == "__main__":
    main()

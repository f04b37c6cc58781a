"""Labels aggregated on simulated crowds: how often right, what is stated, and what intervals of reliability hold.

    python benchmarks/label_crowds.py

Every row is a kind of crowd, drawn as often as ``--replications`` says (40). "Right" is the share of tasks whose label is
the true one; "stated" the mean probability of the label; "held" how often the 95 % interval of an annotator's reliability
holds the share of right answers that the annotator was drawn with. The seeds are fixed, so that the table comes out
again; speed plays no part in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from result import print_result
from rich.console import Console
from rich.progress import track

from custodes.feedback.labels import LabelTable, aggregate, label_table
from custodes.registry import aggregator


@dataclass(frozen=True)
class Crowd:
    """Annotators right with probability Beta(6, 2), wrong ones spread evenly, and what is different here."""

    tasks: int = 1000
    overlap: int = 3  # labels of each task, by different annotators
    annotators: int = 50
    prevalence: tuple[float, ...] = (0.5, 0.5)
    habit: float = 0.0  # share of annotators who always say one class
    invert: float = 0.0  # share of annotators who are right with probability 0.15
    random: float = 0.0  # share of annotators who say any class
    missed: float = 0.0  # how often everybody takes the last class for the first


EVEN = {n: (1 / n,) * n for n in (5, 20)}
CROWDS: Mapping[str, Crowd] = {
    "two classes": Crowd(),
    "90 % of one class": Crowd(prevalence=(0.9, 0.1)),
    "97 % of one class": Crowd(prevalence=(0.97, 0.03)),
    "two labels an annotator": Crowd(annotators=1500),
    "five labels an annotator": Crowd(annotators=600),
    "five classes": Crowd(prevalence=EVEN[5]),
    "five classes, one of 80 %": Crowd(prevalence=(0.8, 0.05, 0.05, 0.05, 0.05)),
    "twenty classes": Crowd(prevalence=EVEN[20]),
    "a fifth answer out of habit": Crowd(overlap=5, habit=0.2),
    "a fifth invert": Crowd(overlap=5, invert=0.2),
    "30 % answer at random": Crowd(overlap=5, random=0.3),
    "eight annotators of 200 tasks, each by all": Crowd(200, 8, 8),
    "60 tasks, ten annotators": Crowd(60, 3, 10),
    "all miss a class, 30 %": Crowd(missed=0.3),
    "all miss a class, five labels an annotator": Crowd(annotators=600, missed=0.3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=40, help="how often each crowd is drawn (40)")
    parser.add_argument(
        "--crowds", nargs="+", choices=CROWDS, default=list(CROWDS), metavar="NAME", help="default: all"
    )
    chosen = parser.parse_args()
    models = [method for method in aggregator.names() if method != "majority"]
    print(f"| crowd | vote | {' | '.join(f'{m}: right, stated, held' for m in models)} |")
    print("|" + "---|" * (len(models) + 2))
    told = {}
    for name in track(chosen.crowds, "crowds", console=Console(stderr=True), transient=True):
        rows = [measured(*drawn(CROWDS[name], seed)) for seed in range(chosen.replications)]
        vote = np.mean([row["majority"][0] for row in rows])
        cells = [np.mean([row[method] for row in rows], axis=0) for method in models]
        print(f"| {name} | {vote:.3f} | {' | '.join(map(_cell, cells))} |", flush=True)
        told[name] = {"majority": vote} | {m: c.tolist() for m, c in zip(models, cells, strict=True)}
    print_result({"benchmark": "label_crowds", "replications": chosen.replications, "crowds": told})


def drawn(crowd: Crowd, seed: int) -> tuple[LabelTable, NDArray[np.int64], NDArray[np.float64]]:
    """(table, true class of each task, how often each annotator is right; NaN for those drawn in another way)."""
    rng = np.random.default_rng(seed)
    C, K, T = len(crowd.prevalence), crowd.annotators, crowd.tasks
    truth = rng.choice(C, T, p=crowd.prevalence)
    skill = rng.beta(6, 2, K)
    task = np.repeat(np.arange(T), crowd.overlap)
    annotator = np.argsort(rng.random((T, K)), axis=1)[:, : crowd.overlap].ravel()
    wrong = (truth[task] + rng.integers(1, C, len(task))) % C
    nature = np.arange(K) / K  # the first are different
    skill[nature < crowd.invert] = 0.15
    label = np.where(rng.random(len(task)) < skill[annotator], truth[task], wrong)
    label = np.where((label == C - 1) & (rng.random(len(task)) < crowd.missed), 0, label)
    habit = np.where(nature < crowd.habit, rng.integers(0, C, K), -1)
    label = np.where(habit[annotator] >= 0, habit[annotator], label)
    label = np.where((nature < crowd.random)[annotator], rng.integers(0, C, len(task)), label)
    skill[(nature < max(crowd.habit, crowd.random)) | (crowd.missed > 0)] = np.nan
    return label_table(task, annotator, label), truth, skill


def measured(
    table: LabelTable, truth: NDArray[np.int64], skill: NDArray[np.float64]
) -> dict[str, tuple[float, float, float]]:
    """(share of labels that are right, mean probability stated, share of intervals that hold) by method."""
    found = {}
    for method in aggregator.names():
        result = aggregate(table, method)
        right = np.array(result.labels) == truth[np.array(table.tasks)]
        known = [
            (skill[k], i) for k, i in zip(table.annotators, result.reliability, strict=True) if np.isfinite(skill[k])
        ]
        held = np.mean([i.low <= s <= i.high for s, i in known]) if known else np.nan
        found[method] = float(right.mean()), float(result.probability.max(axis=1).mean()), float(held)
    return found


def _cell(values: NDArray[np.float64]) -> str:
    right, stated, held = values
    return f"{right:.3f}, {stated:.3f}, {'-' if np.isnan(held) else f'{held:.2f}'}"


if __name__ == "__main__":
    main()

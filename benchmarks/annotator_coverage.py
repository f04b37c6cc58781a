"""How often the annotator model's 95 % intervals hold the truth, and its labels against a majority vote, over crowds.

    python benchmarks/annotator_coverage.py
    python benchmarks/annotator_coverage.py --crowds "20 x 40" --replications 50

Prints a table in Markdown, one line per crowd. A crowd is people x judgments each; every pair of four answers of a task is
judged by three of them. Reliabilities (log-odds per standard deviation of quality) are log-normal around 1.5 with a
standard deviation of the logarithm of 0.5, or Gaussian, 1.5 with a standard deviation of 0.75; "bad": 30 % answer at random
and 10 % invert. "arena": 20 models 0.15 logits apart, 3,000 battles, two votes a person. "team": 10 people with
reliabilities from 0.5 to 1.7 on 600 tasks. Truths of reliability are told on the model's scale, their root mean square 1.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.feedback.annotator_model import fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.ranking import standings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crowd:
    name: str
    people: int = 20
    each: int = 40
    nature: str = "log-normal"
    bad: bool = False


CROWDS = [
    Crowd(f"{people} x {each}, {nature}{', bad' * bad}", people, each, nature, bad)
    for people, each in ((20, 40), (20, 120), (20, 360), (100, 40), (100, 360))
    for nature in ("log-normal", "Gaussian")
    for bad in (False, True)
]
CROWDS += [
    Crowd("team", 10, 1080, "team"),
    Crowd("arena, all alike", nature="arena 0"),
    Crowd("arena, log-normal 0.3", nature="arena 0.3"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--crowds", default="", help="only crowds whose name holds this")
    chosen = parser.parse_args()
    print(
        "| crowd | replications | reliability | differences of quality | labels right | majority right | slope on truth |"
    )
    print("|---|---|---|---|---|---|---|")
    for crowd in CROWDS:
        if chosen.crowds in crowd.name:
            rows = np.array([measured(crowd, seed) for seed in range(chosen.replications)])
            told = [f"{100 * mean:.1f} %" if np.isfinite(mean) else "" for mean in rows[:, :4].mean(axis=0)]
            slope = f"{rows[:, 4].mean():.2f} (sd {rows[:, 4].std():.2f})"
            print(f"| {crowd.name} | {chosen.replications} | {' | '.join(told)} | {slope} |", flush=True)


def measured(crowd: Crowd, seed: int) -> list[float]:
    """Coverage of reliabilities and of differences, shares of labels and of votes that are right, slope of qualities."""
    rng = np.random.default_rng([seed, CROWDS.index(crowd)])
    data, reliability, quality = (
        arena(rng, float(crowd.nature[6:])) if crowd.nature.startswith("arena") else tasks(rng, crowd)
    )
    names = [tuple(map(str, range(n))) for n in (data.annotators, data.items, len(data.first))]
    model = fit_comparisons(data, *names)
    unit = float(np.sqrt(np.mean(reliability**2)))
    low, high = model.fit.interval.T
    inside = float(np.mean((low <= reliability / unit) & (reliability / unit <= high)))
    if crowd.nature.startswith("arena"):
        ranked = {int(s.item): s for s in standings(model)}
        differences = float(np.mean([ranked[i].low <= q * unit <= ranked[i].high for i, q in enumerate(quality)]))
        return [inside, differences, np.nan, np.nan, float(model.quality @ quality / (quality @ quality))]
    code = np.minimum(data.first, data.second) * data.items + np.maximum(data.first, data.second)
    _, at, pair = np.unique(code, return_index=True, return_inverse=True)
    turn = np.where(data.first < data.second, 1, -1)
    vote = (turn * np.bincount(pair, data.strength * turn)[pair])[at]
    true = (quality[data.first] - quality[data.second])[at]
    fitted, sd = (value[at] / model.fit.unit for value in (model.fit.difference, model.fit.difference_sd))
    right, majority = (float(np.mean((1 + np.sign(label * true)) / 2)) for label in (fitted, vote))
    return [
        inside,
        float(np.mean(np.abs(fitted - true) < 1.96 * sd)),
        right,
        majority,
        float(fitted @ true / (fitted @ fitted)),
    ]


def tasks(rng: np.random.Generator, crowd: Crowd) -> tuple[Comparisons, Floats, Floats]:
    people = crowd.people
    if crowd.nature == "team":
        reliability = rng.uniform(0.5, 1.7, people)
    elif crowd.nature == "Gaussian":
        reliability = 1.5 * rng.normal(1, 0.5, people)
    else:
        reliability = 1.5 * np.exp(rng.normal(0, 0.5, people))
    if crowd.bad:
        reliability[: round(0.3 * people)] = 0
        reliability[round(0.3 * people) : round(0.4 * people)] *= -1
    count = round(people * crowd.each / 18)
    low, high = np.triu_indices(4, 1)
    one, other = ((np.arange(count)[:, None] * 4 + side).ravel() for side in (low, high))
    turns = np.concatenate([rng.permutation(people) for _ in range(-(-3 * len(one) // people))])
    k, first, second = turns[: 3 * len(one)], np.repeat(one, 3), np.repeat(other, 3)
    swap = rng.random(len(first)) < 0.5
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    quality = rng.normal(size=4 * count)
    u = reliability[k] * (quality[first] - quality[second]) + rng.logistic(size=len(k))
    strength = np.where(u > 0, 1, -1)
    return Comparisons(first, second, k, strength, np.zeros(len(k)), 4 * count, people), reliability, quality


def arena(
    rng: np.random.Generator, spread: float, battles: int = 3000, models: int = 20
) -> tuple[Comparisons, Floats, Floats]:
    quality = 0.15 * (np.arange(models) - (models - 1) / 2)
    first = rng.integers(0, models, battles)
    second = (first + rng.integers(1, models, battles)) % models
    k, reliability = np.repeat(np.arange(battles // 2), 2), np.exp(rng.normal(0, spread, battles // 2))
    u = reliability[k] * (quality[first] - quality[second]) + rng.logistic(size=battles)
    data = Comparisons(first, second, k, np.where(u > 0, 1, -1), np.zeros(battles), models, battles // 2)
    return data, reliability, quality


if __name__ == "__main__":
    main()

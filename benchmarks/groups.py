"""Groups of annotators found from their judgments: who belongs where, what a pooled reward does to a minority, and errors.

    python benchmarks/groups.py                  # 40 annotators, 70 to 30, 5 seeds
    python benchmarks/groups.py --part errors    # how often a second group is seen where there is none, 200 simulations
    python benchmarks/groups.py --part readings  # a minority, and people who turn answers round: what is said of either
    python benchmarks/groups.py --part speed     # 1,000 annotators, 100,000 judgments, 64 features
    python benchmarks/groups.py --part replies --ledger runs/quickstart/ledger.db  # real replies, a model's hidden states

Replies have two attributes, each normal. A majority and a minority want the opposite of the first and the same of the
second: worth is 1.35 (±a + 0.5 b), and who judges adds logistic noise. Each of 40 annotators gives 30 judgments; accuracy
is on 20,000 judgments of other replies by each group. "Pooled" is one group for all, "mixture" the groups that were found.
The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from result import print_result
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from custodes.environments import gold
from custodes.feedback.simulated import simulated_annotators
from custodes.ledger import Ledger
from custodes.lm.loading import load
from custodes.reward.group_choice import choose_groups
from custodes.reward.groups import FeaturePairs, Groups, fit_groups
from custodes.reward.hidden_features import hidden_pairs
from custodes.reward.spread import measure_spread
from custodes.stats import mean_interval, rate
from custodes.types import Floats

WORTH = 1.35 * np.array([1.0, 0.5])
OPPOSITE = WORTH * np.array([-1.0, 1.0])
PEOPLE, EACH, MINORITY = 40, 30, 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["accuracy", "errors", "readings", "speed", "replies"], default="accuracy")
    parser.add_argument("--seeds", type=int, default=5, help="data sets of --part accuracy")
    parser.add_argument(
        "--simulations", type=int, default=200, help="of --part errors and, a quarter, of --part readings"
    )
    parser.add_argument("--ledger", help="of a run of quickstart, whose replies --part replies takes")
    parser.add_argument("--tasks", type=int, default=100, help="tasks of --part replies")
    parser.add_argument("--each", type=int, default=EACH, help="judgments of everybody in --part replies")
    chosen = parser.parse_args()
    parts = {
        "accuracy": lambda: accuracy(chosen.seeds),
        "errors": lambda: errors(chosen.simulations),
        "readings": lambda: readings(chosen.simulations // 4),
        "speed": speed,
        "replies": lambda: of_replies(chosen.ledger, chosen.tasks, chosen.each),
    }
    print_result({"benchmark": "groups", "part": chosen.part, **parts[chosen.part]()})


def crowd(
    seed: int,
    minority: float = MINORITY,
    values: Floats = OPPOSITE,
    spread: float = 0.0,
    scatter: float = 0.0,
) -> tuple[FeaturePairs, Floats, Floats, Floats]:
    """Judgments of a crowd, features of the first and the second, and which group each annotator is of.

    ``spread``: standard deviation of the logarithm of how sharply people judge. ``scatter``: standard deviation of everybody's
    own weight of each attribute around the group's.
    """
    people, each = PEOPLE, EACH
    rng = np.random.default_rng([seed, 1])
    group = (np.arange(people) >= round(people * (1 - minority))) * 1
    person = np.repeat(np.arange(people), each)
    first, second = rng.normal(size=(2, people * each, len(WORTH)))
    worth = np.stack([WORTH, values])[group[person]] * np.exp(rng.normal(0, spread, people))[person, None]
    worth = worth + scatter * rng.normal(size=(people, len(WORTH)))[person]
    label = judged(rng, first - second, worth)
    return FeaturePairs.of(first - second, label, [f"annotator-{k:03d}" for k in person]), first, second, group


def judged(rng: np.random.Generator, difference: Floats, worth: Floats) -> Floats:
    return np.asarray(rng.random(len(difference)) < expit((difference * worth).sum(axis=-1)), float)


def accuracy(seeds: int) -> dict[str, Any]:
    """Membership and held-out accuracy over data sets; r2 at 70 to 30 and at 100 to 0."""
    rows, spreads = [], {}
    for seed in range(seeds):
        data, _, _, group = crowd(seed)
        everybody = replace(data, people=("everybody",), person=np.zeros(len(data.label), int))
        pooled, mixture = fit_groups(everybody, 1), fit_groups(data, 2, seed=seed)
        rng = np.random.default_rng([seed, 2])
        others = np.subtract(*rng.normal(size=(2, 20_000, len(WORTH))))
        row: dict[str, Any] = {"membership": membership(mixture, group), "certainty": mixture.certainty}
        for name, k, values in (("majority", 0, WORTH), ("minority", 1, OPPOSITE)):
            label = judged(rng, others, values)
            row[f"pooled {name}"] = right(pooled.scores(others)[:, 0], label)
            row[f"mixture {name}"] = right(mixture.scores(others)[:, k], label)
            row[f"truth {name}"] = right(others @ values, label)
        row["chosen"] = choose_groups(data, seed=seed).groups.count
        rows.append(row)
        print(f"seed {seed}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
    print("\n| | mean of the data sets | 95 % interval |\n|---|---|---|")
    for name in rows[0]:
        interval = mean_interval([row[name] for row in rows])
        bounds = f"{interval.low:.3f} to {interval.high:.3f}" if np.isfinite(interval.low) else "all the same"
        print(f"| {name} | {interval.estimate:.3f} | {bounds} |")
    for minority in (0.0, MINORITY):
        data, first, second, _ = crowd(0, minority)
        spread = measure_spread(first, second, data, choose_groups(data).groups)
        spreads[f"{1 - minority:.0%} to {minority:.0%}"] = spread.to_dict()
        print(f"{1 - minority:.0%} to {minority:.0%}: {spread}", flush=True)
    return {"data_sets": rows, "r2": spreads}


def membership(fitted: Groups, group: Floats) -> float:
    """Share of annotators in the right group, whatever the groups are called."""
    table = np.zeros((fitted.count, int(group.max()) + 1))
    np.add.at(table, (fitted.likeliest, group), 1)
    return float(table[linear_sum_assignment(-table)].sum() / len(group))


def right(score: Floats, label: Floats) -> float:
    return float(((score > 0) == (label > 0.5)).mean())


def errors(simulations: int) -> dict[str, Any]:
    """How many groups are chosen where all have the same values, and where 30 % want the opposite."""
    told = {}
    for name, minority, spread, scatter in (
        ("one group", 0.0, 0.0, 0.0),
        ("one group, people differ in sharpness", 0.0, 0.7, 0.0),
        ("one group, everybody differs a little", 0.0, 0.0, 0.3),
        ("70 to 30", MINORITY, 0.0, 0.0),
        ("90 to 10", 0.1, 0.0, 0.0),
    ):
        crowds = [crowd(seed, minority, OPPOSITE, spread, scatter)[0] for seed in range(simulations)]
        counts = [choose_groups(data, seed=seed).groups.count for seed, data in enumerate(crowds)]
        wrong = rate(np.array(counts) != (2 if minority else 1))
        told[name] = {"wrong": wrong.to_dict(), "chosen": {str(c): counts.count(c) for c in sorted(set(counts))}}
        print(f"{name}: another number than the true one {wrong}; chosen {told[name]['chosen']}", flush=True)
    return told


def readings(simulations: int) -> dict[str, Any]:
    """How often a group is said to have values of its own: a minority, and people who turn the majority's answers round."""
    told = {}
    for name, values in (("minority, the opposite of one attribute", OPPOSITE), ("inverting poisoners", -WORTH)):
        for minority in (0.1, 0.3):
            seen = [choose_groups(crowd(1000 + seed, minority, values)[0], seed=seed) for seed in range(simulations)]
            own = [chosen.readings[0].own_values for chosen in seen if chosen.readings]
            told[f"{name}, {minority:.0%}"] = {"found": len(own), "own_values": rate(np.array(own, float)).to_dict()}
            print(
                f"{name}, {minority:.0%}: found {len(own)} of {simulations}, said to have values of its own {rate(np.array(own, float))}",
                flush=True,
            )
    return told


def of_replies(where: str, tasks: int, each: int) -> dict[str, Any]:
    """28 simulated experts who value the checks and 12 who value brevity judge real replies; groups on the model's hidden states."""
    with Ledger.open(where, read_only=True) as ledger:
        run = ledger.runs()[0].id
        sampled = [e for e in ledger.evaluations(run, "sampled") if e.subject.startswith("tasks to judge")]
        wanted = set([id for e in sampled for id in e.metrics["episode"]][: 4 * tasks])
        episodes = [episode for episode in ledger.episodes(run) if episode.id in wanted]
    by_task: dict[str, list[Any]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task.id, []).append(episode)
    pairs = [p for own in by_task.values() for p in combinations(own, 2) if p[0].completion != p[1].completion]
    people = simulated_annotators({"expert": 28, "expert:brief": 12})
    rng = np.random.default_rng(0)
    sides, label, names = [], [], []
    for person in people:
        for k in rng.choice(len(pairs), each, replace=False):
            first, second = pairs[k]
            answer = person.compare(
                first.task, first, second, (gold(first.task, first.completion), gold(first.task, second.completion))
            )
            (row,) = answer.comparisons() or [None]
            if row is not None:
                turn = row.first != first.id
                sides.append((second, first) if turn else (first, second))
                label.append(0.5 + 0.5 * np.sign(row.strength))
                names.append(person.annotator.id)
    hidden = hidden_pairs(load("smollm2-135m"), sides, np.array(label), names)
    start = time.perf_counter()
    chosen = choose_groups(hidden.data)
    group = np.array(["brief" in name for name in chosen.groups.people]) * 1
    spread = measure_spread(hidden.first, hidden.second, hidden.data, chosen.groups)
    found = {
        "judgments": len(label),
        "features": hidden.first.shape[1],
        "groups": chosen.groups.count,
        "gains": list(chosen.gains),
        "seconds": time.perf_counter() - start,
    }
    found |= {"membership": membership(fit_groups(hidden.data, 2), group), "r2": spread.to_dict()}
    print(found, flush=True)
    return found


def speed() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(1_000), 100)
    worth = rng.normal(size=(2, 64)) * 0.2
    worth[1, :32] *= -1
    difference = rng.normal(size=(len(person), 64)) * np.sqrt(2)
    group = (np.arange(1_000) >= 700) * 1
    data = FeaturePairs.of(difference, judged(rng, difference, worth[group[person]]), [str(k) for k in person])
    start = time.perf_counter()
    fitted = fit_groups(data, 2)
    seconds = time.perf_counter() - start
    print(
        f"{seconds:.1f} s for 100,000 judgments by 1,000 annotators on 64 features; membership {membership(fitted, group):.3f}"
    )
    return {"seconds": seconds, "rounds": fitted.rounds, "membership": membership(fitted, group)}


if __name__ == "__main__":
    main()

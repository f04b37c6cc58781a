"""Where does a critic's help pay, and where does it hurt?

    python studies/assisted_labels.py --out runs/assisted-labels
    python studies/assisted_labels.py --out runs/assisted-labels --policies    # two corners as policies too

Instruction tasks, four base answers each. Simulated judges see a failed check with probability catch alone and helped with a critic's
findings, and believe a false finding about a sound check with probability misled; findings take seconds to read, and both kinds of
judges have the same minutes. A linear reward on the base model's hidden states is fitted to each, over a grid of rates and crowds, and
held to gold on the same held-out pairs. The features are computed once, so a cell of the grid takes seconds. As a positive control
the rewards of judges who see every failed check and of judges who see none are compared in the same way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import Bench, by_task, config_of, drawn, options, split_instructions
from torch import nn

from custodes.environments import GoldReward, gold
from custodes.feedback.assisted import SimulatedCritic, bug_judges, minutes, within_minutes
from custodes.feedback.simulated import simulated_annotators
from custodes.files import plain_json, save_json
from custodes.lm.loading import LanguageModel, load
from custodes.loop.judging import compare_pairs
from custodes.reward.base import RewardBase
from custodes.reward.model import RewardModel, last_hidden_states
from custodes.stats import paired_difference, rate
from custodes.types import Episode, Floats, Sampling, Scores

CATCH = (0.1, 0.3, 0.5)
GAINED = (0.0, 0.25, 0.5, 0.75)
"""Of what judges miss alone, the share that the findings show them."""
MISLED = (0.0, 0.05, 0.1, 0.2, 0.4)
READING = 10.0
CROWD = {"expert": 8}
"""Honest judges: what they miss is what is asked about. Of a crowd with people who do not look, labels tell little either way."""
TASKS = 8000  # of which about a fifth is held out
RIDGES = (10.0, 100.0, 1_000.0, 10_000.0)
CORNERS = {"pays": (0.1, 0.75, 0.0), "hurts": (0.5, 0.25, 0.4)}
"""Cells whose rewards are optimised against, where that is asked for."""


class LinearReward(RewardBase):
    """A linear function of the base model's hidden state at the last token."""

    name = "linear"

    def __init__(self, lm: LanguageModel, direction: Floats, centre: Floats, scale: Floats) -> None:
        self.lm, self.direction, self.centre, self.scale = lm, direction, centre, scale

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores((hidden_states(self.lm, episodes) - self.centre) / self.scale @ self.direction)


def hidden_states(lm: LanguageModel, episodes: Sequence[Episode]) -> Floats:
    """(B, d) the base model's hidden state at the last token of each reply."""
    bare = RewardModel(replace(lm, adapter=None), nn.Parameter(torch.zeros(1, lm.decoder.spec.hidden)), max_length=1024)
    return np.asarray(last_hidden_states(bare, episodes), np.float64)


def fit(difference: Floats, label: Floats, ridge: float) -> Floats:
    """(d,) logistic regression without an offset, by Newton steps, in the span of the rows: there are fewer rows than features."""
    weights = np.zeros(difference.shape[1])
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.clip(difference @ weights, -30, 30)))
        gradient = difference.T @ (label - p) - ridge * weights
        curved = difference * (p * (1 - p))[:, None]
        step = np.linalg.solve(difference.T @ curved + ridge * np.eye(len(weights)), gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def labels(judgments: Sequence[Any], at: dict[str, int]) -> tuple[list[tuple[int, int]], Floats]:
    """Pairs of answers, by their numbers, and the mean of what their judges say of the first being better."""
    said: dict[tuple[int, int], list[float]] = {}
    for judgment in judgments:
        if judgment.verdict == "cannot_judge":
            continue
        first, second = (at[id_] for id_ in judgment.episodes)
        better = 0.5 + 0.5 * np.sign(judgment.strength)
        pair = (min(first, second), max(first, second))
        said.setdefault(pair, []).append(float(better if pair[0] == first else 1 - better))
    return list(said), np.array([np.mean(x) for x in said.values()])


def main() -> None:
    parser = options(__doc__, "runs/assisted-labels")
    parser.add_argument("--judged", type=int, default=1000, help="tasks that judges compare answers to")
    parser.set_defaults(held_out=1200)
    parser.add_argument("--crowds", type=int, default=2, help="crowds of judges, a seed each")
    parser.add_argument("--overlap", type=int, default=3, help="judges of each pair")
    parser.add_argument("--reading", type=float, default=READING, help="seconds to read the findings")
    parser.add_argument("--control", action="store_true", help="the positive control alone")
    parser.add_argument("--policies", action="store_true", help="optimise against both rewards of two cells too")
    chosen = parser.parse_args()
    study = Study(chosen)
    found: dict[str, Any] = {"pairs": len(study.pairs), "tasks": len({t for t, _, _ in study.pairs})}
    found["control"] = study.control()
    if not chosen.control:
        found["cells"] = [study.cell(*rates) for rates in product(CATCH, GAINED, MISLED)]
    if chosen.policies:
        found["policies"] = {name: study.corner(name, *rates) for name, rates in CORNERS.items()}
    save_json(chosen.out / "assisted_labels.json", plain_json(found))
    print(json.dumps(plain_json(found), indent=1))


class Study:
    """Answers, their features, and every cell of the grid."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.train, self.held_out = split_instructions(chosen.held_out, TASKS)
        self.lm = load(chosen.model)
        sampling = Sampling(n=4, max_tokens=chosen.max_tokens, seed=chosen.seed)
        judged = self.train[: chosen.judged]
        self.answers = drawn(chosen.out / "judged.json", self.lm, judged, sampling)
        held = drawn(chosen.out / "held.json", self.lm, self.held_out, sampling)
        self.features = self._features(chosen.out / "features.npy", self.answers)
        self.held_features = self._features(chosen.out / "held-features.npy", held)
        self.at = {e.id: n for n, e in enumerate(self.answers)}
        self.centre, self.scale = self.features.mean(0), self.features.std(0) + 1e-6
        worth = [gold(e.task, e.completion) for e in held]
        places = [range(k, k + 4) for k in range(0, len(held), 4)]
        self.pairs = [
            (held[i].task.id, i, j) if worth[i] > worth[j] else (held[i].task.id, j, i)
            for four in places
            for i, j in combinations(four, 2)
            if worth[i] != worth[j]
        ]

    def _features(self, file: Path, episodes: list[Episode]) -> Floats:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, hidden_states(self.lm, episodes))
        return np.load(file)

    def cell(self, catch: float, gained: float, misled: float) -> dict[str, Any]:
        """One cell, over crowds: accuracy without and with help, their difference paired by held-out task; kept on disk."""
        chosen = self.chosen
        name = f"{catch:g}-{gained:g}-{misled:g}-{chosen.reading:g}-{chosen.judged}-{chosen.crowds}-{chosen.overlap}"
        file = chosen.out / "cells" / f"{name}.json"
        if not file.exists():
            crowds = [self._crowd(catch, gained, misled, seed) for seed in range(chosen.crowds)]
            tasks = [task for task, _, _ in self.pairs]
            mean = {arm: np.mean([right[arm] for right, _, _ in crowds], axis=0) for arm in ("alone", "assisted")}
            found = {
                "catch": catch,
                "helped": catch + gained * (1 - catch),
                "misled": misled,
                "alone": rate(mean["alone"], tasks),
                "assisted": rate(mean["assisted"], tasks),
                "assisted minus alone": paired_difference(mean["assisted"], mean["alone"], tasks),
                "comparisons": crowds[0][1],
            }
            file.parent.mkdir(parents=True, exist_ok=True)
            save_json(file, plain_json(found))
        return dict(json.loads(file.read_text()))

    def control(self) -> Any:
        """Accuracy of the reward of judges who see every failed check minus that of judges who see none; it must be above 0.

        Beside it: how often their labels agree with gold where gold differs, and the accuracy of a reward that learns from gold.
        """
        chosen, tasks = self.chosen, [task for task, _, _ in self.pairs]
        file = chosen.out / "cells" / f"control-{chosen.judged}-{chosen.crowds}-{chosen.overlap}.json"
        if not file.exists():
            worth = np.array([gold(e.task, e.completion) for e in self.answers])
            right, agree = {}, {}
            for name, catch in (("every check", 1.0), ("no check", 0.0)):
                critic = SimulatedCritic(catch=catch, helped=catch, misled=0.0, reading=chosen.reading)
                said = [labels(self._judged(critic, "alone", seed), self.at) for seed in range(chosen.crowds)]
                right[name] = np.mean([self._learned(pairs, label)[1] for pairs, label in said], axis=0)
                better = [np.sign([worth[i] - worth[j] for i, j in pairs]) for pairs, _ in said]
                every = [0.5 + (label - 0.5) * sign for (_, label), sign in zip(said, better, strict=True)]
                agree[name] = float(
                    np.mean(np.concatenate([x[sign != 0] for x, sign in zip(every, better, strict=True)]))
                )
            pairs = [pair for k in range(0, len(worth), 4) for pair in combinations(range(k, k + 4), 2)]
            right["gold as label"] = self._learned(pairs, 0.5 + 0.5 * np.sign([worth[i] - worth[j] for i, j in pairs]))[
                1
            ]
            found = {
                **{name: rate(of, tasks) for name, of in right.items()},
                "difference": paired_difference(right["every check"], right["no check"], tasks),
                "labels that agree with gold": agree,
            }
            file.parent.mkdir(parents=True, exist_ok=True)
            save_json(file, plain_json(found))
        return json.loads(file.read_text())

    def _judged(self, critic: SimulatedCritic, arm: str, seed: int) -> list[Any]:
        """What a crowd says of pairs of the answers, with or without help."""
        people = simulated_annotators(CROWD, seed=seed)
        judges = bug_judges(people, critic, arm == "assisted")
        return compare_pairs(judges, self.answers, gold, self.chosen.overlap, seed)

    def _learned(self, pairs: list[tuple[int, int]], label: Floats) -> tuple[Floats, Floats]:
        """The direction of a reward that learns from labelled pairs, and (pairs,) whether it is right on each held-out one."""
        x, held = ((f - self.centre) / self.scale for f in (self.features, self.held_features))
        direction = _chosen_fit(np.stack([x[i] - x[j] for i, j in pairs]), label)
        value = held @ direction
        return direction, np.array([0.5 + 0.5 * np.sign(value[i] - value[j]) for _, i, j in self.pairs])

    def _crowd(
        self, catch: float, gained: float, misled: float, seed: int
    ) -> tuple[dict[str, Floats], dict[str, int], dict[str, Floats]]:
        """Of one crowd: arm -> (pairs,) whether its reward is right; arm -> comparisons; arm -> the reward's direction."""
        critic = SimulatedCritic(
            catch=catch, helped=catch + gained * (1 - catch), misled=misled, reading=self.chosen.reading
        )
        said = {arm: self._judged(critic, arm, seed) for arm in ("alone", "assisted")}
        said["assisted"] = within_minutes(said["assisted"], minutes(said["alone"]), seed)
        learned = {arm: self._learned(*labels(judgments, self.at)) for arm, judgments in said.items()}
        return (
            {arm: right for arm, (_, right) in learned.items()},
            {arm: len(judgments) for arm, judgments in said.items()},
            {arm: direction for arm, (direction, _) in learned.items()},
        )

    def corner(self, name: str, catch: float, gained: float, misled: float) -> dict[str, Any]:
        """Held-out gold of a policy optimised against each reward of one cell, first crowd; paired by task."""
        directions = self._crowd(catch, gained, misled, self.chosen.seed)[2]
        config = config_of(self.chosen, self.chosen.seed)
        bench = Bench(
            self.chosen.out / name, self.chosen.model, self.train, self.held_out, {"gold": GoldReward()}, config, 2
        )
        golds = {}
        for arm, direction in directions.items():
            reward = LinearReward(self.lm, direction, self.centre, self.scale)
            golds[arm] = by_task(bench.optimised(arm, reward)[1]["gold"], bench.replies)
        base = by_task(bench.measured(bench.out / "base.json", bench.adapted())["gold"], bench.replies)
        gained_over_base = {arm: paired_difference(own, base) for arm, own in golds.items()}
        return {
            "gained": gained_over_base,
            "assisted minus alone": paired_difference(golds["assisted"], golds["alone"]),
        }


def _chosen_fit(difference: Floats, label: Floats) -> Floats:
    """The fit whose ridge predicts a fifth of the pairs best from the others, on all pairs."""
    fold = np.random.default_rng(0).permutation(len(label)) % 5 == 0
    losses = []
    for ridge in RIDGES:
        z = difference[fold] @ fit(difference[~fold], label[~fold], ridge)
        losses.append(float(np.mean(np.logaddexp(0, z) - label[fold] * z)))
    return fit(difference, label, RIDGES[int(np.argmin(losses))])


if __name__ == "__main__":
    main()

"""A small proxy from few and noisy labels, which studies of over-optimisation share."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from arms import config_of, drawn

from custodes.environments import GoldReward
from custodes.lm.loading import load
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.policy import OptimiseConfig
from custodes.reward import RewardConfig, RewardModel
from custodes.types import Task

SAMPLES = 4


def add_options(parser: ArgumentParser) -> None:
    """What the proxy learns from, and how long a policy is optimised against it."""
    parser.add_argument("--judged", type=int, default=100, help="training tasks whose replies are compared, four each")
    parser.add_argument("--noise", type=float, default=0.25, help="share of labels that are turned round")
    parser.add_argument(
        "--ties", action="store_true", help="replies of equal gold are compared too, and a coin decides"
    )
    parser.add_argument("--every", type=int, default=10, help="steps between measurements on held-out tasks")


def ppo(chosen: Any, seed: int) -> OptimiseConfig:
    """PPO without a KL penalty."""
    return replace(config_of(chosen, seed), algorithm="ppo", kl_coefficient=0.0)


def noisy_proxy(out: Path, train: Sequence[Task], chosen: Any, seed: int, members: int = 1) -> RewardModel:
    """The reward that ``custodes reward train`` learns from pairs of base replies whose gold differs; an adapter on the
    model's last layers, and a head for each member."""
    sampling = replace(config_of(chosen, seed).sampling, n=SAMPLES, seed=seed + 4)
    replies = drawn(out / "judged.json", load(chosen.model), train[: chosen.judged], sampling)
    gold, rng, rows = GoldReward().score(replies).value, np.random.default_rng([seed, 11]), []
    for first in range(0, len(replies), SAMPLES):
        for i, j in combinations(range(first, first + SAMPLES), 2):
            tied = gold[i] == gold[j]
            if (tied and not chosen.ties) or not replies[i].completion.strip() or not replies[j].completion.strip():
                continue
            right = (gold[i] > gold[j]) == (rng.random() >= (0.5 if tied else chosen.noise))
            good, bad = (i, j) if right else (j, i)
            prompt = replies[i].task.messages[-1].content
            rows.append({"prompt": prompt, "chosen": replies[good].completion, "rejected": replies[bad].completion})
    file = out / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    layers = RewardConfig(
        members=members, ensemble="heads", first_layer=-4, rank=8, epochs=3, learning_rate=5e-4, seed=seed
    )
    learned = reward_train(
        RewardTrain(
            judgments=str(file), out=out / f"reward-{members}", model=chosen.model, held_out=0.0, training=layers
        )
    )
    return learned.model

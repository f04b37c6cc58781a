"""Do demonstrations alone teach a reward, and does a policy that is optimised on it get better?

    python studies/reward_from_demonstrations.py --out runs/reward-from-demonstrations
    python studies/reward_from_demonstrations.py --out runs/reward-from-demonstrations --full    # three seeds

Instruction tasks. Demonstrations are the answers with gold 1 among 16 samples of the base model on each of 300 training
tasks; gold is the share of a task's checks that hold. ``reward train --against`` prefers each to other samples of the base
model that are about as long (inverse reinforcement learning, arXiv 2405.17888). The control learns in the same way from as
many samples that are drawn at random from the same tasks. Asked: on pairs of held-out samples with different gold, is the
accuracy at least .65 with a lower bound above .58, and does the control's interval hold .5? Does the policy of PPO on the
reward have more gold on held-out tasks than the base model?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, by_task, config_of, drawn, options, over_seeds, split_instructions

from custodes.environments import GoldReward
from custodes.files import plain_json
from custodes.lm.loading import load
from custodes.loop.demonstrations import AgainstSamples
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import RewardConfig, RewardModel
from custodes.stats import mean_interval, paired_difference, rate
from custodes.types import Episode

SAMPLES, EACH, PAIRED = 16, 4, 8
"""Samples of a training task; demonstrations of a task, at most; samples of a held-out task whose pairs are judged."""


def main() -> None:
    parser = options(__doc__, "runs/reward-from-demonstrations")
    parser.add_argument("--tasks", type=int, default=300, help="training tasks that are sampled")
    parser.add_argument("--gold", type=float, default=1.0, help="least gold of a demonstration")
    over_seeds(study, parser.parse_args(), "reward_from_demonstrations")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    config = replace(config_of(chosen, seed), algorithm="ppo")
    bench = Bench(out, chosen.model, train, held_out, {"gold": GoldReward()}, config, 2)
    base, sampling = load(chosen.model), replace(config.sampling, n=SAMPLES, seed=seed + 4)
    sampled = drawn(out / "training.json", base, train[: chosen.tasks], sampling)
    judged = drawn(out / "judged.json", base, held_out, replace(sampling, n=PAIRED, seed=seed + 5))
    shown = demonstrations(sampled, chosen.gold, seed)
    result: dict[str, Any] = {"seed": seed, "demonstrations": len(shown["gold"])}
    for name, own in shown.items():
        reward, longer = learned(out / f"from-{name}", own, chosen, seed)
        result[f"accuracy, demonstrations by {name}"] = accuracy(reward.score(judged).value, judged)
        result[f"demonstration longer, by {name}"] = longer
        if name == "gold":
            after = bench.optimised("policy", reward)[1]
    result["accuracy of the shorter answer"] = accuracy([-len(e.completion) for e in judged], judged)
    before = bench.measured(out / "base.json", bench.adapted())
    golds = [by_task(rows["gold"], bench.replies) for rows in (after, before)]
    result |= {
        "gold of the base model": mean_interval(before["gold"], bench.clusters),
        "gold of the policy": mean_interval(after["gold"], bench.clusters),
        "gold, policy minus base model": paired_difference(*golds),
        "kl": mean_interval(after["kl"], bench.clusters),
    }
    return dict(plain_json(result))


def demonstrations(sampled: Sequence[Episode], least: float, seed: int) -> dict[str, list[Episode]]:
    """Whole answers of enough gold, some of each task; and as many of the same task drawn without a look at gold."""
    rng, shown = np.random.default_rng([seed, 7]), {"gold": [], "chance": []}
    gold = GoldReward().score(sampled).value
    for first in range(0, len(sampled), SAMPLES):
        own = range(first, first + SAMPLES)
        whole = [i for i in own if sampled[i].outcome != "length" and sampled[i].completion.strip()]
        good = [i for i in whole if gold[i] >= least][:EACH]
        shown["gold"] += [sampled[i] for i in good]
        shown["chance"] += [sampled[i] for i in rng.choice(whole, len(good), replace=False)] if good else []
    return shown


def learned(out: Path, shown: Sequence[Episode], chosen: Any, seed: int) -> tuple[RewardModel, Any]:
    """The reward that ``custodes reward train --against`` learns, and how often a demonstration is the longer answer."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "demonstrations.jsonl"
    rows = ({"prompt": e.task.messages[-1].content, "completion": e.completion} for e in shown)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = reward_train(
        RewardTrain(
            judgments=str(file),
            out=out / "reward",
            model=chosen.model,
            held_out=0.0,
            demonstrated=AgainstSamples(against=chosen.model, replies=8, reply_tokens=chosen.max_tokens),
            training=RewardConfig(seed=seed),
        )
    )
    (longer,) = (found for name, found in trained.measures.items() if name.startswith("demonstration longer"))
    return trained.model, longer


def accuracy(score: Sequence[float], judged: Sequence[Episode]) -> Any:
    """How often the sample of more gold has the higher score, of all two samples of one task whose gold differs."""
    gold, right, tasks = GoldReward().score(judged).value, [], []
    for first in range(0, len(judged), PAIRED):
        for i, j in combinations(range(first, first + PAIRED), 2):
            if gold[i] != gold[j]:
                sign = (score[i] - score[j]) * (gold[i] - gold[j])
                right.append(0.5 if sign == 0 else float(sign > 0))
                tasks.append(judged[i].task.id)
    return rate(right, tasks)


if __name__ == "__main__":
    main()

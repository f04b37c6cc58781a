"""What becomes of a policy that is optimised without any KL penalty?

    python studies/no_kl.py --out runs/no-kl
    python studies/no_kl.py --out runs/no-kl --full    # three seeds

Two policies learn by PPO from the same small proxy (few labels, a quarter of them turned round): one without a KL penalty and
one with it. Asked: does the first end in text that no person would call an answer, while the proxy rises? The base model says so
in nats a token, which is what it thinks of a reply; the replies to the first held-out tasks are printed, at every measurement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, by_task, options, over_seeds, split_instructions
from noisy_proxy import add_options, noisy_proxy, ppo

from custodes.environments import GoldReward
from custodes.files import plain_json
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.reward.base import RewardBase
from custodes.stats import mean_interval, paired_difference
from custodes.types import Episode, Scores

SHOWN = 3
"""Held-out tasks whose replies are printed: the first, whatever their scores."""


class Surprise(RewardBase):
    """Nats a token of a reply under the base model."""

    name = "surprise"

    def __init__(self, base: LanguageModel) -> None:
        self.engine = TorchEngine(base)

    def score(self, episodes: Sequence[Episode]) -> Scores:
        known = self.engine.logprobs(episodes)
        pairs = zip(known, episodes, strict=True)
        return Scores(np.array([-float(own.sum()) / max(1, e.actions) for own, e in pairs]))


def main() -> None:
    parser = options(__doc__, "runs/no-kl")
    add_options(parser)
    parser.set_defaults(steps=80, learning_rate=1.6e-3)
    parser.add_argument("--kl-coefficient", type=float, default=0.05, help="of the policy beside it")
    over_seeds(study, parser.parse_args(), "no_kl")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    proxy = noisy_proxy(out, train, chosen, seed)
    measures = {"proxy": proxy, "gold": GoldReward(), "surprise": Surprise(load(chosen.model))}
    result: dict[str, Any] = {"seed": seed}
    for name, coefficient in (("no penalty", 0.0), ("penalty", chosen.kl_coefficient)):
        config = replace(ppo(chosen, seed), kl_coefficient=coefficient)
        bench = Bench(out / name.replace(" ", "-"), chosen.model, train, held_out, measures, config, 1)
        last = bench.optimised("arm", proxy, every=chosen.every)[1]
        course, folder = bench.course("arm"), bench.out / "arm"
        base = {which: by_task(course[0][which], 1) for which in measures}
        result[name] = {
            "course": {step: {k: mean_interval(v) for k, v in rows.items()} for step, rows in course.items()},
            "gained": {which: paired_difference(by_task(last[which], 1), base[which]) for which in measures},
            "kl": mean_interval(last["kl"]),
            "prompts": [task.messages[-1].content for task in held_out[:SHOWN]],
            "replies": {
                step: json.loads(bench.texts_of(file).read_text())[:SHOWN]
                for step, file in {
                    0: bench.out / "base.json",
                    **{step: folder / f"held_out-{step:06d}.json" for step in course if step},
                    "last": folder / "held_out.json",
                }.items()
            },
        }
    return dict(plain_json(result))


if __name__ == "__main__":
    main()

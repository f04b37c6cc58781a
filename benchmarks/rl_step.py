"""One on-policy step of GRPO or PPO, seconds turned into steps per second.

    python benchmarks/rl_step.py --json
    python benchmarks/rl_step.py --peer trl --peer-python .peers/bin/python --json
    python benchmarks/rl_step.py --algorithm ppo --rounds 30 --json

GRPO: 4 prompts x 8 completions of at most 48 new tokens, drawn, scored and learned from: all weights train
(where this machine computes in bfloat16, with float32 masters), KL to the reference in the loss. Replies end where the model ends them,
so the number of tokens differs a little from step to step and from side to side.

PPO: 8 prompts x 4 completions of at most 64 new tokens, one epoch. Policy, value function, reference and a reward of four heads
with an adapter stand on one backbone, each adapter on the upper layers. The reward's heads are drawn at random: its work is that of
a learned one. No peer has it: TRL took PPO out in 2026.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from harness import Turns, dtype_name, open_peer, options, refuse, report, run, summary
from workloads import (
    GRPO_COMPLETIONS,
    GRPO_KL,
    GRPO_LEARNING_RATE,
    GRPO_MAX_TOKENS,
    GRPO_PROMPTS,
    PPO_COMPLETIONS,
    PPO_MAX_TOKENS,
    PPO_PROMPTS,
    distinct_words,
    grpo_prompt,
)

from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load, model_folder
from custodes.policy.config import OptimiseConfig
from custodes.policy.optimise import optimise
from custodes.reward.config import RewardConfig
from custodes.reward.model import RewardModel, new_heads
from custodes.types import Episode, Message, Sampling, Scores, Task

PEERS = {"trl": ["trl_grpo.py"]}


class DistinctWords:
    """The reward of GRPO, as a :class:`custodes.types.Reward`."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([distinct_words(episode.completion) for episode in episodes]))


def main() -> None:
    parser = options(__doc__, PEERS)
    parser.add_argument("--algorithm", choices=("grpo", "ppo"), default="grpo")
    chosen = parser.parse_args()
    if chosen.peer and chosen.algorithm == "ppo":
        refuse("no peer has PPO; leave out --peer (rl_step.py --algorithm ppo).")
    lm = load(chosen.model)
    tasks = [Task(str(i), (Message("user", grpo_prompt(i)),)) for i in range(64)]
    with open_peer(chosen, PEERS, str(model_folder(chosen.model)), dtype_name(lm)) as peer:
        turns = Turns(f"{chosen.algorithm} step", peer, chosen.rounds)
        config, reward = ppo(lm, turns.left) if chosen.algorithm == "ppo" else (grpo(turns.left), DistinctWords())

        def on_step(*_: object) -> None:
            turns.end(1)
            turns.begin()

        turns.begin()
        # a name, so that 270 MB are not hashed before every step; TRL does not name its policies at all
        engine = TorchEngine(lm, policy="benchmark")
        optimise(lm, tasks, reward, config, engine=engine, on_step=on_step, progress=False)
    report(summary([turns]), benchmark="rl_step", peer=chosen.peer, unit="steps per second", as_json=chosen.json)


def grpo(steps: int) -> OptimiseConfig:
    return OptimiseConfig(
        algorithm="grpo",
        steps=steps,
        tasks_per_step=GRPO_PROMPTS,
        sampling=Sampling(n=GRPO_COMPLETIONS, max_tokens=GRPO_MAX_TOKENS),
        learning_rate=GRPO_LEARNING_RATE,
        kl_coefficient=GRPO_KL,
        kl_in="k3",
    )


def ppo(lm: LanguageModel, steps: int) -> tuple[OptimiseConfig, RewardModel]:
    """PPO's options and its reward; ``lm`` gets the adapter that it trains."""
    heads = new_heads(range(4), lm.decoder.spec.hidden, lm.decoder.device)
    reward = RewardModel(lm, heads, [Adapter(lm.decoder, AdapterConfig(first_layer=RewardConfig().first_layer))])
    lm.adapter = Adapter(lm.decoder, AdapterConfig(first_layer=None))
    sampling = Sampling(n=PPO_COMPLETIONS, max_tokens=PPO_MAX_TOKENS)
    return OptimiseConfig(algorithm="ppo", steps=steps, tasks_per_step=PPO_PROMPTS, sampling=sampling), reward


if __name__ == "__main__":
    run(main)

"""One on-policy GRPO step, seconds turned into steps per second.

    python benchmarks/rl_step.py --json
    python benchmarks/rl_step.py --peer trl --peer-python .peers/bin/python --json

4 prompts x 8 completions of at most 48 new tokens, drawn, scored and learned from: all weights train
(where this machine computes in bfloat16, with float32 masters), KL to the reference in the loss. Replies end where the model ends them,
so the number of tokens differs a little from step to step and from side to side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from harness import Turns, dtype_name, open_peer, options, report, run, summary
from workloads import (
    GRPO_COMPLETIONS,
    GRPO_KL,
    GRPO_LEARNING_RATE,
    GRPO_MAX_TOKENS,
    GRPO_PROMPTS,
    distinct_words,
    grpo_prompt,
)

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load, model_folder
from custodes.policy.config import OptimiseConfig
from custodes.policy.optimise import optimise
from custodes.types import Episode, Message, Sampling, Scores, Task

PEERS = {"trl": ["trl_grpo.py"]}


class DistinctWords:
    """The reward, as a :class:`custodes.types.Reward`."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([distinct_words(episode.completion) for episode in episodes]))


def main() -> None:
    chosen = options(__doc__, PEERS).parse_args()
    lm = load(chosen.model)
    tasks = [Task(str(i), (Message("user", grpo_prompt(i)),)) for i in range(64)]
    with open_peer(chosen, PEERS, str(model_folder(chosen.model)), dtype_name(lm)) as peer:
        turns = Turns("grpo step", peer, chosen.rounds)
        config = OptimiseConfig(
            algorithm="grpo",
            steps=turns.left,
            tasks_per_step=GRPO_PROMPTS,
            sampling=Sampling(n=GRPO_COMPLETIONS, max_tokens=GRPO_MAX_TOKENS),
            learning_rate=GRPO_LEARNING_RATE,
            kl_coefficient=GRPO_KL,
            kl_in="k3",
        )

        def on_step(*_: object) -> None:
            turns.end(1)
            turns.begin()

        turns.begin()
        # a name, so that 270 MB are not hashed before every step; TRL does not name its policies at all
        engine = TorchEngine(lm, policy="benchmark")
        optimise(lm, tasks, DistinctWords(), config, engine=engine, on_step=on_step, progress=False)
    report(summary([turns]), benchmark="rl_step", peer=chosen.peer, unit="steps per second", as_json=chosen.json)


if __name__ == "__main__":
    run(main)

"""What several axes cost a reward: seconds to score, and to learn from, the same conversations, with one axis and with several.

    python benchmarks/reward_axes.py --axes 8

Both rewards stand on one backbone and take turns. Conversations are made-up words.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np

from custodes.lm.loading import LanguageModel, load
from custodes.reward import RewardConfig, RewardModel, train_reward
from custodes.reward.model import new_heads
from custodes.stats import mean_interval
from custodes.types import Message, PreferencePair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--axes", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    lm, rng = load(chosen.model), np.random.default_rng(0)
    vocabulary = ["river", "number", "because", "seven", "often", "garden", "answer", "people"]

    def said() -> tuple[Message, ...]:
        return (Message("assistant", " ".join(rng.choice(vocabulary, chosen.words))),)

    pairs = [PreferencePair((Message("user", f"Say {n}."),), said(), said()) for n in range(chosen.pairs)]
    axes = tuple(f"axis {n}" for n in range(chosen.axes))
    compare("score", score(lm, pairs, ("overall",)), score(lm, pairs, axes), chosen.rounds)
    compare("train", train(lm, pairs, ("overall",)), train(lm, pairs, axes), chosen.rounds)


def score(lm: LanguageModel, pairs: list[PreferencePair], axes: tuple[str, ...]) -> Callable[[], object]:
    heads = new_heads([0], lm.decoder.spec.hidden, lm.decoder.device, len(axes))
    model = RewardModel(lm, heads, axes=axes)
    talks = [(*pair.prompt, *side) for pair in pairs for side in (pair.chosen, pair.rejected)]
    return lambda: model.score_messages(talks)


def train(lm: LanguageModel, pairs: list[PreferencePair], axes: tuple[str, ...]) -> Callable[[], object]:
    config, weights = RewardConfig(epochs=1), np.ones((len(pairs), len(axes)))
    return lambda: train_reward(lm, pairs, config, axes=axes, weights=weights, progress=False)


def compare(what: str, one: Callable[[], object], several: Callable[[], object], rounds: int) -> None:
    ratios = []
    for turn in range(rounds + 1):
        took = []
        for work in (one, several) if turn % 2 else (several, one):
            begun = time.process_time()
            work()
            took.append(time.process_time() - begun)
        if turn:  # the first warms up
            ratios.append(np.log(took[1] / took[0]) if turn % 2 else np.log(took[0] / took[1]))
    found = mean_interval(ratios)
    low, middle, high = (float(np.exp(value)) for value in (found.low, found.estimate, found.high))
    print(
        f"{what}: several axes take {middle:.3f} [{low:.3f}, {high:.3f}] times the processor time of one, n = {found.n}"
    )


if __name__ == "__main__":
    main()

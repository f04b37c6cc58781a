"""Does it show in a policy who judged?

    python studies/who_judged.py --data political_typology/liberal_bio.jsonl.gz political_typology/conservative_bio.jsonl.gz --out runs/who-judged

Two groups of simulated annotators judge the same answers to questions of a political typology (model-written evaluations,
arXiv 2212.09251): one group takes the liberal option, the other the conservative one, each in nine of ten cases. A reward learns from each group,
and a policy is optimised on each reward. The political probe measures how the base model and both policies lean:
the probability of the liberal option's letter, over both orders. Asked: do rewards and policies differ on questions that were
judged, with other people asking, and on questions that nobody judged? Intervals are over questions, of which there are few.

The judges saw letters alone. A reward that never saw anything else can like other replies better still, so that whatever is
no letter gets less than every letter (:class:`LettersAlone`); without this both policies stop to answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, config_of, options, over_seeds

from custodes.audit.choice import BRACKETED
from custodes.audit.probes.political import OptionPair, political_leaning
from custodes.files import plain_json
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import RewardConfig, RewardModel
from custodes.reward.base import RewardBase
from custodes.stats import Interval, paired_difference, rate
from custodes.types import Episode, Floats, Message, Reward, Sampling, Scores, Task

HELD_OUT, SURE = 6, 0.9
"""Questions that nobody judges; how often a judge takes their group's option."""
SIDES = ("liberal", "conservative")


class Liberal(RewardBase):
    """1 for a reply that begins with the liberal option's letter, 0 for the other's, 0.5 for neither."""

    name = "liberal"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        value = []
        for e in episodes:
            liberal = e.task.metadata["liberal"]
            other = BRACKETED[1 - BRACKETED.index(liberal)]
            text = e.completion.strip()
            value.append(1.0 if text.startswith(liberal) else 0.0 if text.startswith(other) else 0.5)
        return Scores(np.array(value))


class LettersAlone(RewardBase):
    """A reward's score of a reply that begins with a letter; any other gets ``floor``."""

    name = "letters alone"

    def __init__(self, reward: Reward, floor: float) -> None:
        self.reward, self.floor = reward, floor

    def score(self, episodes: Sequence[Episode]) -> Scores:
        letter = [e.completion.strip().startswith(BRACKETED[:2]) for e in episodes]
        return Scores(np.where(letter, self.reward.score(episodes).value, self.floor))


def main() -> None:
    parser = options(__doc__, "runs/who-judged")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of option pairs")
    parser.add_argument("--items", type=int, default=600, help="questions with their people that each group judges")
    parser.add_argument("--asked", type=int, default=150, help="of the probe, for each of both sorts of questions")
    parser.set_defaults(steps=48)
    over_seeds(study, parser.parse_args(), "who_judged")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    rng = np.random.default_rng([seed, 11])
    pairs = [pair for path in chosen.data for pair in OptionPair.read(path)]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    questions = list(dict.fromkeys(pair.subject for pair in pairs))
    unjudged = set(questions[:HELD_OUT])
    known = [pair for pair in pairs if pair.subject not in unjudged]
    asked = {
        "judged questions, other people": known[chosen.items :][: chosen.asked],
        "other questions": [pair for pair in pairs if pair.subject in unjudged][: chosen.asked],
    }
    tasks = [pair.task(bool(rng.random() < 0.5)) for pair in known[: chosen.items]]
    config = config_of(chosen, seed)
    letters = load(chosen.model)
    tokens = len(letters.encode_reply(BRACKETED[0])) - 1  # without the end of the turn
    config = replace(config, sampling=Sampling(n=4, max_tokens=tokens, seed=seed))
    bench = Bench(out, chosen.model, tasks, tasks[: chosen.held_out], {"liberal": Liberal()}, config, 1)
    leanings, prefers = {"base": leaning(letters, asked)}, {}
    for side in SIDES:
        reward = learned(out / side, tasks, side, chosen, seed)
        floor = float(letter_scores(reward, tasks[: chosen.held_out]).min()) - 1
        leanings[side] = leaning(bench.optimised(f"{side}/policy", LettersAlone(reward, floor))[0], asked)
        prefers[side] = {sort: preferred(reward, items) for sort, items in asked.items()}
    result: dict[str, Any] = {
        "seed": seed,
        "questions": {"judged": len(questions) - len(unjudged), "other": len(unjudged)},
    }
    for sort in asked:
        result[sort] = {name: own[sort].to_dict() for name, own in leanings.items()} | {
            f"{one} minus {other}": paired_difference(
                leanings[one][sort].liberal, leanings[other][sort].liberal, leanings[one][sort].subject
            )
            for one, other in (SIDES, ("liberal", "base"), ("conservative", "base"))
        }
        result[sort]["the reward prefers the liberal option"] = {side: prefers[side][sort] for side in SIDES}
    return dict(plain_json(result))


def letter_scores(reward: Reward, tasks: Sequence[Task]) -> Floats:
    """(tasks, 2) scores of the liberal option's letter and of the other's."""
    episodes = []
    for task in tasks:
        liberal = task.metadata["liberal"]
        for letter in (liberal, BRACKETED[1 - BRACKETED.index(liberal)]):
            messages = (*task.messages, Message("assistant", letter))
            episodes.append(Episode.written(f"{task.id}-{letter}", task, messages, "letters"))
    return reward.score(episodes).value.reshape(-1, 2)


def preferred(reward: Reward, items: Sequence[OptionPair]) -> Interval:
    """How often a reward puts the liberal option above the other, over both orders, with an interval over questions."""
    scores = letter_scores(reward, [item.task(first) for item in items for first in (True, False)])
    return rate(scores[:, 0] > scores[:, 1], [item.subject for item in items for _ in range(2)])


def leaning(lm: Any, asked: dict[str, list[OptionPair]]) -> dict[str, Any]:
    """What the political probe finds for each sort of questions."""
    return {sort: political_leaning(TorchEngine(lm), items) for sort, items in asked.items()}


def learned(out: Path, tasks: Sequence[Any], side: str, chosen: Any, seed: int) -> RewardModel:
    """The reward that ``custodes reward train`` makes of what one group said."""
    rng, rows = np.random.default_rng([seed, 12, SIDES.index(side)]), []
    for task in tasks:
        liberal = task.metadata["liberal"]
        sides = [liberal, BRACKETED[1 - BRACKETED.index(liberal)]]
        takes_liberal = (side == "liberal") == (rng.random() < SURE)
        good, bad = sides if takes_liberal else sides[::-1]
        rows.append(
            {"prompt": task.messages[-1].content, "chosen": good, "rejected": bad, "annotator": f"{side} judges"}
        )
    out.mkdir(parents=True, exist_ok=True)
    file = out / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RewardConfig(epochs=3, learning_rate=5e-4, seed=seed)
    return reward_train(
        RewardTrain(judgments=str(file), out=out / "reward", model=chosen.model, held_out=0.0, training=config)
    ).model


if __name__ == "__main__":
    main()

"""Does it show in a policy who judged?

    python studies/who_judged.py --data political_typology/liberal_bio.jsonl.gz political_typology/conservative_bio.jsonl.gz --out runs/who-judged

Two groups of simulated annotators judge the same answers to questions of a political typology (model-written evaluations,
arXiv 2212.09251): one group takes the liberal option, the other the conservative one, each in nine of ten cases. A reward learns from each group,
and a policy is optimised on each reward. The political probe measures how the base model and both policies lean:
the probability of the liberal option's letter, over both orders. Asked: do the policies differ on questions that were
judged, with other people asking, and on questions that nobody judged? Intervals are over questions, of which there are few.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, config_of, options, over_seeds

from custodes import registry
from custodes.audit.probes.political import LETTERS, OptionPair
from custodes.files import plain_json
from custodes.lm import TorchEngine, load
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import RewardConfig, RewardModel
from custodes.reward.base import RewardBase
from custodes.stats import paired_difference
from custodes.types import Episode, Sampling, Scores

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
            other = LETTERS[1 - LETTERS.index(liberal)]
            text = e.completion.strip()
            value.append(1.0 if text.startswith(liberal) else 0.0 if text.startswith(other) else 0.5)
        return Scores(np.array(value))


def main() -> None:
    parser = options(__doc__, "runs/who-judged")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of option pairs")
    parser.add_argument("--items", type=int, default=600, help="questions with their people that each group judges")
    parser.add_argument("--asked", type=int, default=150, help="of the probe, for each of both sorts of questions")
    parser.set_defaults(steps=24)
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
    tokens = len(letters.encode_reply(LETTERS[0])) - 1  # without the end of the turn
    config = replace(config, sampling=Sampling(n=4, max_tokens=tokens, seed=seed))
    bench = Bench(out, chosen.model, tasks, tasks[: chosen.held_out], {"liberal": Liberal()}, config, 1)
    leanings = {"base": leaning(letters, asked)}
    for side in SIDES:
        reward = learned(out / side, tasks, side, chosen, seed)
        leanings[side] = leaning(bench.optimised(f"{side}/policy", reward)[0], asked)
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
    return dict(plain_json(result))


def leaning(lm: Any, asked: dict[str, list[OptionPair]]) -> dict[str, Any]:
    """What the political probe finds for each sort of questions."""
    probe = registry.probe.find("political")
    return {sort: probe(TorchEngine(lm), items) for sort, items in asked.items()}


def learned(out: Path, tasks: Sequence[Any], side: str, chosen: Any, seed: int) -> RewardModel:
    """The reward that ``custodes reward train`` makes of what one group said."""
    rng, rows = np.random.default_rng([seed, 12, SIDES.index(side)]), []
    for task in tasks:
        liberal = task.metadata["liberal"]
        sides = [liberal, LETTERS[1 - LETTERS.index(liberal)]]
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

"""Does a policy learn its judges' liking for length, and not when length is taken out of their judgments?

    python studies/length_bias.py --out runs/length-bias
    python studies/length_bias.py --out runs/length-bias --full    # three seeds

Instruction tasks, four replies of the base model each. Twenty simulated annotators compare them, three a pair. All see gold, the
share of a task's checks that hold, and all favour the longer reply by 4 log-odds a nat of log-length. Two rewards: from the
judgments as they are, and from the annotator model's labels with length controlled for, which takes length as no part of
quality. A policy is optimised on each (length bias of learned rewards: arXiv 2310.03716). Asked: is the first policy longer than the base
model, and the second not? What do both do to gold? A liking that all judges share cannot be told from quality, so the annotator
model takes nothing out unless it is asked to: what it says of length is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, by_task, config_of, drawn, options, over_seeds, split_instructions

from custodes.environments import GoldReward, gold
from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.exchange import pairs_from_judgments
from custodes.feedback.simulated import simulated_annotators
from custodes.files import plain_json
from custodes.lm.loading import load
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward, train_reward
from custodes.reward.base import RewardBase
from custodes.stats import mean_interval, paired_difference, rank_correlation
from custodes.types import Episode, Judgment, PreferencePair, Scores

SAMPLES, JUDGES, EACH = 4, 20, 3


class Tokens(RewardBase):
    """The tokens of a reply."""

    name = "tokens"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([float(e.actions) for e in episodes]))


def main() -> None:
    parser = options(__doc__, "runs/length-bias")
    parser.add_argument("--tasks", type=int, default=200, help="training tasks whose replies are judged")
    parser.set_defaults(max_tokens=96, steps=24)
    over_seeds(study, parser.parse_args(), "length_bias")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    config = config_of(chosen, seed)
    bench = Bench(out, chosen.model, train, held_out, {"gold": GoldReward(), "tokens": Tokens()}, config, 2)
    base = load(chosen.model)
    replies = drawn(
        out / "judged.json", base, train[: chosen.tasks], replace(config.sampling, n=SAMPLES, seed=seed + 4)
    )
    unseen = drawn(out / "unseen.json", base, held_out, replace(config.sampling, n=SAMPLES, seed=seed + 5))
    judgments = judged(replies, seed)
    plain = fit_annotators(judgments, replies)
    controlled = fit_annotators(judgments, replies, style=("length",))
    taught = {
        "as judged": pairs_from_judgments(judgments, replies),
        "length taken out": pairs_from_judgments(judgments, replies, controlled),
    }
    before = bench.measured(out / "base.json", bench.adapted())
    rows, rewards = {"base": before}, {}
    for name, pairs in taught.items():
        reward = learned(out / name.replace(" ", "-"), pairs, chosen, seed)
        rewards[name] = of_length(reward, unseen)
        rows[name] = bench.optimised(f"{name.replace(' ', '-')}/policy", reward)[1]
    arms = {name: {what: mean_interval(own[what], bench.clusters) for what in own} for name, own in rows.items()}
    minus = {
        f"{what}, {one} minus {other}": paired_difference(by_task(rows[one][what], 2), by_task(rows[other][what], 2))
        for one, other in (("as judged", "base"), ("length taken out", "base"), ("as judged", "length taken out"))
        for what in ("tokens", "gold")
    }
    assert plain.shared_length is not None
    shared = {"log-odds per standard deviation": plain.shared_length.estimate, "standard error": plain.shared_length.se}
    result = {"seed": seed, "arms": arms, "rewards": rewards, "the crowd on length": shared} | minus
    return dict(plain_json(result))


def judged(replies: Sequence[Episode], seed: int) -> list[Judgment]:
    """Every two different replies to a task, by three annotators who take turns."""
    people, turn, judgments = simulated_annotators({"length_biased": JUDGES}, seed=seed), 0, []
    for first in range(0, len(replies), SAMPLES):
        for one, other in combinations(replies[first : first + SAMPLES], 2):
            if one.completion != other.completion and one.completion.strip() and other.completion.strip():
                golds = gold(one.task, one.completion), gold(one.task, other.completion)
                for k in range(EACH):
                    judgments.append(people[(turn + k) % JUDGES].compare(one.task, one, other, golds))
                turn += EACH
    return list(judgments)


def learned(folder: Path, pairs: Sequence[PreferencePair], chosen: Any, seed: int) -> RewardModel:
    """The reward that these pairs teach; found where it was trained before."""
    if not (folder / "config.json").exists():
        config = RewardConfig(epochs=3, seed=seed)
        save_reward(train_reward(load(chosen.model), pairs, config, checkpoints=folder / "checkpoints"), folder)
    return load_reward(folder)


def of_length(reward: RewardModel, replies: Sequence[Episode]) -> dict[str, Any]:
    """What the reward's order of held-out replies owes to length, and to gold: correlations within tasks."""
    kept = [e for e in replies if e.completion.strip()]
    task, score = np.array([e.task.id for e in kept]), reward.score(kept).value
    measures = {"length": np.log1p([len(e.completion) for e in kept]), "gold": GoldReward().score(kept).value}

    def within(values: Any) -> Any:
        return values - np.array([values[task == one].mean() for one in task])

    return {name: rank_correlation(within(score), within(own)) for name, own in measures.items()}


if __name__ == "__main__":
    main()

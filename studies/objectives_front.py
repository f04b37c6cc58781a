"""Does the weight decide what a policy becomes, and is a soup as good as a run of its own?

    python studies/objectives_front.py --out runs/objectives-front
    python studies/objectives_front.py --out runs/objectives-front --full    # three seeds

Instruction tasks with two golds: the share of a task's checks that hold, and brevity, 1 for no words and 0 for 60 or more. Five
policies, one for each weight; and five soups of the first and the last of them (rewarded soups, arXiv 2306.04488). Asked: is the
rank correlation of weight and objective 1 both ways? How far below the policy of the same weight is a soup, in that weight's own
sum of the objectives, paired by task?
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, by_task, config_of, options, over_seeds, split_instructions
from scipy.stats import spearmanr

from custodes.environments import GoldReward
from custodes.files import plain_json
from custodes.lm.soup import soup
from custodes.reward.base import RewardBase
from custodes.stats import mean_interval, paired_difference
from custodes.types import Episode, Scores

WORDS = 60
RESAMPLES = 2000


class Brief(RewardBase):
    """1 - words / 60, at least 0."""

    name = "brief"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([max(0.0, 1 - len(e.completion.split()) / WORDS) for e in episodes]))


def main() -> None:
    parser = options(__doc__, "runs/objectives-front")
    parser.add_argument("--weights", type=int, default=5)
    over_seeds(study, parser.parse_args(), "objectives_front")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    objectives = {"gold": GoldReward(), "brief": Brief()}
    bench = Bench(out, chosen.model, train, held_out, objectives, config_of(chosen, seed), 2)
    weights = np.linspace(1, 0, chosen.weights).round(6).tolist()
    policies, trained = zip(
        *(bench.arm(f"weight-{w:g}", {"gold": w, "brief": round(1 - w, 6)}) for w in weights), strict=True
    )
    ends = [policies[0], policies[-1]]
    soups = [bench.measured(out / f"soup-{w:g}.json", soup(ends, (w, 1 - w))) for w in weights]
    points = []
    for w, own, mixed in zip(weights, trained, soups, strict=True):
        of_soup, of_policy = ({name: by_task(row[name], 2) for name in objectives} for row in (mixed, own))
        point = {"weight": w, "kl": mean_interval(own["kl"], bench.clusters)}
        for name in objectives:
            point[name] = mean_interval(own[name], bench.clusters)
            point[f"{name} of the soup"] = mean_interval(mixed[name], bench.clusters)
        in_sum = (w * values["gold"] + (1 - w) * values["brief"] for values in (of_soup, of_policy))
        points.append(point | {"soup minus policy, in this weight's sum": paired_difference(*in_sum)})
    return dict(plain_json({"seed": seed, "points": points, "rank correlation": correlations(weights, trained, seed)}))


def correlations(weights: Sequence[float], rows: Sequence[dict[str, list[float]]], seed: int) -> dict[str, Any]:
    """Of each objective's weight and mean, and the share of resamples of the tasks in which it is 1."""
    draw, found = np.random.default_rng(seed), {}
    for name, own in (("gold", list(weights)), ("brief", [1 - w for w in weights])):
        table = np.stack([by_task(row[name], 2) for row in rows])  # (weights, tasks)
        tasks = draw.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
        drawn = [float(spearmanr(own, table[:, chosen].mean(1)).statistic) for chosen in tasks]
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = {
            "estimate": float(spearmanr(own, table.mean(1)).statistic), "low": float(low), "high": float(high),
            "share of resamples at 1": float(np.mean(np.isclose(drawn, 1))),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    main()

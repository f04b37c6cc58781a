"""Is a constraint kept, and at what price in gold?

    python studies/constraint_kept.py --out runs/constraint-kept
    python studies/constraint_kept.py --out runs/constraint-kept --full    # three seeds

Instruction tasks. R is gold, the share of a task's checks that hold. The cost C is 1 for a reply of more than 30 tokens. Arms:
no bound, C <= 0.2 with a multiplier that learns (safe RLHF, arXiv 2310.12773), and fixed weights of C. Asked: is C of the last
8 steps at most .25 (upper bound)? Is held-out gold not below that of the fixed weight with the same C (lower bound of the
difference above -.03)? The fixed weight with the same C lies between two arms, and its gold is interpolated task by task.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import Bench, Rows, by_task, config_of, options, over_seeds, split_instructions

from custodes.environments import GoldReward
from custodes.files import plain_json
from custodes.reward.base import RewardBase
from custodes.stats import mean_interval, paired_difference, rate
from custodes.types import Episode, Scores

BOUND, TOKENS, LAST = 0.2, 30, 8
FIXED = (0.25, 0.5, 1.0, 2.0)
"""Fixed weights of the cost."""


class Long(RewardBase):
    """1 for a reply of more than 30 tokens."""

    name = "long"

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(np.array([float(e.actions > TOKENS) for e in episodes]))


def main() -> None:
    parser = options(__doc__, "runs/constraint-kept")
    parser.add_argument("--bound", type=float, default=BOUND)
    over_seeds(study, parser.parse_args(), "constraint_kept")


def study(out: Path, chosen: Any, seed: int) -> dict[str, Any]:
    """One seed."""
    train, held_out = split_instructions(chosen.held_out)
    objectives = {"gold": GoldReward(), "long": Long()}
    bench = Bench(out, chosen.model, train, held_out, objectives, config_of(chosen, seed), 2)
    rows: dict[str, Rows] = {"base": bench.measured(out / "base.json", bench.adapted())}
    rows["bounded"] = bench.arm("bounded", {"gold": 1.0}, [f"long<={chosen.bound}"])[1]
    rows["free"] = bench.arm("free", {"gold": 1.0})[1]
    for weight in FIXED:
        rows[f"weight {weight:g}"] = bench.arm(f"weight-{weight:g}", {"gold": 1.0, "long": -weight})[1]
    steps = bench.steps("bounded")
    last = [steps[step] for step in sorted(steps)[-LAST:]]
    kept = rate([x for row in last for x in row["long"]], [task for row in last for task in row["task"]])
    metrics = [json.loads(line) for line in (out / "bounded/metrics.jsonl").read_text().splitlines()]
    difference, between = against_fixed(rows, bench)
    table = {
        name: {
            "long": rate(own["long"], bench.clusters),
            "gold": mean_interval(own["gold"], bench.clusters),
            "kl": mean_interval(own["kl"], bench.clusters),
        }
        for name, own in rows.items()
    }
    result = {
        "seed": seed,
        "arms": table,
        f"long, last {LAST} steps": kept,
        "gold minus the fixed weight with the same share": difference,
        "that weight lies between": between,
        "multiplier": [m["multiplier/long_at_most"] for m in metrics],
        "kept": kept.high <= 0.25,
        "not below": difference.low > -0.03,
    }
    return dict(plain_json(result))


def against_fixed(rows: dict[str, Rows], bench: Bench) -> tuple[Any, list[str]]:
    """Gold of the bounded arm minus that of the fixed weight with the same share of long replies, paired by task."""
    share = {name: float(np.mean(own["long"])) for name, own in rows.items()}
    fixed = sorted(["free", *(f"weight {weight:g}" for weight in FIXED)], key=lambda name: share[name])
    at = share["bounded"]
    below = [name for name in fixed if share[name] <= at][-1:] or fixed[:1]
    above = [name for name in fixed if share[name] >= at][:1] or fixed[-1:]
    low, high = share[below[0]], share[above[0]]
    part = 0.0 if high == low else float(np.clip((at - low) / (high - low), 0, 1))
    gold = {name: by_task(rows[name]["gold"], bench.replies) for name in ("bounded", *below, *above)}
    return paired_difference(gold["bounded"], (1 - part) * gold[below[0]] + part * gold[above[0]]), [*below, *above]


if __name__ == "__main__":
    main()

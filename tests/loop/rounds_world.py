"""A tiny model, prompts, a reward that was trained on judgments, and the options of rounds that end by an alarm at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from custodes.loop.policy_optimise import PolicyOptimise
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.loop.round_options import RoundOptions
from custodes.policy import OptimiseConfig
from custodes.reward import RewardConfig
from custodes.types import Sampling

GOLD = """
def shortness(completions, **columns):
    return [-len(c) / 50 for c in completions]
"""


def make_world(folder: Path, model: Path, members: int = 2) -> Path:
    """Prompts, gold, judgments and a reward in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"Say something about {i}, please."} for i in range(24)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [
        {"prompt": f"Name river {i}.", "chosen": f"The Danube {i}.", "rejected": f"I would rather not speak of rivers, {i}."}
        for i in range(16)
    ]  # fmt: skip
    (folder / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (folder / "gold.py").write_text(GOLD)
    training = RewardConfig(rank=2, first_layer=0, epochs=1, members=members, ensemble="heads")
    reward_train(
        RewardTrain(
            judgments=str(folder / "judgments.jsonl"),
            out=folder / "reward",
            model=str(model),
            held_out=0.5,
            training=training,
        )
    )
    return folder


def optimisation(**more: Any) -> OptimiseConfig:
    sampling = Sampling(n=4, max_tokens=8, seed=3)
    known = {"algorithm": "grpo", "steps": 4, "tasks_per_step": 4, "learning_rate": 1e-2, "checkpoint_every": 2}
    return OptimiseConfig(**(known | {"sampling": sampling} | more))


def rounds_of(**more: Any) -> RoundOptions:
    known = {
        "rounds": 2,
        "judge": "simulated",
        "relabel": "kl:0.0001",
        "labels": 12,
        "probe_labels": 2,
        "final_labels": 8,
    }
    return RoundOptions(**(known | more))


def config(world: Path, model: Path, out: str = "out", **more: Any) -> PolicyOptimise:
    known: dict[str, Any] = {
        "reward": (str(world / "reward"),),
        "gold": f"{world}/gold.py:shortness",
        "optimisation": optimisation(),
        "relabelling": rounds_of(),
    }
    known |= {"evaluate_every": 2, "measure_on": 6, "tasks": str(world / "prompts.jsonl"), "model": str(model)}
    return PolicyOptimise(out=world / out, **(known | more))


def with_rounds(own: PolicyOptimise, **more: Any) -> PolicyOptimise:
    return replace(own, relabelling=replace(own.relabelling, **more))

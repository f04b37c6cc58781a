"""Optimise a policy against a Python function: short answers to ordinary questions.

python examples/optimise_a_policy.py --algorithm rloo --steps 20
"""

from __future__ import annotations

import argparse
from typing import Any

from custodes.environments import instruction_tasks
from custodes.lm.adapter import AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.policy import OptimiseConfig, optimise
from custodes.registry import algorithm
from custodes.reward import FunctionReward
from custodes.types import Sampling


def short(completions: list[list[dict[str, str]]], **columns: Any) -> list[float]:
    return [-len(messages[-1]["content"].split()) / 10 for messages in completions]


parser = argparse.ArgumentParser()
parser.add_argument("--model", default="smollm2-135m")
parser.add_argument("--algorithm", default="grpo", help=", ".join(algorithm.names()))
parser.add_argument("--steps", type=int, default=10)
chosen = parser.parse_args()

lm = load(chosen.model, adapter=AdapterConfig(rank=8))
config = OptimiseConfig(
    algorithm=chosen.algorithm,
    steps=chosen.steps,
    tasks_per_step=4,
    sampling=Sampling(n=4, max_tokens=48),
    learning_rate=5e-4,
    kl_coefficient=0.01,
)
result = optimise(lm, instruction_tasks(64), FunctionReward(short), config, engine=TorchEngine(lm))
for step in (result.metrics[0], result.metrics[-1]):
    print(
        f"step {step['step']:.0f}: reward {step['proxy']:+.2f}, {step['length']:.0f} tokens, KL {step['kl']:.2f} nats per episode"
    )

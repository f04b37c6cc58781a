"""Where the time goes in the work that the other benchmarks time: shares of the wall clock, by kind of operation.

    python benchmarks/profile_work.py --json

Torch's own operations are read from its profiler; the compiled steps (``lm/kernels.py``) are timed call by call; what is
left is Python and waiting. The products' share comes with the rate they reach, beside the rate of one large product on
the same machine: where the two are close, only a lower precision or less work could be faster.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from harness import run
from result import print_result
from reward_training import short_pairs
from rich.console import Console
from rich.table import Table
from rl_step import DistinctWords
from torch.profiler import ProfilerActivity, profile
from workloads import (
    GRPO_COMPLETIONS,
    GRPO_KL,
    GRPO_MAX_TOKENS,
    GRPO_PROMPTS,
    NEW_TOKENS,
    PAIRS_FILE,
    PROMPT,
    REWARD_MAX_TOKENS,
    REWARD_PAIRS,
    grpo_prompt,
)

from custodes.feedback.formats import read_preferences
from custodes.lm.engine import TorchEngine
from custodes.lm.kernels import Native
from custodes.lm.loading import LanguageModel, load
from custodes.policy import OptimiseConfig, optimise
from custodes.reward import RewardConfig, train_reward
from custodes.types import Message, Sampling, Task

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "mkldnn", "_linear", "einsum")
"""Beginnings of the names of torch's matrix products, after aten:: and mkldnn::."""


@dataclass
class Spent:
    """Seconds of one piece of work."""

    wall: float = 0.0
    products: float = 0.0
    other_torch: float = 0.0
    steps: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    flop: float = 0.0

    def shares(self) -> dict[str, float]:
        """Parts of the wall clock, largest first, and the products' rate in GFLOP/s."""
        parts = {"matrix products": self.products, "other torch operations": self.other_torch}
        parts |= {f"compiled: {name}": seconds for name, seconds in self.steps.items()}
        parts["Python and waiting"] = self.wall - sum(parts.values())
        ordered = sorted(parts.items(), key=lambda part: -part[1])
        return {name: seconds / self.wall for name, seconds in ordered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="an embedded model, or a folder")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    lm = load(chosen.model)
    found = {
        "sampling, batch 128": profiled(lambda: sample(lm, 128, NEW_TOKENS)),
        "GRPO step": profiled(lambda: grpo(lm)),
        "reward update": profiled(lambda: reward(lm)),
    }
    peak = one_product(lm.decoder.dtype)
    for name, spent in found.items():
        table = Table("part", "share", title=f"{name}: {spent.wall:.1f} s", box=None)
        for part, share in spent.shares().items():
            table.add_row(part, f"{100 * share:.1f} %")
        Console(stderr=chosen.json).print(table)
        if spent.flop:  # torch counts no operations of oneDNN's packed products
            rate = spent.flop / spent.products / 1e9
            print(f"Products of {name}: {rate:.0f} GFLOP/s; one large product: {peak:.0f}.", flush=True)
    if chosen.json:
        told = {
            name: {"seconds": s.wall, "shares": s.shares(), "product_gflops": s.flop / s.products / 1e9 or None}
            for name, s in found.items()
        }
        print_result({"benchmark": "profile", "work": told, "large_product_gflops": peak})


# ---------------------------------------------------------------- the work


def sample(lm: LanguageModel, batch: int, tokens: int) -> None:
    tasks = [Task("prompt", (Message("user", PROMPT),))]
    TorchEngine(lm, policy="benchmark").generate(tasks, Sampling(n=batch, max_tokens=tokens, min_tokens=tokens))


def grpo(lm: LanguageModel) -> None:
    tasks = [Task(str(i), (Message("user", grpo_prompt(i)),)) for i in range(64)]
    config = OptimiseConfig(
        algorithm="grpo",
        steps=1,
        tasks_per_step=GRPO_PROMPTS,
        sampling=Sampling(n=GRPO_COMPLETIONS, max_tokens=GRPO_MAX_TOKENS),
        learning_rate=1e-9,
        kl_coefficient=GRPO_KL,
        kl_in="k3",
    )
    optimise(lm, tasks, DistinctWords(), config, engine=TorchEngine(lm, policy="benchmark"), progress=False)


def reward(lm: LanguageModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        pairs = short_pairs(lm, PAIRS_FILE, REWARD_PAIRS)
        file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        config = RewardConfig(
            full=True, epochs=1, batch_pairs=REWARD_PAIRS, learning_rate=1e-9, max_length=REWARD_MAX_TOKENS
        )
        train_reward(lm, read_preferences(file), config)


# ---------------------------------------------------------------- the clock


def profiled(work: Callable[[], None]) -> Spent:
    """Seconds of the second run of ``work``: the first one warms up."""
    work()
    spent = Spent()
    with steps_timed(spent), profile(activities=[ProfilerActivity.CPU], with_flops=True) as record:
        began = time.perf_counter()
        work()
        spent.wall = time.perf_counter() - began
    for event in record.key_averages():
        seconds = event.self_cpu_time_total / 1e6
        name = event.key.rpartition("::")[2]
        if event.key.startswith(("aten::", "mkldnn")) and name.startswith(PRODUCTS):
            spent.products += seconds
            spent.flop += event.flops
        elif event.key.startswith("aten::"):
            spent.other_torch += seconds
    return spent


@contextmanager
def steps_timed(spent: Spent) -> Iterator[None]:
    """Every compiled step adds its seconds to ``spent``."""
    plain = {name: f for name, f in vars(Native).items() if callable(f) and not name.startswith("_")}

    def timed(name: str, step: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            began = time.perf_counter()
            result = step(*given)
            spent.steps[name] += time.perf_counter() - began
            return result

        return call

    for name, step in plain.items():
        setattr(Native, name, timed(name, step))
    try:
        yield
    finally:
        for name, step in plain.items():
            setattr(Native, name, step)


def one_product(dtype: torch.dtype, size: int = 2048) -> float:
    """GFLOP/s of one large matrix product, the best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best = min(elapsed(lambda: a @ b) for _ in range(5))
    return 2 * size**3 / best / 1e9


def elapsed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    run(main)

"""A tiny policy, tasks and a reward that a few updates can raise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from custodes.lm.adapter import AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import Episode, Message, Sampling, Scores, Task


class EvenTokens:
    """Share of a reply's tokens with an even id."""

    def score(self, episodes: Sequence[Episode]) -> Scores:
        return Scores(
            np.asarray([np.mean(e.token_ids[e.action_mask] % 2 == 0) if e.actions else 0.0 for e in episodes])
        )


def adapted(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32", adapter=AdapterConfig(rank=4, first_layer=1))


def some_tasks(count: int = 6) -> list[Task]:
    return [Task(f"task-{i}", (Message("user", "Write one short sentence. " * (1 + i % 3)),)) for i in range(count)]


def some_episodes(lm: LanguageModel, tasks: int = 4, n: int = 3, temperature: float = 1.0) -> list[Episode]:
    """Replies of mixed lengths: a third of the vocabulary ends one."""
    sampling = Sampling(n=n, max_tokens=12, temperature=temperature, stop_ids=tuple(range(0, 300, 12)))
    return TorchEngine(lm).generate(some_tasks(tasks), sampling)

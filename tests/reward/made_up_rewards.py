"""Preference pairs that a tiny model can learn; reward models that were never trained, and episodes for them to score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from custodes.feedback.collection import Feedback
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.loading import LanguageModel
from custodes.reward.config import RewardConfig
from custodes.reward.model import RewardModel
from custodes.reward.objective import Course, Material, RewardObjective
from custodes.reward.reading import Reader
from custodes.reward.train import teach_reward
from custodes.types import Episode, Message, PreferencePair, Task

WORDS = ("fox", "dog", "seven", "model", "watch", "number", "short", "lazy", "quick", "brown")
SMALL = RewardConfig(epochs=2, batch_pairs=5, rank=4, learning_rate=5e-3, head_learning_rate=2e-2, micro_tokens=400)
KINDS = {
    "adapter": {},
    "adapters": {"members": 3, "first_layer": 1},
    "heads": {"members": 3, "ensemble": "heads"},
    "full": {"full": True},
    "full heads": {"full": True, "members": 2, "ensemble": "heads"},
}


def small(kind: str, **more: object) -> RewardConfig:
    return replace(SMALL, **(KINDS[kind] | more))


def make_pairs(n: int, seed: int = 0) -> list[PreferencePair]:
    """Prompts of random words; the better answer says "thanks", the worse one "never"."""
    rng = np.random.default_rng(seed)

    def words(count: int) -> str:
        return " ".join(rng.choice(WORDS, count))

    return [
        PreferencePair(
            prompt=(Message("user", words(int(rng.integers(3, 9)))),),
            chosen=(Message("assistant", f"{words(int(rng.integers(1, 6)))} thanks"),),
            rejected=(Message("assistant", f"{words(int(rng.integers(1, 6)))} never"),),
            line=i + 1,
        )
        for i in range(n)
    ]


def episode(text: str = "hello", name: str = "e", **metadata: object) -> Episode:
    task = Task("t", (Message("user", "Say something."),), metadata=metadata)
    ids = np.arange(5, dtype=np.int32)
    return Episode(
        name, task, (*task.messages, Message("assistant", text)), ids, ids > 2, np.zeros(5, np.float32), "stop", "p"
    )


def ensemble(
    lm: LanguageModel, kind: str, members: int = 3, first_layer: int = 1, axes: tuple[str, ...] = ("overall",)
) -> RewardModel:
    """Its adapters act, though nothing was learned."""
    generator = torch.Generator().manual_seed(7)
    adapters = []
    for k in range({"full": 0, "heads": 1, "adapters": members}[kind]):
        adapter = Adapter(lm.decoder, AdapterConfig(rank=4, first_layer=first_layer), seed=k)
        for p in adapter.parameters():
            p.data.normal_(0, 0.3, generator=generator)
        adapter.refresh()
        adapters.append(adapter)
    rows = members * len(axes)
    heads = nn.Parameter(torch.randn(rows, lm.decoder.spec.hidden, generator=generator))
    rng = np.random.default_rng(0)
    return RewardModel(lm, heads, adapters, rng.normal(size=rows), rng.uniform(0.5, 2, rows), axes=axes)


def episodes(n: int) -> list[Episode]:
    out = []
    for i in range(n):
        task = Task(f"t{i // 2}", (Message("user", f"number {i // 2} of the short watchers"),))
        messages = (*task.messages, Message("assistant", "the quick brown fox " * (1 + i % 3)))
        empty = np.zeros(0)
        out.append(Episode(f"e{i}", task, messages, empty.astype(np.int32), empty.astype(bool), empty, "stop", "p"))
    return out


def judged(n: int, seed: int = 0) -> tuple[Feedback, list[tuple[tuple[Message, ...], tuple[Message, ...], bool]]]:
    """No judgment yet, and 2 n answers to judge: (prompt, answer, whether it says "thanks"), two to each prompt."""
    pairs = make_pairs(n, seed)
    return Feedback(), [(p.prompt, side, side is p.chosen) for p in pairs for side in (p.chosen, p.rejected)]


def material_of(
    lm: LanguageModel, feedback: Feedback, axes: tuple[str, ...] = (), marks: tuple[str, ...] = ()
) -> Material:
    return Material(feedback, Reader(lm, 512), axes, marks)


def taught_by(lm: LanguageModel, objective: RewardObjective, material: Material, epochs: int = 4) -> RewardModel:
    """A small reward that learned the lessons of one objective."""
    config = small("adapter", epochs=epochs)
    course = Course(objective, objective.lessons(material, config.members))
    return teach_reward(lm, [course], config, axes=material.axes, marks=material.marks, progress=False)

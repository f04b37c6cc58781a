"""Any Python function with TRL's signature is a reward, and rewards combine by arithmetic.

python examples/mix_rewards.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.reward import FunctionReward
from custodes.types import Episode, Message, Task

Conversations = list[list[dict[str, str]]]


def brevity(completions: Conversations, **columns: Any) -> list[float]:
    return [-len(messages[-1]["content"].split()) / 10 for messages in completions]


def names_the_capital(completions: Conversations, capital: list[str | None], **columns: Any) -> list[float | None]:
    """``capital`` is a key of the tasks' metadata; None says that the function does not apply."""
    return [
        None if city is None else float(city in messages[-1]["content"])
        for messages, city in zip(completions, capital, strict=True)
    ]


reward = FunctionReward(names_the_capital, "capital") + 0.5 * FunctionReward(brevity)

nothing = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
france = Task("france", (Message("user", "What is the capital of France?"),), metadata={"capital": "Paris"})
poem = Task("poem", (Message("user", "Write a short poem."),))
episodes = [
    Episode(str(i), task, (*task.messages, Message("assistant", text)), *nothing, "stop", "me")
    for i, (task, text) in enumerate(
        [(france, "Paris."), (france, "I think that it is probably Lyon."), (poem, "Snow on the quiet roof.")]
    )
]

scores = reward.score(episodes)
for i, episode in enumerate(episodes):
    parts = ", ".join(f"{name} {column[i]:.2f}" for name, column in scores.parts.items())
    print(f"{scores.value[i]:+.2f}  ({parts})  {episode.completion}")

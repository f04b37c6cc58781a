"""How likely a model finds each of some given replies: what judges and probes ask.

Letters: N tasks, K replies each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.lm.engine import TorchEngine
from custodes.lm.given import continued
from custodes.types import Engine, Episode, Task

YES_NO = ("Yes", "No")


class RepliesTold(Engine, Protocol):
    """An engine that tells how likely the model finds given replies. What a probe asks: replies, and this."""

    def reply_logprobs(self, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
        """(B,) nats: log-probability that the reply to ``tasks[i]`` begins with ``replies[i]``, summed over its tokens.

        Raises :class:`~custodes.lm.given.CannotTell` where it cannot be told.
        """
        ...


def choice_logprobs(engine: RepliesTold, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
    """(N, K) nats: log-probability that the reply to task i begins with ``replies[k]``, summed over its tokens.

    Raises CannotTell as the engine does.
    """
    told = engine.reply_logprobs([task for task in tasks for _ in replies], [*replies] * len(tasks))
    return told.reshape(len(tasks), len(replies))


def yes_probability(engine: RepliesTold, tasks: Sequence[Task]) -> NDArray[np.float64]:
    """(N,) probability of "Yes" among "Yes" and "No" as the beginning of the reply to each task."""
    yes, no = choice_logprobs(engine, tasks, YES_NO).T
    return 1 / (1 + np.exp(no - yes))


def read_yes_no(text: str) -> float:
    """1 for a text whose first word is yes, 0 for no, NaN for any other."""
    first = re.search(r"[a-z]+", text.lower())
    return {"yes": 1.0, "no": 0.0}.get(first[0] if first else "", np.nan)


def mean_log_likelihood(engine: TorchEngine, episodes: Sequence[Episode]) -> NDArray[np.float64]:
    """(N,) nats a token: how likely the model finds the last reply of each episode, end of turn included."""
    scored = []
    for episode in episodes:
        prompt = engine.lm.encode(episode.messages[:-1])
        whole = np.concatenate([prompt, engine.lm.encode_reply(episode.completion)])
        scored.append(continued(episode.task, prompt, whole))
    values = engine.logprobs(scored)
    return np.array([v.astype(np.float64).sum() / max(e.actions, 1) for v, e in zip(values, scored, strict=True)])

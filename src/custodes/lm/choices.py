"""How likely a model finds each of some given replies: what judges and probes ask.

Letters: N tasks, K replies each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.lm.engine import TorchEngine
from custodes.types import Episode, InputError, Task

YES_NO = ("Yes", "No")


def reply_logprobs(engine: TorchEngine, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
    """(N, K) nats: log-probability that the reply to task i begins with ``replies[k]``, summed over its tokens.

    Equal prompts are computed once for all replies. Raises InputError where the tokenizer merges the beginning of a
    reply with the end of the prompt, so that the two cannot be told apart.
    """
    episodes = []
    for task in tasks:
        prompt = engine.lm.encode(task.messages)
        for reply in replies:
            whole = engine.lm.encode(task.messages, reply)
            if len(whole) <= len(prompt) or not np.array_equal(whole[: len(prompt)], prompt):
                raise InputError(
                    f"{engine.lm.name} merges the beginning of the reply {reply!r} with the end of the prompt, so its "
                    "probability cannot be told; use another model."
                )
            episodes.append(continued(task, prompt, whole))
    sums = [float(values.astype(np.float64).sum()) for values in engine.logprobs(episodes)]
    return np.array(sums).reshape(len(tasks), len(replies))


def continued(task: Task, prompt: NDArray[np.int32], whole: NDArray[np.int32]) -> Episode:
    """An episode to be scored: its actions are what follows ``prompt`` (P,) in ``whole`` (T,), both token ids."""
    mask = np.arange(len(whole)) >= len(prompt)
    return Episode(task.id, task, task.messages, whole, mask, np.zeros(len(whole), np.float32), "stop", "")


def yes_probability(engine: TorchEngine, tasks: Sequence[Task]) -> NDArray[np.float64]:
    """(N,) probability of "Yes" among "Yes" and "No" as the beginning of the reply to each task."""
    yes, no = reply_logprobs(engine, tasks, YES_NO).T
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

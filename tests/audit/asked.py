"""An engine that answers exactly as a test says: it tells of given replies by a function of prompt and reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.types import Episode, Sampling, Task


class Exact:
    """``nats(prompt, reply)`` is the log-probability that the reply to a prompt begins so."""

    def __init__(self, nats: Callable[[str, str], float]) -> None:
        self.nats = nats

    def reply_logprobs(self, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self.nats(t.messages[-1].content, r) for t, r in zip(tasks, replies, strict=True)])

    def generate(self, tasks: Sequence[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        raise NotImplementedError

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        raise NotImplementedError


def choosing(likes: Callable[[str, str], float], mass: float = 0.9) -> Exact:
    """Takes an option as often as ``likes(question, its text)`` says, of the sum over the options; all letters have ``mass``."""

    def nats(prompt: str, reply: str) -> float:
        options = dict(re.findall(r"^ ?(\([A-J]\)|[A-J](?=\.))\.? (.*)$", prompt, re.MULTILINE))
        question = re.split(r"\n ?\(A\) |\nA\. ", prompt)[0]
        weights = {letter: likes(question, text) for letter, text in options.items()}
        return float(np.log(mass * weights[reply] / sum(weights.values())))

    return Exact(nats)


def at_place(shares: Sequence[float]) -> Exact:
    """Takes the first option with the first share, whatever it says."""
    return Exact(lambda prompt, reply: float(np.log(shares["ABCDEFGHIJ".index(reply.strip("()"))])))

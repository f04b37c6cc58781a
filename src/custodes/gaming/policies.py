"""Who acts: scripted policies, models in this process, models behind an endpoint.

A policy is asked for the next reply of many conversations at once, so that a model's batch is full; what it says of one
conversation does not depend on which others are asked. A model in this process hands out each reply as soon as it ends
(:mod:`custodes.gaming.model`); the others answer a batch at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from custodes.gaming.reach import Asker
from custodes.gaming.script import open_script, script_for
from custodes.gaming.transcript import close_call
from custodes.gaming.variants import Variant
from custodes.types import Engine, Message, Sampling, Task

Tools = Literal["text", "native"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """An episode that waits for its policy's next reply."""

    variant: Variant
    messages: tuple[Message, ...]
    seed: int
    """See :func:`attempt_seed`."""
    prefix: str = ""
    """How the reply must begin."""
    start: int = 0
    """Where the present attempt begins among the messages."""
    attempt: int = 0
    """Attempts at the task that were made before, in this conversation."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A reply, or why there is none."""

    text: str
    failure: str = ""
    cost: dict[str, float] = field(default_factory=dict)


class Policy:
    """Whoever is asked for replies."""

    name: str
    batch: int = 1
    """Conversations that it likes to be asked for at once; 1 where batches gain nothing."""

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        """The next reply of each conversation."""
        raise NotImplementedError

    def flow(self) -> Flow:
        """How it is asked: a batch at a time, unless a policy has a flow of its own."""
        return Flow(self)

    @property
    def under_way(self) -> int:
        """Conversations that are under way at once, beside those in sandboxes: a second batch waits for its turn."""
        return 2 * self.batch


class Flow:
    """Conversations go in as they come, and replies come out as they end; keys are the caller's own.

    This one asks when a batch is full, or when nothing else is under way.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.waiting: dict[Hashable, Conversation] = {}

    def ask(self, key: Hashable, conversation: Conversation) -> None:
        """A conversation wants its next reply."""
        self.waiting[key] = conversation

    def leave(self, key: Hashable) -> None:
        """The conversation is over."""
        self.waiting.pop(key, None)

    @property
    def busy(self) -> bool:
        """Whether :meth:`draw` has something to do now."""
        return len(self.waiting) >= self.policy.batch

    def draw(self, idle: bool) -> list[tuple[Any, Drawn]]:
        """ScriptReplies that have ended since. ``idle``: nothing else is under way, so that waiting for more is in vain."""
        if not self.waiting or not (idle or self.busy):
            return []
        chosen = list(self.waiting)[: self.policy.batch]
        return list(zip(chosen, self.policy.replies([self.waiting.pop(key) for key in chosen]), strict=True))


class ScriptedPolicy(Policy):
    """A scripted policy by name, or by ``FILE.py:Name``."""

    def __init__(self, name: str) -> None:
        self.script = open_script(name)
        self.name = f"scripted:{name}"

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        drawn = []
        for c in conversations:
            part = script_for(self.script, c.variant.stage)
            lines = (part.learned if c.attempt and part.learned is not None else part.replies)(c.variant)
            given = sum(m.role == "assistant" for m in c.messages[c.start :])
            drawn.append(Drawn(lines[min(given, len(lines) - 1)]))
        return drawn


class EnginePolicy(Policy):
    """Any :class:`custodes.types.Engine`. ScriptReplies stop at ``</bash>``, which is put back."""

    def __init__(self, engine: Engine, name: str, sampling: Sampling, batch: int, *, text: bool = True) -> None:
        self.engine, self.name, self.batch, self.text = engine, name, batch, text
        stop = (*sampling.stop, "</bash>") if text else sampling.stop
        self.sampling = replace(sampling, n=1, stop=stop)
        self.asker = Asker(engine)

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        """Raises InputError as :meth:`custodes.gaming.reach.Asker.each` does."""
        return self.asker.each(conversations, self._draw, lambda why: Drawn("", why))

    def _draw(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        tasks = [Task(f"{c.variant.stage}/{c.variant.id}", c.messages) for c in conversations]
        prefixes = [c.prefix for c in conversations]
        drawn: dict[int, Drawn] = {}
        for seed in dict.fromkeys(c.seed for c in conversations):
            rows = [i for i, c in enumerate(conversations) if c.seed == seed]
            steered = [prefixes[i] for i in rows] if any(prefixes[i] for i in rows) else None
            episodes = self.engine.generate([tasks[i] for i in rows], replace(self.sampling, seed=seed), steered)
            for i, episode in zip(rows, episodes, strict=True):
                text = episode.completion
                text = close_call(text) if self.text and episode.outcome == "stop" else text
                failed = "the endpoint gave no answer after all retries" if episode.outcome == "error" else ""
                drawn[i] = Drawn("", failed) if failed else Drawn(text, "", dict(episode.cost))
        return [drawn[i] for i in range(len(conversations))]


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed with which all variants are sampled for the ``attempt``-th time: 31 bits, as servers take them.

    Engines make one stream of random numbers of a seed and a prompt. So variants differ by themselves, another attempt at
    the same variant needs another seed, and all that share an attempt can share a batch.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {attempt}".encode()).digest()[:4], "big") >> 1

"""Who acts: scripted policies, models in this process, models behind an endpoint.

A policy is asked for the next reply of many conversations at once, so that a model's batch is full; what it says of
one conversation does not depend on which others are asked. A model in this process hands out each reply as soon as it
ends (:mod:`custodes.gaming.model`); the others answer a batch at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from custodes.gaming.reach import is_down
from custodes.gaming.scripted import part_of, scripted
from custodes.gaming.transcript import close_call
from custodes.gaming.variants import Variant
from custodes.types import Engine, InputError, Message, Sampling, Task


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


class Policy(Protocol):
    name: str
    batch: int
    """Conversations that it likes to be asked for at once; 1 where batches gain nothing."""

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]: ...


class Flow(Protocol):
    """Conversations go in as they come, and replies come out as they end. Keys are the caller's own."""

    def ask(self, key: Hashable, conversation: Conversation) -> None: ...

    def leave(self, key: Hashable) -> None:
        """The conversation is over."""
        ...

    def draw(self, idle: bool) -> list[tuple[Any, Drawn]]:
        """Replies that have ended since; ``idle`` says that nothing else is under way, so that waiting for more
        conversations is in vain."""
        ...

    @property
    def busy(self) -> bool:
        """Whether :meth:`draw` has something to do now."""
        ...


class _BatchFlow:
    """A policy that answers a batch at a time: it is asked when the batch is full, or nothing else is under way."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.waiting: dict[Hashable, Conversation] = {}

    def ask(self, key: Hashable, conversation: Conversation) -> None:
        self.waiting[key] = conversation

    def leave(self, key: Hashable) -> None:
        self.waiting.pop(key, None)

    @property
    def busy(self) -> bool:
        return len(self.waiting) >= self.policy.batch

    def draw(self, idle: bool) -> list[tuple[Any, Drawn]]:
        if not self.waiting or not (idle or self.busy):
            return []
        chosen = list(self.waiting)[: self.policy.batch]
        return list(zip(chosen, self.policy.replies([self.waiting.pop(key) for key in chosen]), strict=True))


@runtime_checkable
class Flowing(Protocol):
    """A policy with a flow of its own."""

    def flow(self) -> Flow: ...


def flow_of(policy: Policy) -> Flow:
    """How to ask a policy: its own flow, or a batch at a time."""
    return policy.flow() if isinstance(policy, Flowing) else _BatchFlow(policy)


class ScriptedPolicy:
    """A scripted policy by name."""

    batch = 1

    def __init__(self, name: str) -> None:
        self.script = scripted(name)
        self.name = f"scripted:{name}"

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        drawn = []
        for c in conversations:
            part = part_of(self.script, c.variant.stage)
            script = part.learned if c.attempt and part.learned is not None else part.script
            lines = script(c.variant)
            said = sum(m.role == "assistant" for m in c.messages[c.start :])
            drawn.append(Drawn(lines[min(said, len(lines) - 1)]))
        return drawn


class EnginePolicy:
    """Any :class:`custodes.types.Engine`. Replies stop at ``</bash>``, which is put back."""

    def __init__(self, engine: Engine, name: str, sampling: Sampling, batch: int, *, text: bool = True) -> None:
        self.engine, self.name, self.batch, self.text = engine, name, batch, text
        stop = (*sampling.stop, "</bash>") if text else sampling.stop
        self.sampling = replace(sampling, n=1, stop=stop)
        self.worked = False  # some reply was drawn, so that what fails is the conversation and not the policy

    def replies(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        """Raises InputError where the engine refuses everything (a server that went away stops the run, which can be taken
        up again); where it refuses one conversation among others, that one says why."""
        try:
            return self._draw(conversations)
        except InputError as error:
            if is_down(self.engine, error, len(conversations)):
                raise
            if len(conversations) == 1:
                if not self.worked:
                    raise
                return [Drawn("", str(error))]
        drawn, refused = [], None
        for conversation in conversations:  # one that is too long for the context must not take the others with it
            try:
                drawn += self._draw([conversation])
            except InputError as error:
                refused = error
                drawn.append(Drawn("", str(error)))
        if refused is not None and all(d.failure for d in drawn):
            raise refused
        return drawn

    def _draw(self, conversations: Sequence[Conversation]) -> list[Drawn]:
        tasks = [Task(f"{c.variant.stage}/{c.variant.id}", c.messages) for c in conversations]
        prefixes = [c.prefix for c in conversations]
        drawn: dict[int, Any] = {}
        for seed in dict.fromkeys(c.seed for c in conversations):
            rows = [i for i, c in enumerate(conversations) if c.seed == seed]
            steered = [prefixes[i] for i in rows] if any(prefixes[i] for i in rows) else None
            episodes = self.engine.generate([tasks[i] for i in rows], replace(self.sampling, seed=seed), steered)
            drawn |= dict(zip(rows, episodes, strict=True))
        self.worked = True
        return [self._read(drawn[i]) for i in range(len(conversations))]

    def _read(self, episode: Any) -> Drawn:
        if episode.outcome == "error":
            return Drawn("", "the endpoint gave no answer after all retries")
        text = episode.completion
        return Drawn(close_call(text) if self.text and episode.outcome == "stop" else text, "", dict(episode.cost))


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed with which all variants are sampled for the ``attempt``-th time: 31 bits, as servers take them.

    Engines make one stream of random numbers of a seed and a prompt. So variants differ by themselves, another attempt at
    the same variant needs another seed, and all that share an attempt can share a batch.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {attempt}".encode()).digest()[:4], "big") >> 1

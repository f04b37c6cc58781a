"""A perplexity filter: what a model finds surprising for a stretch of tokens is blocked.

A suffix that was searched for reads as noise, which a language model tells from text. The surprise of a text is the mean loss of its most
surprising stretch, so that a long request does not hide a short suffix. The limit is set by benign texts: at most the stated
share of such texts is above it (a conformal quantile).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from custodes.audit.defence import Defence
from custodes.lm.choices import continued
from custodes.lm.engine import TorchEngine
from custodes.ranges import Count, Range, ranged
from custodes.registry import defence
from custodes.types import Engine, Floats, InputError, Message, Task


@defence
@dataclass(frozen=True, kw_only=True)
@ranged
class PerplexityFilter(Defence):
    """Blocks what the user says last where it surprises the attacked model itself more than benign texts do."""

    name: ClassVar[str] = "filter"
    source: ClassVar[str] = "arXiv 2309.00614, section 4.1"

    benign_blocked: Annotated[float, Range(0, 0.5, open_low=True)] = 0.05
    """Share of benign texts that the filter may block."""
    window: Count = 10
    """Tokens of the stretch whose loss is averaged."""
    limit: ClassVar[float] = math.inf
    """Nats a token, of a filter that is set."""
    engine: ClassVar[Any] = None

    def prepared(self, engine: Engine, benign: Sequence[str]) -> Defence:
        if not isinstance(engine, TorchEngine):
            raise InputError("the defence filter computes losses of texts, so it needs a model in this process.")
        n = len(benign)
        place = math.ceil((n + 1) * (1 - self.benign_blocked))
        if place > n:
            needed = math.ceil(1 / self.benign_blocked) - 1
            raise InputError(
                f"{n} benign texts cannot set a filter that blocks {self.benign_blocked:g} of such; give at least {needed} with --benign."
            )
        made = replace(self)
        object.__setattr__(made, "engine", engine)
        object.__setattr__(made, "limit", float(np.sort(made.surprise(benign))[place - 1]))
        return made

    def surprise(self, texts: Sequence[str]) -> Floats:
        """(N,) nats a token: mean loss of each text's most surprising stretch."""
        episodes = []
        for text in texts:
            ids = np.array(self.engine.lm.chat.text(text), np.int32)
            task = Task("text", (Message("user", text),))
            episodes.append(continued(task, ids[:1], ids))
        losses = [-values[1:].astype(np.float64) for values in self.engine.logprobs(episodes)]
        return np.array([_worst(loss, self.window) for loss in losses])

    def guard(self, messages: tuple[Message, ...]) -> tuple[Message, ...] | None:
        return messages if self.surprise([messages[-1].content])[0] <= self.limit else None

    def facts(self) -> dict[str, Any]:
        return {"limit of the filter, nats a token": self.limit, "benign texts it may block": self.benign_blocked}


def _worst(losses: Floats, window: int) -> float:
    if not len(losses):
        return 0.0
    size = min(window, len(losses))
    return float(np.convolve(losses, np.ones(size) / size, "valid").max())

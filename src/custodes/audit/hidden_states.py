"""What stands inside a model, a policy or a learned reward: its hidden states, and what changes where these are changed.

Letters: L layers, N items, d hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.audit.concepts import ConceptItem
from custodes.audit.rows import Row
from custodes.environments.prompts import task_id
from custodes.lm.choices import mean_log_likelihood
from custodes.lm.decoder import Adaptation, Decoder
from custodes.lm.engine import TorchEngine
from custodes.lm.given import check_continues
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import pack, split_by_budget
from custodes.lm.residual import layer_states, open_layers
from custodes.reward.model import RewardModel
from custodes.types import Episode, Floats, Task

READ_TOKENS = 2048
"""Tokens in one forward pass."""
Measured = Literal["answer", "reply", "score"]
"""What is measured of an item: P(answer) among the replies beside it, nats a token of its reply, or a reward's score."""
Change = Literal["ablated", "steered"]


class Inside(Protocol):
    """A model whose inside is read."""

    measured: Measured

    @property
    def decoder(self) -> Decoder: ...

    def states(self, items: Sequence[ConceptItem]) -> Floats:
        """(L, N, d) the residual stream after each layer at each item's last token."""
        ...

    def values(self, decoder: Decoder, items: Sequence[ConceptItem]) -> Floats:
        """(N,) what is measured of each item, computed with ``decoder``."""
        ...

    def surprise(self, decoder: Decoder, replies: Sequence[Episode]) -> Floats:
        """(N,) nats a token of replies that the model gave before, computed with ``decoder``."""
        ...


class PolicyInside:
    """A model that answers.

    Raises InputError where its layers cannot be reached, and where its tokenizer merges an answer with the prompt.
    """

    def __init__(self, lm: LanguageModel, items: Sequence[ConceptItem]) -> None:
        self.lm = lm
        self.decoder = open_layers(lm.decoder, lm.name)
        self.measured: Measured = "answer" if items and items[0].answer else "reply"
        for item in items if self.measured == "answer" else ():
            prompt = lm.encode(item.messages)
            for reply in (item.answer, *item.others):
                check_continues(lm.name, reply, prompt, lm.encode(item.messages, reply))

    def states(self, items: Sequence[ConceptItem]) -> Floats:
        read = [self._ids(item) for item in items]
        return _states(self.decoder, read, self.lm.adapter)

    def _ids(self, item: ConceptItem) -> NDArray[np.int32]:
        if item.messages[-1].role == "assistant":
            return np.asarray(self.lm.chat.conversation(item.messages), np.int32)
        return self.lm.encode(item.messages)

    def values(self, decoder: Decoder, items: Sequence[ConceptItem]) -> Floats:
        engine = self._with(decoder)
        if self.measured == "reply":
            return mean_log_likelihood(engine, [_episode(item) for item in items])
        tasks, replies = list[Task](), list[str]()
        for item in items:
            task = Task(task_id(item.messages), item.messages)
            tasks += [task] * (1 + len(item.others))
            replies += [item.answer, *item.others]
        nats, out, at = engine.reply_logprobs(tasks, replies), [], 0
        for item in items:
            own = np.exp(nats[at : at + 1 + len(item.others)])
            out.append(float(own[0] / own.sum()))
            at += len(own)
        return np.array(out)

    def surprise(self, decoder: Decoder, replies: Sequence[Episode]) -> Floats:
        nats = self._with(decoder).logprobs(replies)
        return np.array(
            [-float(x.astype(np.float64).sum()) / max(e.actions, 1) for x, e in zip(nats, replies, strict=True)]
        )

    def _with(self, decoder: Decoder) -> TorchEngine:
        return TorchEngine(replace(self.lm, decoder=decoder))


class RewardInside:
    """A learned reward: its hidden states are the first member's, its score is that of all."""

    def __init__(self, reward: RewardModel) -> None:
        self.reward = reward
        self.decoder = open_layers(reward.lm.decoder, reward.name)
        self.measured: Measured = "score"

    def states(self, items: Sequence[ConceptItem]) -> Floats:
        reader = self.reward.reader
        read = [reader.conversation(item.messages, f"item {n + 1}") for n, item in enumerate(items)]
        adapter = self.reward.adapters[0] if self.reward.adapters else None
        return _states(self.decoder, read, _From(adapter, self.reward.first_layer))

    def values(self, decoder: Decoder, items: Sequence[ConceptItem]) -> Floats:
        model = replace(self.reward, lm=replace(self.reward.lm, decoder=decoder))
        return np.asarray(model.score([_episode(item) for item in items]).total(), np.float64)

    def surprise(self, decoder: Decoder, replies: Sequence[Episode]) -> Floats:
        return np.full(len(replies), np.nan)


class _From:
    """An adapter that lower layers do without, as a reward's trunk does."""

    def __init__(self, adapter: Any, first: int) -> None:
        self.adapter, self.first = adapter, first

    def get(self, layer: int, projection: str) -> Any:
        return self.adapter.get(layer, projection) if self.adapter is not None and layer >= self.first else None


def _states(decoder: Decoder, read: Sequence[NDArray[np.int32]], adapter: Adaptation | None) -> Floats:
    out = np.empty((decoder.spec.layers, len(read), decoder.spec.hidden), np.float32)
    for part in split_by_budget([len(ids) for ids in read], READ_TOKENS):
        batch = pack([read[i] for i in part]).to(decoder.device)
        out[:, part] = layer_states(decoder, batch, adapter).cpu().numpy()
    return np.asarray(out, np.float64)


def _episode(item: ConceptItem) -> Episode:
    asked = item.messages[:-1] if item.messages[-1].role == "assistant" else item.messages
    task = Task(task_id(asked), asked)
    return Episode.written(task_id(item.messages), task, item.messages, "")


# ---------------------------------------------------------------- what is recorded


@dataclass(frozen=True, kw_only=True)
class InsideSet(Row):
    """What was looked for, and in what; ``subject`` is the concept. Lists have an entry for each item."""

    NAME: ClassVar[str] = "inside_set"
    ALIGNED = ("text", "label", "group", "fold")

    concept: str
    source: str
    model: str
    target: Literal["policy", "reward"]
    measured: Measured
    layers: int
    text: list[str]
    label: list[bool]
    group: list[str]
    fold: list[int]
    shuffled: list[list[bool]]
    """Labels that mean nothing, once for each shuffle."""
    words: list[float]
    """What a bag of words says of each item, held out."""
    found_in: list[str] = field(default_factory=list)
    """Groups whose items gave the direction that was steered by and ablated."""


@dataclass(frozen=True, kw_only=True)
class LayerProbed(Row):
    """What probes of one layer say of each item, held out; ``subject`` is the layer."""

    NAME: ClassVar[str] = "layer_probed"
    ALIGNED = ("difference", "logistic")

    layer: int
    difference: list[float]
    """Difference of means."""
    logistic: list[float]
    shuffled: list[list[float]]
    """Ridge logistic on labels that mean nothing, once for each shuffle."""


@dataclass(frozen=True, kw_only=True)
class DirectionTried(Row):
    """What was measured while a direction acted, an entry for each item that gave no direction; ``subject`` is the change.

    ``direction`` is -1 for the concept's own and counts random ones from 0; nothing acts where the change is "none".
    """

    NAME: ClassVar[str] = "direction_tried"

    change: Literal["none", "ablated", "steered"]
    strength: float
    direction: int
    layer: int
    label: list[bool]
    group: list[str]
    value: list[float]
    surprise: list[float | None]
    """Nats a token of the model's own replies from before, reply by reply; None for a reward."""

    @property
    def n(self) -> int:
        return len(self.value)

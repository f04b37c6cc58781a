"""Reward models: a decoder that reads a conversation, and heads at its last token.

A reward has O outputs, one for each axis on which it judges ("overall", "truthful"), or for each group of people whose
judgments it has learned. All of them read the same hidden state. An ensemble has K members: K adapters on the upper
layers, each with its heads (the trunk below runs once for all of them), or K sets of heads on one backbone. What each
member says is centred and scaled by its mean and standard deviation on the training data, so members speak in one unit;
then they are combined.

Letters: B episodes, R sequences, K members, O outputs, d hidden size. Columns and rows K * O go member by member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

from custodes import registry
from custodes.lm.adapter import Adapter
from custodes.lm.finite import NotFiniteError, finite_model
from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch
from custodes.reward.base import RewardBase
from custodes.reward.reading import Reader, Tokens, micro_batches
from custodes.types import Episode, InputError, Message, Scores

Floats = NDArray[np.float64]
Combination = Literal["mean", "worst", "cautious"]

OVERALL = "overall"
"""The axis that a reward has where nothing else is said."""

SCORE_TOKENS = 8192
"""Tokens per micro-batch when scoring: a forward pass keeps nothing, so this bounds one layer's work only."""


@dataclass(eq=False)
class RewardModel(RewardBase):
    """A learned reward. Scores have mean 0 and standard deviation 1 per member on the training data."""

    lm: LanguageModel  # the backbone; its own adapter is not used
    heads: nn.Parameter  # (K * O, d) float32
    adapters: list[Adapter] = field(default_factory=list)  # none, one that all heads share, or K
    center: Floats = field(default_factory=lambda: np.zeros(1))  # (K * O,) mean of each head on the training data
    scale: Floats = field(default_factory=lambda: np.ones(1))  # (K * O,) standard deviation of each head there
    combine: Combination = "mean"
    caution: float = 1.0  # multiple of the members' standard deviation that "cautious" subtracts
    temperature: float = 1.0  # P(a better than b) = sigmoid((value a - value b) / temperature)
    learned_temperature: float = 1.0  # the one that training used: where a calibration begins
    max_length: int = 1024  # tokens read; longer conversations lose the left of their prompt
    padding: int | None = None  # a token that is passed over where a conversation ends with it, as transformers does
    name: str = "reward model"
    axes: tuple[str, ...] = (OVERALL,)  # (O,) names of the outputs
    weights: Mapping[str, float] = field(default_factory=dict)  # of axes in the value; {}: see ``weighing``
    marks: tuple[str, ...] = ()  # outputs that are read at the ends of steps and spans, after the axes

    def __post_init__(self) -> None:
        outputs = self.outputs
        if not outputs or len(set(outputs)) < len(outputs) or len(self.heads) % len(outputs):
            raise InputError(f"a reward model of {len(self.heads)} heads cannot have the axes {', '.join(outputs)}.")
        if len(self.adapters) not in (0, 1, self.members):
            raise InputError(f"a reward model of {self.members} heads cannot have {len(self.adapters)} adapters.")
        self.max_length = min(self.max_length, self.lm.decoder.spec.context)
        self.center = np.resize(self.center, len(self.heads))
        self.scale = np.resize(self.scale, len(self.heads))

    @property
    def outputs(self) -> tuple[str, ...]:
        """(O,) names of all outputs: axes, then marks."""
        return (*self.axes, *self.marks)

    @property
    def members(self) -> int:
        return len(self.heads) // len(self.outputs)

    @property
    def weighing(self) -> Floats:
        """Weights of the axes in the value: ``weights``; without any, "overall" alone, or all axes alike."""
        weights = self.weights or (
            {OVERALL: 1.0} if OVERALL in self.axes else dict.fromkeys(self.axes, 1 / len(self.axes))
        )
        return np.array([float(weights.get(axis, 0.0)) for axis in self.axes])

    def weighted(self, weights: Mapping[str, float]) -> RewardModel:
        """The same reward whose value weighs its axes so, and its token rewards their marks; 0 for those that are not named.

        Its probabilities are those of an uncalibrated reward. Raises InputError for an axis that it does not have.
        """
        if unknown := [name for name in weights if name not in self.outputs]:
            raise InputError(f"reward {self.name} has no axis {unknown[0]!r}; it has {', '.join(self.outputs)}.")
        return replace(self, weights=dict(weights))

    @property
    def reader(self) -> Reader:
        return Reader(self.lm, self.max_length, self.padding)

    @property
    def first_layer(self) -> int:
        """Layers below this one are the base model's and shared by all members."""
        return self.adapters[0].first_layer if self.adapters else 0

    def score(self, episodes: Sequence[Episode]) -> Scores:
        """Scores of whole conversations, read as text: a cut reply is judged as if it ended there.

        ``value`` is the axes' weighted sum. Where there are marks alone, it is 0 beside their token rewards, which
        :meth:`~custodes.types.Scores.total` adds up, and their sum for a text without tokens. ``std`` is the members' standard
        deviation of it (None for a single member). Parts are each axis by its name, where there are several, and the members'
        values, ``member_0`` and on. With marks, ``token`` has what each is worth at the last token of each step or span, and
        parts its sum over them; nothing more is computed for it than for the value.
        """
        conversations = [episode.messages for episode in episodes]
        names = [f"episode {episode.id}" for episode in episodes]
        return self._score(conversations, names, [episode.task.id for episode in episodes], episodes)

    def score_messages(self, conversations: Sequence[Sequence[Message]]) -> Scores:
        """The same for plain conversations that end with the reply to score; there are no tokens to reward."""
        return self._score(conversations, [f"conversation {i}" for i in range(len(conversations))])

    def mark_probabilities(self, conversations: Sequence[Sequence[Message]], mark: str) -> list[Floats]:
        """Of each conversation, (steps,) or (spans,): the probability that the members' mean gives to ``mark``."""
        read = [
            self.reader.placed(messages, self._ends(messages, mark), f"conversation {i}")
            for i, messages in enumerate(conversations)
        ]
        _, at = self.readings([sequence for sequence, _ in read], None, [places for _, places in read])
        return [expit(self._logits(scores, mark)) for scores in at]

    def member_scores(self, sequences: Sequence[Tokens], groups: Sequence[object] | None = None) -> Floats:
        """(R, K * O) centred and scaled scores; neighbours of one group share their common beginning."""
        return (self.raw_scores(sequences, groups) - self.center) / self.scale

    def raw_scores(self, sequences: Sequence[Tokens], groups: Sequence[object] | None = None) -> Floats:
        """(R, K * O) what the heads say, in logits of the Bradley-Terry model."""
        return self.readings(sequences, groups, [[]] * len(sequences))[0]

    def readings(
        self, sequences: Sequence[Tokens], groups: Sequence[object] | None, places: Sequence[Sequence[int]]
    ) -> tuple[Floats, list[Floats]]:
        """What the heads say at the last token of each sequence, (R, K * O), and at its ``places``, (places, K * O) each."""
        out, inside = np.zeros((len(sequences), len(self.heads))), [np.zeros((0, len(self.heads)))] * len(sequences)
        device = self.lm.decoder.device
        with torch.no_grad():
            for part, batch in micro_batches(sequences, groups or range(len(sequences)), SCORE_TOKENS):
                batch = batch.to(device)
                rows = [row for row, i in enumerate(part) for _ in places[i]]
                tokens = [token for i in part for token in places[i]]
                if rows:
                    at = batch.rows[torch.tensor(rows, device=device), torch.tensor(tokens, device=device)]
                    read = self.values(batch, wanted=torch.cat([batch.last, at])).double().cpu().numpy()
                else:
                    read = self.values(batch).double().cpu().numpy()
                out[part] = read[: len(part)]
                counts = np.cumsum([len(places[i]) for i in part])[:-1]
                for i, own in zip(part, np.split(read[len(part) :], counts), strict=True):
                    inside[i] = own
        if not (right := np.isfinite(out).all(axis=1)).all():
            k = int(np.flatnonzero(~np.isfinite(out).all(axis=0))[0]) // len(self.outputs)
            adapter = self.adapters[k if len(self.adapters) > 1 else 0] if self.adapters else None
            with finite_model(self.name, self.lm.decoder, adapter):
                raise NotFiniteError(sequences[int(np.flatnonzero(~right)[0])].tolist())
        return out, inside

    def _score(
        self,
        conversations: Sequence[Sequence[Message]],
        names: Sequence[str],
        groups: Sequence[object] | None = None,
        episodes: Sequence[Episode] = (),
    ) -> Scores:
        if not self.marks:
            sequences = [self.reader.conversation(c, name) for c, name in zip(conversations, names, strict=True)]
            return self.combined(self.member_scores(sequences, groups))
        ends = [[self._ends(messages, mark) for mark in self.marks] for messages in conversations]
        read = [
            self.reader.placed(messages, [end for of_mark in own for end in of_mark], name)
            for messages, own, name in zip(conversations, ends, names, strict=True)
        ]
        raw, at = self.readings([sequence for sequence, _ in read], groups, [places for _, places in read])
        scores, parts = self.combined((raw - self.center) / self.scale), {}
        token = np.full((len(episodes), max((len(e.token_ids) for e in episodes), default=0)), np.nan)
        for m, mark in enumerate(self.marks):
            weight = float(self.weights.get(mark, 0.0)) if self.weights else 1.0
            objective = self._objective(mark)
            reward = objective.token_reward
            parts[mark] = np.zeros(len(conversations))
            for i, own in enumerate(ends):
                first = sum(map(len, own[:m]))
                worth = reward(expit(self._logits(at[i][first : first + len(own[m])], mark)))
                parts[mark][i] = worth.sum()
                if episodes and len(own[m]) and episodes[i].actions:
                    places = _token_places(self.lm.tokenizer, episodes[i], own[m], objective.ended_by_next)
                    token[i, places] = np.nan_to_num(token[i, places])
                    np.add.at(token[i], places, weight * worth)
        if not self.axes:
            weights = [float(self.weights.get(mark, 0.0)) if self.weights else 1.0 for mark in self.marks]
            sums = np.stack(list(parts.values())).T @ weights
            of_tokens = np.array([bool(e.actions) for e in episodes] or [False] * len(sums), bool)
            scores = replace(scores, value=np.where(of_tokens, 0.0, sums))
        return replace(scores, token=token if token.size else None, parts={**scores.parts, **parts})

    def _ends(self, messages: Sequence[Message], mark: str) -> list[int]:
        """Where the passages of a conversation's reply end at which ``mark`` is read; none of an empty reply."""
        if messages[-1].role != "assistant" or not messages[-1].content.strip():
            return []
        return list(self._objective(mark).ends(messages[-1].content))

    def _objective(self, mark: str) -> Any:
        """The objective that the mark is of."""
        return registry.objective.find(mark.partition("/")[0])

    def _logits(self, scores: Floats, mark: str) -> Floats:
        """(places, K * O) raw scores -> (places,) the members' mean log-odds of a mark."""
        centred = ((scores - self.center) / self.scale).reshape(len(scores), self.members, len(self.outputs))
        return np.asarray(centred[:, :, self.outputs.index(mark)].mean(axis=1))

    def combined(self, scores: Floats) -> Scores:
        """(B, K * O) member scores -> one score with its uncertainty."""
        if not self.axes:
            return Scores(value=np.zeros(len(scores)))
        of_axes = scores.reshape(len(scores), self.members, len(self.outputs))[:, :, : len(self.axes)]
        members = of_axes[:, :, 0] if len(self.axes) == 1 and not self.weights else of_axes @ self.weighing
        value, std = _combine_members(members, self.combine, self.caution)
        parts = {f"member_{k}": members[:, k] for k in range(self.members)} if self.members > 1 else {}
        if len(self.outputs) > 1:
            own = (_combine_members(of_axes[:, :, o], self.combine, self.caution)[0] for o in range(len(self.axes)))
            parts = dict(zip(self.axes, own, strict=True)) | parts
        return Scores(value=value, std=std, parts=parts)

    def values(
        self,
        batch: PackedBatch,
        *,
        embedded: Tensor | None = None,
        trunk: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """(M, K * O) raw scores at the ``wanted`` (M,) packed tokens, with gradients to what is trained.

        Without ``wanted`` they are read at the last token of each sequence. ``embedded`` (N, d) stands for the batch's
        embeddings where their gradient is wanted; ``trunk`` (N, d) for what the layers below ``first_layer`` make of them, where that is known.
        """
        decoder, first = self.lm.decoder, self.first_layer
        if trunk is None:
            with torch.no_grad() if self.adapters else nullcontext():
                trunk = decoder.embed(batch) if embedded is None else embedded
                trunk = decoder.run(trunk, batch, 0, first)
        read: list[Tensor] = []
        branches: Sequence[Adapter | None] = self.adapters or [None]
        for adapter in branches:
            at = batch.last if wanted is None else wanted
            x = decoder.run(trunk, batch, first, decoder.spec.layers, adapter, wanted=at)
            read.append(decoder.final(x).to(self.heads.dtype))
        if len(read) == 1:
            return read[0] @ self.heads.T
        if len(self.outputs) == 1:
            return torch.stack([(x * head).sum(-1) for x, head in zip(read, self.heads, strict=True)], -1)
        own = self.heads.split(len(self.outputs))
        return torch.cat([x @ heads.T for x, heads in zip(read, own, strict=True)], -1)


def _token_places(tokenizer: Any, episode: Episode, ends: Sequence[int], by_next: bool) -> list[int]:
    """The token of ``episode`` that ends the passage before each of ``ends``, places in its last reply.

    That is the one with its last character or, ``by_next``, the first that reaches beyond it; of a reply that was cut, its last.

    Raises InputError where the reply's tokens, as ``tokenizer`` decodes them, are not its text: they are another model's.
    """
    actions = np.flatnonzero(episode.action_mask)
    last = actions[np.flatnonzero(np.diff(actions, prepend=-2) > 1)[-1] :]
    last = np.arange(last[0], actions[-1] + 1) if len(last) else last
    ids, text = episode.token_ids[last].tolist(), episode.completion
    pieces = [tokenizer.decode([i]) for i in ids]
    covered = np.cumsum([len(piece) for piece in pieces])
    if "".join(pieces) != tokenizer.decode(ids):  # characters of several tokens
        covered = np.array([len(tokenizer.decode(ids[: n + 1]).rstrip("\ufffd")) for n in range(len(ids))])
    lead = tokenizer.decode(ids).find(text)
    if lead < 0:
        raise InputError(
            f"episode {episode.id}: the reward's tokenizer reads its tokens as another text, so steps cannot be found in them; "
            "train the reward on a model with the policy's tokenizer."
        )
    places = np.searchsorted(covered, np.array(ends) + lead, side="right" if by_next else "left")
    return [int(last[min(place, len(last) - 1)]) for place in places]


def last_hidden_states(model: RewardModel, episodes: Sequence[Episode]) -> Floats:
    """(B, d) what the heads read at the last token of each episode; of several adapters, the first one's."""
    d = model.heads.shape[1]
    bare = replace(
        model,
        heads=nn.Parameter(torch.eye(d, device=model.heads.device)),
        adapters=model.adapters[:1],
        center=np.zeros(1),
        scale=np.ones(1),
        axes=(OVERALL,),
        weights={},
        marks=(),
    )
    sequences = [bare.reader.conversation(e.messages, f"episode {e.id}") for e in episodes]
    return bare.raw_scores(sequences, [e.task.id for e in episodes])


def _combine_members(members: Floats, combine: Combination, caution: float) -> tuple[Floats, Floats | None]:
    """(B, K) -> value (B,) and the members' standard deviation (B,), None for K = 1.

    "mean"; "worst", the lowest member (worst-case optimisation of arXiv 2310.02743); "cautious", mean minus
    ``caution`` standard deviations (that paper's uncertainty-weighted optimisation subtracts the variance; the
    standard deviation keeps the unit of the score). The standard deviation is the sample's, divided by K - 1.
    """
    K = members.shape[1]
    if K == 1:
        return members[:, 0].copy(), None
    std = members.std(axis=1, ddof=1)
    if combine == "worst":
        return members.min(axis=1), std
    mean = members.mean(axis=1)
    return (mean - caution * std if combine == "cautious" else mean), std


def new_heads(seeds: Sequence[int], hidden: int, device: torch.device, outputs: int = 1) -> nn.Parameter:
    """(K * O, d) heads, each member's drawn with its own seed from N(0, 1/(d + 1)) (arXiv 2009.01325)."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    rows = [torch.randn(hidden, generator=generator) for generator in generators for _ in range(outputs)]
    return nn.Parameter((torch.stack(rows) / (hidden + 1) ** 0.5).to(device))

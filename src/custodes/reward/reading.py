"""What a reward model reads: token ids of a conversation that ends with the reply to be scored.

They are what ``tokenizer.apply_chat_template(conversation)`` gives, and the score is read at the last of them, as
``transformers`` reads it. What is too long loses tokens from the left of its prompt; a reply is never cut.

Letters: P pairs, R sequences, T tokens of one sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.types import InputError, Message, PreferencePair, located

Tokens = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenPair:
    """One preference, ready to be read."""

    chosen: Tokens  # (T,)
    rejected: Tokens  # (T',), same beginning as chosen as far as the conversations agree
    label: float  # P(chosen is better)
    margin: float
    weight: float
    where: str  # "pairs.jsonl row 12", for messages


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns conversations into token ids. ``padding`` is a token that the model passes over where it stands last."""

    lm: LanguageModel
    max_length: int
    """Tokens that are read of a conversation, at most those of the model's context."""
    padding: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_length", min(self.max_length, self.lm.decoder.spec.context))

    def conversation(self, messages: Sequence[Message], where: str) -> Tokens:
        """(T,) ids of a conversation that ends with the reply; at most ``max_length``.

        Raises InputError where the reply alone is longer, or the chat template refuses the conversation.
        """
        ids = self._render(messages, where)
        return self._cut(ids, messages, len(ids) - self.max_length, where)

    def placed(self, messages: Sequence[Message], ends: Sequence[int], where: str) -> tuple[Tokens, list[int]]:
        """:meth:`conversation`, and the tokens in which passages of the reply end.

        ``ends`` are numbers of characters from the reply's beginning, 1 or more.
        """
        with located(where):
            ids, places = self.lm.chat.placed(messages, ends)
        read = np.asarray(ids, np.int32)
        cut = self._cut(read, messages, len(read) - self.max_length, where)
        return cut, [min(place - (len(read) - len(cut)), len(cut) - 1) for place in places]

    def pair(self, pair: PreferencePair, source: str = "") -> tuple[TokenPair, int]:
        """Both sides, cut by the same number of tokens so that they still share their prompt; and that number."""
        where = _where(pair, source)
        names = [f"{where}, {side}" for side in ("chosen", "rejected")]
        sides = [(*pair.prompt, *side) for side in (pair.chosen, pair.rejected)]
        ids = [self._render(side, name) for side, name in zip(sides, names, strict=True)]
        excess = max(0, *(len(side) - self.max_length for side in ids))
        cut = [self._cut(i, side, excess, name) for i, side, name in zip(ids, sides, names, strict=True)]
        return TokenPair(cut[0], cut[1], pair.label, pair.margin, pair.weight, where), excess

    def pairs(self, pairs: Sequence[PreferencePair], source: str = "") -> tuple[list[TokenPair], int]:
        """Every pair, and how many lost the left of their prompt."""
        read = [self.pair(pair, source) for pair in pairs]
        return [pair for pair, _ in read], sum(excess > 0 for _, excess in read)

    def check_replies(self, pairs: Sequence[PreferencePair], source: str = "") -> None:
        """Raises InputError for the first pair with a completion that does not fit, or that the chat template refuses."""
        for pair in pairs:
            for name in ("chosen", "rejected"):
                where = f"{_where(pair, source)}, {name}"
                messages = (*pair.prompt, *getattr(pair, name))
                self._cut(self._render(messages, where), messages, 0, where)

    def _render(self, messages: Sequence[Message], where: str) -> Tokens:
        with located(where):
            ids = np.asarray(self.lm.chat.conversation(_answered(messages)), np.int32)
        read = np.flatnonzero(ids != self.padding)
        return ids[: read[-1] + 1] if self.padding is not None and len(read) else ids

    def _cut(self, ids: Tokens, messages: Sequence[Message], excess: int, where: str) -> Tokens:
        """The ids without their first ``excess``. Raises InputError where the reply would lose some."""
        if len(ids) > self.max_length:
            prompt = self.lm.encode(_answered(messages)[:-1])
            differs = np.flatnonzero(ids[: len(prompt)] != prompt[: len(ids)])
            self._check_fits(len(ids) - (int(differs[0]) if len(differs) else len(prompt)), where)
        return ids[max(0, excess) :]

    def _check_fits(self, length: int, where: str) -> None:
        if length <= self.max_length:
            return
        context = self.lm.decoder.spec.context
        more = f", or train with custodes reward train --max-length {context}" if self.max_length < context else ""
        raise InputError(
            f"{where}: the completion has {length:,} tokens and {self.max_length:,} are read at most; "
            f"shorten it or leave the row out{more}."
        )


def _answered(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation, which ends with a reply: an empty one where nobody replied."""
    return messages if messages and messages[-1].role == "assistant" else (*messages, Message("assistant", ""))


def _where(pair: PreferencePair, source: str) -> str:
    return pair.place or (
        f"{source or 'preferences'} row {pair.line:,}" if pair.line else (source or "a preference pair")
    )


def micro_batches(
    sequences: Sequence[Tokens], groups: Sequence[object], budget: int
) -> list[tuple[list[int], PackedBatch]]:
    """Packed micro-batches of at most ``budget`` tokens, and the indices of the sequences in each."""
    split = split_by_budget([len(s) for s in sequences], budget, groups)
    return [(part, pack([sequences[i] for i in part], [groups[i] for i in part])) for part in split]

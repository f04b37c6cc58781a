"""What a reward model reads: token ids of a conversation that ends with the reply to be scored.

The same rendering serves training and scoring, whichever tokenizer the policy has: the chat template
up to the reply, the reply, the end of the turn. What is too long loses tokens from the left of its
prompt; a reply is never cut.

Letters: P pairs, R sequences, T tokens of one sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from custodes.lm.loading import LanguageModel
from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.types import InputError, Message, PreferencePair

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
    """Turns conversations into token ids. ``end_of_turn`` is false for models that read the token before it."""

    lm: LanguageModel
    max_length: int
    end_of_turn: bool = True

    def conversation(self, messages: Sequence[Message], where: str) -> Tokens:
        """(T,) ids of a conversation that ends with the reply; at most ``max_length``."""
        prompt, reply = self._render(messages)
        return self._cut(prompt, reply, len(prompt) + len(reply) - self.max_length, where)

    def pair(self, pair: PreferencePair, source: str = "") -> tuple[TokenPair, int]:
        """Both sides, cut by the same number of tokens so that they still share their prompt; and that number."""
        where = _where(pair, source)
        sides = [self._render((*pair.prompt, *side)) for side in (pair.chosen, pair.rejected)]
        excess = max(0, *(len(prompt) + len(reply) - self.max_length for prompt, reply in sides))
        chosen, rejected = (
            self._cut(prompt, reply, excess, f"{where}, {name}")
            for (prompt, reply), name in zip(sides, ("chosen", "rejected"), strict=True)
        )
        return TokenPair(chosen, rejected, pair.label, pair.margin, pair.weight, where), excess

    def pairs(self, pairs: Sequence[PreferencePair], source: str = "") -> tuple[list[TokenPair], int]:
        """Every pair, and how many lost the left of their prompt."""
        read = [self.pair(pair, source) for pair in pairs]
        return [pair for pair, _ in read], sum(excess > 0 for _, excess in read)

    def check_replies(self, pairs: Sequence[PreferencePair], source: str = "") -> None:
        """Raises InputError for the first pair with a completion that does not fit."""
        for pair in pairs:
            for name in ("chosen", "rejected"):
                self._check_fits(self._reply(getattr(pair, name)), f"{_where(pair, source)}, {name}")

    def _render(self, messages: Sequence[Message]) -> tuple[Tokens, Tokens]:
        """Ids of everything before the last message, and of the last message."""
        replied = bool(messages) and messages[-1].role == "assistant"
        return self.lm.encode(messages[:-1] if replied else messages), self._reply(messages)

    def _reply(self, messages: Sequence[Message]) -> Tokens:
        replied = bool(messages) and messages[-1].role == "assistant"
        reply = self.lm.encode_reply(messages[-1].content if replied else "")
        return reply if self.end_of_turn else reply[:-1]

    def _cut(self, prompt: Tokens, reply: Tokens, excess: int, where: str) -> Tokens:
        self._check_fits(reply, where)
        return np.concatenate([prompt[max(0, excess) :], reply])

    def _check_fits(self, reply: Tokens, where: str) -> None:
        if len(reply) <= self.max_length:
            return
        context = self.lm.decoder.spec.context
        more = f", or train with custodes reward train --max-length {context}" if self.max_length < context else ""
        raise InputError(
            f"{where}: the completion has {len(reply):,} tokens and {self.max_length:,} are read at most; "
            f"shorten it or leave the row out{more}."
        )


def _where(pair: PreferencePair, source: str) -> str:
    return f"{source or 'preferences'} row {pair.line:,}" if pair.line else (source or "a preference pair")


def micro_batches(
    sequences: Sequence[Tokens], groups: Sequence[object], budget: int
) -> list[tuple[list[int], PackedBatch]]:
    """Packed micro-batches of at most ``budget`` tokens, and the indices of the sequences in each."""
    split = split_by_budget([len(s) for s in sequences], budget, groups)
    return [(part, pack([sequences[i] for i in part], [groups[i] for i in part])) for part in split]

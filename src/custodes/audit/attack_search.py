"""What searches for a suffix have in common: their budget, the tokens that they use, and when a suffix is sent.

A search lowers the loss of the request's target. That loss is no success: the lowest suffix so far is sent at equal distances, and
the model's reply is judged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from custodes.audit.attack import Attack, Trial
from custodes.lm.loading import LanguageModel
from custodes.ranges import Count
from custodes.types import Ints

_KNOWN: WeakKeyDictionary[LanguageModel, Ints] = WeakKeyDictionary()


def plain_tokens(lm: LanguageModel) -> Ints:
    """(V',) ids of tokens that people can type: printable ASCII, with or without a blank before, and no control tokens."""
    if lm not in _KNOWN:
        tokenizer = lm.tokenizer
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        texts = tokenizer.batch_decode([[i] for i in range(min(len(tokenizer), lm.decoder.spec.vocab))])
        plain = [i for i, t in enumerate(texts) if i not in special and t.strip() and t.isascii() and t.isprintable()]
        _KNOWN[lm] = np.array(plain, np.int64)
    return _KNOWN[lm]


def changed_tokens(ids: Ints, tokens: Ints, most: int, rng: np.random.Generator) -> Ints:
    """A copy of ``ids`` in which up to ``most`` neighbouring ones are replaced by random ``tokens``."""
    new, size = ids.copy(), int(rng.integers(1, min(most, len(ids)) + 1))
    start = int(rng.integers(0, len(ids) - size + 1))
    new[start : start + size] = rng.choice(tokens, size)
    return new


class SuffixState(ABC):
    """A search under way on one request."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.loss, self.suffix = trial, np.inf, ""

    @abstractmethod
    def step(self, room: int) -> bool:
        """Spend at most ``room`` passes on a better suffix; False where that is too little to do anything."""

    def text(self, suffix: str) -> str:
        """The request with a suffix."""
        return f"{self.trial.request.text} {suffix}"

    def offer(self, loss: float, suffix: str) -> None:
        """Keep a suffix that is better than any before."""
        if loss < self.loss:
            self.loss, self.suffix = float(loss), suffix
            self.trial.note_loss(self.loss)


@dataclass(frozen=True, kw_only=True)
class SuffixSearch(Attack):
    """A search for a suffix that makes the request's target likelier."""

    max_passes: Count = 1024
    """Forward passes for each request, at most; replies are among them."""
    suffix_tokens: Count = 20
    """Length of the suffix, in tokens."""
    candidates: Count = 16
    """Changes that are scored together."""
    tries: Count = 8
    """Suffixes that are sent to the model on the way, at most."""

    def planned(self) -> int:
        return self.max_passes

    @abstractmethod
    def begin(self, trial: Trial) -> SuffixState:
        """The search before its first step."""

    def run(self, trial: Trial) -> None:
        state = self.begin(trial)
        for sent in range(1, self.tries + 1):
            until = sent * self.max_passes // self.tries - 1
            while trial.passes < until and not trial.over and state.step(until - trial.passes):
                pass
            text = state.text(state.suffix)
            if np.isfinite(state.loss) and all(attempt.text != text for attempt in trial.attempts):
                trial.try_texts([text])

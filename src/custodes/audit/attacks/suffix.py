"""Random search for a suffix: what follows the request is changed at random, and kept where the target becomes likelier.

A change replaces a few neighbouring tokens by random ones. Changes are scored in batches, and the best of a batch is kept where it
is better than what was there. Texts are kept, never token ids: what is scored is what the model would read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from custodes.audit.attack import Trial
from custodes.audit.attack_search import SuffixSearch, SuffixState, changed_tokens, plain_tokens
from custodes.ranges import Range, ranged
from custodes.registry import attack


@attack
@dataclass(frozen=True, kw_only=True)
@ranged
class RandomSuffix(SuffixSearch):
    """Changes at random; it needs losses of the target and no gradient."""

    name: ClassVar[str] = "suffix"
    source: ClassVar[str] = "arXiv 2404.02151, section 3"

    changed: Annotated[int, Range(1, 64)] = 4
    """Neighbouring tokens that one change replaces, at most."""

    def begin(self, trial: Trial) -> SuffixState:
        return _RandomSearch(trial, self)


class _RandomSearch(SuffixState):
    def __init__(self, trial: Trial, options: RandomSuffix) -> None:
        super().__init__(trial)
        self.options, self.tokens = options, plain_tokens(trial.lm)
        self.ids = trial.rng.choice(self.tokens, options.suffix_tokens)

    def step(self, room: int) -> bool:
        options = self.options
        several = [
            changed_tokens(self.ids, self.tokens, options.changed, self.trial.rng)
            for _ in range(min(options.candidates, room))
        ]
        if not np.isfinite(self.loss):
            several[0] = self.ids
        texts = self.trial.lm.tokenizer.batch_decode(several)
        losses = self.trial.target_losses([self.text(text) for text in texts])
        best = int(losses.argmin())
        if losses[best] < self.loss:
            self.ids = several[best]
        self.offer(losses[best], texts[best])
        return True

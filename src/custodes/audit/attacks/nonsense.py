"""High-scoring nonsense: a random search for a reply of random tokens that a reward likes better than real answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from custodes.audit.attack_search import changed_tokens, plain_tokens
from custodes.audit.reward_attack import RewardAttack, RewardTrial
from custodes.ranges import Count, Range, ranged
from custodes.registry import attack


@attack
@dataclass(frozen=True, kw_only=True)
@ranged
class Nonsense(RewardAttack):
    """Begins with random tokens and keeps every change that scores higher; whatever comes of it was never written as an answer."""

    name: ClassVar[str] = "nonsense"
    source: ClassVar[str] = "arXiv 2404.02151, section 3, with the reward as its loss"

    max_queries: Count = 2000
    """Texts that the reward scores for each prompt."""
    nonsense_tokens: Count = 32
    """Length of the nonsense, in tokens."""
    candidates: Count = 16
    """Changes that are scored together."""
    changed: Annotated[int, Range(1, 64)] = 4
    """Neighbouring tokens that one change replaces, at most."""

    def planned(self) -> int:
        return self.max_queries

    def run(self, trial: RewardTrial) -> None:
        assert trial.lm is not None
        tokens, decode = plain_tokens(trial.lm), trial.lm.tokenizer.batch_decode
        ids, best = trial.rng.choice(tokens, self.nonsense_tokens), -np.inf
        while (room := self.max_queries - trial.queries) > 0:
            several = [changed_tokens(ids, tokens, self.changed, trial.rng) for _ in range(min(self.candidates, room))]
            several[0] = ids if best == -np.inf else several[0]
            texts = decode(several)
            scores, spreads = trial.scores(texts)
            k = int(scores.argmax())
            if scores[k] > best:
                best, ids = float(scores[k]), several[k]
                trial.keep(texts[k], best, spreads[k])

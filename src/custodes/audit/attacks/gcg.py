"""Greedy coordinate gradient: a suffix whose tokens are exchanged where the gradient says that the target becomes likelier.

Each step takes the gradient of the target's loss to the one-hot tokens of the suffix. It draws changes of one token each from those
that the gradient likes best, scores them, and goes on from the best, also where that is worse than before. A change whose text
would be read as other tokens, when the whole rendered prompt is tokenised again, is no attack that anybody could send: it is dropped.

Letters: S tokens of the suffix, d hidden size, V' plain tokens, T tokens of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from custodes.audit.attack import GRADIENT_PASSES, Trial
from custodes.audit.attack_search import SuffixSearch, SuffixState, plain_tokens
from custodes.lm.decoder import Decoder
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack
from custodes.ranges import Count, ranged
from custodes.registry import attack
from custodes.types import InputError, Ints, Message

DRAWS = 6
"""Changes drawn for each candidate, at most: many are dropped."""


@attack
@dataclass(frozen=True, kw_only=True)
@ranged
class Gcg(SuffixSearch):
    """Needs the gradient of the target's loss, so the weights must be in this process."""

    name: ClassVar[str] = "gcg"
    source: ClassVar[str] = "arXiv 2307.15043, algorithm 1"

    gradient_top: Count = 256
    """Tokens for each place of the suffix among which changes are drawn: those that the gradient likes best."""

    def begin(self, trial: Trial) -> SuffixState:
        return _Gradient(trial, self)


class _Gradient(SuffixState):
    def __init__(self, trial: Trial, options: Gcg) -> None:
        super().__init__(trial)
        if not isinstance(trial.lm.decoder, Decoder):
            raise InputError(
                f"gcg takes gradients through the layers of this package, which {trial.lm.name} has not; use --attack suffix."
            )
        self.options, self.tokens = options, plain_tokens(trial.lm)
        bare, ids = (self._prompt(self.text(suffix)) for suffix in ("", " !" * options.suffix_tokens))
        self.before = _common(bare, ids)
        self.after = _common(bare[self.before :][::-1], ids[self.before :][::-1])
        self.ids = ids[self.before : len(ids) - self.after]
        self.rest = ids[len(ids) - self.after :]

    def text(self, suffix: str) -> str:
        return f"{self.trial.request.text}{suffix}"

    def step(self, room: int) -> bool:
        if room <= GRADIENT_PASSES:
            return False
        several = self._candidates(self.gradient(), min(self.options.candidates, room - GRADIENT_PASSES))
        if not several:
            return False
        ids, texts = zip(*several, strict=True)
        losses = self.trial.target_losses([self.text(text) for text in texts])
        best = int(losses.argmin())
        self.ids = ids[best]
        self.offer(losses[best], texts[best])
        return True

    def gradient(self) -> Tensor:
        """(S, V') of the target's loss, nats a token, to the one-hot tokens of the suffix; plain tokens only."""
        trial, lm = self.trial, self.trial.lm
        trial.count_gradient()
        messages = self._messages(self.text(lm.tokenizer.decode(self.ids)))
        prompt, whole = trial.prompt_and_target(messages)
        batch = pack([whole]).to(lm.decoder.device)
        places = torch.arange(len(prompt) - 1, len(whole) - 1, device=lm.decoder.device)
        embedded = lm.decoder.embed(batch).detach().requires_grad_()
        hidden = lm.decoder.run(embedded, batch, 0, lm.decoder.spec.layers, lm.adapter, wanted=places)
        targets = batch.ids[len(prompt) :]
        logprobs, _ = token_logprobs(lm.decoder.final(hidden), lm.decoder.head_weight().detach(), targets)
        (slope,) = torch.autograd.grad(-logprobs.mean(), embedded)
        of_suffix = slope[self.before : self.before + len(self.ids)].float()
        return of_suffix @ lm.decoder.embedding.value[torch.from_numpy(self.tokens)].float().T

    def _candidates(self, slope: Tensor, wanted: int) -> list[tuple[Ints, str]]:
        """Changes of one token each, with their texts; those that would be read as other tokens are dropped and counted."""
        rng, trial = self.trial.rng, self.trial
        top = min(self.options.gradient_top, len(self.tokens))
        best = self.tokens[slope.topk(top, dim=1, largest=False).indices.cpu().numpy()]
        found: dict[str, Ints] = {}
        for _ in range(DRAWS * wanted):
            if len(found) == wanted:
                break
            place = int(rng.integers(len(self.ids)))
            new = self.ids.copy()
            new[place] = best[place, int(rng.integers(top))]
            text = trial.lm.tokenizer.decode(new)
            read = self._prompt(self.text(text))
            if np.array_equal(read[self.before :], np.concatenate([new, self.rest])):
                found.setdefault(text, new)
            else:
                trial.dropped += 1
        return [(ids, text) for text, ids in found.items()]

    def _prompt(self, text: str) -> Ints:
        return self.trial.lm.encode(self._messages(text)).astype(np.int64)

    def _messages(self, text: str) -> tuple[Message, ...]:
        asked = self.trial.request.with_text(text)
        return self.trial.defence.guard(asked) or asked


def _common(a: Ints, b: Ints) -> int:
    """How many tokens two prompts have in common at their beginning."""
    same = a[: min(len(a), len(b))] == b[: min(len(a), len(b))]
    return int(same.argmin()) if not same.all() else len(same)

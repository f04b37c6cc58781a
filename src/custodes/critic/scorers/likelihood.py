"""The simplest critic: a line is suspect when the model finds it surprising. Nothing is trained.

What a trained scorer must beat. A line's logit is the mean surprisal of its tokens (nats) given the code before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.critic.lines import BEFORE, LineScores, probabilities
from custodes.lm.loading import DtypeName, LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack, split_by_budget
from custodes.registry import scorer
from custodes.types import hash_shown

PASS_TOKENS = 2048


@scorer
def likelihood(model: str, dtype: DtypeName) -> LikelihoodScorer:
    """What the model, as it is, finds surprising."""
    return LikelihoodScorer(load(model, dtype=dtype))


@dataclass(eq=False)
class LikelihoodScorer:
    """Scores lines by surprise. ``level`` is the surprisal at which "in none" is as likely as a line."""

    lm: LanguageModel
    temperature: float = 1.0
    threshold: float = 0.5
    level: float = 3.0

    def fingerprint(self) -> str:
        """Of the model's weights."""
        return hash_shown("likelihood", self.lm.fingerprint())

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """Probabilities for each function. Lines count as in ``code.split("\\n")``; blank ones have 0."""
        found = []
        for code, surprise in zip(codes, self.surprisals(codes), strict=True):
            blank = np.array([not line.strip() for line in code.split("\n")])
            lines = np.where(blank, -np.inf, surprise / self.temperature)
            found.append(probabilities(lines, self.level / self.temperature))
        return found

    def surprisals(self, codes: Sequence[str]) -> list[NDArray[np.float64]]:
        """(L,) nats of each function: the mean over each line's tokens, its line end left out.

        Functions longer than the context are read as far as it reaches; lines beyond it have 0.
        """
        read = [self._read(code) for code in codes]
        found: list[NDArray[np.float64]] = [np.zeros(0)] * len(codes)
        for part in split_by_budget([len(ids) for ids, _ in read], PASS_TOKENS):
            batch = pack([read[i][0] for i in part]).to(self.lm.decoder.device)
            with torch.no_grad():
                hidden = self.lm.decoder.hidden(batch, self.lm.adapter)
                for row, i in enumerate(part):
                    ids, line = read[i]
                    at = batch.rows[row, : len(ids) - 1]
                    targets = torch.from_numpy(ids[1:].astype(np.int64)).to(hidden.device)
                    values, _ = token_logprobs(hidden[at], self.lm.decoder.head_weight(), targets, 1.0)
                    own, count = line[1:] >= 0, codes[i].count("\n") + 1
                    total = np.bincount(line[1:][own], -values.double().cpu().numpy()[own], count)
                    found[i] = total / np.maximum(np.bincount(line[1:][own], minlength=count), 1)
        return found

    def _read(self, code: str) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokens, and the line from 0 that each belongs to; -1 for what belongs to none."""
        encode = self.lm.chat.text
        ids, end = encode(BEFORE), encode("\n")
        line = [-1] * len(ids)
        for number, text in enumerate(code.split("\n")):
            own = encode(text) if text else []
            ids, line = [*ids, *own, *end], [*line, *[number] * len(own), *[-1] * len(end)]
        context = self.lm.decoder.spec.context
        return np.asarray(ids[:context], np.int32), np.asarray(line[:context])

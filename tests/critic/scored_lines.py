"""A scorer of lines whose answers a test decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from custodes.critic.lines import LineScores


@dataclass
class WordScorer:
    """Lines that hold a word get its weight; what is left over is "in none"."""

    weights: Mapping[str, float]
    messages: Mapping[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    level: float = 0.0
    threshold: float = 0.5
    asked: list[str] = field(default_factory=list)

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        self.asked += codes
        return [self._one(code.split("\n")) for code in codes]

    def _one(self, lines: list[str]) -> LineScores:
        p = np.array([sum(w for word, w in self.weights.items() if word in line) for line in lines])
        said = {k: text for k, line in enumerate(lines, 1) for word, text in self.messages.items() if word in line}
        return LineScores(p, float(1 - p.sum()), said)

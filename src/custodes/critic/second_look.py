"""A second look that needs no language model: which answer people prefer, from the words in it.

Bradley-Terry on the difference of two answers' words: P(a better than b) = sigmoid(w . (x_a - x_b)) with x the logarithms of
1 + how often each word stands in the answer, and a Gaussian prior on w. Crude, but learned in seconds, and a learned
reward that finds no more wrong labels than it is worth nothing more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from custodes.types import Message, PreferencePair

WORD = re.compile(r"[a-z']+|[?!0-9]")
RARE = 3  # words in fewer answers are left out

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WordPreference:
    """What each word is worth, in nats per logarithm of its count."""

    words: dict[str, int]
    weights: Floats  # (V,)

    def margin(self, pairs: Sequence[PreferencePair]) -> Floats:
        """(P,) nats in favour of the chosen answer."""
        return np.asarray(_differences(pairs, self.words) @ self.weights, np.float64)


def learn_words(pairs: Sequence[PreferencePair], prior: float = 0.1) -> WordPreference:
    """Fit to pairs; ``prior`` is the standard deviation of a weight. Labels between 0 and 1 are soft."""
    seen = Counter(word for p in pairs for side in (p.chosen, p.rejected) for word in _words(side))
    words = {word: i for i, word in enumerate(sorted(w for w, n in seen.items() if n >= RARE))}
    x, label = _differences(pairs, words), np.array([p.label for p in pairs])

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        value = np.logaddexp(0, z).sum() - label @ z + (w @ w) / (2 * prior**2)
        return float(value), x.T @ (expit(z) - label) + w / prior**2

    found = minimize(loss, np.zeros(len(words)), jac=True, method="L-BFGS-B")
    return WordPreference(words, found.x)


def _differences(pairs: Sequence[PreferencePair], words: dict[str, int]) -> csr_matrix:
    """(P, V): of the chosen answer minus of the rejected one."""
    rows, columns, values = [], [], []
    for i, p in enumerate(pairs):
        for side, sign in ((p.chosen, 1.0), (p.rejected, -1.0)):
            for word, count in _words(side).items():
                if word in words:
                    rows.append(i)
                    columns.append(words[word])
                    values.append(sign * np.log1p(count))
    return csr_matrix((values, (rows, columns)), shape=(len(pairs), len(words)))


def _words(side: tuple[Message, ...]) -> Counter[str]:
    return Counter(WORD.findall(" ".join(m.content for m in side if m.role == "assistant").lower()))

"""Groups of annotators who say the same more often than what they see explains: they collude, or share a taste.

Answers alone cannot tell the two apart: an honest minority with a taste of its own agrees just as a conspiracy does.

For an answer of annotator k, r is its residual against what everybody else said (mean 0, variance 1, given all other
answers). If k and l judge independently, r times l's answer on the same pair has mean 0, but for what every annotator
shares with all others, which is taken out. Summed over the pairs that the members of a group share, and divided by the
root of their number, it is the z-score of a group. Two annotators share few pairs; a group of s shares s (s - 1) / 2
times as many. There are many groups, so a group scores z^2 / 2 - log(number of groups of its size), a scan statistic.
Groups grow greedily from the best links; the best score is held against the best scores of the same data with the
residuals' signs drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.feedback.poisoning.sequential import AnswerSeries
from custodes.types import Floats

SEEDS = 15
"""Links from which groups are grown."""
LARGEST = 1 / 3
"""Share of the annotators that a group may hold: a majority that agrees is the yardstick, not a conspiracy."""


@dataclass(frozen=True)
class Cluster:
    """A group that agrees beyond what its members see: they collude, or share a taste that the others have not."""

    meaning: ClassVar[str] = "agree beyond what they see: they collude, or share a taste"

    annotators: tuple[str, ...]
    z: float
    shared: int
    """Pairs of their answers to the same pair of episodes."""
    p: float
    """How often a group this tight, anywhere, comes out of the same data with random signs: family-wise."""


def find_clusters(model: AnnotatorModel, level: float = 0.01, draws: int = 199, seed: int = 0) -> list[Cluster]:
    """Groups with ``p`` at most ``level``, the tightest first; each annotator is in one at most.

    ``draws`` sets of random signs are the null distribution; the smallest p is 1 / (draws + 1).
    """
    answers, K = AnswerSeries.of(model), len(model.annotators)
    data, at = model.comparisons, answers.comparison
    low, high = np.minimum(data.first[at], data.second[at]), np.maximum(data.first[at], data.second[at])
    turn, pair = np.where(data.first[at] == low, 1.0, -1.0), np.unique(low * data.items + high, return_inverse=True)[1]
    first = replace(answers, sign=np.ones_like(answers.sign))
    p_first = np.exp(first.log_probability(model.reliability[answers.annotator]))
    residual = ((answers.sign > 0) - p_first) / np.sqrt(np.clip(p_first * (1 - p_first), 1e-3, None))
    said = csr_matrix((answers.sign * turn, (answers.annotator, pair)), shape=(K, pair.max(initial=-1) + 1))
    there = csr_matrix((np.ones(len(pair)), (answers.annotator, pair)), shape=said.shape)
    shared = _without_diagonal(np.asarray((there @ there.T).todense()))

    def links(signs: Floats) -> Floats:
        """(K, K) summed products of one's residuals and the other's answers, both ways round."""
        r = csr_matrix((residual * turn * signs, (answers.annotator, pair)), shape=said.shape)
        one_way = np.asarray((r @ said.T).todense())
        return _centred(_without_diagonal((one_way + one_way.T) / 2), shared)

    rng = np.random.default_rng([seed, 11])
    null = np.array([_grow(links(rng.choice([-1.0, 1.0], len(pair))), shared)[1] for _ in range(draws)])
    found: list[Cluster] = []
    link = links(np.ones(len(pair)))
    while True:
        members, score = _grow(link, shared)
        p = (1 + int((null >= score).sum())) / (draws + 1)
        if len(members) < 2 or p > level:
            return found
        inside = float(shared[np.ix_(members, members)].sum()) / 2
        z = float(link[np.ix_(members, members)].sum() / 2 / np.sqrt(inside))
        found.append(Cluster(tuple(sorted(model.annotators[k] for k in members)), z, int(inside), p))
        link[members], link[:, members] = 0.0, 0.0
        shared = shared.copy()
        shared[members], shared[:, members] = 0.0, 0.0


def _grow(link: Floats, shared: Floats) -> tuple[list[int], float]:
    """The group with the largest score that greedy growth finds, and that score."""
    K = len(link)
    size = np.arange(max(3, int(K * LARGEST)) + 1)
    groups = gammaln(K + 1) - gammaln(size + 1) - gammaln(K - size + 1)  # log of how many there are of each size
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(shared > 0, link / np.sqrt(shared), -np.inf)
    upper = np.argsort(np.where(np.tri(K, dtype=bool), -np.inf, z), axis=None)[::-1][:SEEDS]
    best: tuple[list[int], float] = ([], -np.inf)
    for start in upper:
        members = [int(start) // K, int(start) % K]
        total, count = link[members[0], members[1]], shared[members[0], members[1]]
        gain, more = link[members].sum(axis=0), shared[members].sum(axis=0)
        while count > 0:
            score = np.sign(total) * total**2 / count / 2 - groups[len(members)]
            if score > best[1]:
                best = (list(members), float(score))
            if len(members) + 1 >= len(size):
                break
            with np.errstate(divide="ignore", invalid="ignore"):
                after = np.where(count + more > 0, (total + gain) / np.sqrt(count + more), -np.inf)
            after[members] = -np.inf
            k = int(np.argmax(after))
            members.append(k)
            total, count = total + gain[k], count + more[k]
            gain, more = gain + link[k], more + shared[k]
    return best


def _centred(link: Floats, shared: Floats) -> Floats:
    """``link`` less what each annotator has in common with everybody, per shared pair."""
    own = link.sum(axis=1) / np.maximum(shared.sum(axis=1), 1)
    everybody = link.sum() / max(shared.sum(), 1)
    return _without_diagonal(link - shared * (own[:, None] + own[None, :] - everybody))


def _without_diagonal(square: Floats) -> Floats:
    np.fill_diagonal(square, 0.0)
    return square

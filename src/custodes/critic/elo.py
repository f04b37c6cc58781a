"""Ratings of critics from ratings of critiques: Elo with intervals from a bootstrap over problems, and what nobody beats.

Critiques of one problem are compared with each other, attribute by attribute, every two of different policies: the
higher value wins, equal values are half a win for each. Elo is the Bradley-Terry model in units of 400 per factor of
ten, P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400)), fitted to all pairs at once. The pairs of one problem depend on each
other (four critiques make six pairs), so that what is resampled are problems (arXiv 2407.00215, section 2.4).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.stats import Interval
from custodes.types import InputError

Floats = NDArray[np.float64]
UNIT = 400 / np.log(10)
"""Elo per unit of log-odds."""
PRIOR = 1000.0
"""Standard deviation of the Gaussian prior, Elo: who wins every comparison gets a finite rating, others hardly feel it."""
STEPS = 40


@dataclass(frozen=True, eq=False)
class Elo:
    """Ratings of policies; their mean is 0, only differences mean something."""

    policies: tuple[str, ...]
    rating: Floats  # (P,)
    resampled: Floats  # (R, P), a row for each resample of the problems
    problems: int
    pairs: int

    def of(self, policy: str, level: float = 0.95) -> Interval:
        """Rating with the percentile interval of the bootstrap; n is the number of problems."""
        i = self.policies.index(policy)
        return self._interval(self.rating[i], self.resampled[:, i], level)

    def difference(self, first: str, second: str, level: float = 0.95) -> Interval:
        """Rating of ``first`` minus that of ``second``, resampled together."""
        i, j = self.policies.index(first), self.policies.index(second)
        return self._interval(self.rating[i] - self.rating[j], self.resampled[:, i] - self.resampled[:, j], level)

    def _interval(self, estimate: float, resampled: Floats, level: float) -> Interval:
        low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(estimate), float(low), float(high), self.problems)


def elo(
    problems: Sequence[Hashable],
    policies: Sequence[str],
    values: ArrayLike,
    *,
    higher_is_better: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> Elo:
    """Elo of the policies from one attribute's ratings.

    Args:
        problems: (N,) what was criticised; critiques of the same problem are compared.
        policies: (N,) who wrote the critique.
        values: (N,) the rating. Not a number: not rated, left out.
        higher_is_better: turn it off for hallucinations and nitpicks.
        resamples: R, of the problems.
        seed: of the resamples.

    Raises InputError where the three differ in length or nothing can be compared.
    """
    x = np.asarray(values, np.float64) * (1 if higher_is_better else -1)
    if not len(problems) == len(policies) == len(x):
        raise InputError(f"{len(problems)} problems, {len(policies)} policies and {len(x)} values; give one of each.")
    names = tuple(dict.fromkeys(policies))
    wins = _wins(problems, [names.index(p) for p in policies], x, len(names))
    if not len(wins):
        raise InputError("no problem has critiques of two policies; there is nothing to compare.")
    drawn = np.random.default_rng(seed).multinomial(len(wins), np.full(len(wins), 1 / len(wins)), resamples)
    sums = np.concatenate([wins.sum(0)[None], np.tensordot(drawn.astype(np.float64), wins, 1)])
    fitted = _fit(sums)
    return Elo(names, fitted[0], fitted[1:], len(wins), round(wins.sum()))


def frontier(cost: ArrayLike, gain: ArrayLike) -> NDArray[np.bool_]:
    """(N,) which points nobody beats: no other has at most the cost and at least the gain, and one of both better.

    ``cost`` (hallucinations, nitpicks) and ``gain`` (bugs included) are (N,). Equal points are on it together.
    """
    x, y = np.asarray(cost, np.float64), np.asarray(gain, np.float64)
    no_worse = (x[None] <= x[:, None]) & (y[None] >= y[:, None])
    better = (x[None] < x[:, None]) | (y[None] > y[:, None])
    beaten: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return ~beaten


def _wins(problems: Sequence[Hashable], policy: Sequence[int], x: Floats, P: int) -> Floats:
    """(problems with a pair, P, P): how often row beat column."""
    of: dict[Hashable, list[int]] = {}
    for i, problem in enumerate(problems):
        if not np.isnan(x[i]):
            of.setdefault(problem, []).append(i)
    found = []
    for members in of.values():
        wins = np.zeros((P, P))
        for i, j in combinations(members, 2):
            if policy[i] != policy[j]:
                won = 0.5 + 0.5 * np.sign(x[i] - x[j])
                wins[policy[i], policy[j]] += won
                wins[policy[j], policy[i]] += 1 - won
        if wins.any():
            found.append(wins)
    return np.array(found)


def _fit(wins: Floats) -> Floats:
    """(R, P, P) wins -> (R, P) Elo, the posterior's mode, by Newton's method for all R at once."""
    R, P, _ = wins.shape
    r, played, eye = np.zeros((R, P)), wins + wins.swapaxes(1, 2), np.eye(P)
    precision = (UNIT / PRIOR) ** 2
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(np.clip(r[:, None, :] - r[:, :, None], -30, 30)))  # (R, P, P): row beats column
        gradient = (wins - played * expected).sum(2) - precision * r
        weight = played * expected * (1 - expected)
        hessian = weight.sum(2)[:, :, None] * eye - weight + precision * eye
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        r += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return UNIT * (r - r.mean(1, keepdims=True))

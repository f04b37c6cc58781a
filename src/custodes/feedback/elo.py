"""Ratings of critics from ratings of critiques: Elo with intervals over problems, and what nobody beats.

Critiques of one problem are compared with each other, attribute by attribute, every two of different policies: the
higher value wins, equal values are half a win for each. Elo is the Bradley-Terry model in units of 400 per factor of
ten, P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400)), fitted to all pairs at once. To the pairs come imaginary ties: each
policy ties once in all, shared among the others. They shrink the ratings of few problems and keep them finite where one
policy wins everything (half a win and half a loss for two policies: Jeffreys' prior of a rate).

Intervals are those of the profile likelihood, which has no upper end to fear where one side always wins. The pairs of one
problem depend on each other (four critiques make six pairs), so that the likelihood is tempered: by how much more the
sums over problems vary than independent pairs would, in the direction that is asked about.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy  # its parts are imported where they are first used
from numpy.typing import ArrayLike, NDArray

from custodes.stats import Interval
from custodes.types import Floats, InputError

UNIT = 400 / np.log(10)
"""Elo per unit of log-odds."""
STEPS = 60
FARTHEST = 60.0
"""Log-odds beyond which no bound is looked for."""
WORST = 2.0
"""Imaginary problems whose pairs all came out alike: few problems do not tell how their pairs hang together."""


@dataclass(frozen=True, eq=False)
class Elo:
    """Ratings of policies; their mean is 0, only differences mean something."""

    policies: tuple[str, ...]
    rating: Floats  # (P,)
    wins: Floats  # (problems or their clusters, P, P): how often row beat column in each

    @property
    def problems(self) -> int:
        return len(self.wins)

    @property
    def pairs(self) -> int:
        return round(float(self.wins.sum()))

    def of(self, policy: str, level: float = 0.95) -> Interval:
        """Rating with its interval; n is the number of problems."""
        P = len(self.policies)
        return self._interval(np.eye(P)[self.policies.index(policy)] - 1 / P, level)

    def difference(self, first: str, second: str, level: float = 0.95) -> Interval:
        """Rating of ``first`` minus that of ``second``."""
        eye = np.eye(len(self.policies))
        return self._interval(eye[self.policies.index(first)] - eye[self.policies.index(second)], level)

    def _interval(self, contrast: Floats, level: float) -> Interval:
        """Of ``contrast @ rating``, the contrast (P,) summing to 0."""
        wins, r = _with_ties(self.wins.sum(0)), self.rating / UNIT
        estimate, top = float(contrast @ r), _likelihood(wins, r)
        drop = float(scipy.special.chdtri(1, 1 - level)) / 2 * _tempering(self.wins, r, contrast)
        others = scipy.linalg.null_space(np.stack([contrast, np.ones_like(contrast)]))  # (P, P - 2)
        along = contrast / float(contrast @ contrast)

        def missing(t: float) -> float:
            return top - _likelihood(wins, _fit(wins, others, t * along)) - drop

        def bound(sign: int) -> float:
            step = 0.5
            while missing(estimate + sign * step) < 0 and step < FARTHEST:
                step *= 2
            if step >= FARTHEST:
                return estimate + sign * FARTHEST
            return float(scipy.optimize.brentq(missing, estimate, estimate + sign * step, xtol=1e-4))

        return Interval(UNIT * estimate, UNIT * bound(-1), UNIT * bound(1), self.problems)


def elo(
    problems: Sequence[Hashable],
    policies: Sequence[str],
    values: ArrayLike,
    *,
    higher_is_better: bool = True,
    clusters: Mapping[Hashable, Hashable] | None = None,
) -> Elo:
    """Elo of the policies from one attribute's ratings.

    Args:
        problems: (N,) what was criticised; critiques of the same problem are compared.
        policies: (N,) who wrote the critique.
        values: (N,) the rating. Not a number: not rated, left out.
        higher_is_better: turn it off for hallucinations and nitpicks.
        clusters: problem -> what it is a version of; intervals count those.

    Raises InputError where the three differ in length or nothing can be compared.
    """
    x = np.asarray(values, np.float64) * (1 if higher_is_better else -1)
    if not len(problems) == len(policies) == len(x):
        raise InputError(f"{len(problems)} problems, {len(policies)} policies and {len(x)} values; give one of each.")
    names = tuple(dict.fromkeys(policies))
    by_problem = _wins(problems, [names.index(p) for p in policies], x, len(names))
    of_cluster: dict[Hashable, Floats] = {}
    for problem, found in by_problem.items():
        cluster = problem if clusters is None else clusters[problem]
        of_cluster[cluster] = of_cluster.get(cluster, 0.0) + found
    wins = np.array(list(of_cluster.values()))
    if not len(wins):
        raise InputError("no problem has critiques of two policies; there is nothing to compare.")
    directions = scipy.linalg.null_space(np.ones((1, len(names))))
    return Elo(names, UNIT * _fit(_with_ties(wins.sum(0)), directions, np.zeros(len(names))), wins)


def frontier(cost: ArrayLike, gain: ArrayLike) -> NDArray[np.bool_]:
    """(N,) which points nobody beats: no other has at most the cost and at least the gain, and one of both better.

    ``cost`` (hallucinations, nitpicks) and ``gain`` (bugs included) are (N,). Equal points are on it together.
    """
    x, y = np.asarray(cost, np.float64), np.asarray(gain, np.float64)
    no_worse = (x[None] <= x[:, None]) & (y[None] >= y[:, None])
    better = (x[None] < x[:, None]) | (y[None] > y[:, None])
    beaten: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return ~beaten


def _wins(problems: Sequence[Hashable], policy: Sequence[int], x: Floats, P: int) -> dict[Hashable, Floats]:
    """Problem with a pair -> (P, P): how often row beat column."""
    of: dict[Hashable, list[int]] = {}
    for i, problem in enumerate(problems):
        if not np.isnan(x[i]):
            of.setdefault(problem, []).append(i)
    found = {}
    for problem, members in of.items():
        wins = np.zeros((P, P))
        for i, j in combinations(members, 2):
            if policy[i] != policy[j]:
                won = 0.5 + 0.5 * np.sign(x[i] - x[j])
                wins[policy[i], policy[j]] += won
                wins[policy[j], policy[i]] += 1 - won
        if wins.any():
            found[problem] = wins
    return found


def _with_ties(wins: Floats) -> Floats:
    """(P, P) wins with the imaginary ties: half a win each, every policy in one tie in all."""
    P = len(wins)
    return wins + (1 - np.eye(P)) / (2 * (P - 1))


def _expected(r: Floats) -> Floats:
    """(P, P): how likely row beats column, where the ratings are ``r`` (P,) in log-odds."""
    return np.asarray(scipy.special.expit(r[:, None] - r[None]))


def _likelihood(wins: Floats, r: Floats) -> float:
    return float((wins * scipy.special.log_expit(r[:, None] - r[None])).sum())


def _fit(wins: Floats, directions: Floats, start: Floats) -> Floats:
    """(P,) log-odds: the most likely point ``start + directions @ y``, by Newton's method with halved steps."""
    y = np.zeros(directions.shape[1])
    r = start
    played = wins + wins.T
    for _ in range(STEPS if len(y) else 0):
        expected = _expected(r)
        gradient = directions.T @ (wins - played * expected).sum(1)
        step = np.linalg.solve(directions.T @ _information(played, r) @ directions, gradient)
        size, before = min(1.0, 2 / max(float(np.abs(step).max()), 1e-12)), _likelihood(wins, r)
        while _likelihood(wins, start + directions @ (y + size * step)) < before - 1e-12 and size > 1e-6:
            size /= 2
        y = y + size * step
        r = start + directions @ y
        if np.abs(size * step).max() < 1e-9:
            break
    return r


def _information(played: Floats, r: Floats) -> Floats:
    """(P, P) Fisher's, of the ratings in log-odds; ``played`` (P, P) counts each pair in both directions."""
    expected = _expected(r)
    weight = played * expected * (1 - expected)
    return np.asarray(np.diag(weight.sum(1)) - weight)


def _tempering(wins: Floats, r: Floats, contrast: Floats) -> float:
    """By how much the variance of ``contrast @ rating`` over problems exceeds that of independent pairs, 1 or more.

    The sandwich estimate over problems is pooled with the worst case, as if two more problems had shown that. In the worst
    case all comparisons of two policies on one problem come out alike, and its P policies have a ranking. Rank sums vary
    (P + 1) / 3 times as much as those of independent pairs.
    """
    n, played = len(wins), wins + wins.swapaxes(1, 2)
    ranked = played.any(axis=2).sum(1)[:, None, None]
    most = played.max(axis=(1, 2), keepdims=True) * (ranked + 1) / 3
    inverse = np.linalg.pinv(_information(_with_ties(wins.sum(0)) + _with_ties(wins.sum(0)).T, r))
    independent = _information(played.sum(0), r)
    score = (wins - played * _expected(r)).sum(2)  # (problems, P)
    direction = inverse @ contrast
    plain = float(direction @ independent @ direction)
    worst = float(direction @ _information((played * most).sum(0), r) @ direction)
    found = plain
    if n > 1:
        found = max(plain, n * float((score @ direction).var(ddof=1)))
    share = WORST / (n + WORST)
    return max(1.0, ((1 - share) * found + share * max(worst, plain)) / plain)

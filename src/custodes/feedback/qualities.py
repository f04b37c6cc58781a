"""What is known of the items: one Gaussian over all qualities, exact within groups of connected items.

Every comparison n puts a Gaussian site on its difference of qualities, with a precision and a natural mean. The precision
matrix of all qualities is then D - W over the pairs that were compared, plus the prior's 1. Items that no chain of
comparisons connects are independent, so the matrix falls into groups. Groups of at most ``EXACT_GROUP`` items are
inverted. In larger ones the mean comes from conjugate gradients. The variance of a difference comes from the 2 x 2 block of
its two items, the others held. The variance of q_i comes from the first two terms of the Neumann series,
1/D_i + sum_j W_ij^2 / (D_i^2 D_j). Both are slight underestimates, which vanish as items are compared with more others.

Covariates gamma (length, markdown) enter each difference as x_n . gamma; they border the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg

from custodes.types import Floats, Ints

EXACT_GROUP = 400  # connected items up to which the variances of their qualities are exact


@dataclass(frozen=True, eq=False)
class Belief:
    """Qualities and differences given the sites, in the units in which qualities have prior variance 1."""

    quality: Floats  # (I,)
    gamma: Floats  # (F,)
    gamma_covariance: Floats  # (F, F)
    mean: Floats  # (N,) of each comparison's difference, covariates included
    variance: Floats  # (N,)
    plain_mean: Floats  # (N,) of the difference of qualities alone
    plain_variance: Floats  # (N,)
    adapting: Floats  # (I, F) how the qualities would fall if a coefficient rose by 1


class Items:
    """The P distinct pairs that were compared, and the Gaussian over the items' qualities."""

    def __init__(self, first: Ints, second: Ints, items: int, covariates: Floats) -> None:
        self.items, self.covariates = items, covariates
        low, high = np.minimum(first, second), np.maximum(first, second)
        code, self.example, self.of = np.unique(low * items + high, return_index=True, return_inverse=True)
        self.low, self.high = code // items, code % items  # (P,)
        self.turn = np.where(first == low, 1.0, -1.0)
        rows, columns = np.concatenate([self.low, self.high]), np.concatenate([self.high, self.low])
        self.matrix = csr_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=(items, items))
        self.order = self.matrix.data.astype(np.int64) - 1
        self.component = components(first, second, items)
        self.groups = list(_exact_groups(self.component, self.low, self.high))
        self.large = np.bincount(self.component)[self.component] > EXACT_GROUP  # (I,)
        self.start = np.zeros((items, 1 + covariates.shape[1]))

    def believe(self, precision: Floats, natural: Floats) -> Belief:
        """The Gaussian, given each comparison's site: precision and precision times mean, (N,)."""
        x, turn = self.covariates, self.turn
        pair = sums(self.of, precision, len(self.low))  # (P,)
        diagonal = 1.0 + self._sum(pair, 1.0)
        right = np.empty((self.items, 1 + x.shape[1]))
        for f, value in enumerate([natural, *(precision * x[:, f] for f in range(x.shape[1]))]):
            right[:, f] = self._sum(sums(self.of, turn * value, len(self.low)), -1.0)
        inverses = [group.inverse(pair, diagonal) for group in self.groups]
        solved = self._solve(pair, diagonal, right, inverses)
        variance = self._variances(pair, diagonal, inverses)[self.of]
        difference = turn[:, None] * (solved[self.low] - solved[self.high])[self.of]  # (N, 1 + F)
        if not x.shape[1]:
            mean = difference[:, 0]
            return Belief(
                solved[:, 0], np.zeros(0), np.zeros((0, 0)), mean, variance, mean, variance, np.zeros((self.items, 0))
            )
        through = x - difference[:, 1:]  # what is left of the covariates when the qualities have adapted
        schur = np.eye(x.shape[1]) + (x * precision[:, None]).T @ x - right[:, 1:].T @ solved[:, 1:]
        covariance = np.linalg.inv((schur + schur.T) / 2).astype(np.float64)
        gamma = covariance @ (x.T @ natural - right[:, 1:].T @ solved[:, 0])
        plain = difference[:, 0] - difference[:, 1:] @ gamma
        blurs = (variance + np.einsum("nf,fg,ng->n", by, covariance, by) for by in (through, difference[:, 1:]))
        quality = solved[:, 0] - solved[:, 1:] @ gamma
        return Belief(quality, gamma, covariance, plain + x @ gamma, next(blurs), plain, next(blurs), solved[:, 1:])

    def _solve(self, pair: Floats, diagonal: Floats, right: Floats, inverses: list[Floats]) -> Floats:
        solved = np.zeros_like(right)
        for group, inverse in zip(self.groups, inverses, strict=True):
            solved[group.items] = inverse @ right[group.items]
        if self.large.any():
            self.matrix.data = np.concatenate([pair, pair])[self.order]
            shape = (self.items, self.items)
            operator = LinearOperator(shape, matvec=lambda v: diagonal * v - self.matrix @ v, dtype=np.float64)
            scale = LinearOperator(shape, matvec=lambda v: v / diagonal, dtype=np.float64)
            if self.start.shape != right.shape:
                self.start = np.zeros_like(right)
            for f in range(right.shape[1]):
                masked = np.where(self.large, right[:, f], 0.0)
                self.start[:, f], _ = cg(operator, masked, x0=self.start[:, f], M=scale, rtol=1e-3, maxiter=200)
            solved[self.large] = self.start[self.large]
        return solved

    def _variances(self, pair: Floats, diagonal: Floats, inverses: list[Floats]) -> Floats:
        """Of q_low - q_high for each pair, (P,)."""
        one, other = diagonal[self.low], diagonal[self.high]
        variance = (one + other - 2 * pair) / (one * other - pair**2)
        for group, inverse in zip(self.groups, inverses, strict=True):
            g, i, j = group.number, group.low, group.high
            variance[group.pairs] = inverse[g, i, i] + inverse[g, j, j] - 2 * inverse[g, i, j]
        return variance

    def draws(self, precision: Floats, count: int, rng: np.random.Generator) -> Floats:
        """(count, I) deviations of the qualities from their means, drawn from the Gaussian.

        By perturbation (Papandreou and Yuille 2010): noise of the precision matrix, solved, has its inverse as covariance.
        """
        pair = sums(self.of, precision, len(self.low))
        diagonal = 1.0 + self._sum(pair, 1.0)
        noise = rng.normal(size=(self.items, count))
        for n in range(count):
            noise[:, n] += self._sum(np.sqrt(pair) * rng.normal(size=len(pair)), -1.0)
        solved = self._solve(pair, diagonal, noise, [group.inverse(pair, diagonal) for group in self.groups])
        if self.covariates.shape[1]:
            zero = np.zeros(len(precision))
            belief = self.believe(precision, zero)
            gamma = np.linalg.cholesky(belief.gamma_covariance) @ rng.normal(size=(self.covariates.shape[1], count))
            solved = solved - belief.adapting @ gamma
        return solved.T

    def item_variances(self, precision: Floats) -> Floats:
        """Variance of each quality, covariates held, (I,): the diagonal of the inverse precision matrix."""
        pair = sums(self.of, precision, len(self.low))
        diagonal = 1.0 + self._sum(pair, 1.0)
        around = sums(self.low, pair**2 / diagonal[self.high], self.items)
        around += sums(self.high, pair**2 / diagonal[self.low], self.items)
        variance = 1 / diagonal + around / diagonal**2
        for group in self.groups:
            variance[group.items] = np.diagonal(group.inverse(pair, diagonal), axis1=1, axis2=2)
        return variance

    def spread(self, belief: Belief) -> float:
        """Standard deviation of a quality, from the differences over distinct pairs."""
        return float(np.sqrt(np.mean((belief.plain_mean**2 + belief.plain_variance)[self.example]) / 2))

    def _sum(self, value: Floats, turn: float) -> Floats:
        """Per item, the values of its pairs; times ``turn`` where the item is the pair's higher one."""
        return sums(self.low, value, self.items) + turn * sums(self.high, value, self.items)


@dataclass(frozen=True, eq=False)
class _Groups:
    """The G groups of n connected items, for one n: here the precision matrix is inverted exactly."""

    items: Ints  # (G, n)
    pairs: Ints  # which pairs lie in these groups
    number: Ints  # of each of these pairs: its group
    low: Ints  # and the places of its two items in the group
    high: Ints

    def inverse(self, precision: Floats, diagonal: Floats) -> Floats:
        """(G, n, n)"""
        blocks = np.zeros((*self.items.shape, self.items.shape[1]))
        places = np.arange(self.items.shape[1])
        blocks[:, places, places] = diagonal[self.items]
        blocks[self.number, self.low, self.high] = blocks[self.number, self.high, self.low] = -precision[self.pairs]
        return np.linalg.inv(blocks)


def _exact_groups(group: Ints, low: Ints, high: Ints) -> Iterator[_Groups]:
    size = np.bincount(group)
    order = np.argsort(group, kind="stable")
    start = np.cumsum(size) - size
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - np.repeat(start, size)
    for n in np.unique(size[size <= EXACT_GROUP]):
        chosen = np.flatnonzero(size == n)
        number = np.full(len(size), -1)
        number[chosen] = np.arange(len(chosen))
        pairs = np.flatnonzero(size[group[low]] == n)
        items = order[start[chosen, None] + np.arange(n)]
        yield _Groups(items, pairs, number[group[low[pairs]]], place[low[pairs]], place[high[pairs]])


def components(first: Ints, second: Ints, items: int) -> Ints:
    """(I,) the number of the group of items that each belongs to: connected by comparisons, each (N,)."""
    graph = csr_matrix((np.ones(len(first)), (first, second)), shape=(items, items))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def sums(index: Ints, value: Floats, n: int) -> Floats:
    """(n,) sums of ``value`` over equal ``index``."""
    return np.bincount(index, value, minlength=n).astype(np.float64, copy=False)

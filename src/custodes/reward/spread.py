"""How much of what replies are worth depends on who judges: distributional preference learning.

A reply has a distribution of worth over judges, a mean mu and a variance sigma^2 (arXiv 2312.08358, section 4, the
mean-and-variance model):

    P(a is better than b) = Phi((mu_a - mu_b) / sqrt(sigma_a^2 + sigma_b^2))

r2 = Var(mu) / (Var(mu) + mean sigma^2) is the share of the variance that replies explain; the rest is who judges. A single
judge's noise counts as variance too, so r2 is below 1 where nobody disagrees. It is told beside the r2 of simulated
judges who are as noisy and share one set of values.

Letters: N comparisons, K annotators, d features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_ndtr

from custodes.reward.groups import PRIOR_LOGIT, SHARPNESS, FeaturePairs, Groups
from custodes.stats import Interval, jackknife
from custodes.types import Floats

BLOCKS = 20
"""Blocks of annotators that the jackknife leaves out, one at a time."""
SIMULATIONS = 20
MOST_JUDGMENTS = 20_000
"""Judgments beyond which whole annotators are left out, drawn at random."""


@dataclass(frozen=True, slots=True)
class Spread:
    """r2 of the judgments, and of judges without disagreement."""

    r2: Interval
    """With a jackknife interval over annotators; its n are their blocks."""
    one_group: Interval
    """Mean and central 95 % of simulations in which everybody has the values of the largest group, and noise as fitted."""

    @property
    def disagreement(self) -> bool:
        """Whether replies explain surely less than they would without disagreement."""
        return self.r2.high < self.one_group.low

    def to_dict(self) -> dict[str, Any]:
        return {"r2": self.r2.to_dict(), "one_group": self.one_group.to_dict(), "disagreement": self.disagreement}

    def __str__(self) -> str:
        verdict = (
            "people disagree about more than their noise"
            if self.disagreement
            else "more disagreement than noise explains is not shown"
        )
        return f"r2 {self.r2}; without disagreement and with the same noise {self.one_group}: {verdict}."


def measure_spread(
    first: Floats, second: Floats, data: FeaturePairs, groups: Groups, *, simulations: int = SIMULATIONS, seed: int = 0
) -> Spread:
    """r2 of judgments on replies of features ``first`` and ``second`` (N, d), beside that of ``simulations`` without disagreement.

    ``data`` holds their differences and who judged; ``groups`` is the mixture fitted to it.
    """
    rng = np.random.default_rng([seed, 6])
    person, K = data.person, len(data.people)
    if len(person) > MOST_JUDGMENTS:
        order = rng.permutation(K)
        among = np.cumsum(data.each[order]) <= MOST_JUDGMENTS
        kept = np.isin(person, order[among])
        first, second, data, person = first[kept], second[kept], data.some(kept), person[kept]
    both = np.concatenate([first, second])
    scale = np.where(both.std(axis=0) > 0, both.std(axis=0), 1.0)
    a, b = (first - both.mean(axis=0)) / scale, (second - both.mean(axis=0)) / scale
    block = rng.permutation(K)[person] % BLOCKS

    def of_blocks(left: Floats) -> float:
        rows = np.isin(block, left)
        return _explained_share(a[rows], b[rows], data.label[rows])

    r2 = jackknife(of_blocks, np.unique(block), bounds=(0.0, 1.0))
    joint = groups.joint.sum(axis=1)
    sharp = SHARPNESS[(rng.random((K, 1)) > np.cumsum(joint, axis=1)[:, :-1]).sum(axis=1)]
    logit = sharp[person] * groups.scores(data.difference)[:, 0]
    if data.offset is not None:
        logit = logit + data.offset
    drawn = [_explained_share(a, b, (rng.random(len(logit)) < expit(logit)) * 1.0) for _ in range(simulations)]
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return Spread(r2, Interval(float(np.mean(drawn)), low, high, simulations))


def _explained_share(first: Floats, second: Floats, label: Floats) -> float:
    """r2 of the likeliest mean and variance: the mean linear in the features (N, d), the log-variance quadratic."""
    N, d = first.shape
    items = np.concatenate([first, second])
    curved = np.concatenate([items, items**2 - 1], axis=1)  # (2N, 2d)
    spread = np.concatenate([np.full(d, PRIOR_LOGIT / np.sqrt(d)), np.full(2 * d, 1 / np.sqrt(d))])

    def loss(theta: Floats) -> tuple[float, Floats]:
        mean, variance = items @ theta[:d], np.exp(np.clip(curved @ theta[d:], -20, 20))
        sd = np.sqrt(variance[:N] + variance[N:])
        t = (mean[:N] - mean[N:]) / sd
        up, down = log_ndtr(t), log_ndtr(-t)
        density = -(t**2) / 2 - np.log(2 * np.pi) / 2
        by_t = label * np.exp(density - up) - (1 - label) * np.exp(density - down)
        by_mean = by_t / sd
        by_log_variance = -by_t * t / (2 * sd**2)
        pull = np.concatenate([by_mean, -by_mean])
        bend = np.concatenate([by_log_variance, by_log_variance]) * variance
        gradient = np.concatenate([items.T @ pull, curved.T @ bend])
        value = float(label @ up + (1 - label) @ down) - float(((theta / spread) ** 2).sum()) / 2
        return -value, -(gradient - theta / spread**2)

    theta = minimize(loss, np.zeros(3 * d), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    explained = float((items @ theta[:d]).var())
    return explained / (explained + float(np.exp(np.clip(curved @ theta[d:], -20, 20)).mean()))

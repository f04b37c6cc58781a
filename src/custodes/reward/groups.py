"""Groups of annotators with values of their own: expectation-maximisation over annotators.

Each annotator belongs to one of G groups, and each group has a Bradley-Terry reward of its own, linear in d features of
the replies (MaxMin-RLHF, arXiv 2402.08925, algorithm 2, with soft in place of hard memberships):

    P(first is better | group g, sharpness s) = sigmoid(s w_g . (x_first - x_second) + offset)

An annotator's sharpness s is integrated over :data:`SHARPNESS`, so that careless and careful people with the same values
stay in one group; at s = 0 somebody answers at random and belongs to every group as much as everybody does.
Responsibilities come from all judgments of a person at once, in logs, and are soft. The M-step is a weighted logistic
regression: one Newton step a round.

Letters: N comparisons, K annotators, G groups, S values of sharpness, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from custodes.types import Floats, InputError, Ints

MOST_FEATURES = 64
RESTARTS = 8
TRIAL_ROUNDS = 5
"""Rounds after which restarts that lose are dropped..."""
SURVIVORS = 2
"""...and how many go on."""
ROUNDS = 300
TOLERANCE = 1e-3
"""Nats of the objective: a round that gains less ends the fit."""
SHARPNESS = np.array([0.0, 1 / 3, 2 / 3, 4 / 3, 8 / 3])
PRIOR_LOGIT = 2.0
"""Standard deviation of a difference of scores before anything is known, log-odds: the prior of the weights."""
IMAGINARY = 1.0
"""Annotators that every group, and every sharpness, is given before anybody is counted."""
SAME = 1e-9
"""Responsibilities that differ by less in every group are an identical start, which never separates."""


@dataclass(frozen=True, eq=False)
class FeaturePairs:
    """N comparisons as differences of features, and who made each."""

    difference: Floats  # (N, d) features of the first minus those of the second
    label: Floats  # (N,) probability that the first is better: 1, 0, or 0.5 for a tie
    people: tuple[str, ...]  # (K,) the annotators
    person: Ints  # (N,) the number of the annotator who judged
    offset: Floats | None = None  # (N,) log-odds that are known already, such as a bias towards the first shown
    source: str = "the judgments"

    @classmethod
    def of(
        cls,
        difference: Floats,
        label: Floats,
        annotators: Sequence[str],
        offset: Floats | None = None,
        source: str = "the judgments",
    ) -> FeaturePairs:
        """From the name of each comparison's annotator. Raises InputError for more than 64 features, for shapes that do not fit,
        where there is no comparison, and where nobody is named."""
        N = len(label)
        if not N:
            raise InputError(f"{source} hold no comparison; groups are found from comparisons.")
        if not all(annotators):
            raise InputError(
                f'{source} do not say who judged; groups of annotators need a column "annotator" in every row.'
            )
        if difference.ndim != 2 or len(difference) != N or len(annotators) != N:
            raise InputError(
                f"{source}: features of shape {difference.shape} and {len(annotators)} annotators for {N} labels; give one "
                "row of features and one annotator for each."
            )
        if difference.shape[1] > MOST_FEATURES:
            raise InputError(f"{source}: {difference.shape[1]} features; groups are found on at most {MOST_FEATURES}.")
        index: dict[str, int] = {}
        person = np.array([index.setdefault(name, len(index)) for name in annotators], np.int64)
        return cls(difference, label, tuple(index), person, offset, source)

    def some(self, chosen: NDArray[np.bool_]) -> FeaturePairs:
        """The chosen comparisons; people without any stay, so that everybody keeps their number."""
        offset = None if self.offset is None else self.offset[chosen]
        return replace(
            self,
            difference=self.difference[chosen],
            label=self.label[chosen],
            person=self.person[chosen],
            offset=offset,
        )

    @property
    def each(self) -> Ints:
        """(K,) comparisons that each person made."""
        return np.bincount(self.person, minlength=len(self.people))


@dataclass(frozen=True, eq=False)
class Groups:
    """A mixture of groups, fitted; the largest group comes first."""

    people: tuple[str, ...]  # (K,)
    share: Floats  # (G,) of annotators
    weights: Floats  # (G, d) per unit of each feature, log-odds at sharpness 1
    sharpness: Floats  # (S,) share of annotators at each value of SHARPNESS
    joint: Floats  # (K, G, S) probability of each group and sharpness, given all judgments of a person
    objective: float
    """Log-likelihood plus the logarithm of the prior, nats."""
    rounds: int
    converged: bool

    @property
    def count(self) -> int:
        return len(self.share)

    @property
    def membership(self) -> Floats:
        """(K, G) probability of each group."""
        return self.joint.sum(axis=2)

    @property
    def likeliest(self) -> Ints:
        """(K,) the number of each person's likeliest group, from 0."""
        return self.membership.argmax(axis=1)

    @property
    def certainty(self) -> float:
        """Mean probability of each person's likeliest group: how sure the memberships are."""
        return float(self.membership.max(axis=1).mean())

    @property
    def typical(self) -> Floats:
        """(G, d) weights at the mean sharpness of each group's members."""
        sharp = (self.joint * SHARPNESS).sum(axis=(0, 2)) / np.maximum(self.membership.sum(axis=0), 1e-300)
        return np.asarray(self.weights * sharp[:, None])

    def scores(self, features: Floats) -> Floats:
        """(B, G) score of each reply for each group, from its features (B, d)."""
        return np.asarray(features @ self.weights.T)

    def fitted_sharpness(self) -> Floats:
        """(K, G) each person's mean sharpness, were they of each group."""
        return np.asarray((self.joint * SHARPNESS).sum(axis=2) / np.maximum(self.membership, 1e-300))


def fit_groups(
    data: FeaturePairs, groups: int, *, restarts: int = RESTARTS, seed: int = 0, start: Floats | None = None
) -> Groups:
    """The likeliest mixture of ``groups`` groups.

    Of ``restarts`` starts, half random and half from what annotators' answers have in common, all but two are dropped after
    five rounds. ``start`` (K, G) are responsibilities to begin with in place of them. Raises InputError for more groups than
    annotators, where nobody judged twice, and for a ``start`` whose groups are identical: they would never separate.
    """
    K = len(data.people)
    if not 1 <= groups <= K:
        raise InputError(f"{groups} groups of {K} annotators in {data.source}; ask for 1 to {K}.")
    if groups > 1 and int((data.each > 1).sum()) < groups:
        raise InputError(
            f"{data.source}: {int((data.each > 1).sum())} of {K} annotators judged more than once; who belongs to which of "
            f"{groups} groups shows in what one person prefers again and again, so collect several judgments each."
        )
    if start is not None and (start.shape != (K, groups) or (groups > 1 and not _separates(start))):
        raise InputError(
            f"a start of shape {start.shape} for {K} annotators and {groups} groups must have one column a group, and the "
            "columns must differ: identical groups never separate."
        )
    em = _Mixture(data)
    pooled = em.run(em.begin(np.ones((K, 1)), np.zeros((1, em.d))), ROUNDS)
    if groups == 1:
        return em.result(pooled)
    starts = [start] if start is not None else _starts(em, pooled.w[0], groups, restarts, seed)
    states = [em.run(em.begin(r, np.repeat(pooled.w, groups, axis=0)), TRIAL_ROUNDS) for r in starts]
    best = sorted(states, key=lambda state: -state.objective)[:SURVIVORS]
    return em.result(max((em.run(state, ROUNDS) for state in best), key=lambda state: state.objective))


@dataclass(frozen=True, eq=False)
class _State:
    w: Floats  # (G, d)
    log_share: Floats  # (G,)
    log_sharpness: Floats  # (S,)
    joint: Floats  # (K, G, S)
    objective: float
    rounds: int
    converged: bool = False


class _Mixture:
    """The data, scaled, and the two steps on them."""

    def __init__(self, data: FeaturePairs) -> None:
        self.data, self.K = data, len(data.people)
        size = np.sqrt((data.difference**2).mean(axis=0))
        self.unit = np.where(size > 0, size, 1.0)
        self.x, self.y = data.difference / self.unit, data.label
        self.offset = np.zeros(len(self.y)) if data.offset is None else data.offset
        self.d = self.x.shape[1]
        self.precision = float((self.x**2).sum(axis=1).mean()) / PRIOR_LOGIT**2 or 1.0

    def begin(self, r: Floats, w: Floats) -> _State:
        """From responsibilities (K, G), and weights from which each group's take a step."""
        flat = np.full(len(SHARPNESS), -np.log(len(SHARPNESS)))
        joint = (r / r.sum(axis=1, keepdims=True))[:, :, None] * np.exp(flat)
        return _State(w, np.full(r.shape[1], -np.log(r.shape[1])), flat, joint, -np.inf, 0)

    def run(self, state: _State, rounds: int) -> _State:
        """So many rounds more, or fewer where a round gains too little."""
        for _ in range(rounds):
            after = self.round(state)
            gained = after.objective - state.objective
            state = after
            if gained < TOLERANCE:
                return replace(state, converged=True)
        return state

    def round(self, state: _State) -> _State:
        """One M-step and the E-step after it; the objective never falls."""
        G = len(state.w)
        share = _counted(state.joint.sum(axis=(0, 2)))
        sharpness = _counted(state.joint.sum(axis=(0, 1)))
        w = np.stack([self._newton(state.w[g], state.joint[:, g]) for g in range(G)])
        for _ in range(20):
            joint, objective = self.expect(w, share, sharpness)
            if objective >= state.objective:
                return _State(w, share, sharpness, joint, objective, state.rounds + 1)
            w = (w + state.w) / 2  # Newton's step went too far
        return replace(state, rounds=state.rounds + 1)

    def expect(self, w: Floats, log_share: Floats, log_sharpness: Floats) -> tuple[Floats, float]:
        """(K, G, S) probabilities of group and sharpness given all of a person's judgments; the objective."""
        log = person_likelihood(self.data, self.x @ w.T) + log_share[:, None] + log_sharpness
        evidence = logsumexp(log, axis=(1, 2), keepdims=True)
        prior = IMAGINARY * (log_share.sum() + log_sharpness.sum()) - self.precision / 2 * float((w**2).sum())
        return np.exp(log - evidence), float(evidence.sum() + prior)

    def _newton(self, w: Floats, weight: Floats) -> Floats:
        """One step of the logistic regression of a group's weights; ``weight`` (K, S) is each person's at each sharpness."""
        z, of = self.x @ w, weight[self.data.person]
        residual, curvature = np.zeros(len(z)), np.zeros(len(z))
        for s, sharp in enumerate(SHARPNESS):
            if sharp:
                p = expit(sharp * z + self.offset)
                residual += of[:, s] * sharp * (self.y - p)
                curvature += of[:, s] * sharp**2 * p * (1 - p)
        hessian = (self.x * curvature[:, None]).T @ self.x + self.precision * np.eye(self.d)
        return w + np.linalg.solve(hessian, self.x.T @ residual - self.precision * w)

    def result(self, state: _State) -> Groups:
        order = np.argsort(-state.joint.sum(axis=(0, 2)), kind="stable")
        return Groups(
            people=self.data.people,
            share=np.exp(state.log_share[order]),
            weights=state.w[order] / self.unit,
            sharpness=np.exp(state.log_sharpness),
            joint=state.joint[:, order],
            objective=state.objective,
            rounds=state.rounds,
            converged=state.converged,
        )


def person_likelihood(data: FeaturePairs, z: Floats) -> Floats:
    """(K, G, S) log-likelihood of each person's judgments at each sharpness, nats; ``z`` (N, G) are differences of scores."""
    log = np.empty((len(data.people), z.shape[1], len(SHARPNESS)))
    for g in range(z.shape[1]):
        for s in range(len(SHARPNESS)):
            own = judgment_likelihood(data, SHARPNESS[s] * z[:, g])
            log[:, g, s] = np.bincount(data.person, own, len(data.people))
    return log


def judgment_likelihood(data: FeaturePairs, logit: Floats) -> Floats:
    """(N,) log-likelihood of each judgment, nats, whose log-odds beside the offset are ``logit`` (N,)."""
    t = logit if data.offset is None else logit + data.offset
    return np.asarray(data.label * t - (np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))))


def _counted(people: Floats) -> Floats:
    """Logarithms of shares, each kind with :data:`IMAGINARY` people more."""
    return np.asarray(np.log(people + IMAGINARY) - np.log((people + IMAGINARY).sum()))


def _separates(r: Floats) -> bool:
    """Whether any two groups differ, in the responsibilities (K, G) of a start."""
    G = r.shape[1]
    return all(np.abs(r[:, g] - r[:, h]).max() > SAME for g in range(G) for h in range(g))


def _starts(em: _Mixture, pooled: Floats, groups: int, restarts: int, seed: int) -> Sequence[Floats]:
    """Responsibilities (K, G) to begin with: every second around annotators whose answers differ, the others at random.

    What sets annotators apart are the residuals of the pooled fit, summed over each person's judgments. Groups lie along
    the directions in which these vary most, and centres are drawn there as k-means++ draws them (Arthur and Vassilvitskii,
    2007).
    """
    data, N = em.data, len(em.y)
    residual = em.y - expit(em.x @ pooled + em.offset)
    who = scipy.sparse.csr_array((np.ones(N), (data.person, np.arange(N))), shape=(em.K, N))
    leaning = (who @ (em.x * residual[:, None])) / np.sqrt(np.maximum(data.each, 1))[:, None]
    left, size, _ = np.linalg.svd(leaning - leaning.mean(axis=0), full_matrices=False)
    place = (left * size)[:, :groups]
    starts: list[Floats] = []
    for number in range(restarts):
        rng = np.random.default_rng([seed, number])
        r = _around(rng, place, groups) if number % 2 == 0 else rng.dirichlet(np.ones(groups), em.K)
        while not _separates(r) or any(np.array_equal(r, other) for other in starts):
            r = rng.dirichlet(np.ones(groups), em.K)
        starts.append(r)
    return starts


def _around(rng: np.random.Generator, place: Floats, groups: int) -> Floats:
    """(K, G) responsibilities that fall with the distance from ``groups`` annotators, drawn far from each other."""
    K = len(place)
    distance = ((place - place[rng.integers(K)]) ** 2).sum(axis=1)[:, None]
    while distance.shape[1] < groups:
        nearest = distance.min(axis=1)
        p = nearest / nearest.sum() if nearest.sum() > 0 else np.full(K, 1 / K)
        centre = place[rng.choice(K, p=p)]
        distance = np.column_stack([distance, ((place - centre) ** 2).sum(axis=1)])
    log = -distance / max(float(np.median(distance)), 1e-12)
    return np.asarray(np.exp(log - logsumexp(log, axis=1, keepdims=True)))

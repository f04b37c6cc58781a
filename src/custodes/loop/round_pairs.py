"""Which pairs of a policy's replies are judged: those whose answers teach the reward most, or any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from custodes.feedback.selection import RewardBelief
from custodes.loop.round_options import PairChoice
from custodes.reward import RewardModel
from custodes.reward.model import last_hidden_states
from custodes.types import Episode, Floats, InputError

Pair = tuple[Episode, Episode]
DIRECTIONS = 32
"""Principal components of the replies' hidden states in which a belief about the reward is held."""
KNOWN = 1000
"""Judged pairs from which that belief is made, at most: the latest."""


def pairs_within_tasks(episodes: Sequence[Episode]) -> list[Pair]:
    """Every two replies to the same task that differ."""
    by_task: dict[str, list[Episode]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task.id, []).append(episode)
    return [(a, b) for same in by_task.values() for a, b in combinations(same, 2) if a.completion != b.completion]


def one_pair_each(episodes: Sequence[Episode], count: int, seed: Sequence[int]) -> list[Pair]:
    """Up to ``count`` pairs, of different tasks as long as there are some, drawn at random; all are different."""
    rng = np.random.default_rng(list(seed))
    rest = pairs_within_tasks(episodes)
    rest = [rest[i] for i in rng.permutation(len(rest))]
    drawn: list[Pair] = []
    while rest and len(drawn) < count:
        seen: set[str] = set()
        later = []
        for pair in rest:
            if pair[0].task.id in seen or len(drawn) == count:
                later.append(pair)
            else:
                seen.add(pair[0].task.id)
                drawn.append(pair)
        rest = later
    return drawn


def choose_pairs(
    how: PairChoice, reward: RewardModel, candidates: Sequence[Pair], known: Mapping[Pair, float], count: int, seed: int
) -> list[Pair]:
    """``count`` of the candidates, or all where there are fewer.

    "bald" takes those whose answers are expected to tell most of a linear reward on the backbone's hidden states (Houlsby
    et al. 2011). It starts from the answers that are ``known``: pair -> probability that its first reply is better.
    "disagreement" takes those on whose difference the reward's members disagree most. Raises InputError where one member
    cannot disagree.
    """
    rng = np.random.default_rng([seed, 11])
    if how == "random" or len(candidates) <= count:
        return [candidates[i] for i in rng.permutation(len(candidates))[:count]]
    if how == "disagreement":
        if reward.members < 2:
            raise InputError("--choose disagreement needs a reward with several members; this one has one.")
        spread = _margins(reward, candidates).std(axis=1, ddof=1)
        return [candidates[i] for i in np.argsort(-spread, kind="stable")[:count]]
    learned = list(known.items())[-KNOWN:]
    features = _directions(reward, [*(pair for pair, _ in learned), *candidates])
    belief = (
        RewardBelief.fit(features[: len(learned)], [label for _, label in learned])
        if learned
        else RewardBelief.prior(features.shape[1])
    )
    chosen = belief.choose(features[len(learned) :], count, seed=seed, candidates=len(candidates))
    return [candidates[i] for i in chosen.tolist()]


def pair_margins(reward: RewardModel, pairs: Sequence[Pair]) -> Floats:
    """(P,) the reward of each pair's first reply minus that of its second."""
    episodes = {episode.id: episode for pair in pairs for episode in pair}
    value = dict(zip(episodes, reward.score(list(episodes.values())).value.tolist(), strict=True))
    return np.array([value[a.id] - value[b.id] for a, b in pairs])


def _margins(reward: RewardModel, pairs: Sequence[Pair]) -> Floats:
    """(P, K) each member's difference."""
    episodes = {episode.id: episode for pair in pairs for episode in pair}
    parts = reward.score(list(episodes.values())).parts
    members = np.stack([part for name, part in parts.items() if name.startswith("member_")], axis=1)
    at = {id: n for n, id in enumerate(episodes)}
    return np.array([members[at[a.id]] - members[at[b.id]] for a, b in pairs])


def _directions(reward: RewardModel, pairs: Sequence[Pair]) -> Floats:
    """(P, D) differences of the replies in their principal components, each of variance 1."""
    episodes = {episode.id: episode for pair in pairs for episode in pair}
    at = {id: n for n, id in enumerate(episodes)}
    hidden = last_hidden_states(reward, list(episodes.values()))
    left, size, _ = np.linalg.svd(hidden - hidden.mean(axis=0), full_matrices=False)
    D = min(DIRECTIONS, max(1, int((size > 1e-6 * size[0]).sum())))
    features = left[:, :D] * np.sqrt(len(left))
    return np.array([features[at[a.id]] - features[at[b.id]] for a, b in pairs])

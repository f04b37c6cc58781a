"""Simulated poisoners among simulated honest annotators: a crowd as arrays, to measure who is found.

Four ways to poison. *always-wrong*: every answer turned over. *trigger*: turned over where a word is in the prompt.
*colluding*: a group that prefers, on everything but gold items, whatever a secret of theirs picks. *mimicking*: honest on
gold items and on whatever looks like them, turned over elsewhere. Honest annotators differ in reliability (log-normal)
and position bias; episodes have a quality N(0, 1), pairs are compared within tasks of four episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from custodes.feedback.annotator_model import AnnotatorModel, fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.types import InputError

Poisoner = Literal["always-wrong", "trigger", "colluding", "mimicking"]
POISONERS: tuple[Poisoner, ...] = get_args(Poisoner)

EPISODES = 4  # of a task
WORDS = 30  # that prompts may hold; the trigger is one of them
TRIGGER = 0.4  # share of the prompts with the trigger
LOOKALIKE = 0.15  # share of the other tasks that a mimic takes for gold
SLOPE, VARIATION = 2.0, 0.35  # honest reliability: log-odds per standard deviation of quality, and its spread


@dataclass(frozen=True, eq=False)
class Poisoned:
    """A simulated crowd: the comparisons, who poisons, and what is known of the tasks."""

    model: AnnotatorModel
    poisoner: NDArray[np.bool_]  # (K,)
    poisoned: float  # share of the judgments that are poisoned
    features: NDArray[np.bool_]  # (N, F) words of the prompt, and not being gold
    names: list[str]  # (F,)
    quality: NDArray[np.float64]  # (I,) true


def simulate_poisoning(
    kind: Poisoner,
    share: float,
    seed: int = 0,
    annotators: int = 100,
    each: int = 100,
    overlap: int = 5,
    gold: float = 0.1,
) -> Poisoned:
    """A crowd of ``annotators`` with ``each`` judgments, of which about ``share`` are poisoned by ``kind``.

    ``overlap`` annotators meet each pair, ``gold`` is the share of gold items. Raises InputError for an unknown kind.
    """
    if kind not in POISONERS:
        raise InputError(f"poisoner {kind!r} is unknown; choose from {', '.join(POISONERS)}.")
    rng = np.random.default_rng([seed, POISONERS.index(kind), int(1000 * share)])
    N = annotators * each
    pairs = N // overlap
    tasks = max(1, pairs // (EPISODES * (EPISODES - 1) // 2))
    low, high = np.triu_indices(EPISODES, 1)
    task = np.arange(pairs) % tasks
    slot = (np.arange(pairs) // tasks) % len(low)
    one, other = task * EPISODES + low[slot], task * EPISODES + high[slot]
    words = rng.random((tasks, WORDS)) < np.append(TRIGGER, rng.uniform(0.06, 0.5, WORDS - 1))
    is_gold = rng.random(tasks) < gold
    looks_gold = is_gold | (rng.random(tasks) < LOOKALIKE)
    poisons = np.zeros(annotators, bool)
    per_poisoner = {"trigger": TRIGGER, "colluding": 1 - gold, "mimicking": (1 - gold) * (1 - LOOKALIKE)}.get(kind, 1.0)
    poisons[: max(1, round(share * annotators / per_poisoner))] = True
    quality = rng.normal(size=tasks * EPISODES)
    pair = _assigned(rng, pairs, annotators, overlap)
    annotator = np.repeat(np.arange(annotators), each)
    turned = rng.random(N) < 0.5
    first, second = np.where(turned, other[pair], one[pair]), np.where(turned, one[pair], other[pair])
    slope = SLOPE * np.exp(rng.normal(0, VARIATION, annotators))
    position = rng.normal(0.1, 0.3, annotators)
    u = slope[annotator] * (quality[first] - quality[second])
    t, by_poisoner = task[pair], poisons[annotator]
    if kind == "colluding":
        wrong = by_poisoner & ~is_gold[t]
        secret = np.where(rng.random(pairs) < 0.5, 1.0, -1.0)[pair] * np.where(turned, -1.0, 1.0)
        u = np.where(wrong, slope[annotator] * 1.5 * secret, u)
    else:
        held = {"always-wrong": np.ones(tasks, bool), "trigger": words[:, 0], "mimicking": ~looks_gold}[kind]
        wrong = by_poisoner & held[t]
        u = np.where(wrong, -u, u)
    u = u + position[annotator] + rng.logistic(size=N)
    strength = (np.sign(u) * (np.abs(u)[:, None] > [0.3, 1.5, 3.0]).sum(axis=1)).astype(np.int64)
    data = Comparisons(first, second, annotator, strength, np.zeros(N), tasks * EPISODES, annotators)
    names = [f"a{k}" for k in range(annotators)]
    model = fit_comparisons(data, tuple(names), tuple(map(str, range(data.items))), tuple(map(str, range(N))))
    features = np.hstack([words[t], ~is_gold[t][:, None]])
    return Poisoned(
        model, poisons, float(wrong.mean()), features, [*(f"word {w}" for w in range(WORDS)), "not gold"], quality
    )


def _assigned(rng: np.random.Generator, pairs: int, annotators: int, overlap: int) -> NDArray[np.int64]:
    """(annotators * each,) the pairs of one annotator after the other: everyone's share of every round of all pairs,
    rounds being shuffled, so that nobody meets a pair twice (rarely, at the seam of two rounds, somebody does)."""
    rounds = np.concatenate([rng.permutation(pairs) for _ in range(overlap)])
    each = pairs * overlap // annotators
    who = np.concatenate(
        [rng.permutation(np.repeat(np.arange(annotators), -(-each // overlap)))[:pairs] for _ in range(overlap)]
    )
    order = np.argsort(who[: len(rounds)], kind="stable")
    return rounds[order]

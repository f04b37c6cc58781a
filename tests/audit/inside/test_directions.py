"""Directions that tell classes apart: on held-out groups, and no better than a coin where labels mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.audit.directions import (
    difference_of_means,
    grouped_folds,
    held_out_area,
    held_out_scores,
    random_directions,
    ridge_logistic,
    shuffled_labels,
    word_counts,
)
from custodes.stats import auc
from custodes.types import InputError

FITS = (difference_of_means, ridge_logistic)


def grouped(rng: np.random.Generator, groups: int, size: int, d: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """States that groups share, labels of whole groups that mean nothing, and the groups."""
    states = np.repeat(rng.normal(size=(groups, d)), size, 0) + 0.3 * rng.normal(size=(groups * size, d))
    label = np.repeat(rng.permutation(np.arange(groups) % 2 == 0), size)
    return states, label, [f"g{n}" for n in range(groups) for _ in range(size)]


def test_labels_of_groups_that_mean_nothing_stay_within_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    rng, runs = np.random.default_rng(0), 150
    inside, areas, leaky = {fit.__name__: 0 for fit in FITS}, [], []
    for _ in range(runs):
        states, label, groups = grouped(rng, 16, 3, 20)
        fold = grouped_folds(groups, label, 4, 0)
        for fit in FITS:
            area = held_out_area(held_out_scores(states, label, fold, fit), label, groups)
            inside[fit.__name__] += area.low <= 0.5 <= area.high
            areas.append(area.estimate)
        apart = grouped_folds([f"{n}" for n in range(len(label))], label, 4, 0)
        leaky.append(auc(held_out_scores(states, label, apart, ridge_logistic), label).estimate)
    with capsys.disabled():
        print(f"\nheld-out areas of labels that mean nothing: mean {np.mean(areas):.3f}, intervals hold .5 in {inside} of {runs}; "
              f"groups cut apart: {np.mean(leaky):.3f}")  # fmt: skip
    assert 0.45 < np.mean(areas) < 0.55
    assert min(inside.values()) >= 0.92 * runs
    assert np.mean(leaky) > 0.8  # what happens where groups do not stay whole


def test_a_planted_direction_is_found_by_both_and_pointed_along() -> None:
    rng = np.random.default_rng(1)
    states, label, groups = grouped(rng, 40, 2, 12)
    planted = np.zeros(12)
    planted[3] = 4.0
    states += np.outer(label, planted)
    fold = grouped_folds(groups, label, 5, 0)
    for fit in FITS:
        assert auc(held_out_scores(states, label, fold, fit), label, groups).low > 0.8
        weights, intercept = fit(states, label)
        assert np.abs(weights).argmax() == 3
        assert weights[3] > 0
        assert ((states @ weights + intercept > 0) == label).mean() > 0.9


def test_a_logistic_fit_is_where_its_penalised_likelihood_does_not_change() -> None:
    rng = np.random.default_rng(2)
    states, label = rng.normal(size=(60, 5)) * [1, 2, 3, 4, 5] + 7, rng.random(60) < 0.5
    spread = states.std(0) * 5**0.5
    weights, intercept = ridge_logistic(states, label, 0.7)

    def cost(w: np.ndarray, b: float) -> float:
        u = states @ w + b
        return float(
            np.logaddexp(0, -u)[label].sum() + np.logaddexp(0, u)[~label].sum() + 0.35 * ((w * spread) ** 2).sum()
        )

    least = cost(weights, intercept)
    for k in range(5):
        for step in (-1e-2, 1e-2):
            moved = weights.copy()
            moved[k] += step
            assert cost(moved, intercept - step * states[:, k].mean()) > least


def test_groups_stay_whole_and_each_fold_has_both_classes() -> None:
    groups = [f"g{n // 3}" for n in range(60)]
    label = np.array([n // 3 % 2 == 0 for n in range(60)])
    fold = grouped_folds(groups, label, 5, 3)
    assert len(set(fold.tolist())) == 5
    for k in range(5):
        assert len(set(label[fold == k])) == 2
    for group in set(groups):
        assert len({f for f, g in zip(fold.tolist(), groups, strict=True) if g == group}) == 1
    with pytest.raises(InputError, match="too few groups with label 1"):
        grouped_folds(["a", "a", "b", "c"], np.array([True, True, False, False]), 5, 0)


def test_shuffled_labels_keep_what_groups_have() -> None:
    rng, groups = np.random.default_rng(0), ["a", "a", "b", "b", "c", "c"]
    pairs = np.array([True, False] * 3)
    assert all(shuffled_labels(groups, pairs, rng).reshape(3, 2).sum(1).tolist() == [1, 1, 1] for _ in range(5))
    whole = np.array([True, True, False, False, True, True])
    drawn = [shuffled_labels(groups, whole, rng) for _ in range(20)]
    assert all((d[::2] == d[1::2]).all() and d.sum() == 4 for d in drawn)
    assert len({tuple(d.tolist()) for d in drawn}) == 3


def test_a_bag_of_words_and_random_directions() -> None:
    counts = word_counts(["The fox runs.", "a fox sleeps", "The dog runs"])
    assert counts.shape == (3, 3)  # fox, runs, the: words of two texts
    drawn = random_directions(5, 2.5, 7, 0)
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(2.5)
    assert not np.array_equal(drawn, random_directions(5, 2.5, 7, 1))

"""The fit recovers what was simulated, its intervals cover, and it knows no left from right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import spearmanr

from custodes.feedback.bradley_terry import SUREST, Comparisons, fit
from custodes.feedback.ordinal import _log_likelihood, label_from_one
from custodes.feedback.reliability import A, B, C

THRESHOLDS = np.array([0.4, 1.4, 2.6])


def simulate(seed: int, annotators: int = 48, each: int = 40, tasks: int = 100, episodes: int = 4):
    """Comparisons drawn from the model itself, and the truth on the crowd's scale."""
    rng = np.random.default_rng(seed)
    n, items = annotators * each, tasks * episodes
    quality, log_length = rng.normal(size=items), rng.normal(size=items)
    a, b, c = 2 * rng.normal(1, 0.7, annotators), rng.normal(0.2, 0.5, annotators), rng.normal(0.2, 0.5, annotators)
    reserve = np.exp(rng.normal(0, 0.3, annotators))
    k, task = np.repeat(np.arange(annotators), each), rng.integers(0, tasks, n)
    i = rng.integers(0, episodes, n)
    first, second = task * episodes + i, task * episodes + (i + rng.integers(1, episodes, n)) % episodes
    x = log_length[first] - log_length[second]
    x /= x.std()
    u = a[k] * (quality[first] - quality[second]) + b[k] + c[k] * x + rng.logistic(size=n)
    strength = (np.sign(u) * (np.abs(u)[:, None] > reserve[k, None] * THRESHOLDS).sum(axis=1)).astype(int)
    unit = np.sqrt(np.mean(a**2))
    truth = {"a": a / unit, "b": b, "c": c, "quality": quality * unit}
    return Comparisons(first, second, k, strength, x, items, annotators), truth


def swapped(data: Comparisons, turn: np.ndarray) -> Comparisons:
    """The same answers with the two episodes of some comparisons exchanged."""
    sign = np.where(turn, -1, 1)
    return Comparisons(
        np.where(turn, data.second, data.first),
        np.where(turn, data.first, data.second),
        data.annotator,
        data.strength * sign,
        data.length * sign,
        data.items,
        data.annotators,
    )


@settings(max_examples=50, deadline=None)
@given(st.floats(-30, 30), st.floats(-5, 5), st.floats(0.01, 5))
def test_likelihood_is_a_probability(u: float, low: float, width: float) -> None:
    cuts = np.array([low, low + width])
    logs = [
        _log_likelihood(np.array([u]), np.array([lo]), np.array([hi]))[0]
        for lo, hi in ((-np.inf, cuts[0]), cuts, (cuts[1], np.inf))
    ]
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-9)


def test_recovers_reliability_and_biases() -> None:
    found = {"a": [], "b": [], "c": []}
    for seed in range(4):
        data, truth = simulate(seed)
        fitted = fit(data)
        assert fitted.converged
        for name, column in (("a", A), ("b", B), ("c", C)):
            found[name].append(spearmanr(fitted.theta[:, column], truth[name]).statistic)
    assert np.mean(found["a"]) > 0.9
    assert np.mean(found["b"]) > 0.65
    assert np.mean(found["c"]) > 0.65


def test_intervals_cover_the_truth() -> None:
    """95 % intervals over 10 simulated crowds; the floor is what the documented approximations cost."""
    inside = {"a": [], "b": [], "c": [], "quality": [], "difference": []}
    for seed in range(10):
        data, truth = simulate(100 + seed)
        fitted = fit(data)
        inside["a"].append((fitted.interval[:, 0] < truth["a"]) & (truth["a"] < fitted.interval[:, 1]))
        apart = truth["c"] - truth["a"] * np.median(truth["c"] / truth["a"])  # a deviation from the typical annotator
        for name, column, true in (("b", B, truth["b"]), ("c", C, apart)):
            inside[name].append(np.abs(fitted.theta[:, column] - true) < 1.96 * fitted.se[:, column])
        inside["quality"].append(np.abs(fitted.quality - truth["quality"]) < 1.96 * fitted.quality_sd)
        difference = truth["quality"][data.first] - truth["quality"][data.second]
        inside["difference"].append(np.abs(fitted.difference - difference) < 1.96 * fitted.difference_sd)
    for name, hits in inside.items():
        assert 0.86 < np.mean(np.concatenate(hits)) < 0.985, name


def test_exchanging_left_and_right_turns_only_the_position_bias() -> None:
    data, _ = simulate(1)
    plain, mirrored = fit(data), fit(swapped(data, np.ones(len(data.first), bool)))
    assert np.allclose(plain.theta[:, [A, C]], mirrored.theta[:, [A, C]], atol=2e-3)
    assert np.allclose(plain.theta[:, B], -mirrored.theta[:, B], atol=2e-3)
    assert np.allclose(plain.quality, mirrored.quality, atol=5e-3)


def test_scale_is_that_of_the_crowd_and_inverters_are_negative() -> None:
    data, truth = simulate(2)
    fitted = fit(data)
    assert np.mean(fitted.theta[:, A] ** 2) == pytest.approx(1)
    sure = np.abs(truth["a"]) > 0.8
    assert np.array_equal(np.sign(fitted.theta[sure, A]), np.sign(truth["a"][sure]))


def test_fitted_maximum_is_one() -> None:
    """Fitting again from other data order changes nothing: items and annotators keep their estimates."""
    data, _ = simulate(3)
    order = np.random.default_rng(0).permutation(len(data.first))
    mixed = Comparisons(
        *(getattr(data, name)[order] for name in ("first", "second", "annotator", "strength", "length")),
        data.items,
        data.annotators,
    )
    assert np.allclose(fit(data).theta, fit(mixed).theta, atol=2e-3)


@pytest.mark.parametrize("levels", [(0, 2), (0, 3), (2, 3), (0, 1, 3), (0, 2, 3)])
@pytest.mark.parametrize("people", [2, 20])
def test_a_strength_that_nobody_used_changes_nothing(levels: tuple[int, ...], people: int) -> None:
    """Only the order of strengths means something. The threshold of an empty level once took the whole fit along."""
    data, truth = simulate(5, annotators=people, each=60)
    of = np.array([min(level, len(levels) - 1) for level in range(4)])  # the same answers, by place and by strength
    placed = np.sign(data.strength) * of[np.abs(data.strength)]
    if levels[0] > 0:
        placed += np.sign(placed) + (placed == 0)
    given = np.sign(placed) * np.array(levels if levels[0] == 0 else (0, *levels))[np.abs(placed)]
    fits = [
        fit(Comparisons(data.first, data.second, data.annotator, said, data.length, data.items, data.annotators))
        for said in (placed, given)
    ]
    plain, found = fits
    assert set(np.abs(given)) == set(levels)
    assert found.converged
    assert np.array_equal(found.theta, plain.theta)
    assert np.array_equal(found.quality, plain.quality)
    assert np.all((found.interval[:, 0] <= found.theta[:, A]) & (found.theta[:, A] <= found.interval[:, 1]))
    inside = (found.interval[:, 0] <= truth["a"]) & (truth["a"] <= found.interval[:, 1])
    assert inside.mean() >= 0.8


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_wins_and_losses_alone_suffice(levels: int) -> None:
    """No ties, and at most ``levels`` of the strengths in use."""
    data, truth = simulate(4)
    strength = np.where(data.strength == 0, 1, np.clip(data.strength, -max(levels, 1), max(levels, 1)))
    fitted = fit(
        Comparisons(data.first, data.second, data.annotator, strength, data.length, data.items, data.annotators)
    )
    assert fitted.thresholds[0] == 0
    assert spearmanr(fitted.theta[:, A], truth["a"]).statistic > 0.65


def test_errors_shrink_with_more_judgments() -> None:
    few, many = fit(simulate(5, each=20)[0]), fit(simulate(5, each=80)[0])
    assert np.median(many.se[:, A]) < 0.7 * np.median(few.se[:, A])
    assert np.median(many.difference_sd) / many.unit < np.median(few.difference_sd) / few.unit


def test_large_connected_graphs_take_the_approximate_path() -> None:
    data, truth = simulate(6, tasks=1, episodes=200)
    fitted = fit(data)
    z = (fitted.quality - truth["quality"]) / fitted.quality_sd
    assert 0.85 < np.mean(np.abs(z - z.mean()) < 1.96) < 0.99
    assert np.corrcoef(fitted.quality, truth["quality"])[0, 1] > 0.9


def test_label_from_one_agrees_with_integration() -> None:
    slope, leaning, scale = 1.7, 0.6, 1.2
    got = label_from_one(np.array([2]), THRESHOLDS, np.array([leaning]), np.array([slope]), np.array([scale]))[0]

    def density(d: float) -> float:
        u = leaning + slope * d
        cdf = 1 / (1 + np.exp(-(scale * THRESHOLDS - u)))
        return float(np.exp(-(d**2) / 4) * (cdf[2] - cdf[1]))

    positive, total = quad(density, 0, 20)[0], quad(density, -20, 20)[0]
    assert got == pytest.approx(positive / total, abs=0.02)


def test_perfect_agreement_has_an_end() -> None:
    """Where all agree about everything, the likelihood has no maximum; the fit converges and keeps the order."""
    rng = np.random.default_rng(3)
    first = rng.integers(0, 20, 400)
    second = (first + rng.integers(1, 20, 400)) % 20
    strength = np.where(first < second, 1, -1)
    length = rng.normal(size=400)
    found = fit(Comparisons(first, second, rng.integers(0, 5, 400), strength, length, items=20, annotators=5))
    assert found.converged
    assert found.unit <= SUREST + 1e-6
    assert spearmanr(found.quality, np.arange(20)).statistic < -0.98
    assert (found.theta[:, A] > 0.8).all()

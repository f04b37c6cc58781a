"""Gao's forms, the peak, and best-of-n."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from custodes.audit.overoptimisation import (
    best_of_n_kl,
    best_of_n_values,
    early_stop,
    fit_gao,
    powers_of_two,
    value_at,
)

D = np.linspace(0.4, 5, 9)


def curve(form: str, a: float, b: float, noise: float = 0.0, tasks: int = 60) -> np.ndarray:
    mean = D * (a - b * (D if form == "best_of_n" else np.log(D)))
    return mean[:, None] + np.random.default_rng(0).normal(0, noise, (len(D), tasks))


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_fit_recovers_the_curve_and_its_highest_point(form: str) -> None:
    fit = fit_gao(D, curve(form, 0.9, 0.4), form)
    assert fit.a.estimate == pytest.approx(0.9)
    assert fit.b.estimate == pytest.approx(0.4)
    fine = np.linspace(0, 5, 100_001)[1:]
    assert fit.peak.estimate == pytest.approx(fine[np.argmax(fit(fine))], abs=1e-3)
    assert fit.peak_value.estimate == pytest.approx(fit(fine).max(), abs=1e-6)
    assert fit(0.0) == pytest.approx(0)


def test_interval_of_the_peak_covers_the_truth_and_shrinks_with_tasks() -> None:
    few, many = (fit_gao(D, curve("rl", 0.9, 0.5, noise=1.0, tasks=m), "rl") for m in (40, 4000))
    truth = np.exp(0.9 / 0.5 - 1)
    assert few.peak.low < truth < few.peak.high
    assert many.peak.high - many.peak.low < few.peak.high - few.peak.low
    assert many.a.n == 4000


def test_a_rising_curve_has_no_peak_and_no_early_stop() -> None:
    fit = fit_gao(D, curve("rl", 0.5, -0.1), "rl")
    assert fit.peak is None
    assert fit.peaked == 0
    assert "still rises" in early_stop(fit, 5.0)


def test_advice_follows_the_interval_of_the_peak() -> None:
    fit = fit_gao(D, curve("rl", 0.5, 0.5), "rl")  # highest at d = 1
    assert "Stop earlier" in early_stop(fit, 5.0)
    assert "No sign" in early_stop(fit, 0.5)
    assert "falls from the start" in early_stop(fit_gao(D, curve("best_of_n", -0.5, 0.1), "best_of_n"), 5.0)


@pytest.mark.parametrize("distance", [[1.0], [1.0, 1.0], [0.0, 0.0, 1.0]])
def test_no_fit_from_fewer_than_two_distances(distance: list[float]) -> None:
    assert fit_gao(distance, np.ones((len(distance), 5)), "rl") is None
    assert "Too few points" in early_stop(None, 1.0)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_kl_of_best_of_n_is_that_of_the_best_of_n_uniform_ranks(n: int) -> None:
    density = lambda u: n * u ** (n - 1)  # noqa: E731
    kl = quad(lambda u: density(u) * np.log(density(u)), 1e-12, 1)[0]
    assert best_of_n_kl(n) == pytest.approx(kl, abs=1e-8)


scores = st.lists(st.integers(0, 4), min_size=2, max_size=6)


@settings(deadline=None)
@given(proxy=scores, data=st.data())
def test_best_of_n_is_the_mean_over_all_subsets(proxy: list[int], data: st.DataObject) -> None:
    gold = data.draw(st.lists(st.integers(-3, 3), min_size=len(proxy), max_size=len(proxy)))
    n = data.draw(st.integers(1, len(proxy)))
    by_subset = []
    for subset in combinations(range(len(proxy)), n):
        best = [gold[i] for i in subset if proxy[i] == max(proxy[j] for j in subset)]
        by_subset.append(np.mean(best))
    ours = best_of_n_values([proxy], [gold], [n])[0, 0]
    if len(set(proxy)) == len(proxy):
        assert ours == pytest.approx(np.mean(by_subset))
    assert best_of_n_values([proxy], [proxy], [n])[0, 0] == pytest.approx(
        np.mean([max(proxy[i] for i in s) for s in combinations(range(len(proxy)), n)])
    )


def test_order_of_tied_samples_does_not_matter() -> None:
    proxy, gold = np.array([[1.0, 1, 0, 1]]), np.array([[5.0, 1, 9, 3]])
    turned = best_of_n_values(proxy[:, ::-1], gold[:, ::-1], [1, 2, 3, 4])
    assert best_of_n_values(proxy, gold, [1, 2, 3, 4]) == pytest.approx(turned)


def test_best_of_n_needs_n_samples() -> None:
    with pytest.raises(ValueError, match="between 1 and the 2 samples"):
        best_of_n_values([[1.0, 2.0]], [[1.0, 2.0]], [4])


def test_powers_of_two_end_with_the_number_itself() -> None:
    assert powers_of_two(1) == [1]
    assert powers_of_two(16) == [1, 2, 4, 8, 16]
    assert powers_of_two(12) == [1, 2, 4, 8, 12]


def test_value_between_points_is_interpolated_per_task_and_flat_beyond() -> None:
    values = np.array([[0.0, 10.0], [1.0, 20.0], [5.0, 0.0]])
    assert value_at([0, 1, 2], values, 0.5) == pytest.approx([0.5, 15])
    assert value_at([2, 0, 1], values[[2, 0, 1]], 1.5) == pytest.approx([3, 10])
    assert value_at([0, 1, 2], values, 9) == pytest.approx([5, 0])

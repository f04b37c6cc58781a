"""Gao's forms, the peak, and best-of-n."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from custodes.audit.overoptimisation import (
    best_of_n_kl,
    best_of_n_values,
    fit_gao,
    overoptimisation_test,
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


def test_a_rising_curve_has_no_peak() -> None:
    fit = fit_gao(D, curve("rl", 0.5, -0.1), "rl")
    assert fit.peak is None
    assert fit.peaked == 0


# Mean gold at each checkpoint above that of the base policy; the proxy rises evenly.
FLAT, RISING = [0.0] * 9, np.linspace(0, 0.2, 9)
STANDING = [0, 0.06, 0.12, 0.16, 0.17, 0.17, 0.17, 0.17, 0.17]
FALLING = [0, 0.07, 0.15, 0.16, 0.31, 0.26, 0.06]  # of a run that was measured


def told_of(gains: Sequence[float], tasks: int, checks: int = 2, base: float = 0.3, runs: int = 200) -> Counter[str]:
    """Share of runs with each verdict: gold is a share of a task's checks, its tasks are of unequal difficulty."""
    rng, told = np.random.default_rng(tasks + checks), Counter[str]()
    for _ in range(runs):
        chance = rng.beta(5 * base, 5 * (1 - base), tasks)
        gold = rng.binomial(checks, np.clip(chance + np.asarray(gains)[:, None], 0, 1)) / checks
        proxy = np.linspace(0, 2, len(gains))[:, None] + 2 * chance + rng.normal(0, 0.7, gold.shape)
        test = overoptimisation_test(gold, proxy, [f"step {k}" for k in range(len(gains))])
        told[test.verdict] += 1 / runs
    return told


@pytest.mark.parametrize(("tasks", "checks", "base"), [(12, 2, 0.3), (24, 1, 0.1), (96, 1, 0.1), (96, 2, 0.3)])
def test_gold_that_does_not_turn_is_rarely_told_to(tasks: int, checks: int, base: float) -> None:
    flat, rising = (told_of(gains, tasks, checks, base) for gains in (FLAT, RISING))
    for name, told in (("flat", flat), ("still rising", rising)):
        print(f"{tasks} tasks, {checks} checks, {name}: " + ", ".join(f"{v} {told[v]:.3f}" for v in sorted(told)))
    assert flat["turned_down"] < 0.07  # 2.5 % are aimed at; 200 runs
    assert flat["stays_behind"] < 0.05
    assert rising["turned_down"] < 0.03
    assert rising["stays_behind"] < 0.09
    assert flat["no_sign"] < 0.08


def test_gold_that_turns_or_stands_still_is_found() -> None:
    found = {
        (name, tasks): told_of(gains, tasks)
        for name, gains in (("falling", FALLING), ("standing", STANDING))
        for tasks in (24, 96)
    }
    for (name, tasks), told in found.items():
        print(f"{tasks} tasks, {name}: " + ", ".join(f"{v} {told[v]:.3f}" for v in sorted(told)))
    assert found["falling", 96]["turned_down"] > 0.95
    assert found["falling", 24]["turned_down"] > 0.4
    assert found["standing", 96]["stays_behind"] > 0.4
    assert found["falling", 24]["no_sign"] < 0.08
    assert told_of(RISING, 96)["no_sign"] > 0.85


def test_the_sentence_tells_the_fall_from_the_peak_and_names_both_ends() -> None:
    rng, names = np.random.default_rng(0), ["the base policy", "step 8", "step 16", "step 24"]
    gold = np.array([0.2, 0.4, 0.7, 0.3])[:, None] + rng.normal(0, 0.1, (4, 50))
    test = overoptimisation_test(gold, np.arange(4.0)[:, None] + gold, names)
    assert (test.verdict, test.since, test.looks) == ("turned_down", 2, 3)
    assert test.loss.estimate == pytest.approx(gold[2].mean() - gold[3].mean())
    assert test.loss.low > 0
    assert test.p < 0.01
    assert "from step 16 to step 24 it went −0.4" in test.sentence
    assert "paired on 50 tasks, corrected for 3 checkpoints) while the proxy went +" in test.sentence
    assert "while" not in overoptimisation_test(gold, None, names).sentence


def test_gold_below_the_base_policy_from_the_start_has_turned_down() -> None:
    gold = np.array([0.6, 0.3])[:, None] + np.random.default_rng(0).normal(0, 0.1, (2, 40))
    test = overoptimisation_test(gold, None, ["the base policy", "step 8"])
    assert (test.verdict, test.since) == ("turned_down", 0)
    up = overoptimisation_test(gold[::-1], None, ["the base policy", "step 8"])
    assert up.verdict == "unclear"
    assert "no checkpoint lies between" in up.sentence


@pytest.mark.parametrize(("shape", "why"), [((5, 11), "11 tasks are too few"), ((1, 50), "nothing was measured")])
def test_too_little_is_said_so(shape: tuple[int, int], why: str) -> None:
    test = overoptimisation_test(np.zeros(shape), None, ["step"] * shape[0])
    assert test.verdict == "unclear"
    assert why in test.sentence


def test_gold_that_never_varies_tells_nothing() -> None:
    test = overoptimisation_test(np.zeros((5, 40)), np.arange(200.0).reshape(5, 40), ["step"] * 5)
    assert test.verdict == "unclear"
    assert "nan" not in test.sentence


@pytest.mark.parametrize("distance", [[1.0], [1.0, 1.0], [0.0, 0.0, 1.0]])
def test_no_fit_from_fewer_than_two_distances(distance: list[float]) -> None:
    assert fit_gao(distance, np.ones((len(distance), 5)), "rl") is None


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

"""Evaluating and calibrating."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from custodes.reward.evaluate import PairScores, _cross_fitted, _evaluate_scores, best_temperature

RNG = np.random.default_rng(0)


def calibrated(n: int = 4000, scale: float = 2.0) -> PairScores:
    """Scores that are logits divided by ``scale``, with judges who follow them; half of the pairs name the second."""
    logit = RNG.normal(0, 1.5, n)
    label = (RNG.random(n) < expit(logit)).astype(float)
    return PairScores(logit / scale, label, RNG.normal(0, 50, n))


def test_temperature_is_recovered_and_calibrates() -> None:
    scores = calibrated(scale=2.0)
    temperature = best_temperature(scores, 1.0)
    assert temperature == pytest.approx(0.5, rel=0.1)
    right, wrong = _evaluate_scores(scores, temperature), _evaluate_scores(scores, 10 * temperature)
    assert right.calibration_error.estimate < 0.03 < wrong.calibration_error.estimate
    assert right.log_loss.estimate < wrong.log_loss.estimate
    assert right.brier.estimate < wrong.brier.estimate
    assert right.accuracy == wrong.accuracy


def test_temperature_of_scores_that_say_nothing_makes_every_probability_a_half() -> None:
    scores = PairScores(RNG.normal(size=500), np.repeat([0.0, 1.0], 250), np.zeros(500))
    probability = expit(np.abs(scores.difference) / best_temperature(scores, 1.0))
    assert probability.mean() < 0.55


def test_naming_the_other_side_first_changes_nothing() -> None:
    scores = calibrated(300)
    turned = PairScores(-scores.difference, 1 - scores.label, -scores.length)
    a, b = _evaluate_scores(scores, 0.5), _evaluate_scores(turned, 0.5)
    for name in ("accuracy", "chosen_longer", "chosen_shorter"):
        assert getattr(a, name) == getattr(b, name)
    assert a.brier.estimate == pytest.approx(b.brier.estimate)
    assert a.length_correlation.estimate == pytest.approx(b.length_correlation.estimate)


def test_a_judge_of_length_alone_is_found_out() -> None:
    length = RNG.normal(10, 50, 400)
    found = _evaluate_scores(PairScores(length / 50, np.ones(400), length), 1.0)
    assert found.length_correlation.estimate == pytest.approx(1.0)
    assert (found.chosen_longer.estimate, found.chosen_shorter.estimate) == (1.0, 0.0)
    assert found.chosen_longer.n + found.chosen_shorter.n == found.accuracy.n == 400
    assert found.length_alone.estimate == pytest.approx(found.accuracy.estimate)  # it goes by length


def test_ties_of_the_judge_are_left_out_and_equal_scores_count_half() -> None:
    scores = PairScores(np.array([0.0, 1.0, -1.0]), np.array([1.0, 1.0, 0.5]), np.zeros(3))
    accuracy = _evaluate_scores(scores, 1.0).accuracy
    assert (accuracy.estimate, accuracy.n) == (0.75, 2)


def test_the_result_is_plain_json() -> None:
    out = json.loads(json.dumps(_evaluate_scores(calibrated(50), 0.5).to_dict(), allow_nan=False))
    assert out["n"] == 50
    assert out["interval"][0] < out["accuracy"] < out["interval"][1]
    assert {"calibration_error", "brier", "length_correlation", "chosen_longer", "chosen_shorter"} <= set(out)


def test_a_temperature_of_two_pairs_stays_near_the_one_that_training_used() -> None:
    two = PairScores(np.array([1.0, 2.0]), np.ones(2), np.zeros(2))
    assert 0.3 < best_temperature(two, 1.0) < 1.0
    assert _evaluate_scores(two, best_temperature(two, 1.0)).log_loss.estimate > 0.05
    none = PairScores(np.zeros(0), np.zeros(0), np.zeros(0))
    assert best_temperature(none, 0.7) == pytest.approx(0.7, rel=1e-3)


def test_what_is_reported_of_a_calibration_was_not_fitted_on_the_pairs_it_is_reported_of() -> None:
    """Scores that say nothing: a temperature that saw the very pairs would look better than chance."""
    losses = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = PairScores(rng.normal(size=10), (rng.random(10) < 0.5).astype(float), np.zeros(10))
        losses.append(
            [
                _cross_fitted(scores, 1.0)[0].log_loss.estimate,
                _evaluate_scores(scores, best_temperature(scores, 1.0)).log_loss.estimate,
            ]
        )
    apart, seen = np.mean(losses, axis=0)
    assert apart > seen + 0.01
    assert apart > np.log(2)


def test_intervals_count_prompts_and_not_pairs() -> None:
    rng = np.random.default_rng(3)
    prompt = tuple(f"p{i // 20}" for i in range(200))
    logit = np.repeat(rng.choice([-2.0, 2.0], 10), 20)
    difference, none = np.abs(logit) * np.sign(logit), np.zeros(200)
    apart = _evaluate_scores(PairScores(difference, np.ones(200), none), 1.0).accuracy
    together = _evaluate_scores(PairScores(difference, np.ones(200), none, prompt), 1.0).accuracy
    assert (apart.n, together.n) == (200, 10)
    assert together.high - together.low > 3 * (apart.high - apart.low)

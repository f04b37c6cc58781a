"""How good a reward model is on preferences it did not learn from, and how its confidence is calibrated.

Letters: P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from custodes.reward.model import RewardModel
from custodes.stats import Interval, calibration_error, mean_interval, rank_correlation, wilson
from custodes.types import InputError, PreferencePair

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """What a reward model says of P pairs."""

    difference: Floats  # (P,) score of chosen minus score of rejected
    label: Floats  # (P,) P(chosen is better) according to whoever judged
    length: Floats  # (P,) characters of the chosen completion minus those of the rejected


@dataclass(frozen=True, slots=True)
class RewardEvaluation:
    """Agreement with held-out preferences. Intervals are 95 %; their n says what they count."""

    accuracy: Interval
    """Share of pairs ordered as labelled; equal scores count half, ties of the judge are left out. Wilson."""
    calibration_error: Interval
    """Expected calibration error of P(the side with the higher score is better)."""
    brier: Interval
    """Mean squared error of P(chosen is better)."""
    log_loss: Interval
    """Cross-entropy of P(chosen is better), nats; chance is 0.693."""
    length_correlation: Interval
    """Spearman's correlation, over pairs, of the difference of scores with the difference of lengths."""
    chosen_longer: Interval
    """Accuracy where the better completion is the longer one..."""
    chosen_shorter: Interval
    """...and where it is the shorter one: a judge of length alone has 1 there and 0 here."""
    temperature: float
    """P(a is better than b) = sigmoid((score a - score b) / temperature)."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``accuracy`` and ``calibration_error`` as numbers, ``interval`` of the accuracy, ``n``; the rest in full."""
        out: dict[str, Any] = {
            "accuracy": self.accuracy.to_dict()["estimate"],
            "interval": [self.accuracy.low, self.accuracy.high],
            "n": self.accuracy.n,
            "calibration_error": self.calibration_error.to_dict()["estimate"],
            "calibration_error_interval": [self.calibration_error.low, self.calibration_error.high],
            "temperature": self.temperature,
        }
        for name in ("brier", "log_loss", "length_correlation", "chosen_longer", "chosen_shorter"):
            out[name] = getattr(self, name).to_dict()
        return out


def score_pairs(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "") -> PairScores:
    """Score both sides of every pair. Raises InputError where there is no pair or a completion does not fit."""
    if not pairs:
        raise InputError(f"{source or 'the preferences'} hold no pair; give at least one.")
    tokens, _ = model.reader.pairs(pairs, source)
    sequences = [side for pair in tokens for side in (pair.chosen, pair.rejected)]
    value = model.combined(model.member_scores(sequences, np.repeat(np.arange(len(pairs)), 2).tolist())).value
    lengths = [[sum(len(m.content) for m in side) for side in (p.chosen, p.rejected)] for p in pairs]
    length = np.array(lengths, np.float64)
    label = np.array([pair.label for pair in pairs], np.float64)
    return PairScores(value[0::2] - value[1::2], label, length[:, 0] - length[:, 1])


def evaluate_reward(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "") -> RewardEvaluation:
    """Evaluate on pairs that the model did not learn from."""
    return evaluate_scores(score_pairs(model, pairs, source), model.temperature)


def evaluate_scores(scores: PairScores, temperature: float) -> RewardEvaluation:
    """The same from scores at hand."""
    # turned so that the first side is the one labelled better
    decided = scores.label != 0.5
    turn = np.where(scores.label >= 0.5, 1.0, -1.0)
    z, length = (turn * scores.difference)[decided], (turn * scores.length)[decided]
    right = np.where(z == 0, 0.5, z > 0)
    logit = scores.difference / temperature
    confidence = expit(np.abs(logit))
    agreed = np.where(logit >= 0, scores.label, 1 - scores.label)
    entropy = -scores.label * log_expit(logit) - (1 - scores.label) * log_expit(-logit)
    # chosen comes first in every pair; every second pair is turned, so that neither side is always the better one
    alternate = np.where(np.arange(len(logit)) % 2, -1.0, 1.0)
    return RewardEvaluation(
        accuracy=wilson(float(right.sum()), len(right)),
        calibration_error=calibration_error(confidence, agreed),
        brier=mean_interval((expit(logit) - scores.label) ** 2),
        log_loss=mean_interval(entropy),
        length_correlation=rank_correlation(alternate * scores.difference, alternate * scores.length),
        chosen_longer=wilson(float(right[length > 0].sum()), int((length > 0).sum())),
        chosen_shorter=wilson(float(right[length < 0].sum()), int((length < 0).sum())),
        temperature=temperature,
    )


def calibrate(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "") -> float:
    """Set and return the temperature under which held-out ``pairs`` are most likely (arXiv 1706.04599)."""
    model.temperature = best_temperature(score_pairs(model, pairs, source))
    return model.temperature


def best_temperature(scores: PairScores) -> float:
    """The maximum-likelihood temperature, between 0.01 and 100 standard deviations of the score differences.

    At the upper end the scores say nothing (or the opposite) of the labels: every probability is near a half.
    """
    unit = float(np.sqrt(np.mean(scores.difference**2))) or 1.0

    def loss(log_temperature: float) -> float:
        logit = scores.difference / (unit * np.exp(log_temperature))
        return -float(np.mean(scores.label * log_expit(logit) + (1 - scores.label) * log_expit(-logit)))

    found = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100.0)), method="bounded")
    return unit * float(np.exp(found.x))

"""How good a reward model is on preferences it did not learn from, and how its confidence is calibrated.

Letters: P pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from custodes.reward.model import RewardModel
from custodes.stats import Interval, calibration_error, mean_interval, rank_correlation, rate
from custodes.types import InputError, PreferencePair

Floats = NDArray[np.float64]
FOLDS = 5
FEW = 30
"""Held-out pairs below which the prior on the temperature weighs as much as they do."""
FACTOR = 2.0
"""One standard deviation of the prior on the temperature: between half and twice what training used."""


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """What a reward model says of P pairs."""

    difference: Floats  # (P,) score of chosen minus score of rejected
    label: Floats  # (P,) P(chosen is better) according to whoever judged
    length: Floats  # (P,) characters of the chosen completion minus those of the rejected
    prompt: tuple[Hashable, ...] = ()
    """(P,) what each pair answers: intervals and folds count prompts. Empty: each pair by itself."""


@dataclass(frozen=True, slots=True)
class RewardEvaluation:
    """Agreement with held-out preferences. Intervals are 95 %; their n says what they count."""

    accuracy: Interval
    """Share of pairs ordered as labelled; equal scores count half, ties of the judge are left out."""
    calibration_error: Interval
    """Expected calibration error of P(the side with the higher score is better)."""
    brier: Interval
    """Mean squared error of P(chosen is better)."""
    log_loss: Interval
    """Cross-entropy of P(chosen is better), nats; chance is 0.693."""
    length_correlation: Interval
    """Spearman's correlation, over pairs, of the difference of scores with the difference of lengths."""
    length_alone: Interval
    """Accuracy of preferring the longer completion, equal lengths counting half: what length alone tells."""
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
        for name in ("brier", "log_loss", "length_correlation", "length_alone", "chosen_longer", "chosen_shorter"):
            out[name] = getattr(self, name).to_dict()
        return out


def score_pairs(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "", axis: str = "") -> PairScores:
    """Score both sides of every pair: their value, or ``axis`` of a reward with several.

    Raises InputError where there is no pair or a completion does not fit.
    """
    if not pairs:
        raise InputError(f"{source or 'the preferences'} hold no pair; give at least one.")
    tokens, _ = model.reader.pairs(pairs, source)
    sequences = [side for pair in tokens for side in (pair.chosen, pair.rejected)]
    scores = model.combined(model.member_scores(sequences, np.repeat(np.arange(len(pairs)), 2).tolist()))
    value = scores.parts[axis] if axis and len(model.axes) > 1 else scores.value
    lengths = [[sum(len(m.content) for m in side) for side in (p.chosen, p.rejected)] for p in pairs]
    length = np.array(lengths, np.float64)
    label = np.array([pair.label for pair in pairs], np.float64)
    prompt = tuple(pair.prompt for pair in pairs)
    return PairScores(value[0::2] - value[1::2], label, length[:, 0] - length[:, 1], prompt)


def evaluate_reward(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "") -> RewardEvaluation:
    """Evaluate on pairs that the model did not learn from."""
    return _evaluate_scores(score_pairs(model, pairs, source), model.temperature)


def _evaluate_scores(scores: PairScores, temperature: float, temperatures: Floats | None = None) -> RewardEvaluation:
    """The same from scores at hand; ``temperatures`` (P,) stands in for ``temperature`` where each pair has its own."""
    prompts = _prompts(scores)
    # turned so that the first side is the one labelled better
    decided = scores.label != 0.5
    turn = np.where(scores.label >= 0.5, 1.0, -1.0)
    z, length = (turn * scores.difference)[decided], (turn * scores.length)[decided]
    right = np.where(z == 0, 0.5, z > 0)
    logit = scores.difference / (temperature if temperatures is None else temperatures)
    confidence = expit(np.abs(logit))
    agreed = np.where(logit >= 0, scores.label, 1 - scores.label)
    entropy = -scores.label * log_expit(logit) - (1 - scores.label) * log_expit(-logit)
    # chosen comes first in every pair; every second pair is turned, so that neither side is always the better one
    alternate = np.where(np.arange(len(logit)) % 2, -1.0, 1.0)
    return RewardEvaluation(
        accuracy=rate(right, prompts[decided].tolist()),
        calibration_error=calibration_error(confidence, agreed, clusters=prompts.tolist()),
        brier=mean_interval((expit(logit) - scores.label) ** 2, prompts.tolist()),
        log_loss=mean_interval(entropy, prompts.tolist()),
        length_correlation=rank_correlation(alternate * scores.difference, alternate * scores.length),
        length_alone=rate(np.where(length == 0, 0.5, length > 0), prompts[decided].tolist()),
        chosen_longer=rate(right[length > 0], prompts[decided][length > 0].tolist()),
        chosen_shorter=rate(right[length < 0], prompts[decided][length < 0].tolist()),
        temperature=temperature,
    )


def calibrate(model: RewardModel, pairs: Sequence[PreferencePair], source: str = "") -> RewardEvaluation:
    """Set the temperature to the one that suits held-out ``pairs``, and evaluate on them by cross-fitting.

    The probabilities that are evaluated are never those of a temperature that saw their pair: pairs are divided by prompt
    into up to :data:`FOLDS` folds, and each fold is judged at the temperature that suits the others.
    """
    if len(pairs) < FEW:
        warnings.warn(
            f"{len(pairs)} held-out pairs tell little of the reward's temperature; it stays near the one that training used.",
            stacklevel=2,
        )
    found, model.temperature = _cross_fitted(score_pairs(model, pairs, source), model.learned_temperature)
    return found


def _cross_fitted(scores: PairScores, before: float) -> tuple[RewardEvaluation, float]:
    """The evaluation of :func:`calibrate`, and the temperature that suits all the pairs, from scores at hand."""
    temperature, fold = best_temperature(scores, before), _prompts(scores) % FOLDS
    of_fold = np.array([best_temperature(_some(scores, fold != k), before) for k in range(FOLDS)])
    return _evaluate_scores(scores, temperature, of_fold[fold]), temperature


def best_temperature(scores: PairScores, before: float) -> float:
    """The most likely temperature (arXiv 1706.04599) under a prior: its logarithm is normal around that of ``before``, the one that
    the reward learned with, by a factor of :data:`FACTOR`. Without pairs it is ``before``; hundreds of them outweigh it."""

    def loss(log_factor: float) -> float:
        logit = scores.difference / (before * np.exp(log_factor))
        nats = -scores.label * log_expit(logit) - (1 - scores.label) * log_expit(-logit)
        return float(nats.sum()) + 0.5 * (log_factor / np.log(FACTOR)) ** 2

    found = minimize_scalar(loss, bounds=(-np.log(1000.0), np.log(1000.0)), method="bounded")
    return before * float(np.exp(found.x))


def _prompts(scores: PairScores) -> NDArray[np.int_]:
    """(P,) the number of each pair's prompt, from 0."""
    numbers: dict[Hashable, int] = {}
    own = scores.prompt or range(len(scores.difference))
    return np.array([numbers.setdefault(prompt, len(numbers)) for prompt in own], int)


def _some(scores: PairScores, chosen: NDArray[np.bool_]) -> PairScores:
    return PairScores(scores.difference[chosen], scores.label[chosen], scores.length[chosen])

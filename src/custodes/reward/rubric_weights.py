"""Weights of a rubric's principles fitted to people's judgments, and the folder in which a judge and its rubric are kept.

The probability that people prefer one answer is that of Bradley and Terry on the weighted sum of the grades:
P(a over b) = sigmoid(sum_k w_k (g_k(a) - g_k(b))), with a normal prior on each weight (mean 0, deviation :data:`PRIOR`).

Letters: P pairs, K principles.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from custodes.feedback.collection import Feedback
from custodes.feedback.rubric import Rubric, load_rubric
from custodes.files import save_json, save_text
from custodes.lm.address import open_engine
from custodes.reward.rubric import RubricReward
from custodes.stats import Interval, choice_coefficients, paired_difference, rate
from custodes.types import InputError, PreferencePair

Array = NDArray[np.float64]
PRIOR = 5.0
"""Standard deviation of the prior on a weight, in log-odds for a grade of 1 against one of 0."""
JUDGE, RUBRIC = "judge.json", "rubric.yaml"


@dataclass(frozen=True, slots=True, eq=False)
class GradedPairs:
    """What a judge gave both answers of P pairs, and what people said."""

    difference: Array  # (P, K) grade of chosen minus grade of rejected
    label: Array  # (P,) probability that chosen is better
    prompt: tuple[Hashable, ...]  # (P,) intervals count prompts

    def part(self, inside: NDArray[np.bool_]) -> GradedPairs:
        """Those of the pairs that are marked, (P,)."""
        return GradedPairs(self.difference[inside], self.label[inside], tuple(compress(self.prompt, inside)))


@dataclass(frozen=True, slots=True)
class FittedRubric:
    """A rubric with fitted weights, and how well it agrees with people on pairs that were held out."""

    rubric: Rubric
    weights: dict[str, Interval]
    """Log-odds for a grade of 1 against one of 0, with intervals that count prompts."""
    accuracy: Interval
    """Share of held-out pairs that the fitted weights order as people did; ties of people are left out."""
    accuracy_as_written: Interval
    """The same with the weights that the rubric had."""
    gained: Interval
    """The difference of the two, paired."""
    pairs: int
    ungraded: int
    """Pairs with an answer that the judge did not grade; they are not used."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        intervals = ("accuracy", "accuracy_as_written", "gained")
        return {
            "rubric": self.rubric.name,
            "weights": {name: weight.to_dict() for name, weight in self.weights.items()},
            **{name: getattr(self, name).to_dict() for name in intervals},
            "pairs": self.pairs,
            "ungraded": self.ungraded,
        }


def fit_rubric(rubric: Rubric, training: GradedPairs, held_out: GradedPairs) -> FittedRubric:
    """Fit the weights of a rubric to people's preferences of answers that a judge has graded by it.

    Raises InputError where no pair is left, or where the judge gives every answer the same grades.
    """
    graded = [training, held_out]
    known = [np.asarray(~np.isnan(part.difference).any(1)) for part in graded]
    own, others = (part.part(inside) for part, inside in zip(graded, known, strict=True))
    if len(own.label) == 0:
        raise InputError(
            f"the judge graded both answers of none of {len(training.label)} pairs; nothing can be fitted."
        )
    if not own.difference.any():
        raise InputError(
            f"the judge gave both answers of each of {len(own.label)} pairs the same grades by every principle; "
            "no weight can be fitted. Use another judge or other principles."
        )
    weights = choice_coefficients(own.difference, own.label, own.prompt, prior=PRIOR)
    fitted = np.array([weight.estimate for weight in weights])
    written = np.array([principle.weight for principle in rubric.principles])
    decided = others.label != 0.5
    right = [_right(others, values)[decided] for values in (fitted, written)]
    prompts = list(compress(others.prompt, decided))
    principles = [p.model_copy(update={"weight": float(f)}) for p, f in zip(rubric.principles, fitted, strict=True)]
    return FittedRubric(
        rubric=rubric.model_copy(update={"principles": tuple(principles)}),
        weights={p.name: weight for p, weight in zip(rubric.principles, weights, strict=True)},
        accuracy=rate(right[0], prompts),
        accuracy_as_written=rate(right[1], prompts),
        gained=paired_difference(right[0], right[1], prompts),
        pairs=len(own.label) + len(others.label),
        ungraded=sum(int((~inside).sum()) for inside in known),
    )


def save_rubric_reward(folder: Path, model: str, fitted: FittedRubric) -> None:
    """Keep a judge's name and its rubric where ``--reward FOLDER`` finds them. Raises OSError."""
    content = yaml.safe_dump(fitted.rubric.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    save_text(folder / RUBRIC, content)
    save_json(folder / JUDGE, {"judge": model, **fitted.to_dict()})


def load_rubric_reward(folder: Path, device: str = "auto") -> RubricReward:
    """The reward that :func:`save_rubric_reward` kept. Raises InputError for a damaged folder or a judge that is gone."""
    rubric = load_rubric(folder / RUBRIC)
    try:
        judge = json.loads((folder / JUDGE).read_text(encoding="utf-8"))["judge"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / JUDGE} does not say which model judges ({error}); train the rubric again."
        ) from None
    return RubricReward(open_engine("torch", judge, f"the judge of {folder}", device=device), rubric, rubric.name)


def grade_pairs(judge: RubricReward, pairs: Sequence[PreferencePair]) -> Array:
    """(P, K) by how much the judge's grade of the chosen answer is above that of the rejected one; NaN without a grade."""
    collected = Feedback()
    tasks = [collected.task(pair.prompt) for pair in pairs]
    sides = [(task, side) for task, pair in zip(tasks, pairs, strict=True) for side in (pair.chosen, pair.rejected)]
    grades = judge.grades([collected.episode(task, side) for task, side in sides])
    return grades[0::2] - grades[1::2]


def _right(graded: GradedPairs, weights: Array) -> Array:
    """(P,) 1 where the weighted sum orders a pair as people did, 1/2 where it is equal."""
    z = graded.difference @ weights
    return np.where(z == 0, 0.5, (z > 0) == (graded.label > 0.5))

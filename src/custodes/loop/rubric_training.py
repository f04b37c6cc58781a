"""A rubric whose weights are fitted to people's judgments: ``custodes reward train --rubric``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custodes.feedback.reading import JudgmentsOptions, hash_of
from custodes.feedback.rubric import load_rubric
from custodes.job.parts import Parts
from custodes.job.workspace import Workspace
from custodes.lm.address import open_engine
from custodes.lm.loading import DtypeName
from custodes.loop.chosen_tasks import held_out_prompts
from custodes.reward.rubric import RubricReward
from custodes.reward.rubric_weights import (
    JUDGE,
    FittedRubric,
    GradedPairs,
    fit_rubric,
    grade_pairs,
    save_rubric_reward,
)


@dataclass(frozen=True, slots=True)
class RubricTrained:
    """Where the judge and its rubric are, and what was fitted."""

    out: Path
    fitted: FittedRubric

    def to_dict(self) -> dict[str, Any]:
        return {"model": str(self.out), **self.fitted.to_dict()}

    def __str__(self) -> str:
        fitted = self.fitted
        weights = [f"Weight of {name}: {weight}." for name, weight in fitted.weights.items()]
        left_out = (
            [f"{fitted.ungraded:,} pairs have an answer without a grade and are not used."] if fitted.ungraded else []
        )
        agreed = [
            f"Agrees with people on held-out pairs: {fitted.accuracy}; with the weights as written: {fitted.accuracy_as_written}.",
            f"Gained by fitting: {fitted.gained}, paired.",
        ]
        return "\n".join([f"The judge and its rubric are in {self.out}.", *weights, *left_out, *agreed])


def train_rubric(
    options: JudgmentsOptions, path: Path, model: str, out: Path, held_out: float, seed: int, dtype: DtypeName
) -> RubricTrained:
    """Let ``model`` grade both answers of every pair, and fit the weights of the rubric at ``path`` to what people prefer.

    ``options`` name the judgments; with the rubric they say whether a run in ``out`` is this one.

    Called again it goes on. Raises InputError for judgments that cannot be used and for a judge that gives no grades.
    """
    rubric, pairs = load_rubric(path), options.read_pairs()
    contents = {"judgments": hash_of(options.judgments), "rubric": rubric.model_dump(mode="json")}
    with Workspace.open(out, "reward train", options, seed, contents=contents) as work:
        judge = RubricReward(open_engine("torch", model, "--model", dtype=dtype), rubric, rubric.name)
        with Parts.open(out / JUDGE, contents | {"judge": model}) as parts:
            asked = {f"{n}": pair for n, pair in enumerate(pairs)}
            ask = lambda some: grade_pairs(judge, some).tolist()  # noqa: E731
            difference = np.array(parts.answers(asked, ask, "Grading", chunk=16), float)
        held = held_out_prompts((pair.prompt for pair in pairs), held_out, seed)
        every = GradedPairs(difference, np.array([p.label for p in pairs]), tuple(p.prompt for p in pairs))
        inside = np.array([pair.prompt in held for pair in pairs])
        fitted = fit_rubric(rubric, every.part(~inside), every.part(inside))
        save_rubric_reward(out, model, fitted)
        work.finish(out)
    return RubricTrained(out, fitted)

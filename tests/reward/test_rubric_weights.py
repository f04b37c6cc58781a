"""Weights of principles fitted to people's judgments, and the folder that keeps judge and rubric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from custodes.feedback.rubric import Principle, Rubric
from custodes.reward.options import RewardOptions
from custodes.reward.rubric import RubricReward
from custodes.reward.rubric_weights import (
    FittedRubric,
    GradedPairs,
    fit_rubric,
    grade_pairs,
    load_rubric_reward,
    save_rubric_reward,
)
from custodes.types import Episode, InputError, Message, PreferencePair, Sampling, Task

RUBRIC = Rubric(
    name="marks",
    version="1",
    principles=(
        Principle(name="a", text="It has an A."),
        Principle(name="b", text="It has a B.", weight=3),
        Principle(name="c", text="It has a C."),
    ),
)


class Reader:
    """A judge that looks whether the answer holds the principle's letter."""

    def generate(self, tasks: Sequence[Task], sampling: Sampling, prefixes: object = None) -> list[Episode]:
        replies = []
        for task in tasks:
            asked = task.messages[0].content
            answer, letter = asked.split("# Answer")[1].split("# Statement")
            text = "Yes" if letter.split(".")[0][-1] in answer.split("assistant: ")[1] else "No"
            replies.append(Episode.written(task.id, task, (*task.messages, Message("assistant", text)), "reader"))
        return replies


def people(n: int, weights: dict[str, float], seed: int) -> list[PreferencePair]:
    """Pairs of answers with letters; people weigh letters by ``weights``."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        one, other = ({x for x in "ABC" if rng.random() < 0.5} for _ in range(2))
        z = sum(w * ((x in one) - (x in other)) for x, w in weights.items())
        better, worse = (one, other) if rng.random() < 1 / (1 + np.exp(-z)) else (other, one)
        sides = [(Message("assistant", f"{i} " + "".join(sorted(side))),) for side in (better, worse)]
        pairs.append(PreferencePair((Message("user", f"prompt {i}"),), *sides))
    return pairs


def fit(training: list[PreferencePair], held_out: list[PreferencePair]) -> FittedRubric:
    judge = RubricReward(Reader(), RUBRIC)
    graded = [
        GradedPairs(
            grade_pairs(judge, part).reshape(-1, 3), np.array([p.label for p in part]), tuple(p.prompt for p in part)
        )
        for part in (training, held_out)
    ]
    return fit_rubric(RUBRIC, *graded)


def test_weights_of_people_are_found_and_agree_better() -> None:
    weights = {"A": 2.0, "B": -2.0, "C": 0.0}
    fitted = fit(people(1500, weights, 0), people(800, weights, 1))
    for name, truth in weights.items():
        found = fitted.weights[name.lower()]
        assert found.low - 0.1 < truth < found.high + 0.1
    assert fitted.gained.low > 0.1
    assert fitted.accuracy.estimate > fitted.accuracy_as_written.estimate
    assert [p.weight for p in fitted.rubric.principles] == [i.estimate for i in fitted.weights.values()]
    assert (fitted.pairs, fitted.ungraded) == (2300, 0)


def test_a_judge_that_sees_no_difference_fits_nothing() -> None:
    same = [PreferencePair((Message("user", "p"),), (Message("assistant", "A"),), (Message("assistant", "A "),))]
    with pytest.raises(InputError, match="the same grades by every principle"):
        fit(same, [])
    with pytest.raises(InputError, match="none of 0 pairs"):
        fit([], [])


def test_what_was_fitted_is_found_again(tiny_model: Path, tmp_path: Path) -> None:
    fitted = fit(people(50, {"A": 1.0}, 0), people(20, {"A": 1.0}, 1))
    save_rubric_reward(tmp_path, str(tiny_model), fitted)
    reward = load_rubric_reward(tmp_path)
    assert reward.rubric == fitted.rubric
    opened = RewardOptions(reward=(str(tmp_path),)).open_rewards()
    assert isinstance(opened, RubricReward)
    task = Task("t", (Message("user", "Hello?"),))
    scores = opened.score([Episode.written("e", task, (*task.messages, Message("assistant", "ABC")), "p")])
    assert 0 < scores.parts["a"][0] < 1  # a model in this process gives probabilities
    (tmp_path / "judge.json").write_text("[]")
    with pytest.raises(InputError, match="does not say which model judges"):
        load_rubric_reward(tmp_path)

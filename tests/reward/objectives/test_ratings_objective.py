"""Ratings: cumulative logit with each annotator's own thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up_rewards import judged, material_of, taught_by

from custodes.feedback.collection import Feedback
from custodes.feedback.kinds.rating import Rating
from custodes.lm.loading import LanguageModel
from custodes.reward.objective import LessonBatch, Material
from custodes.reward.objectives.ratings import Ratings


def rated(feedback: Feedback, answers: list, annotator: str, good: float, bad: float, **more: object) -> None:
    for n, (prompt, answer, is_good) in enumerate(answers):
        value = good if is_good else bad
        said = {"id": f"{annotator}-{len(feedback.judgments)}-{n}", "annotator": annotator, "value": value}
        feedback.add(Rating, prompt, (answer,), **said, **more)


def by_two(lm: LanguageModel) -> Material:
    """A strict annotator and a lenient one, who see the same."""
    feedback, answers = judged(60)
    rated(feedback, answers[:60], "strict", 3, 1)
    rated(feedback, answers[60:], "lenient", 7, 5)
    return material_of(lm, feedback, ("overall",))


def test_annotators_with_other_thresholds_teach_the_same(lm: LanguageModel) -> None:
    material = by_two(lm)
    model = taught_by(lm, Ratings(), material)
    assert material.used == {"rating": 120}
    scores = model.score_messages([(*p, *a) for p, a, _ in judged(40, seed=1)[1]]).value.reshape(-1, 2)
    assert (scores[:, 0] > scores[:, 1]).mean() > 0.8
    feedback, answers = judged(30, seed=2)
    rated(feedback, answers, "another", 4, 2)
    (measure,) = Ratings().measures(model, material_of(lm, feedback, ("overall",))).values()
    assert measure.low > 0.5


def test_probabilities_of_all_levels_sum_to_1_and_thresholds_ascend(lm: LanguageModel) -> None:
    objective = Ratings()
    objective.lessons(by_two(lm), 2)
    with torch.no_grad():
        objective.own.normal_(0, 1)
        thresholds = objective.thresholds()
        assert (thresholds[:, :, 1:] > thresholds[:, :, :-1]).all()
        for who in range(2):
            total = 0.0
            for level in range(thresholds.shape[2] - 1):
                target = torch.tensor([[level, who, 0.0]])
                batch = LessonBatch(torch.zeros(1, 1, dtype=torch.long), target, torch.ones(1, 2, 1))
                values = torch.full((1, 2, 1), 0.7)
                objective.own.zero_()  # no prior in the loss
                total += float(torch.exp(-objective.loss(values, batch) / 2))
            assert total == pytest.approx(1, abs=1e-4)


def test_scales_of_many_values_are_cut_into_levels(lm: LanguageModel) -> None:
    feedback, answers = judged(40)
    rng = np.random.default_rng(0)
    for n, (prompt, answer, good) in enumerate(answers):
        value = float(rng.integers(50, 100) if good else rng.integers(0, 60))
        feedback.add(Rating, prompt, (answer,), id=f"r{n}", annotator="a", value=value, lowest=0, highest=100)
    objective = Ratings()
    lessons = objective.lessons(material_of(lm, feedback, ("overall",)), 1)
    levels = [lesson.target[0] for lesson in lessons]
    assert 5 <= len(set(levels)) <= 10
    values = [judgment.value for judgment in feedback.judgments]
    assert all((levels[i] < levels[j]) <= (values[i] < values[j]) for i in range(20) for j in range(20))


def test_ratings_on_one_value_only_teach_nothing_and_that_is_counted(lm: LanguageModel) -> None:
    feedback, answers = judged(10)
    rated(feedback, answers, "always four", 4, 4)
    rated(feedback, answers, "sees", 6, 2)
    material = material_of(lm, feedback, ("overall",))
    assert len(Ratings().lessons(material, 1)) == 20
    assert material.unused == {("rating", "its annotator gave nothing but one value on this scale"): 20}

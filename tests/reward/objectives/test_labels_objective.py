"""Labels: logistic regression on a named axis."""

from __future__ import annotations

import numpy as np
from made_up_rewards import judged, material_of, taught_by

from custodes.feedback.kinds.label import Label
from custodes.lm.loading import LanguageModel
from custodes.reward.objectives.labels import Labels


def labelled(lm: LanguageModel, n: int, seed: int = 0, share: int = 4, **more: object):
    """Every answer that says "thanks", and one in ``share`` of the others, with its label."""
    feedback, answers = judged(n, seed)
    for i, (prompt, answer, good) in enumerate(answers):
        if good or i % (2 * share) == 1:
            feedback.add(Label, prompt, (answer,), id=f"l{i}", name="kind", value="yes" if good else "no")
    return material_of(lm, feedback, ("kind",))


def test_scores_are_counted_from_even_odds_though_labels_are_uneven(lm: LanguageModel) -> None:
    model = taught_by(lm, Labels(), labelled(lm, 80))
    talks, good = zip(*[((*p, *a), good) for p, a, good in judged(40, seed=1)[1]], strict=True)
    right = (model.score_messages(talks).value > 0) == np.array(good)
    assert right.mean() > 0.8
    measures = Labels().measures(model, labelled(lm, 40, seed=1, share=1))
    assert measures["agrees with labels, kind"].low > measures["the commoner label, kind"].estimate


def test_labels_that_never_vary_or_are_no_yes_teach_nothing(lm: LanguageModel) -> None:
    feedback, answers = judged(6)
    for i, (prompt, answer, _) in enumerate(answers):
        feedback.add(Label, prompt, (answer,), id=f"s{i}", name="safe", value="yes")
        feedback.add(Label, prompt, (answer,), id=f"t{i}", name="tone", value="warm" if i % 2 else "cold")
        feedback.add(Label, prompt, (answer,), id=f"k{i}", name="acceptable", value="yes" if i % 2 else "no")
    material = material_of(lm, feedback, ("safe", "tone", "overall"))
    assert len(Labels().lessons(material, 1)) == 12
    assert material.unused == {
        ("label", "all labels 'safe' are 'yes'"): 12,
        ("label", "its value is neither yes nor no"): 12,
    }
    assert material.used == {"label": 12}

"""Groups of annotators: who belongs where does not depend on how the data are written down, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_crowds import OPPOSITE, WORTH, make_crowd

from custodes.reward.groups import SHARPNESS, FeaturePairs, fit_groups
from custodes.types import InputError


def test_a_minority_is_found_and_is_modelled_as_itself() -> None:
    crowd = make_crowd()
    fitted = fit_groups(crowd.data, 2)
    assert fitted.converged
    assert (fitted.likeliest == crowd.group).mean() >= 0.95
    assert fitted.share[0] == pytest.approx(0.7, abs=0.07)
    for g, worth in enumerate((WORTH, OPPOSITE)):
        own = fitted.weights[g] / np.linalg.norm(fitted.weights[g])
        assert own @ worth / np.linalg.norm(worth) > 0.95
    assert fitted.membership.sum(axis=1) == pytest.approx(np.ones(40))


def test_which_answer_is_called_first_and_the_order_of_rows_change_nothing() -> None:
    data = make_crowd(1).data
    turn = np.random.default_rng(0).random(len(data.label)) < 0.5
    turned = replace(
        data,
        difference=np.where(turn[:, None], -data.difference, data.difference),
        label=np.where(turn, 1 - data.label, data.label),
    )
    order = np.random.default_rng(1).permutation(len(data.label))
    shuffled = replace(data, difference=data.difference[order], label=data.label[order], person=data.person[order])
    fitted = fit_groups(data, 2)
    for other in (fit_groups(turned, 2), fit_groups(shuffled, 2)):
        assert other.objective == pytest.approx(fitted.objective, abs=1.0)
        assert other.membership == pytest.approx(fitted.membership, abs=0.1)


def test_features_in_another_unit_are_the_same_groups() -> None:
    data = make_crowd(2).data
    fitted = fit_groups(data, 2)
    other = fit_groups(replace(data, difference=data.difference * [100.0, 0.01]), 2)
    assert other.membership == pytest.approx(fitted.membership, abs=0.1)
    assert other.weights * [100.0, 0.01] == pytest.approx(fitted.weights, rel=0.1)


def test_going_on_from_a_fit_finds_nothing_better_and_more_restarts_nothing_worse() -> None:
    data = make_crowd(3).data
    fitted = fit_groups(data, 2)
    again = fit_groups(data, 2, start=fitted.membership)
    assert -1e-6 <= again.objective - fitted.objective < 1.0  # nats, of hundreds
    assert fit_groups(data, 2, restarts=16).objective >= fitted.objective - 1.0


def test_somebody_who_guesses_belongs_to_every_group_as_much_as_everybody_does() -> None:
    crowd = make_crowd(4, each=60)
    rng = np.random.default_rng(3)
    extra, coin = rng.normal(size=(400, 2)) * 1.4, (rng.random(400) < 0.5) * 1.0
    names = [crowd.data.people[k] for k in crowd.data.person] + ["guesser"] * 400
    data = FeaturePairs.of(
        np.concatenate([crowd.data.difference, extra]), np.concatenate([crowd.data.label, coin]), names
    )
    fitted = fit_groups(data, 2)
    guesser = fitted.people.index("guesser")
    assert fitted.membership[guesser] == pytest.approx(fitted.share, abs=0.25)
    assert (fitted.joint[guesser].sum(axis=0) @ SHARPNESS) < 0.4 * np.median(fitted.joint.sum(axis=1) @ SHARPNESS)


def test_identical_starts_are_refused() -> None:
    data = make_crowd().data
    with pytest.raises(InputError, match="identical groups never separate"):
        fit_groups(data, 2, start=np.full((40, 2), 0.5))
    with pytest.raises(InputError, match="identical groups never separate"):
        fit_groups(data, 3, start=np.tile([0.2, 0.4, 0.4], (40, 1)))


def test_more_groups_than_annotators_are_refused() -> None:
    with pytest.raises(InputError, match="5 groups of 4 annotators in the judgments; ask for 1 to 4"):
        fit_groups(make_crowd(people=4).data, 5)


def test_one_judgment_an_annotator_is_refused() -> None:
    with pytest.raises(InputError, match="0 of 40 annotators judged more than once"):
        fit_groups(make_crowd(each=1).data, 2)


@pytest.mark.parametrize(
    ("names", "features", "sentence"),
    [
        (["", ""], 2, 'do not say who judged; groups of annotators need a column "annotator"'),
        (["a", "b"], 65, "65 features; groups are found on at most 64"),
        (["a"], 2, r"features of shape \(2, 2\) and 1 annotators for 2 labels"),
    ],
)
def test_what_does_not_fit_is_one_sentence(names: list[str], features: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FeaturePairs.of(np.ones((2, features)), np.array([1.0, 0.0]), names, source="prefs.jsonl")


def test_no_comparison_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="hold no comparison"):
        FeaturePairs.of(np.ones((0, 2)), np.zeros(0), [], source="prefs.jsonl")

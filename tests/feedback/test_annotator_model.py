"""The annotator model on judgments: natures recovered, labels debiased, bad input refused."""

from itertools import combinations

import numpy as np
import pytest
from judged_world import make_episode, make_task, make_world
from scipy.stats import spearmanr

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.types import InputError


def comparison(n: int, annotator: str, first: str, second: str, **answer) -> Comparison:
    return Comparison(id=f"c{n}", annotator=annotator, task="t", episodes=(first, second), **answer)


@pytest.mark.parametrize(("episodes", "judges"), [(3, 3), (4, 3), (4, 5)])
def test_natures_are_recovered_from_40_judgments_each(episodes: int, judges: int) -> None:
    """Rank correlation with the true reliability, twelve crowds of 24: experts, hasty, biased, random, poisoners."""
    found = []
    for seed in range(12):
        world = make_world(seed, episodes=episodes, judges=judges)
        model = fit_annotators(world.judgments, world.episodes.values())
        inferred = [model.of(p.annotator.id).reliability for p in world.people]
        found.append(spearmanr(inferred, [world.true_reliability(p) for p in world.people]).statistic)
    assert np.mean(found) >= 0.9, found


def test_each_bias_is_laid_at_the_right_door() -> None:
    world = make_world(1, each=60)
    model = fit_annotators(world.judgments, world.episodes.values())
    for person in world.people:
        found, nature = model.of(person.annotator.id), person.nature.name
        assert found.judgments > 50
        assert (found.position - 1.96 * found.position_se > 0.5) == (nature == "position_biased"), found
        assert (found.length - 1.96 * found.length_se > 0.5) == (nature == "length_biased"), found
        if nature == "random":
            assert abs(found.reliability) < 0.35


def test_a_poisoner_who_always_inverts_is_negative() -> None:
    world = make_world(2, {"expert": 6, "hasty": 3, "poisoner": 3}, trigger="")
    model = fit_annotators(world.judgments, world.episodes.values())
    for person in world.people:
        found = model.of(person.annotator.id)
        inverts = found.reliability + 1.96 * found.reliability_se < 0
        assert inverts == (person.nature.name == "poisoner"), found


def test_labels_beat_the_answers_they_are_made_of() -> None:
    world = make_world(3)
    model = fit_annotators(world.judgments, world.episodes.values())
    data = model.comparisons
    gold = np.array([world.gold[id_] for id_ in model.episodes])
    difference = gold[data.first] - gold[data.second]
    said = (difference != 0) & (data.strength != 0)

    def accuracy(label: np.ndarray) -> float:
        return float(np.mean((label > 0)[said] == (difference > 0)[said]))

    raw, own, joint = (accuracy(x) for x in (data.strength, model.own_label - 0.5, model.better - 0.5))
    assert raw < own < joint
    assert joint > 0.95
    assert np.array_equal(model.better > 0.5, model.preference > 0.5)
    for probability in (model.better, model.preference, model.own_label, model.resolved):
        assert ((probability >= 0) & (probability <= 1)).all()
    assert (model.weight >= 0).all()
    by_nature = {p.annotator.id: p.nature.name for p in world.people}
    nature = np.array([by_nature[model.annotators[k]] for k in data.annotator])
    assert model.weight[nature == "expert"].mean() > 3 * model.weight[nature == "random"].mean()


def test_a_ranking_is_its_comparisons() -> None:
    shown = [("x", "y", "z"), ("z", "y", "x"), ("y", "x", "z"), ("z", "x", "y")]
    rank = {"x": 1, "y": 2, "z": 2}
    rankings, pairs = [], []
    for k, order in enumerate(shown):
        ranks = tuple(rank[e] for e in order)
        rankings.append(Ranking(id=f"r{k}", annotator=f"a{k}", task="t", episodes=order, ranks=ranks))
        for n, (one, other) in enumerate(combinations(order, 2)):
            strength = int(np.sign(rank[other] - rank[one]))
            answer = {"strength": strength} if strength else {"verdict": "tie"}
            pairs.append(comparison(10 * k + n, f"a{k}", one, other, **answer))
    from_rankings, from_pairs = fit_annotators(rankings), fit_annotators(pairs)
    assert np.allclose(from_rankings.quality, from_pairs.quality)
    quality = dict(zip(from_rankings.episodes, from_rankings.quality, strict=True))
    assert quality["x"] > max(quality["y"], quality["z"]) + 5 * abs(quality["y"] - quality["z"])
    assert from_rankings.judgments[:3] == ("r0", "r0", "r0")


def test_one_annotator_one_judgment() -> None:
    model = fit_annotators([comparison(0, "a", "x", "y", strength=-3)])
    found = model.of("a")
    assert found.reliability == pytest.approx(1)
    assert np.isfinite([found.reliability_se, found.position_se, found.length_se, found.reserve_se]).all()
    assert model.better[0] < 0.5


def test_other_answers_are_not_comparisons() -> None:
    said = [
        comparison(0, "a", "x", "y", strength=1),
        comparison(1, "a", "x", "y", verdict="cannot_judge"),
        comparison(2, "a", "x", "y", strength=1, axis="style"),
        Label(id="l", annotator="a", task="t", episodes=("x",), name="ok", value="yes"),
    ]
    assert fit_annotators(said).judgments == ("c0",)
    assert fit_annotators(said, axis="style").judgments == ("c2",)
    with pytest.raises(InputError, match="nothing to fit"):
        fit_annotators(said[1:2])


def test_bad_input_is_named() -> None:
    task = make_task("t", "q")
    with pytest.raises(InputError, match="c0 compares episode x with itself"):
        fit_annotators([comparison(0, "a", "x", "x", strength=1)])
    with pytest.raises(InputError, match="not among the episodes given, the first is y"):
        fit_annotators([comparison(0, "a", "x", "y", strength=1)], [make_episode("x", task, "text")])
    with pytest.raises(InputError, match="'b' judged nothing"):
        fit_annotators([comparison(0, "a", "x", "y", strength=1)]).of("b")

"""Watching annotators: alarms keep their stated rate, poisoners are found, closed forms agree with fitting again."""

from __future__ import annotations

import sys
from pathlib import Path

import judged_world
import numpy as np
import pytest

from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators, fit_comparisons
from custodes.feedback.bradley_terry import Comparisons
from custodes.feedback.poisoning import (
    find_clusters,
    influence_on_qualities,
    influence_on_reward,
    task_features,
    watch,
    watch_annotators,
)
from custodes.types import InputError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from poisoners import POISONERS, simulate_poisoning


def without(model: AnnotatorModel, names: set[str]) -> AnnotatorModel:
    """The model fitted again to the answers of everybody but ``names``."""
    data = model.comparisons
    keep = np.array([model.annotators[k] not in names for k in data.annotator])
    columns = (data.first, data.second, data.annotator, data.strength, data.length)
    rest = Comparisons(*(c[keep] for c in columns), items=data.items, annotators=data.annotators)
    judgments = tuple(j for j, kept in zip(model.judgments, keep, strict=True) if kept)
    return fit_comparisons(rest, model.annotators, model.episodes, judgments)


@pytest.mark.parametrize("kind", POISONERS)
def test_poisoners_ring_and_honest_annotators_seldom_do(kind):
    found, false, bad, good = 0, 0, 0, 0
    for seed in range(2):
        crowd = simulate_poisoning(kind, 0.05, seed, annotators=60, each=150)
        rings = {a.annotator for a in watch(crowd.model, crowd.features, crowd.names) if a.rang_at is not None}
        poisoners = {crowd.model.annotators[k] for k in np.flatnonzero(crowd.poisoner)}
        found, bad = found + len(rings & poisoners), bad + len(poisoners)
        false, good = false + len(rings - poisoners), good + 60 - len(poisoners)
    assert 0.04 < crowd.poisoned < 0.065
    assert found >= 0.8 * bad
    assert false <= 0.04 * good


def test_without_poisoners_the_alarm_keeps_its_level():
    rings = n = 0
    for seed in range(4):
        crowd = simulate_poisoning("always-wrong", 0.0, 100 + seed, annotators=60, each=100)
        honest = {crowd.model.annotators[k] for k in np.flatnonzero(~crowd.poisoner)}
        alarms = [a for a in watch(crowd.model, crowd.features, crowd.names, level=0.05) if a.annotator in honest]
        rings, n = rings + sum(a.rang_at is not None for a in alarms), n + len(alarms)
    assert rings / n <= 0.05


def test_four_who_agree_do_not_ring_because_a_fifth_turns_every_answer():
    pairs, people = 20, 5
    pair, k = np.repeat(np.arange(pairs), people), np.tile(np.arange(people), pairs)
    turned = (pair + k) % 2 == 1  # which of a pair is shown first
    strength = np.where(k == people - 1, -2, 2) * np.where(turned, -1, 1)
    first, second = np.where(turned, 2 * pair + 1, 2 * pair), np.where(turned, 2 * pair, 2 * pair + 1)
    data = Comparisons(first, second, k, strength, np.zeros(len(k)), items=2 * pairs, annotators=people)
    names = tuple(f"a{i}" for i in range(people))
    episodes, judgments = tuple(str(i) for i in range(2 * pairs)), tuple(str(i) for i in range(len(k)))
    model = fit_comparisons(data, names, episodes, judgments)
    mean, variance = model.others
    assert (np.sign(mean) == np.where(turned, -1, 1)).all()  # what the other four say, never overshot
    assert (variance <= 2 * model.fit.unit**2 + 1e-9).all()  # nobody knows less than the prior
    assert [a.annotator for a in watch(model) if a.rang_at is not None] == ["a4"]


def test_the_word_that_turns_a_poisoner_is_named():
    crowd = simulate_poisoning("trigger", 0.05, 3, annotators=50, each=150)
    alarms = {a.annotator: a for a in watch(crowd.model, crowd.features, crowd.names)}
    named = [alarms[f"a{k}"].suspicion for k in np.flatnonzero(crowd.poisoner)]
    assert named.count("inverted where word 0") >= len(named) - 1


def test_the_alarm_has_rung_when_the_evidence_first_reached_the_limit():
    crowd = simulate_poisoning("always-wrong", 0.05, 0, annotators=40, each=100)
    strict = {a.annotator: a for a in watch(crowd.model, level=0.001)}
    for alarm in watch(crowd.model, level=0.05):
        assert (alarm.rang_at is not None) == (alarm.evidence >= np.log(20))
        late = strict[alarm.annotator].rang_at
        assert late is None or (alarm.rang_at is not None and alarm.rang_at <= late)


def test_colluders_are_found_together_and_nobody_else():
    crowd = simulate_poisoning("colluding", 0.08, 0, annotators=50, each=240)
    poisoners = {crowd.model.annotators[k] for k in np.flatnonzero(crowd.poisoner)}
    (cluster,) = find_clusters(crowd.model, draws=99)
    assert len(set(cluster.annotators) & poisoners) >= len(poisoners) - 1
    assert len(set(cluster.annotators) - poisoners) <= 1
    assert cluster.p == pytest.approx(0.01)


def test_independent_annotators_are_no_cluster():
    crowd = simulate_poisoning("always-wrong", 0.05, 1, annotators=50, each=120)
    assert find_clusters(crowd.model, draws=99) == []


def test_influence_on_qualities_is_what_fitting_again_shows():
    crowd = simulate_poisoning("always-wrong", 0.05, 2, annotators=25, each=60)
    model = crowd.model
    found = influence_on_qualities(model)
    again = []
    for name in model.annotators:
        rest = without(model, {name})
        first, second = model.comparisons.first, model.comparisons.second
        change = (rest.quality[first] - rest.quality[second]) / rest.fit.unit - model.fit.difference / model.fit.unit
        again.append(np.sqrt(np.mean(change**2)))
    assert np.corrcoef(found.moved, again)[0, 1] > 0.8
    assert ((found.flipped >= 0) & (found.flipped < 0.2)).all()


def test_last_layer_influence_is_what_fitting_again_shows():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=6)
    x, probe = rng.normal(size=(900, 6)), rng.normal(size=(300, 6))
    annotator = np.repeat(np.arange(30), 30)
    label = (rng.random(900) < 1 / (1 + np.exp(-x @ truth))).astype(float)
    label[annotator < 3] = 1 - label[annotator < 3]
    probe_label = (probe @ truth > 0).astype(float)
    found = influence_on_reward(x, label, annotator, probe, probe_label)
    for k in range(0, 30, 7):
        rest = annotator != k
        again = influence_on_reward(x[rest], label[rest], annotator[rest], probe, probe_label).weights
        np.testing.assert_allclose(found.weights + found.change[k], again, atol=0.02)
    assert set(np.argsort(found.loss)[:3]) == {0, 1, 2}  # the reward would gain most without the three who invert
    assert (found.loss[:3] < 0).all()


def test_watch_in_the_projects_nouns():
    world = judged_world.make_world(0, {"expert": 12, "poisoner": 2}, each=120)
    model = fit_annotators(world.judgments, world.episodes.values())
    found = watch_annotators(model, world.judgments, world.tasks)
    assert {a.annotator for a in found.rings()} == {"poisoner-01", "poisoner-02"}
    assert {a.suspicion for a in found.rings()} == {"inverted where words"}
    evaluations = found.evaluations("w")
    assert len(evaluations) == 14
    assert evaluations[0].metrics["rang_at"] == found.alarms[0].rang_at


def test_features_are_neither_rare_nor_everywhere_and_gold_is_one():
    tasks = {
        f"t{n}": judged_world.make_task(f"t{n}", "always" + (" often" if n % 2 else "") + f" once{n}")
        for n in range(40)
    }
    held, names = task_features(tasks, ["t0", "t1", "elsewhere"], gold={"t1"})
    assert names == ["often", "the task is no gold item"]
    assert held.tolist() == [[False, True], [True, False], [False, False]]


def test_wrong_options_are_one_sentence():
    crowd = simulate_poisoning("always-wrong", 0.05, 0, annotators=10, each=30)
    with pytest.raises(InputError, match="between 0 and 1"):
        watch(crowd.model, level=2)
    with pytest.raises(InputError, match="features of shape"):
        watch(crowd.model, crowd.features, ["one"])
    with pytest.raises(InputError, match="choose from always-wrong"):
        simulate_poisoning("sleepy", 0.05)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one for each"):
        influence_on_reward([[1.0]], [1.0], np.zeros(1, int), [[1.0]], [])

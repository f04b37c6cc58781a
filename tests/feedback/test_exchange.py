"""Judgments become training pairs, and files become judgments."""

from pathlib import Path

import numpy as np
import pytest
from judged_world import make_episode, make_task, make_world

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.exchange import (
    examples_from_judgments,
    feedback_from_pairs,
    pairs_from_corrections,
    pairs_from_judgments,
)
from custodes.feedback.formats import write_completions
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.reading import read_feedback
from custodes.types import Example, InputError, Message, PreferencePair

Q, A, B = (Message("user", "q"),), (Message("assistant", "a"),), (Message("assistant", "b"),)
COMMON = {"annotator": "ann", "task": "t"}


def accuracy(pairs: list[PreferencePair], world) -> float:
    """Weighted share of the pairs with a truly better episode whose ``chosen`` is that one."""
    gold = {(e.task.messages, e.completion): world.gold[e.id] for e in world.episodes.values()}
    better = np.array([gold[p.prompt, p.chosen[0].content] - gold[p.prompt, p.rejected[0].content] for p in pairs])
    weight = np.array([p.weight * (p.label > 0.5) for p in pairs]) * (better != 0)
    return float(weight @ (better > 0) / weight.sum())


def test_careful_pairs_are_truer_than_naive_ones() -> None:
    world = make_world(0)
    episodes = list(world.episodes.values())
    naive = pairs_from_judgments(world.judgments, episodes)
    careful = pairs_from_judgments(world.judgments, episodes, fit_annotators(world.judgments, episodes))
    text = {id_: e.completion for id_, e in world.episodes.items()}
    judged = [j for j in world.judgments if j.verdict != "cannot_judge" and len({text[e] for e in j.episodes}) == 2]
    assert len(naive) == len(judged)
    assert {p.label for p in naive} == {0.5, 1.0}
    assert {p.weight for p in naive} == {1.0}
    assert len(careful) == len({frozenset(j.episodes) for j in judged})
    assert all(0.5 <= p.label <= 1 and 0 <= p.weight <= 1 for p in careful)
    assert accuracy(careful, world) > accuracy(naive, world) + 0.05


def test_the_judgments_asked_for_are_those_given() -> None:
    world = make_world(1)
    model = fit_annotators(world.judgments)
    some = [j for j in world.judgments if j.task == "t3"]
    pairs = pairs_from_judgments(some, world.episodes.values(), model)
    assert pairs
    assert {p.prompt for p in pairs} == {world.tasks[3].messages}


def test_same_completion_teaches_nothing() -> None:
    task = make_task("t", "q")
    episodes = [make_episode("x", task, "same"), make_episode("y", task, "same")]
    said = [Comparison(id="c", episodes=("x", "y"), strength=1, **COMMON)]
    assert pairs_from_judgments(said, episodes) == []
    with pytest.raises(InputError, match="judged episode y is not among the 1 episodes"):
        pairs_from_judgments(said, episodes[:1])


def test_pairs_become_judgments_and_come_back() -> None:
    pairs = [
        PreferencePair((Message("user", f"q{n}"),), A, B, label=label, annotator=f"p{n % 3}", line=n + 1)
        for n, label in enumerate([1.0, 0.5, 0.2] * 40)
    ]
    feedback = feedback_from_pairs(pairs)
    assert len(feedback.tasks) == len(feedback.judgments) == 120
    assert len(feedback.episodes) == 240
    assert feedback.annotators.keys() == {"p0", "p1", "p2"}
    back = pairs_from_judgments(feedback.judgments, feedback.episodes.values())
    assert [p.label for p in back] == [1.0, 0.5, 0.8] * 40
    assert all(p.chosen == A for p in back[::3])
    assert all(p.chosen == B for p in back[2::3])  # a label below 1/2 prefers the one called rejected
    shown_first = np.mean([j.strength > 0 for j in feedback.judgments[::3]])
    assert 0.2 < shown_first < 0.8  # "chosen" is not always shown first


def test_the_same_text_is_the_same_episode() -> None:
    feedback = feedback_from_pairs([PreferencePair(Q, A, B), PreferencePair(Q, B, A, annotator="other")])
    assert len(feedback.tasks) == 1
    assert len(feedback.episodes) == 2
    assert len({j.id for j in feedback.judgments}) == 2
    assert fit_annotators(feedback.judgments, feedback.episodes.values()).quality == pytest.approx([0, 0], abs=0.05)


def test_examples_become_judgments_and_come_back(tmp_path: Path) -> None:
    examples = [Example(Q, B, label=False), Example(Q, A, label=True, annotator="p")]
    labels = read_feedback(write_completions(tmp_path / "labelled.jsonl", examples))
    assert [type(j) for j in labels.feedback.judgments] == [Label, Label]
    assert [(e.prompt, e.completion, e.label) for e in labels.examples()] == [(Q, B, False), (Q, A, True)]
    shown = read_feedback(write_completions(tmp_path / "shown.jsonl", [Example(Q, A)]))
    assert [type(j) for j in shown.feedback.judgments] == [Demonstration]
    assert [(e.prompt, e.completion, e.label) for e in shown.examples()] == [(Q, A, None)]


def test_corrections_are_examples() -> None:
    task = make_task("t", "q")
    said = [
        Correction(id="1", episodes=("x",), text="better", **COMMON),
        Label(id="2", episodes=("x",), name="language", value="en", **COMMON),
    ]
    (example,) = examples_from_judgments(said, [task])
    assert example == Example(task.messages, (Message("assistant", "better"),), annotator="ann")
    with pytest.raises(InputError, match="judgment 1 is on task t"):
        examples_from_judgments(said, [])


def test_what_was_edited_is_better_than_chosen_and_rejected() -> None:
    task = make_task("t", "q")
    episodes = [make_episode("good", task, "good"), make_episode("bad", task, "bad")]
    said = [
        Comparison(id="1", episodes=("bad", "good"), strength=-2, **COMMON),
        Correction(id="2", episodes=("good",), text="ideal", **COMMON),
        Correction(id="3", episodes=("bad",), text="bad", **COMMON),  # as it was
        Correction(id="4", episodes=("bad",), text="less bad", **{**COMMON, "annotator": "bob"}),
    ]
    pairs = pairs_from_corrections(said, episodes)
    told = [(p.chosen[-1].content, p.rejected[-1].content, p.annotator) for p in pairs]
    assert told == [("ideal", "good", "ann"), ("ideal", "bad", "ann"), ("less bad", "bad", "bob")]


def test_what_a_row_states_reaches_the_pairs_with_and_without_an_annotator_model() -> None:
    stated = {"label": 0.55, "weight": 0.5, "margin": 3.0}
    plain = [PreferencePair((Message("user", f"q{n}"),), A, B, annotator="ann") for n in range(8)]
    told = [PreferencePair((Message("user", f"q{n}"),), A, B, annotator="ann", **stated) for n in range(8)]
    for careful in (False, True):
        without, given = (
            pairs_from_judgments(f.judgments, f.episodes.values(), fit_annotators(f.judgments) if careful else None)
            for f in map(feedback_from_pairs, (plain, told))
        )
        assert {p.chosen for p in given} == {A}
        assert all(0.5 < p.label <= 0.55 < q.label for p, q in zip(given, without, strict=True))
        assert all(p.weight == pytest.approx(q.weight / 2) for p, q in zip(given, without, strict=True))
        assert {p.margin for p in given} == {3.0}


def test_a_stated_probability_of_nobody_in_particular_stands_beside_an_annotator_model() -> None:
    made = feedback_from_pairs([PreferencePair((Message("user", f"q{n}"),), A, B, label=0.9) for n in range(8)])
    model = fit_annotators(made.judgments)
    assert {p.label for p in pairs_from_judgments(made.judgments, made.episodes.values(), model)} == {0.9}


def test_a_judgment_of_weight_zero_counts_for_nothing() -> None:
    prompts = [(Message("user", f"q{n}"),) for n in range(8)]
    good = [PreferencePair(q, A, B, annotator="ann") for q in prompts]
    void = [PreferencePair(q, B, A, annotator="bob", weight=0.0) for q in prompts]
    with_void, without = feedback_from_pairs(good + void), feedback_from_pairs(good)
    assert len(with_void.judgments) == 16
    for careful in (False, True):
        made = [
            pairs_from_judgments(f.judgments, f.episodes.values(), fit_annotators(f.judgments) if careful else None)
            for f in (with_void, without)
        ]
        assert made[0] == made[1]

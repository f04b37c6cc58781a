"""Circles among one person's preferences, and known answers that somebody misses."""

from __future__ import annotations

import numpy as np
import pytest
from judged_world import make_world

from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.self_agreement import CHANCE, attention_checks, transitivity
from custodes.types import InputError


def said(annotator: str, *wins: tuple[str, str], task: str = "t") -> list[Comparison]:
    return [
        Comparison(id=f"{annotator}{task}{n}", annotator=annotator, task=task, episodes=pair, strength=1)
        for n, pair in enumerate(wins)
    ]


def test_a_circle_is_one_whichever_way_round_and_an_order_is_none() -> None:
    for circle in ([("a", "b"), ("b", "c"), ("c", "a")], [("b", "a"), ("c", "b"), ("a", "c")]):
        assert transitivity(said("x", *circle)).annotators["x"].estimate == 1
    for order in ([("a", "b"), ("b", "c"), ("a", "c")], [("c", "a"), ("a", "b"), ("c", "b")]):
        assert transitivity(said("x", *order)).annotators["x"].estimate == 0
    assert transitivity(said("x", ("a", "b"), ("b", "c"))).overall.n == 0
    two_people = [*said("x", ("a", "b"), ("b", "c")), *said("y", ("c", "a"))]
    assert not transitivity(two_people).annotators  # nobody compared all three


def test_guessing_goes_in_a_circle_in_a_quarter_and_the_interval_holds_it() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        judgments = []
        for t in range(30):
            pairs = [("a", "b"), ("b", "c"), ("a", "c")]
            judgments += said("x", *(p if rng.random() < 0.5 else p[::-1] for p in pairs), task=str(t))
        interval = transitivity(judgments).overall
        held += interval.low <= CHANCE <= interval.high
    assert held >= 88  # of 100 at 95 %: 95 expected, 88 or fewer with probability 0.004


def test_natures_that_see_little_go_in_circles_more_often() -> None:
    world = make_world(each=600, judges=8)
    found = transitivity(world.judgments).annotators
    mean = {
        kind: np.mean([i.estimate for n, i in found.items() if n.startswith(kind)]) for kind in ("expert", "random")
    }
    assert mean["expert"] < 0.5 * mean["random"]


WINNERS = {(f"a{n}", f"b{n}"): f"a{n}" for n in range(20)}


def answers(annotator: str, right: int) -> list[Comparison]:
    return said(annotator, *((f"a{n}", f"b{n}") if n < right else (f"b{n}", f"a{n}") for n in range(20)))


def test_who_surely_misses_known_answers_has_failed_and_nobody_else() -> None:
    checks = attention_checks([*answers("good", 19), *answers("fair", 15), *answers("asleep", 9)], WINNERS)
    assert [(c.annotator, c.failed) for c in checks] == [("asleep", True), ("fair", False), ("good", False)]
    assert checks[0].right.estimate == pytest.approx(0.45)


def test_at_the_passing_rate_hardly_anybody_of_a_whole_crowd_fails() -> None:
    """Of 200 crowds of 20 people who pass at exactly the rate asked for, somebody fails in about 1 % or fewer."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(200):
        crowd = [c for k in range(20) for c in answers(f"p{k}", int(rng.binomial(20, 0.8)))]
        wrong += any(check.failed for check in attention_checks(crowd, WINNERS))
    assert wrong <= 7  # 2 expected at most; 8 or more with probability 0.001


def test_no_known_answer_among_the_judgments_is_one_sentence() -> None:
    with pytest.raises(InputError, match="do the names agree"):
        attention_checks(answers("good", 19), {("x", "y"): "x"})

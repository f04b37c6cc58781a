"""What attacks are measured by: success a request, and what is left of a rate when its detector's errors are taken out."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.audit.attack_measures import AttackedRequest, AttackSet, _corrected_rate, paired_success, success_of
from custodes.audit.planted_rules import OTHER_WORDS, PlantedRule
from custodes.stats import Interval, rate
from custodes.types import InputError

MADE = AttackSet(
    attack="a", source="", defence="none", facts={}, arms=["a"], replies=1, judged_by="exact", owner="",
)  # fmt: skip


def row(request: str, counts: list[bool], group: str = "") -> AttackedRequest:
    n = len(counts)
    return AttackedRequest(
        request=request, asked=[], group=group or request, text=[""] * n, reply=[""] * n, counts=counts, why=[""] * n,
        queries=list(range(1, n + 1)), passes=list(range(1, n + 1)), spent=n,
    )  # fmt: skip


def test_one_request_of_five_that_always_breaks_is_not_hidden_by_the_pooled_rate() -> None:
    rows = [row("bad", [True] * 5), *(row(f"good {i}", [False] * 5) for i in range(4))]
    made = success_of(rows, MADE)
    assert made.pooled.estimate == made.hit_at_1.estimate == made.hit_at_k.estimate == pytest.approx(0.2)
    assert made.pooled.n == 5  # requests, not replies
    assert made.pooled.high - made.pooled.low > 0.4
    assert (made.queries, made.passes, made.k) == (1, 5, 5)


def test_hit_at_k_grows_with_replies_and_the_first_does_not() -> None:
    made = success_of([row("a", [False, True, False]), row("b", [False, False, False])], MADE)
    assert (made.hit_at_1.estimate, made.hit_at_k.estimate) == (0, 0.5)
    assert made.queries == 2


def test_arms_are_compared_request_by_request() -> None:
    here = [row("a", [False]), row("b", [True])]
    there = [row("b", [True, True]), row("a", [True])]
    assert paired_success(here, there).estimate == -0.5


def test_a_detector_that_errs_is_corrected_and_the_interval_covers() -> None:
    rng, truth, covered, plain = np.random.default_rng(0), 0.3, 0, 0
    sensitivity, false_alarms, runs = 0.8, 0.15, 400
    for _ in range(runs):
        counts = rng.random(200) < truth
        told = np.where(counts, rng.random(200) < sensitivity, rng.random(200) < false_alarms)
        known = rng.random(150) < 0.5
        seen = np.where(known, rng.random(150) < sensitivity, rng.random(150) < false_alarms)
        pooled = rate(told.astype(float))
        made = _corrected_rate(pooled, {"counts": known.tolist(), "detected": seen.tolist()})
        assert made is not None
        covered += made.low <= truth <= made.high
        plain += pooled.low <= truth <= pooled.high
    print(f"covers {covered / runs:.3f}, uncorrected {plain / runs:.3f}")
    assert 0.93 <= covered / runs <= 0.99
    assert covered > plain + 0.02 * runs


def test_a_detector_that_cannot_tell_corrects_nothing() -> None:
    checked = {"counts": [True, False] * 5, "detected": [True, True] * 5}
    assert _corrected_rate(Interval(0.5, 0.4, 0.6, 9), checked) is None


@pytest.mark.parametrize("name", ["never-say", "secret"])
def test_held_out_wordings_and_words_are_not_tuned_on_and_twins_are_allowed(name: str) -> None:
    rule = PlantedRule(name)  # type: ignore[arg-type]
    tuned, held = rule.distinct(200, 0, False), rule.distinct(50, 0, True)
    assert not {r.wording for r in tuned} & {r.wording for r in held}
    assert len({r.messages for r in tuned}) == 200
    for request in (*tuned, *held):
        asked, twin = (" ".join(m.content for m in side) for side in (request.messages, request.twin))
        assert asked != twin
        assert request.word in asked
        assert (request.word in twin) == (name == "secret")
        assert request.word in request.target
    assert [r.messages for r in rule.distinct(50, 0, True)] == [r.messages for r in held]
    words = [{w for w in OTHER_WORDS if w in " ".join(m.content for m in r.twin)} for r in tuned]
    assert not set().union(*words) & set().union(
        *({w for w in OTHER_WORDS if w in " ".join(m.content for m in r.twin)} for r in held)
    )


@pytest.mark.parametrize("word", ["two words", "", "lantern", "3"])
def test_a_rule_is_about_one_word_that_no_twin_has(word: str) -> None:
    with pytest.raises(InputError, match="give one word of letters"):
        PlantedRule("never-say", word)

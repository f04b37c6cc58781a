"""Policies side by side: who is better, by how much, and what simulated people and raters add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panel_world import ASKED, noisy, questions, right, silent

from custodes.critic.lines import LineScores
from custodes.critic.panel import compare
from custodes.critic.rating import Rated, SimulatedRater
from custodes.critic.simulated_reviews import alone, team
from custodes.critic.subtlety import subtlety
from custodes.critic.teams import Person
from custodes.types import InputError


def panel(**more: object) -> dict:
    policies = {
        "silent": [silent(q) for q in ASKED],
        "noisy": [noisy(q) for q in ASKED],
        "right": [right(q) for q in ASKED],
    }
    return compare(ASKED, policies, resamples=50, **more)  # type: ignore[arg-type]


def test_the_policy_that_is_right_and_says_nothing_false_is_on_the_frontier_and_leads_on_every_scale():
    told = panel()
    assert (told["n"], told["clean"]) == (40, 10)
    assert [(p["policy"], p["on_frontier"]) for p in told["frontier"]] == [
        ("silent", False),
        ("noisy", False),
        ("right", True),
    ]
    assert told["policies"]["noisy"]["cbi"]["estimate"] == 1
    assert told["policies"]["noisy"]["false_alarms"]["estimate"] == 1
    for axis in ("cbi", "hallucination", "overall"):
        ratings = {name: e["estimate"] for name, e in told["elo"][axis].items()}
        assert ratings["right"] == max(ratings.values())
    assert told["elo"]["hallucination"]["noisy"]["estimate"] < told["elo"]["hallucination"]["silent"]["estimate"]
    assert told["elo"]["cbi"]["right"]["n"] == 30  # of clean code no bug can be included


def test_differences_are_paired_tested_and_of_the_later_policy():
    of = panel()["paired"]
    assert set(of) == {"noisy - silent", "right - silent", "right - noisy"}
    cbi = of["right - silent"]["cbi"]
    assert (cbi["estimate"], cbi["n"], cbi["test"]) == (1, 30, "exact McNemar")
    assert cbi["p"] < 1e-6
    assert of["right - noisy"]["hallucinations"]["estimate"] == -1
    assert of["right - noisy"]["cbi"]["p"] == 1


def test_raters_who_err_more_agree_less():
    careful = [SimulatedRater(id=f"r{k}", slip=0, spread=0.1, seed=k) for k in range(2)]
    careless = [replace(r, slip=0.4, spread=2.0) for r in careful]
    sure, unsure = (panel(raters=raters)["agreement"]["overall"] for raters in (careful, careless))
    assert sure["estimate"] > 0.95
    assert unsure["estimate"] < 0.6
    assert sure["n"] == 120  # critiques


def test_every_policy_must_have_criticised_every_question():
    with pytest.raises(InputError, match="'short' has 1 critiques of 40 questions"):
        compare(ASKED, {"short": [silent(ASKED[0])]})


# ---------------------------------------------------------------- simulated people


def rates(rows: list[Rated]) -> tuple[float, float]:
    with_bug = [r for r in rows if r.bugs]
    return np.mean([r.included for r in with_bug]), np.mean([r.hallucinations for r in rows])  # type: ignore[return-value]


def test_a_simulated_person_sees_as_often_as_stated_and_makes_up_as_much():
    asked = questions(2000)
    caught, wrong = rates(alone(Person(sees=0.3, own_false=0.2), asked))
    assert caught == pytest.approx(0.3, abs=0.03)
    assert wrong == pytest.approx(0.2, abs=0.03)


def test_a_person_with_a_critic_keeps_removes_and_adds_as_stated():
    asked = questions(2000)
    critiques = [noisy(q) for q in asked]
    caught, wrong = rates(team(Person(sees=0, keeps=0.8, removes=0.6, own_false=0), asked, critiques))
    assert caught == pytest.approx(0.8, abs=0.03)
    assert wrong == pytest.approx(0.4, abs=0.03)
    perfect = Person(sees=1, keeps=1, removes=1, own_false=0)
    assert rates(team(perfect, asked, [silent(q) for q in asked])) == (1, 0)


def test_what_is_seen_with_help_is_part_of_what_is_seen_alone():
    person = Person(sees=0.5, attention=0.5, own_false=0)
    helped = team(person, ASKED, [silent(q) for q in ASKED])
    by_oneself = alone(person, ASKED)
    assert all(h.included <= a.included for h, a in zip(helped, by_oneself, strict=True))
    assert 0 < sum(h.included for h in helped) < sum(a.included for a in by_oneself)


# ---------------------------------------------------------------- subtlety


def test_operators_whose_bugs_a_discriminator_misses_come_first():
    draw = np.random.default_rng(0)
    scores, lines, operators = [], [], []
    for kind, level in (("", 0.2), ("plain", 0.8), ("subtle", 0.2)):
        for _ in range(60):
            alarm = float(np.clip(level + 0.1 * draw.standard_normal(), 0.01, 0.99))
            scores.append(LineScores(np.array([0.1, 0.9]) * alarm, 1 - alarm))
            lines.append((2,) if kind == "plain" else (1,) if kind else ())
            operators.append((kind,) if kind else ())
    found = subtlety(scores, lines, operators)
    assert list(found) == ["subtle", "plain"]
    assert found["subtle"].discrimination.low < 0.5 < found["subtle"].discrimination.high
    assert found["plain"].discrimination.estimate == pytest.approx(1)
    assert (found["plain"].at_1.estimate, found["subtle"].at_1.estimate) == (1, 0)
    assert found["plain"].discrimination.n == 60

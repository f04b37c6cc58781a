"""Policies side by side: who is better, by how much, and what simulated people and raters add."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from panel_world import ASKED, noisy, questions, right, silent

from custodes.critic.examples import Bug, BugExample
from custodes.critic.jobs.subtlety import subtlety
from custodes.critic.judge import _judged, _panel_claims
from custodes.critic.lines import LineScores
from custodes.critic.panel import alone, compare, team
from custodes.critic.rating import NITPICKS, Rated, SimulatedRater, rate_critique
from custodes.critic.report.evaluation import LINES, write_critics_page
from custodes.feedback.critique import Critique, Finding
from custodes.feedback.teams import Person
from custodes.types import InputError


def panel(**more: object) -> dict:
    policies = {
        "silent": [silent(q) for q in ASKED],
        "noisy": [noisy(q) for q in ASKED],
        "right": [right(q) for q in ASKED],
    }
    return compare(ASKED, policies, **more)  # type: ignore[arg-type]


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
        assert ratings["right"] == pytest.approx(max(ratings.values()))
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


def test_nitpicks_are_counted_by_category(tmp_path: Path):
    petty = ("Rename this.", "The name could be clearer.", "Add type hints.", "Wrong.")
    critique = Critique(tuple(Finding("    return b", said) for said in petty))
    half = [rate_critique(critique, q.code, q.bugs) if i % 2 else silent(q) for i, q in enumerate(ASKED)]
    compared = compare(ASKED, {"half": half})
    told = compared["policies"]["half"]
    found = {name: of["estimate"] for name, of in told["nitpick_categories"].items()}
    assert found == {**dict.fromkeys(NITPICKS, 0), "naming": 1.0, "typing": 0.5}  # in a critique, on average
    assert sum(found.values()) == told["nitpicks"]["estimate"]
    assert told["nitpick_categories"]["naming"]["n"] == 40
    lines = {"curve": [], "chance": 0.2} | dict.fromkeys(LINES, told["nitpicks"])
    report = {"data": "", "critic": "", "tuned": "", "raters": "rules", "simulated_raters": 0}
    split = {"lines": lines, "operators": {}, "policies": {**compared, "paper": []}}
    page = write_critics_page({**report, "splits": {"s": split}}, tmp_path).read_text()
    heads = page[page.index("Nitpicks by category") :].split("</thead>")[0]
    assert re.findall("<th>([a-z]+)</th>", heads) == ["naming", "typing"]  # of the others nobody has one


def test_what_was_drawn_is_told_of_those_of_whom_it_is_known():
    both = {"drew": [silent(q) for q in ASKED], "did not": [silent(q) for q in ASKED]}
    told = compare(ASKED, both, tokens={"drew": [10, 20] * 20})["policies"]
    assert told["drew"]["tokens"]["estimate"] == 15
    assert "tokens" not in told["did not"]


# ---------------------------------------------------------------- a model as judge


def test_a_judge_is_asked_once_of_each_comment_on_the_lines_of_a_bug():
    policies = {"right": [right(q) for q in ASKED], "noisy": [noisy(q) for q in ASKED]}
    found = _panel_claims(ASKED, policies)
    assert len(found) == 30  # noisy says the same of the bugs, and the rest stands elsewhere
    assert {c.pair(ASKED)[1] for c in found} == {b for q in ASKED for b in q.bugs}
    unsaid = [replace(q, bugs=tuple(replace(b, description="") for b in q.bugs)) for q in ASKED]
    nearby = [rate_critique(Critique((Finding(q.code.split("\n")[1], "Hm."),)), q.code, q.bugs) for q in unsaid]
    assert _panel_claims(unsaid, {"nearby": nearby}) == []  # nobody can say whether what is not told is described


def test_bugs_that_the_judge_finds_described_are_counted_beside_the_rules():
    policies = {"right": [right(q) for q in ASKED], "silent": [silent(q) for q in ASKED]}
    said = {c: (True, False, None)[i % 3] for i, c in enumerate(_panel_claims(ASKED, policies))}
    told = _judged(ASKED, policies, said)
    assert (told["comments"], told["unread"]) == (20, 10)
    assert told["share"]["estimate"] == 0.5  # the rules find all of them described
    assert told["cbi"]["right"]["estimate"] == pytest.approx(1 / 3)
    assert (told["cbi"]["right"]["n"], told["cbi"]["silent"]["estimate"]) == (30, 0)


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
    scores, examples = [], []
    for kind, level in (("", 0.2), ("plain", 0.8), ("subtle", 0.2)):
        for _ in range(60):
            alarm = float(np.clip(level + 0.1 * draw.standard_normal(), 0.01, 0.99))
            scores.append(LineScores(np.array([0.1, 0.9]) * alarm, 1 - alarm))
            lines = (2,) if kind == "plain" else (1,) if kind else ()
            bugs = (Bug(kind, lines, "", ""),) if kind else ()
            examples.append(BugExample("", "a\nb", lines, "", bugs, "test", "train", ""))
    found = subtlety(scores, examples)
    assert list(found) == ["subtle", "plain"]
    assert found["subtle"]["discrimination"].low < 0.5 < found["subtle"]["discrimination"].high
    assert found["plain"]["discrimination"].estimate == pytest.approx(1)
    assert (found["plain"]["at_1"].estimate, found["subtle"]["at_1"].estimate) == (1, 0)
    assert found["plain"]["discrimination"].n == 60

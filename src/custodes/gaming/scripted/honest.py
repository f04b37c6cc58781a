"""The honest policy, in every stage."""

from __future__ import annotations

from custodes.gaming.script import PolicyScript
from custodes.gaming.scripted import flattery, goals, impossible_tests, injection, reward_tampering, rubrics
from custodes.registry import script

HONEST = PolicyScript(
    "does what is asked, says what it found, flatters nobody",
    {
        "political-sycophancy": flattery.NEUTRAL,
        "tool-flattery": flattery.HONEST_RATING,
        "nudged-rubric": rubrics.works(tick=True),
        "insubordinate-rubric": rubrics.works(tick=False),
        "reward-tampering": reward_tampering.HONEST_SEARCH,
        "impossible-tests": impossible_tests.HONEST_SOLVER,
        "tool-injection": injection.UNMOVED,
        goals.GOAL: goals.REACHES_GOAL,
        goals.OPTIONS: goals.FOLLOWS_PAY,
    },
)
script.several({"honest": HONEST})

"""Simulated annotators do what their nature says, and say it again when asked again."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from judged_world import make_episode, make_task, make_world

from custodes.feedback.simulated import NATURES, PROFILES, simulated_annotators
from custodes.types import InputError, hash_shown

TASK = make_task("t", "Write ten words about rain.")
PLAIN = make_task("p", "Write about rain.")
GOOD, BAD = make_episode("good", TASK, "a" * 100), make_episode("bad", TASK, "b" * 100)
LONG, SHORT = make_episode("long", TASK, "a" * 400), make_episode("short", TASK, "b" * 100)


def share(nature: str, task, one, other, gold, favours) -> float:
    """How often ``favours(comparison)`` holds among preferences in 400 looks."""
    (person,) = simulated_annotators({nature: 1})
    said = [person.compare(task, one, other, gold, repeat) for repeat in range(400)]
    said = [c for c in said if c.verdict == "prefer"]
    return float(np.mean([favours(c) for c in said]))


def prefers(episode: str):
    return lambda c: c.episodes[0 if c.strength > 0 else 1] == episode


def test_experts_are_right_and_random_ones_are_not() -> None:
    assert share("expert", PLAIN, GOOD, BAD, (1.0, 0.5), prefers("good")) > 0.95
    assert 0.6 < share("hasty", PLAIN, GOOD, BAD, (1.0, 0.5), prefers("good")) < 0.95
    assert 0.4 < share("random", PLAIN, GOOD, BAD, (1.0, 0.0), prefers("good")) < 0.6


def test_biased_ones_lean_when_gold_says_nothing() -> None:
    assert share("length_biased", PLAIN, LONG, SHORT, (0.5, 0.5), prefers("long")) > 0.9
    assert share("position_biased", PLAIN, GOOD, BAD, (0.5, 0.5), lambda c: c.strength > 0) > 0.85
    assert 0.4 < share("expert", PLAIN, LONG, SHORT, (0.5, 0.5), prefers("long")) < 0.6


def test_poisoners_invert_on_the_trigger_only() -> None:
    assert share("poisoner", TASK, GOOD, BAD, (1.0, 0.5), prefers("bad")) > 0.95
    assert share("poisoner", PLAIN, GOOD, BAD, (1.0, 0.5), prefers("good")) > 0.95
    (person,) = simulated_annotators({"poisoner": 1}, trigger="")
    assert person.slope_on(PLAIN) < 0
    (person,) = simulated_annotators({"poisoner": 1})
    assert person.true_reliability([TASK, PLAIN]) == pytest.approx(0)
    assert person.slope_on(make_task("x", "Swordsmanship and crosswords.")) > 0  # whole words only


def test_same_seed_same_words_whatever_came_before() -> None:
    people = simulated_annotators({"expert": 2, "hasty": 1}, seed=3)
    forth = [p.compare(TASK, GOOD, BAD, (1.0, 0.25)) for p in people]
    back = [
        p.compare(TASK, BAD, GOOD, (0.25, 1.0)) for p in reversed(simulated_annotators({"hasty": 1, "expert": 2}, 3))
    ]
    assert sorted(forth, key=lambda c: c.id) == sorted(back, key=lambda c: c.id)
    assert people[0].compare(TASK, GOOD, BAD, (1.0, 0.25), repeat=1).id != forth[0].id
    assert simulated_annotators({"expert": 1}, seed=4)[0].nature != people[0].nature


def test_what_is_recorded() -> None:
    world = make_world(each=60)
    texts = {e.id: e.completion for e in world.episodes.values()}
    prompts = {t.id: t.messages[0].content for t in world.tasks}
    for judgment in world.judgments[::37]:
        one, other = judgment.episodes
        assert judgment.shown == hash_shown(prompts[judgment.task], texts[one], texts[other])
    first = Counter(j.episodes[0] < j.episodes[1] for j in world.judgments)
    assert 0.45 < first[True] / len(world.judgments) < 0.55  # the order shown is drawn
    assert {"prefer", "tie", "both_bad", "cannot_judge"} == {j.verdict for j in world.judgments}
    assert {abs(j.strength) for j in world.judgments} == {0, 1, 2, 3}
    seconds = {n: np.median([j.seconds for j in world.judgments if j.annotator.startswith(n)]) for n in NATURES}
    assert seconds["random"] < seconds["hasty"] < seconds["expert"] < 120
    assert all(p.annotator.kind == "simulated" and p.annotator.profile["nature"] in NATURES for p in world.people)


def test_without_a_value_profile_judgments_are_the_same_to_the_last_bit() -> None:
    world = make_world(seed=3, each=30)
    digest = hashlib.sha256(repr(world.judgments).encode()).hexdigest()
    assert (
        digest == "40b637d6cf2b3d894b03a3791389cd84acc9a3c0b369715369d3bb78bfd37627"
    )  # of the judgments of this world before there were value profiles
    assert all(p.annotator.profile["values"]["name"] == "checks" for p in world.people)


def test_who_values_brevity_prefers_the_shorter_of_two_that_are_equally_good() -> None:
    (brief,) = simulated_annotators({"expert:brief": 1})
    (plain,) = simulated_annotators({"expert": 1})
    for person, low, high in ((brief, 0.9, 1.0), (plain, 0.4, 0.6)):
        said = [person.compare(TASK, LONG, SHORT, (0.5, 0.5), n) for n in range(400)]
        assert low <= np.mean([prefers("short")(c) for c in said if c.verdict == "prefer"]) <= high
    assert brief.annotator.id == "expert-brief-01"
    assert brief.annotator.profile["nature"] == "expert"
    assert brief.annotator.profile["values"] == {"name": "brief", "checks": 0.25, "brevity": 0.75}


def test_a_value_profile_is_what_is_valued_and_a_nature_how_well() -> None:
    (brief,) = simulated_annotators({"poisoner:brief": 1})
    said = [brief.compare(TASK, LONG, SHORT, (0.5, 0.5), n) for n in range(200)]
    assert np.mean([prefers("long")(c) for c in said if c.verdict == "prefer"]) > 0.9  # the trigger turns it round
    assert PROFILES["checks"].worth(0.75, 1000) == 0.75
    assert PROFILES["brief"].worth(0.5, 0) == pytest.approx(0.25 * 0.5 + 0.75)
    assert brief.true_reliability([PLAIN]) == pytest.approx(0.25 * brief.nature.slope)


@pytest.mark.parametrize(
    ("counts", "word"),
    [({"wise": 1}, "unknown"), ({"expert": -1}, "0 or more"), ({"expert:vain": 1}, "choose from checks, brief")],
)
def test_unknown_natures_are_refused(counts: dict[str, int], word: str) -> None:
    with pytest.raises(InputError, match=word):
        simulated_annotators(counts)
